//! When the requests of a stage are due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// When the requests of the stage under way are due.
pub(super) enum Due {
    Open(std::iter::Peekable<Box<dyn Iterator<Item = i64>>>),
    Closed(Slots),
}

/// The slots of a closed loop that hold no request, by the moment from which they may.
///
/// While slots still open one after the other, those that opened already fall free again: the
/// earliest is next, whichever kind it is.
pub(super) struct Slots {
    free: BinaryHeap<Reverse<i64>>,
    concurrency: usize,
}

impl Slots {
    pub(super) fn new(opening_ns: impl Iterator<Item = i64>, concurrency: usize) -> Self {
        Self {
            free: opening_ns.map(Reverse).collect(),
            concurrency,
        }
    }

    /// Gives back the slot of a request that has ended, where the stage has it: one that was
    /// handed over by a stage with more slots is not opened again.
    pub(super) fn give_back(&mut self, freed_ns: i64, in_flight: usize) {
        if in_flight + self.free.len() < self.concurrency {
            self.free.push(Reverse(freed_ns));
        }
    }
}

impl Due {
    pub(super) fn next_ns(&mut self) -> Option<i64> {
        match self {
            Self::Open(deadlines) => deadlines.peek().copied(),
            Self::Closed(slots) => slots.free.peek().map(|Reverse(from_ns)| *from_ns),
        }
    }

    /// Lets slots that are free already be free from a moment on. Arrivals of an open loop keep
    /// their deadlines: those that a pause held back were missed.
    pub(super) fn not_before(&mut self, from_ns: i64) {
        if let Self::Closed(slots) = self {
            let free = std::mem::take(&mut slots.free).into_iter();
            slots.free = free
                .map(|Reverse(free_ns)| Reverse(free_ns.max(from_ns)))
                .collect();
        }
    }

    pub(super) fn take(&mut self) -> Option<i64> {
        match self {
            Self::Open(deadlines) => deadlines.next(),
            Self::Closed(slots) => slots.free.pop().map(|Reverse(from_ns)| from_ns),
        }
    }
}

/// A duration in ns; what no run lasts is cut off.
pub(super) fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_falls_free_goes_before_those_that_open_later() {
        let mut due = Due::Closed(Slots::new([0, 100, 200].into_iter(), 3));
        assert_eq!(due.take(), Some(0));
        assert_eq!(due.next_ns(), Some(100));
        let Due::Closed(slots) = &mut due else {
            unreachable!("it is a closed loop")
        };
        slots.give_back(40, 0);
        slots.give_back(50, 0);
        let order: Vec<_> = std::iter::from_fn(|| due.take()).collect();
        assert_eq!(order, [40, 100, 200], "there are three slots, not four");
    }
}
