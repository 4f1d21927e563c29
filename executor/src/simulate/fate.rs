//! Whether a server still runs.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

/// Shared by all connections of a server.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    state: AtomicU8,
    crash: Notify,
}

impl Fate {
    const RUNNING: u8 = 0;
    const STOPPING: u8 = 1;
    const CRASHED: u8 = 2;

    pub(crate) fn is_running(&self) -> bool {
        self.state.load(Ordering::Relaxed) == Self::RUNNING
    }

    pub(crate) fn has_crashed(&self) -> bool {
        self.state.load(Ordering::Relaxed) == Self::CRASHED
    }

    /// No more is served, by wish.
    pub(crate) fn stop(&self) {
        self.move_on_to(Self::STOPPING);
    }

    /// No more is served, and every connection ends in a reset.
    pub(crate) fn crash(&self) {
        self.move_on_to(Self::CRASHED);
        self.crash.notify_one();
    }

    /// Waits for [`Fate::crash`].
    pub(crate) async fn crashed(&self) {
        self.crash.notified().await;
    }

    /// What has ended stays ended, the way it did.
    fn move_on_to(&self, state: u8) {
        let moved =
            self.state
                .compare_exchange(Self::RUNNING, state, Ordering::Relaxed, Ordering::Relaxed);
        if let Err(earlier) = moved {
            tracing::trace!(earlier, state, "the server had ended already");
        }
    }
}
