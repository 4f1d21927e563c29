//! The runtimes that commands wait on.

use tokio::runtime::{Builder, Runtime};

use crate::failure::Failure;

/// One thread, for a command that waits for others: queries and load have threads of their own.
///
/// # Errors
/// The system gives no timers or sockets.
pub(crate) fn waiting() -> Result<Runtime, Failure> {
    built(Builder::new_current_thread())
}

/// A thread for each core, for a command that serves many.
///
/// # Errors
/// The system gives no threads, timers or sockets.
pub(crate) fn serving() -> Result<Runtime, Failure> {
    built(Builder::new_multi_thread())
}

/// Leaves a runtime to the end of the process, which is near. A thread that reads a file cannot be stopped,
/// and nobody waits for what it reads. Nor does anybody let go of threads that are about to end: glibc before
/// 2.39 then reads what such a thread has given back, and the process ends by SIGSEGV, once in some ten
/// thousand times.
pub(crate) fn end(runtime: Runtime) {
    std::mem::forget(runtime);
}

fn built(mut builder: Builder) -> Result<Runtime, Failure> {
    builder.enable_all().build().map_err(|error| {
        Failure::failed(
            format_args!("cannot start: {error}"),
            "is the limit of open files or threads reached? see `ulimit -a`",
        )
    })
}
