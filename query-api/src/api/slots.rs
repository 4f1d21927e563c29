//! How many queries may run at once.

use std::collections::HashMap;
use std::sync::Arc;

use plimsoll_warehouse::Access;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use super::Api;
use super::problem::{Code, Problem};

/// The places of each role: one that asks too much does not keep the others out.
#[derive(Debug)]
pub(super) struct Slots(HashMap<Access, Arc<Semaphore>>);

impl Slots {
    /// So many places for each role.
    pub(super) fn new(each: usize) -> Self {
        let roles = Access::ALL.into_iter();
        Self(
            roles
                .map(|role| (role, Arc::new(Semaphore::new(each))))
                .collect(),
        )
    }
}

impl Api {
    /// A place for one query of a role, free again when it is dropped.
    ///
    /// # Errors
    /// Where all are taken; nobody waits in line, so that a caller learns at
    /// once that it must slow down.
    pub(super) fn slot(&self, role: Access) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.slots.0[&role])
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
