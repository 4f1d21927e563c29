//! The slots and the bounded queue before them, first come, first served.
//!
//! A slot changes hands at the nominal end of the service that held it, which
//! is the deadline of its last token, and not when the machine came to send
//! that token. So the service times of a busy server add up exactly, and its
//! capacity is what the configuration says even while the machine is late.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::timer::monotonic_ns;

/// All slots of a server. Times are nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Debug)]
pub(crate) struct Slots {
    slots: u32,
    queue: usize,
    /// A lock, since connections on several threads compete for slots; held
    /// for a few statements, never across an await.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    busy: u32,
    /// In the order of arrival.
    waiting: BTreeMap<u64, Waiter>,
    next_ticket: u64,
}

#[derive(Debug)]
struct Waiter {
    arrived_ns: i64,
    grant: oneshot::Sender<i64>,
}

/// The answer to a request for a slot.
#[derive(Debug)]
pub(crate) enum Admission {
    /// A slot was free.
    Served(Slot),
    /// There is a place in the queue.
    Queued(Ticket),
    /// There is none.
    Full,
}

/// How many are served and how many wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Occupancy {
    pub(crate) busy: u32,
    pub(crate) waiting: usize,
}

impl Slots {
    pub(crate) fn new(slots: u32, queue: usize) -> Arc<Self> {
        Arc::new(Self {
            slots,
            queue,
            state: Mutex::default(),
        })
    }

    /// Asks for a slot at `now_ns`.
    pub(crate) fn admit(self: &Arc<Self>, now_ns: i64) -> Admission {
        let mut state = self.state();
        if state.busy < self.slots {
            state.busy += 1;
            return Admission::Served(Slot::new(self, now_ns));
        }
        if state.waiting.len() >= self.queue {
            return Admission::Full;
        }
        let number = state.next_ticket;
        state.next_ticket += 1;
        let (grant, granted) = oneshot::channel();
        let waiter = Waiter {
            arrived_ns: now_ns,
            grant,
        };
        state.waiting.insert(number, waiter);
        drop(state);
        Admission::Queued(Ticket {
            slots: Arc::clone(self),
            number,
            granted,
            settled: false,
        })
    }

    pub(crate) fn occupancy(&self) -> Occupancy {
        let state = self.state();
        Occupancy {
            busy: state.busy,
            waiting: state.waiting.len(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whole between any two statements: a panic elsewhere broke nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a slot that is free from `free_ns` on to the first who waits.
    fn release(&self, free_ns: i64) {
        let mut state = self.state();
        // Whoever is taken out of the queue owns the slot, even if it has just
        // gone: dropping its ticket then comes back here.
        match state.waiting.pop_first() {
            None => state.busy -= 1,
            Some((_, waiter)) => {
                drop(state);
                let start_ns = free_ns.max(waiter.arrived_ns);
                if waiter.grant.send(start_ns).is_err() {
                    tracing::trace!("a request left while its slot was on the way");
                }
            }
        }
    }
}

/// A place in the queue; dropping it gives the place up.
#[derive(Debug)]
pub(crate) struct Ticket {
    slots: Arc<Slots>,
    number: u64,
    granted: oneshot::Receiver<i64>,
    settled: bool,
}

impl Ticket {
    /// Waits for the slot.
    pub(crate) async fn slot(mut self) -> Slot {
        let start_ns = (&mut self.granted)
            .await
            .expect("a waiter's grant is dropped only by the ticket itself");
        self.settled = true;
        Slot::new(&self.slots, start_ns)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let waiter = self.slots.state().waiting.remove(&self.number);
        if waiter.is_none() {
            // It had been granted and nobody came to take it.
            self.slots.release(monotonic_ns());
        }
    }
}

/// A slot that is held; dropping it frees it at once.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    start_ns: i64,
    released: bool,
}

impl Slot {
    fn new(slots: &Arc<Slots>, start_ns: i64) -> Self {
        Self {
            slots: Arc::clone(slots),
            start_ns,
            released: false,
        }
    }

    /// When the service began.
    pub(crate) fn start_ns(&self) -> i64 {
        self.start_ns
    }

    /// How many requests are served now, this one among them.
    pub(crate) fn busy(&self) -> u32 {
        self.slots.occupancy().busy
    }

    /// Ends the service at its nominal end. Later calls do nothing.
    pub(crate) fn release_at(&mut self, end_ns: i64) {
        if !self.released {
            self.released = true;
            self.slots.release(end_ns);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.released {
            self.release_at(monotonic_ns());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(admission: Admission) -> Slot {
        match admission {
            Admission::Served(slot) => slot,
            other => panic!("expected a slot, got {other:?}"),
        }
    }

    fn queued(admission: Admission) -> Ticket {
        match admission {
            Admission::Queued(ticket) => ticket,
            other => panic!("expected a place in the queue, got {other:?}"),
        }
    }

    fn check(slots: &Slots, busy: u32, waiting: usize) {
        assert_eq!(slots.occupancy(), Occupancy { busy, waiting });
    }

    #[tokio::test]
    async fn slots_then_queue_then_full() {
        let slots = Slots::new(2, 1);
        let first = served(slots.admit(1));
        let _second = served(slots.admit(2));
        let ticket = queued(slots.admit(3));
        assert!(matches!(slots.admit(4), Admission::Full));
        check(&slots, 2, 1);
        drop(first);
        let _third = ticket.slot().await;
        check(&slots, 2, 0);
    }

    #[tokio::test]
    async fn slots_go_round_in_the_order_of_arrival_at_nominal_times() {
        let slots = Slots::new(1, 8);
        let mut first = served(slots.admit(100));
        let early = queued(slots.admit(110));
        let late = queued(slots.admit(290));
        first.release_at(200);
        let mut second = early.slot().await;
        assert_eq!(second.start_ns(), 200);
        // The nominal end lies before the next one's arrival.
        second.release_at(280);
        assert_eq!(late.slot().await.start_ns(), 290);
        check(&slots, 0, 0);
    }

    #[test]
    fn leaving_the_queue_frees_the_place() {
        let slots = Slots::new(1, 1);
        let _held = served(slots.admit(1));
        let ticket = queued(slots.admit(2));
        assert!(matches!(slots.admit(3), Admission::Full));
        drop(ticket);
        queued(slots.admit(4));
    }

    #[test]
    fn a_slot_granted_to_somebody_who_left_goes_on() {
        let slots = Slots::new(1, 2);
        let held = served(slots.admit(1));
        let gone = queued(slots.admit(2));
        let next = queued(slots.admit(3));
        drop(held);
        check(&slots, 1, 1);
        drop(gone);
        check(&slots, 1, 0);
        drop(next);
        check(&slots, 0, 0);
    }

    #[test]
    fn a_slot_is_released_once() {
        let slots = Slots::new(2, 0);
        let mut slot = served(slots.admit(1));
        let _other = served(slots.admit(1));
        slot.release_at(5);
        slot.release_at(6);
        drop(slot);
        check(&slots, 1, 0);
    }
}
