//! The threads that plans run on, apart from those that serve people.

use std::future::Future;
use std::mem::{self, ManuallyDrop};
use std::thread;

use tokio::runtime::{Builder, Runtime};
use tokio::task::{AbortHandle, JoinHandle};

use crate::error::OpenError;
use crate::stopping::{Stop, Works};

/// Linux shows 15 characters of a thread's name.
const THREAD_NAME: &str = "plimsoll-query";

/// Plans are trees, and much of the engine calls itself once for each level of
/// one. The longest statement that is taken fits in this with room to spare;
/// the system gives a thread only the pages that it uses.
pub(crate) const STACK_BYTES: usize = 16 << 20;

/// A runtime of its own for queries: an operator that does not yield holds up
/// other queries at most, never the network or a timer.
#[derive(Debug)]
pub(crate) struct QueryRuntime {
    /// `None` only while it is being dropped.
    runtime: Option<Runtime>,
    works: Works,
}

impl QueryRuntime {
    /// Starts `threads` threads, at least one.
    pub(crate) fn start(threads: usize) -> Result<Self, OpenError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name(THREAD_NAME)
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .map_err(|error| OpenError::Engine {
                reason: error.to_string(),
            })?;
        Ok(Self {
            runtime: Some(runtime),
            works: Works::default(),
        })
    }

    /// Runs `work` there; it is stopped when the handle is dropped.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Work<T> {
        self.spawn_heeding(|_| work)
    }

    /// As [`QueryRuntime::spawn`], of work that is told when it is stopped, since it may take long
    /// until it yields.
    pub(crate) fn spawn_heeding<T: Send + 'static, F>(
        &self,
        work: impl FnOnce(Stop) -> F,
    ) -> Work<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let stop = Stop::among(&self.works);
        let work = work(stop.clone());
        let one = self.works.one_more();
        let runtime = self
            .runtime
            .as_ref()
            .expect("the runtime is there until the drop");
        let handle = runtime.spawn(async move {
            let _one = one;
            work.await
        });
        Work {
            stop,
            abort: handle.abort_handle(),
            handle,
        }
    }
}

impl Drop for QueryRuntime {
    /// Does not wait: a thread may be inside an operator that does not yield, and waiting is not allowed
    /// where async code drops this. Another thread does. Nobody lets go of threads that are about to end:
    /// glibc before 2.39 then reads what such a thread has given back, and the process ends by SIGSEGV, once
    /// in some ten thousand times.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Left as it is where there is no thread to be had.
            let runtime = ManuallyDrop::new(runtime);
            let waits = thread::Builder::new().name(THREAD_NAME.to_string());
            match waits.spawn(move || drop(ManuallyDrop::into_inner(runtime))) {
                Ok(thread) => mem::forget(thread),
                Err(error) => tracing::debug!(%error, "nobody waits for the threads of queries"),
            }
        }
    }
}

/// Work on the query runtime. Dropping it stops the work at its next yield.
#[derive(Debug)]
pub(crate) struct Work<T> {
    /// The work's end: its value, or a panic.
    pub(crate) handle: JoinHandle<T>,
    abort: AbortHandle,
    stop: Stop,
}

impl<T> Work<T> {
    /// Stops the work at its next yield, or where it heeds that it is stopped.
    pub(crate) fn stop(&self) {
        self.stop.stop();
        self.abort.abort();
    }
}

impl<T> Drop for Work<T> {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn work_runs_on_named_threads_and_stops_when_dropped() {
        let runtime = QueryRuntime::start(0).expect("threads start");
        let mut work = runtime.spawn(async { std::thread::current().name().map(str::to_string) });
        let name = (&mut work.handle).await.expect("no panic");
        assert_eq!(name.as_deref(), Some(THREAD_NAME));

        let (never, dropped) = oneshot::channel::<()>();
        let work = runtime.spawn(async move {
            let _held = never;
            std::future::pending::<()>().await;
        });
        drop(work);
        assert!(
            dropped.await.is_err(),
            "the task was dropped with what it held"
        );
    }
}
