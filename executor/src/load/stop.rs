//! The brake: from outside a run to the loop that sends.

use std::sync::Arc;

use tokio::sync::watch;

/// What somebody asks of a run that is under way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Brake {
    /// Go on.
    #[default]
    Released,
    /// Send nothing until it is released; what falls due is missed.
    Paused,
    /// Send nothing more, and end with what was measured.
    Stopped {
        /// Who or what stops it, in words.
        by: String,
    },
}

/// A brake that its clones share.
#[derive(Debug, Clone)]
pub struct StopSignal {
    sender: Arc<watch::Sender<Brake>>,
}

impl Default for StopSignal {
    fn default() -> Self {
        Self {
            sender: Arc::new(watch::Sender::new(Brake::Released)),
        }
    }
}

impl StopSignal {
    /// Ends the run; a later pause or resume changes nothing.
    pub fn stop(&self, by: &str) {
        self.set(Brake::Stopped { by: by.to_string() });
    }

    /// Stops all arrivals until [`StopSignal::resume`].
    pub fn pause(&self) {
        self.set(Brake::Paused);
    }

    /// Lets arrivals go on.
    pub fn resume(&self) {
        self.set(Brake::Released);
    }

    fn set(&self, brake: Brake) {
        self.sender.send_if_modified(|now| {
            let changes = !matches!(now, Brake::Stopped { .. }) && *now != brake;
            if changes {
                *now = brake;
            }
            changes
        });
    }

    /// How the brake stands.
    pub fn brake(&self) -> Brake {
        self.sender.borrow().clone()
    }

    /// A view that can wait for changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Brake> {
        self.sender.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_final_and_a_pause_is_not() {
        let signal = StopSignal::default();
        let shared = signal.clone();
        shared.pause();
        assert_eq!(signal.brake(), Brake::Paused);
        shared.resume();
        assert_eq!(signal.brake(), Brake::Released);
        shared.stop("Ctrl-C");
        shared.resume();
        shared.stop("SIGTERM");
        assert_eq!(
            signal.brake(),
            Brake::Stopped {
                by: "Ctrl-C".to_string()
            }
        );
    }
}
