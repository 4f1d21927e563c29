//! The requests on their way, and what ends them early.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::load::reply::BodyEnd;

/// The requests in flight.
///
/// A request's task is woken by every piece of its reply, a hundred thousand times a second in all.
/// It therefore waits for nothing else: one look at the oldest deadline, here, stands for a timer
/// in each of them.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    /// Those that nothing has ended yet, by number: that is the order of their deadlines, since
    /// all may last equally long.
    running: BTreeMap<u64, Running>,
    /// Those, and those that were told to end and have not done so.
    count: usize,
}

#[derive(Debug)]
struct Running {
    deadline_ns: i64,
    interrupt: Rc<Interrupt>,
}

impl InFlight {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Takes in a request that may last until a deadline, no earlier than that of those before.
    pub(super) fn begin(&mut self, request_id: u64, deadline_ns: i64) -> Rc<Interrupt> {
        let interrupt = Rc::<Interrupt>::default();
        let running = Running {
            deadline_ns,
            interrupt: Rc::clone(&interrupt),
        };
        self.running.insert(request_id, running);
        self.count += 1;
        interrupt
    }

    /// Lets go of a request that has ended.
    pub(super) fn end(&mut self, request_id: u64) {
        self.running.remove(&request_id);
        self.count -= 1;
    }

    /// When the next of them has lasted too long, if it goes on.
    pub(super) fn next_deadline_ns(&self) -> Option<i64> {
        let (_, oldest) = self.running.first_key_value()?;
        Some(oldest.deadline_ns)
    }

    /// Ends those whose deadline has passed.
    pub(super) fn expire(&mut self, now_ns: i64) {
        while let Some(oldest) = self.running.first_entry() {
            if oldest.get().deadline_ns > now_ns {
                return;
            }
            oldest.remove().interrupt.end_with(BodyEnd::TimedOut);
        }
    }

    /// Ends all of them.
    pub(super) fn cancel(&mut self) {
        for running in std::mem::take(&mut self.running).into_values() {
            running.interrupt.end_with(BodyEnd::Cancelled);
        }
    }
}

/// Ends one request from outside its task.
#[derive(Debug, Default)]
pub(super) struct Interrupt {
    end: RefCell<Option<BodyEnd>>,
    task: RefCell<Option<Waker>>,
}

impl Interrupt {
    fn end_with(&self, end: BodyEnd) {
        self.end.replace(Some(end));
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }

    /// Waits for a call's end, or for the one that it is given from outside. What has arrived by
    /// then counts: a reply that is there to be read has not timed out.
    pub(super) async fn or(&self, call: impl Future<Output = BodyEnd>) -> BodyEnd {
        let mut call = pin!(call);
        poll_fn(|cx| {
            if let Poll::Ready(end) = call.as_mut().poll(cx) {
                return Poll::Ready(end);
            }
            if let Some(end) = self.end.take() {
                return Poll::Ready(end);
            }
            match &mut *self.task.borrow_mut() {
                Some(task) => task.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn what_lasts_too_long_ends_oldest_first_and_the_rest_goes_on() {
        let mut all = InFlight::default();
        let first = all.begin(7, 100);
        let second = all.begin(8, 200);
        let third = all.begin(9, 300);
        all.end(8);
        assert_eq!((all.count(), all.next_deadline_ns()), (2, Some(100)));
        all.expire(99);
        assert_eq!(all.next_deadline_ns(), Some(100));
        all.expire(200);
        assert_eq!((all.count(), all.next_deadline_ns()), (2, Some(300)));
        assert_eq!(first.or(pending()).await, BodyEnd::TimedOut);
        all.end(7);
        all.cancel();
        assert_eq!((all.count(), all.next_deadline_ns()), (1, None));
        assert_eq!(third.or(pending()).await, BodyEnd::Cancelled);
        drop(second);
    }

    #[tokio::test]
    async fn an_end_wakes_a_call_that_waits() {
        let mut all = InFlight::default();
        let interrupt = all.begin(0, 100);
        let waiting = interrupt.or(pending());
        let ending = async {
            tokio::task::yield_now().await;
            all.expire(100);
        };
        let (end, ()) = tokio::join!(waiting, ending);
        assert_eq!(end, BodyEnd::TimedOut);
    }

    #[tokio::test]
    async fn a_reply_that_is_there_has_not_timed_out() {
        let mut all = InFlight::default();
        let interrupt = all.begin(0, 100);
        all.expire(100);
        let end = interrupt.or(ready(BodyEnd::Complete)).await;
        assert_eq!(end, BodyEnd::Complete);
    }
}
