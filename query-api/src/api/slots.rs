//! How many queries may run at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, TryAcquireError};

use super::Api;
use super::problem::{Code, Problem};

impl Api {
    /// A place for one query, free again when it is dropped.
    ///
    /// # Errors
    /// Where all are taken; nobody waits in line, so that a caller learns at
    /// once that it must slow down.
    pub(super) fn slot(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.slots)
            .try_acquire_owned()
            .map_err(|error| match error {
                TryAcquireError::NoPermits => {
                    let most = self.options.concurrent_queries;
                    let detail = format!("{most} queries run already, which is the most at once");
                    Problem::new(Code::TooManyQueries, detail).with_help("ask again in a second")
                }
                TryAcquireError::Closed => {
                    Problem::new(Code::ShuttingDown, "the server is going down")
                }
            })
    }
}
