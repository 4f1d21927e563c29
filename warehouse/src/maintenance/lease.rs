//! The lease of maintenance: an object in the warehouse itself, so that
//! whoever maintains it, from wherever, is alone.
//!
//! A lease is a number, its fence, and an object of that number which says who
//! has it. Taking, renewing and giving back each create the object of the next
//! number, on the condition that there is none: the one thing that every
//! storage can do, and that commits rest on as well. So fences only grow.
//!
//! How old a lease is, is told by storage's own clock, since those of two
//! hosts may differ.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutMode, PutOptions};
use plimsoll_ingest::WarehouseStore;
use serde::{Deserialize, Serialize};

use super::MaintenanceError;

/// Where the leases are, from the warehouse's place.
const FOLDER: &str = "_plimsoll/maintenance";

/// How many past leases are left to be read.
const KEPT: usize = 8;

/// What the object of a lease says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Whose it is: host and process.
    holder: String,
    /// Tells two holders of one name apart.
    nonce: String,
    /// Past this many seconds it is nobody's.
    expires_after_s: u64,
    /// Whether it was given back.
    released: bool,
}

/// The lease, for as long as it is renewed in time.
#[derive(Debug)]
pub(crate) struct Lease {
    store: WarehouseStore,
    record: Record,
    fence: u64,
}

/// A lease as it lies in the warehouse.
struct Found {
    fence: u64,
    record: Record,
    since: DateTime<Utc>,
}

impl Lease {
    /// Takes the lease, where nobody has it or who had it let it expire.
    ///
    /// # Errors
    /// Somebody has it, or storage fails.
    pub(crate) async fn take(
        store: &WarehouseStore,
        holder: String,
        expires_after: Duration,
    ) -> Result<Self, MaintenanceError> {
        store.check().await.map_err(MaintenanceError::storage)?;
        let newest = newest(store).await?;
        if let Some(found) = newest.as_ref().filter(|found| !found.record.released) {
            let age = now(store).await? - found.since;
            let lasts = Duration::from_secs(found.record.expires_after_s);
            if age.to_std().unwrap_or_default() <= lasts {
                return Err(found.held());
            }
        }
        let record = Record {
            holder,
            nonce: plimsoll_ingest::RunId::new(plimsoll_ingest::Timestamp::now()).to_string(),
            expires_after_s: expires_after.as_secs(),
            released: false,
        };
        let fence = newest.map_or(0, |found| found.fence) + 1;
        let mut lease = Self {
            store: store.clone(),
            record,
            fence,
        };
        lease.create(fence).await?;
        Ok(lease)
    }

    /// The lease's number: greater than that of every lease before it.
    pub(crate) fn fence(&self) -> u64 {
        self.fence
    }

    /// Keeps the lease from expiring.
    ///
    /// # Errors
    /// It had expired, and somebody else took it; or storage fails.
    pub(crate) async fn renew(&mut self) -> Result<(), MaintenanceError> {
        self.create(self.fence + 1).await
    }

    /// Gives the lease back.
    ///
    /// # Errors
    /// As [`Self::renew`]. It then expires by itself.
    pub(crate) async fn release(mut self) -> Result<(), MaintenanceError> {
        self.record.released = true;
        self.create(self.fence + 1).await
    }

    async fn create(&mut self, fence: u64) -> Result<(), MaintenanceError> {
        let text = serde_json::to_vec(&self.record).map_err(MaintenanceError::storage)?;
        let created = self
            .store
            .objects()
            .put_opts(
                &path(&self.store, fence),
                text.into(),
                PutOptions::from(PutMode::Create),
            )
            .await;
        // Whatever was answered, the newest lease is what counts: an answer may be lost, and one
        // that was taken and cleared away since may have made room for an older number.
        let newest = newest(&self.store).await?;
        match newest {
            Some(found) if found.fence == fence && found.record == self.record => {
                self.fence = fence;
                self.clear_away().await;
                Ok(())
            }
            Some(found) if found.fence >= fence => Err(found.held()),
            _ => Err(match created {
                Err(error) => MaintenanceError::storage(error),
                Ok(_) => MaintenanceError::LeaseLost,
            }),
        }
    }

    /// Deletes leases of long ago.
    async fn clear_away(&self) {
        let Ok(mut fences) = fences(&self.store).await else {
            return;
        };
        fences.sort_unstable_by(|one, other| other.cmp(one));
        for (fence, _) in fences.into_iter().skip(KEPT) {
            // They only take room; the next holder tries again.
            let deleted = self.store.objects().delete(&path(&self.store, fence)).await;
            if let Err(error) = deleted {
                tracing::debug!(fence, %error, "an old lease stays");
            }
        }
    }
}

impl Found {
    fn held(&self) -> MaintenanceError {
        MaintenanceError::Held {
            holder: self.record.holder.clone(),
            since: self.since.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
            expires_after: Duration::from_secs(self.record.expires_after_s),
        }
    }
}

fn path(store: &WarehouseStore, fence: u64) -> Path {
    store.path(&format!("{FOLDER}/lease-{fence:020}.json"))
}

/// All leases that are there, with the moment when each was created.
async fn fences(store: &WarehouseStore) -> Result<Vec<(u64, DateTime<Utc>)>, MaintenanceError> {
    let folder = store.path(FOLDER);
    let objects: Vec<_> = store
        .objects()
        .list(Some(&folder))
        .try_collect()
        .await
        .map_err(MaintenanceError::storage)?;
    let number = |object: &object_store::ObjectMeta| {
        let name = object.location.filename()?;
        name.strip_prefix("lease-")?
            .strip_suffix(".json")?
            .parse()
            .ok()
    };
    let leases = objects
        .iter()
        .filter_map(|object| Some((number(object)?, object.last_modified)));
    Ok(leases.collect())
}

async fn newest(store: &WarehouseStore) -> Result<Option<Found>, MaintenanceError> {
    let Some((fence, since)) = fences(store).await?.into_iter().max() else {
        return Ok(None);
    };
    let object = store.objects().get(&path(store, fence)).await;
    let bytes = object.map_err(MaintenanceError::storage)?.bytes().await;
    let bytes = bytes.map_err(MaintenanceError::storage)?;
    let record = serde_json::from_slice(&bytes).map_err(MaintenanceError::storage)?;
    Ok(Some(Found {
        fence,
        record,
        since,
    }))
}

/// The time by storage's own clock.
pub(super) async fn now(store: &WarehouseStore) -> Result<DateTime<Utc>, MaintenanceError> {
    let place = store.path(&format!("{FOLDER}/clock"));
    let written = store.objects().put(&place, "tick".into()).await;
    written.map_err(MaintenanceError::storage)?;
    let object = store.objects().head(&place).await;
    Ok(object.map_err(MaintenanceError::storage)?.last_modified)
}
