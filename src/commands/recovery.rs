//! Publishes what a crash left behind.

use plimsoll_executor::performance;
use plimsoll_ingest::spool::abandoned;

use crate::failure::chain;
use crate::settings::Settings;
use crate::terminal::{Console, say};

/// Publishes the runs that are in the spool and in nobody's hands.
///
/// What cannot be published is said and stays: it must not keep a new run from being measured.
pub(crate) async fn recover(settings: &Settings, console: &Console) {
    match abandoned(&settings.spool) {
        Ok(0) => return,
        Ok(left) => console.note(&format!("note: publishing {} first", runs(left))),
        Err(error) => {
            say(&format!(
                "warning: the spool cannot be looked through: {}",
                chain(&error)
            ));
            return;
        }
    }
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
    match abandoned(&settings.spool) {
        Ok(0) => {}
        Ok(left) => console.note(&format!(
            "note: {} in {}: `plimsoll run` or `plimsoll serve` publishes what is there",
            runs(left),
            settings.spool.display()
        )),
        Err(error) => tracing::debug!(error = chain(&error), "the spool cannot be looked through"),
    }
}

fn runs(count: usize) -> String {
    match count {
        1 => "1 run that a crash left behind".to_owned(),
        _ => format!("{count} runs that crashes left behind"),
    }
}
