//! Publishes what a crash left behind.

use plimsoll_executor::performance;
use plimsoll_ingest::spool;

use crate::failure::chain;
use crate::settings::Settings;
use crate::terminal::{Console, say};

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
/// What cannot be published is said and stays: it must not keep a new run from being measured.
pub(crate) async fn recover(settings: &Settings, console: &Console) {
    let abandoned = match Abandoned::find(settings) {
        Ok(abandoned) => abandoned,
        Err(error) => {
            say(&format!(
                "warning: the spool cannot be looked through: {}",
                chain(&error)
            ));
            return;
        }
    };
    abandoned.note_of_others(console);
    if abandoned.ours == 0 {
        return;
    }
    console.note(&format!("note: publishing {} first", runs(abandoned.ours)));
    let recovered = match performance::recover(&settings.spool, &settings.warehouse).await {
        Ok(recovered) => recovered,
        Err(error) => {
            say(&format!(
                "warning: they cannot be published: {}",
                chain(&error)
            ));
            return;
        }
    };
    for (run, verdict) in &recovered.published {
        console.note(&format!(
            "note: published run ..{} as {verdict}",
            run.short()
        ));
    }
    for (folder, reason) in &recovered.failed {
        say(&format!(
            "warning: {} is not published: {reason}",
            folder.display()
        ));
    }
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
