//! Holding a run back, and ending it early.

use std::time::Duration;

use super::{Current, Generator};
use crate::load::stop::Brake;
use crate::verdict::Ending;

impl Generator {
    /// How long a pause kept stages from sending; `None` where none did.
    pub(crate) fn held_back(&self) -> Option<Duration> {
        let since = self.paused_since_ns;
        let open_ns = since.map_or(0, |since_ns| self.clock.now_ns() - since_ns);
        let held_ns = u64::try_from(self.paused_ns + open_ns).unwrap_or(0);
        (held_ns > 0).then(|| Duration::from_nanos(held_ns))
    }

    /// Also lets what a pause held back begin at its end: nobody waited for it.
    pub(super) fn heed_brake_in(&mut self, stage: &mut Current) {
        let was_paused = self.paused_since_ns.is_some();
        self.heed_brake();
        if was_paused && self.paused_since_ns.is_none() {
            stage.due.not_before(self.clock.now_ns());
        }
    }

    pub(super) fn heed_brake(&mut self) {
        self.heed_stop();
        let now_ns = self.clock.now_ns();
        let brake = self.brake.borrow().clone();
        match brake {
            Brake::Stopped { .. } => {}
            Brake::Paused => {
                self.paused_since_ns.get_or_insert(now_ns);
            }
            Brake::Released => self.stop_holding_back(),
        }
    }

    /// Heeds no pause: what drains sends nothing that could be held back.
    pub(super) fn heed_stop(&mut self) {
        if let Brake::Stopped { by } = &*self.brake.borrow_and_update() {
            self.ending.get_or_insert(Ending::Stopped(by.clone()));
        }
    }

    /// From here on nothing is held back, until the brake is looked at in a stage.
    pub(super) fn stop_holding_back(&mut self) {
        let since_ns = self.paused_since_ns.take();
        self.paused_ns += since_ns.map_or(0, |since_ns| self.clock.now_ns() - since_ns);
    }
}
