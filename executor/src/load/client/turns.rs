//! Wake-ups of a task that polls two parts which wake each other.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// So often the parts may wake each other within one poll of their task. A part that yields to
/// the runtime wakes itself each time, so that there has to be an end.
const TURNS: usize = 4;

/// Polls a connection and the body that it feeds, turn by turn, in one task.
///
/// Each wakes the other with every piece. They are both polled here anyway, so a wake-up from
/// within says only that there is another turn; were it handed to the runtime, each piece would
/// run the whole task a second time for nothing. A wake-up from outside wakes the task.
#[derive(Debug)]
pub(super) struct Turns {
    shared: Arc<Shared>,
    waker: Waker,
}

#[derive(Debug)]
struct Shared {
    /// The task that polls. A lock, since a waker may be used by any thread; it is held for a
    /// copy of it.
    task: Mutex<Waker>,
    /// The task is polling now.
    within: AtomicBool,
    /// Something was woken since the turn began.
    again: AtomicBool,
}

impl Default for Turns {
    fn default() -> Self {
        let shared = Arc::new(Shared {
            task: Mutex::new(Waker::noop().clone()),
            within: AtomicBool::new(false),
            again: AtomicBool::new(false),
        });
        let waker = Waker::from(Arc::clone(&shared));
        Self { shared, waker }
    }
}

impl Turns {
    /// Takes turns until one is ready or nothing is left to do before a wake-up from outside.
    pub(super) fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        mut turn: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.shared.task_is(cx.waker());
        self.shared.within.store(true, SeqCst);
        let mut inner = Context::from_waker(&self.waker);
        for _ in 0..TURNS {
            self.shared.again.store(false, SeqCst);
            if let Poll::Ready(ready) = turn(&mut inner) {
                self.shared.within.store(false, SeqCst);
                return Poll::Ready(ready);
            }
            if self.shared.again.load(SeqCst) {
                continue;
            }
            self.shared.within.store(false, SeqCst);
            // One that came from another thread between the two lines above was kept back.
            if self.shared.again.load(SeqCst) {
                cx.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
        self.shared.within.store(false, SeqCst);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Shared {
    fn task_is(&self, waker: &Waker) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        task.clone_from(waker);
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.again.store(true, SeqCst);
        if !self.within.load(SeqCst) {
            // A copy, so that the lock is free again before anybody is woken.
            let task = Waker::clone(&self.task.lock().unwrap_or_else(PoisonError::into_inner));
            task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Counts how often the runtime is asked for another poll.
    #[derive(Default)]
    struct Asked(AtomicUsize);

    impl Wake for Asked {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    fn asked() -> (Arc<Asked>, Waker) {
        let asked = Arc::<Asked>::default();
        (Arc::clone(&asked), Waker::from(asked))
    }

    #[test]
    fn a_wake_up_from_within_is_another_turn_and_no_other_poll() {
        let (asked, waker) = asked();
        let turns = Turns::default();
        let mut left = 3;
        let polled = turns.poll(&mut Context::from_waker(&waker), |cx| {
            left -= 1;
            if left == 0 {
                return Poll::Ready("done");
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        assert_eq!(polled, Poll::Ready("done"));
        assert_eq!(asked.0.load(SeqCst), 0);
    }

    #[test]
    fn a_wake_up_from_outside_asks_for_a_poll() {
        let (asked, waker) = asked();
        let turns = Turns::default();
        let mut kept = None;
        let polled = turns.poll(&mut Context::from_waker(&waker), |cx| {
            kept = Some(cx.waker().clone());
            Poll::<()>::Pending
        });
        assert_eq!((polled, asked.0.load(SeqCst)), (Poll::Pending, 0));
        kept.expect("it was polled").wake();
        assert_eq!(asked.0.load(SeqCst), 1);
    }

    #[test]
    fn whoever_wakes_itself_without_end_leaves_the_runtime_its_turn() {
        let (asked, waker) = asked();
        let turns = Turns::default();
        let mut taken = 0;
        let polled = turns.poll(&mut Context::from_waker(&waker), |cx| {
            taken += 1;
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert_eq!((polled, taken), (Poll::Pending, TURNS));
        assert_eq!(asked.0.load(SeqCst), 1);
    }
}
