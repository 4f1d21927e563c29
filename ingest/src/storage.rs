//! Object storage as the warehouse uses it: the place of a warehouse together
//! with a client for what holds it.
//!
//! All that is asked of storage is that an object can be created on the
//! condition that there is none ([`WarehouseStore::check`]). On it rest the
//! commits of the tables, and the lease of maintenance.

use std::error::Error;
use std::sync::Arc;

use deltalake_core::logstore::{LogStoreRef, ObjectStoreRef};
use futures::StreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutMode, PutOptions};
use tokio::sync::OnceCell;

mod cloud;
mod failure;
mod kept;
mod local;
mod log_store;
mod told;
mod variables;

pub use failure::{FailureKind, StorageFailure};
pub use kept::{Keeping, KeptObjects};
pub(crate) use local::{create_folder_of, sync_folder};
pub use variables::Variables;

use crate::delta::TableError;
use crate::journal::AppendError;
use crate::location::{StorageKind, WarehouseLocation};
use crate::publish::PublishError;
use crate::table::Table;
use local::DurableLocal;
use log_store::TableLog;
use told::Told;

/// The object with which storage is asked whether it keeps conditions.
const CONDITION_OBJECT: &str = "_plimsoll/conditional-put";

/// What the object says to those who find it.
const CONDITION_TEXT: &str = "Plimsoll tries to create this object again whenever it begins to \
    write here. Storage has to refuse that: the tables' logs rely on it.\n";

/// Why storage cannot hold a warehouse.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The environment does not say how to reach it.
    #[error("warehouse `{warehouse}`: {reason}")]
    Settings {
        /// The warehouse.
        warehouse: String,
        /// What is wrong, or missing.
        reason: String,
        /// What to do about it.
        help: &'static str,
    },
    /// Objects are overwritten where they should have been created once.
    #[error(
        "the storage of warehouse `{warehouse}` does not create objects only where there is none: \
         it overwrites them, or refuses to"
    )]
    NoCondition {
        /// The warehouse.
        warehouse: String,
    },
    /// It could not be asked.
    #[error("warehouse `{warehouse}` cannot be written")]
    Failed {
        /// The warehouse.
        warehouse: String,
        /// Why.
        source: object_store::Error,
    },
}

impl StorageError {
    /// What to do about it, in one line; `None` where the cause alone says it.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Settings { help, .. } => Some(help),
            Self::NoCondition { .. } => Some(
                "two writers would lose each other's results there; use storage with conditional \
                 writes (`If-None-Match: *`), or a later release of that server",
            ),
            Self::Failed { .. } => None,
        }
    }
}

/// What to do about an error whose cause lies in the warehouse's storage or tables; `None` where it
/// does not.
pub fn help(error: &(dyn Error + 'static)) -> Option<&'static str> {
    causes(error).find_map(|cause| {
        let failure = || Some(cause.downcast_ref::<StorageFailure>()?.kind().help());
        let storage = || cause.downcast_ref::<StorageError>()?.help();
        let table = || table_error(cause)?.help();
        table().or_else(storage).or_else(failure)
    })
}

/// What storage said, where that is why an error came about.
pub fn failure<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a StorageFailure> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// What a text says before the frames of a stack, which some libraries write into their errors where
/// `RUST_BACKTRACE` is set.
pub fn without_frames(text: &str) -> &str {
    const FIRST_FRAME: &str = "\n   0: ";
    text.split_once(FIRST_FRAME).map_or(text, |(said, _)| said)
}

/// An error with its causes, on one line. Where storage is why it came about, what storage said stands
/// in the place of what the libraries between say of it.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let said = |error: &dyn Error| {
        let text = error.to_string();
        let words = without_frames(&text).split_whitespace();
        words.collect::<Vec<_>>().join(" ")
    };
    let mut text = said(error);
    let mut add = |cause: String| {
        // Some libraries repeat the cause in their own text.
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    };
    match failure(error) {
        Some(failure) => add(failure.to_string()),
        None => causes(error).skip(1).for_each(|cause| add(said(cause))),
    }
    text
}

/// Whether an error came about because storage does not let this user do it.
pub fn is_denied(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| {
        let by_kind = cause.downcast_ref::<StorageFailure>();
        by_kind.is_some_and(|failure| failure.kind() == FailureKind::Denied)
            || matches!(
                cause.downcast_ref(),
                Some(object_store::Error::PermissionDenied { .. })
            )
    })
}

/// An error, and what caused it, down to the first cause.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| match (*error).downcast_ref() {
        // Delta's kernel shows this one and does not name it as its cause.
        Some(delta_kernel::Error::ObjectStore(error)) => Some(error),
        _ => (*error).source(),
    })
}

/// The error of a table that an error is, or stands for.
fn table_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a TableError> {
    if let Some(PublishError::Table(error)) = error.downcast_ref() {
        return Some(error);
    }
    if let Some(AppendError::Table(error)) = error.downcast_ref() {
        return Some(error);
    }
    error.downcast_ref()
}

/// A warehouse's place, and a client for the storage that holds it.
///
/// Clones share the client, and what was read of the tables' logs.
#[derive(Debug, Clone)]
pub struct WarehouseStore {
    location: WarehouseLocation,
    /// Rooted at the bucket, or at the root of local files.
    objects: ObjectStoreRef,
    /// The same, for what is read of tables' logs.
    logs: ObjectStoreRef,
    checked: Arc<OnceCell<()>>,
}

impl WarehouseStore {
    /// A client for the storage of `location`, set up as the environment says.
    /// Nothing is asked of it yet.
    ///
    /// # Errors
    /// The environment does not say enough, or contradicts itself.
    pub fn connect(location: &WarehouseLocation) -> Result<Self, StorageError> {
        Self::connect_with(location, &Variables::of_process())
    }

    /// As [`Self::connect`], with these variables for the environment.
    ///
    /// # Errors
    /// As there.
    pub fn connect_with(
        location: &WarehouseLocation,
        variables: &Variables,
    ) -> Result<Self, StorageError> {
        let objects: ObjectStoreRef = match location.kind() {
            StorageKind::Local => Arc::new(DurableLocal::default()),
            _ => Arc::new(Told::new(
                cloud::connect(location, variables)?,
                variables.secrets(),
            )),
        };
        Ok(Self::over(location, objects))
    }

    /// The warehouse at `location` in `objects`, which is rooted as its URL is.
    pub fn over(location: &WarehouseLocation, objects: ObjectStoreRef) -> Self {
        Self {
            location: location.clone(),
            logs: Arc::new(KeptObjects::over(objects.clone(), Keeping::LOGS)),
            objects,
            checked: Arc::default(),
        }
    }

    /// Where it lies.
    pub fn location(&self) -> &WarehouseLocation {
        &self.location
    }

    /// The storage, rooted at the bucket, or at the root of local files.
    pub fn objects(&self) -> &ObjectStoreRef {
        &self.objects
    }

    /// An object of the warehouse, by its path from the warehouse's place.
    pub fn path(&self, relative: &str) -> Path {
        self.root()
            .parts()
            .chain(Path::from(relative).parts())
            .collect()
    }

    fn root(&self) -> Path {
        path_of(&self.location, self.location.url().path())
    }

    /// The log of one table, and its files with it.
    pub(crate) fn log_of(&self, table: Table) -> LogStoreRef {
        let url = self.location.table_url(table);
        let prefix = path_of(&self.location, url.path());
        Arc::new(TableLog::new(&self.logs, prefix, &url))
    }

    /// Whether a table has a log, by a look at the log alone.
    ///
    /// # Errors
    /// Storage does not say.
    pub async fn has_log(&self, table: Table) -> object_store::Result<bool> {
        let log = self.path(&format!("{}/_delta_log", table.path()));
        // In a folder the first of many names takes a look at a thousand.
        if self.location.kind() == StorageKind::Local {
            match self
                .objects
                .head(&log.clone().join("_last_checkpoint"))
                .await
            {
                Ok(_) => return Ok(true),
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        match self.objects.list(Some(&log)).next().await {
            Some(Ok(_)) => Ok(true),
            None | Some(Err(object_store::Error::NotFound { .. })) => Ok(false),
            Some(Err(error)) => Err(error),
        }
    }

    /// Makes sure, once, that storage keeps the condition under which commits
    /// are written: an object that is there is not created again.
    ///
    /// # Errors
    /// It does not, or it cannot be written.
    pub async fn check(&self) -> Result<(), StorageError> {
        // Local files are created by code of ours.
        if self.location.kind() == StorageKind::Local {
            return Ok(());
        }
        let checked = self.checked.get_or_try_init(|| self.ask_for_condition());
        checked.await.copied()
    }

    async fn ask_for_condition(&self) -> Result<(), StorageError> {
        let place = self.path(CONDITION_OBJECT);
        let warehouse = self.location.to_string();
        // The first may find the object of an earlier process; the second finds
        // one in any case.
        for _ in 0..2 {
            let options = PutOptions::from(PutMode::Create);
            let created = self
                .objects
                .put_opts(&place, CONDITION_TEXT.into(), options);
            match created.await {
                Ok(_) => {}
                // A server may say so of one that is being written just now.
                Err(object_store::Error::AlreadyExists { .. }) => {
                    let there = self.objects.head(&place).await;
                    return there
                        .map(drop)
                        .map_err(|source| StorageError::Failed { warehouse, source });
                }
                Err(
                    object_store::Error::NotImplemented { .. }
                    | object_store::Error::NotSupported { .. },
                ) => break,
                Err(source) if is_unsupported(&source) => break,
                Err(source) => return Err(StorageError::Failed { warehouse, source }),
            }
        }
        Err(StorageError::NoCondition { warehouse })
    }
}

/// Whether a service says that it has no such request.
fn is_unsupported(error: &object_store::Error) -> bool {
    failure(error).is_some_and(|failure| failure.kind() == FailureKind::Unsupported)
}

fn path_of(location: &WarehouseLocation, url_path: &str) -> Path {
    Path::from_url_path(url_path)
        .unwrap_or_else(|error| unreachable!("{location} was read as a path: {error}"))
}

#[cfg(test)]
mod tests;
