//! Which runs are visible: those that have a row in `runs`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray};
use arrow::datatypes::Int64Type;
use datafusion::catalog::TableProvider;
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_plan::collect;
use object_store::path::Path;

use crate::files::{FileList, RunsOfFile};
use crate::provider::{FileTable, TableColumns};

/// The keys of all runs in one snapshot of `runs`.
#[derive(Debug, Default)]
pub(crate) struct RunKeys {
    visible: HashSet<i64>,
    /// What was read from compacted files: they never change, so the next
    /// snapshot need not read them again.
    read: HashMap<Path, Arc<[i64]>>,
}

impl RunKeys {
    /// The keys that have a row in `runs`.
    pub(crate) fn visible(&self) -> &HashSet<i64> {
        &self.visible
    }

    /// The keys in some files of `runs`: from the log where a file holds one
    /// run, and by reading the `run_key` column of those that were compacted.
    pub(crate) async fn read(
        files: &FileList,
        columns: &TableColumns,
        before: Option<&Self>,
        session: &SessionState,
        store: &ObjectStoreUrl,
    ) -> Result<Self> {
        let mut keys = Self::default();
        for (file, runs_of_file) in files.runs().into_iter().enumerate() {
            if let RunsOfFile::One(key) = runs_of_file {
                keys.visible.insert(key);
                continue;
            }
            let path = files.path(file);
            let known = before.and_then(|before| before.read.get(path)).cloned();
            let found: Arc<[i64]> = match known {
                Some(found) => found,
                None => {
                    let only: BooleanArray = (0..files.len()).map(|i| Some(i == file)).collect();
                    let table =
                        FileTable::new(columns.clone(), files.filtered(&only)?, store.clone());
                    read_column(&table, session).await?.into()
                }
            };
            keys.visible.extend(found.iter().copied());
            keys.read.insert(path.clone(), found);
        }
        Ok(keys)
    }
}

async fn read_column(table: &FileTable, session: &SessionState) -> Result<Vec<i64>> {
    let column = table.schema().index_of("run_key")?;
    let plan = table.scan(session, Some(&vec![column]), &[], None).await?;
    let batches = collect(plan, session.task_ctx()).await?;
    let keys = batches
        .iter()
        .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().iter());
    Ok(keys.flatten().collect())
}
