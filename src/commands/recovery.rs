//! Publishes what a crash left behind.

use std::convert::Infallible;
use std::time::Duration;

use plimsoll_executor::performance;
use plimsoll_ingest::spool;
use tokio::runtime::Handle;

use crate::failure::chain;
use crate::settings::Settings;
use crate::terminal::{Console, say};

/// A service looks for such runs so often.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Runs in the spool that are in nobody's hands.
struct Abandoned {
    /// Those of the warehouse in use, and those that do not say whose they are.
    ours: usize,
    /// Those of other warehouses, one warehouse each.
    of_others: Vec<String>,
}

impl Abandoned {
    fn find(settings: &Settings) -> Result<Self, spool::SpoolError> {
        let (ours, of_others): (Vec<_>, Vec<_>) = spool::abandoned(&settings.spool)?
            .into_iter()
            .partition(|of| of.as_ref().is_none_or(|of| settings.warehouse.is_named(of)));
        Ok(Self {
            ours: ours.len(),
            of_others: of_others.into_iter().flatten().collect(),
        })
    }

    /// Says how to publish what belongs elsewhere: this command does not touch it.
    fn note_of_others(&self, console: &Console) {
        if let Some(first) = self.of_others.first() {
            console.note(&format!(
                "note: {} for other warehouses: `plimsoll serve --warehouse {first}` publishes \
                 those of that one",
                runs(self.of_others.len())
            ));
        }
    }
}

/// Publishes the runs that are in the spool and in nobody's hands.
///
/// What cannot be published is said and stays: it must not keep a new run from being measured. Gives
/// what was said of it.
pub(crate) async fn recover(settings: &Settings, console: &Console) -> Vec<String> {
    let abandoned = match Abandoned::find(settings) {
        Ok(abandoned) => abandoned,
        Err(error) => {
            let unread = unread(&error);
            warn(&unread);
            return vec![unread];
        }
    };
    abandoned.note_of_others(console);
    if abandoned.ours == 0 {
        return Vec::new();
    }
    console.note(&format!("note: publishing {} first", runs(abandoned.ours)));
    let publishing = publish(settings, console);
    let unpublished = console.during("publishing", publishing).await;
    unpublished.iter().for_each(|what| warn(what));
    unpublished
}

/// Publishes such runs now and every minute, for as long as it is waited for: those of processes
/// that crash later, and those that could not be published at first. What stays as it was is not
/// said twice.
pub(crate) async fn recover_always(settings: &Settings, console: &Console) -> Infallible {
    let mut said = Vec::new();
    if let Ok(abandoned) = Abandoned::find(settings) {
        abandoned.note_of_others(console);
    }
    loop {
        let unpublished = match Abandoned::find(settings) {
            Ok(abandoned) if abandoned.ours == 0 => Vec::new(),
            Ok(_) => publish(settings, console).await,
            Err(error) => vec![unread(&error)],
        };
        for what in unpublished.iter().filter(|what| !said.contains(*what)) {
            warn(what);
        }
        said = unpublished;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn warn(what: &str) {
    say(&format!("warning: {what}"));
}

/// Publishes what there is, away from the threads that serve; what could not be published comes
/// back, and why.
async fn publish(settings: &Settings, console: &Console) -> Vec<String> {
    let (spool, warehouse) = (settings.spool.clone(), settings.warehouse.clone());
    let runtime = Handle::current();
    let work = move || runtime.block_on(performance::recover(&spool, &warehouse));
    let unpublished = |reason: String| vec![format!("they cannot be published: {reason}")];
    let recovered = match tokio::task::spawn_blocking(work).await {
        Ok(Ok(recovered)) => recovered,
        Ok(Err(error)) => return unpublished(chain(&error)),
        Err(error) => return unpublished(chain(&error)),
    };
    for (run, verdict) in &recovered.published {
        console.note(&format!(
            "note: published run ..{} as {verdict}",
            run.short()
        ));
    }
    for run in &recovered.empty {
        console.note(&format!(
            "note: run ..{} left no rows behind, so that there is nothing to publish",
            run.short()
        ));
    }
    let failed = recovered.failed.iter();
    failed
        .map(|(folder, reason)| format!("{} is not published: {reason}", folder.display()))
        .collect()
}

fn unread(error: &spool::SpoolError) -> String {
    format!("the spool cannot be looked through: {}", chain(error))
}

/// Says in one line that runs wait to be published; for commands that only read.
pub(crate) fn note_abandoned(settings: &Settings, console: &Console) {
    match Abandoned::find(settings) {
        Ok(abandoned) => {
            abandoned.note_of_others(console);
            if abandoned.ours > 0 {
                console.note(&format!(
                    "note: {} in {}: `plimsoll run` or `plimsoll serve` publishes what is there",
                    runs(abandoned.ours),
                    settings.spool.display()
                ));
            }
        }
        Err(error) => tracing::debug!(error = chain(&error), "the spool cannot be looked through"),
    }
}

fn runs(count: usize) -> String {
    match count {
        1 => "1 run that a crash left behind".to_owned(),
        _ => format!("{count} runs that crashes left behind"),
    }
}
