//! The query engine's settings: memory, spill space, sessions.
//!
//! One engine serves all queries of a warehouse, so its limits hold for all
//! of them together. A session is made for each query from one template.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::catalog::{CatalogProvider, CatalogProviderList, MemoryCatalogProviderList};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::SessionState;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::disk_manager::DiskManagerBuilder;
use datafusion::execution::memory_pool::TrackConsumersPool;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::prelude::SessionConfig;
use plimsoll_ingest::{WarehouseLocation, WarehouseStore};

use crate::arithmetic::CheckedArithmetic;
use crate::bits;
use crate::error::OpenError;
use crate::growth;
use crate::memory::Shares;
use crate::metered::Metering;
use crate::moments::{self, MomentsOfHours};
use crate::sketches;
use crate::small_files::Files;
use crate::sorting::WithoutNulls;
use crate::spans;
use crate::spilling::{SpillFiles, SpillFolder};
use crate::store::ReadOnlyStore;
use crate::sums;

/// The one catalog.
pub(crate) const CATALOG: &str = "plimsoll";

/// The schema in which names without a schema are looked up. It is not
/// listed: it holds what the other schemas hold.
pub(crate) const SEARCH_SCHEMA: &str = "any";

/// Functions that are not offered: an argument says how large their result
/// is, or how long they compute, and one call neither asks the memory limit
/// nor looks at the time limit before it is done. The table functions `range`
/// and `generate_series` give their rows batch by batch, and stay.
const WITHOUT_LIMITS: [&str; 13] = [
    "repeat",
    "lpad",
    "rpad",
    "array_repeat",
    "array_resize",
    "range",
    "generate_series",
    "levenshtein",
    "array_replace",
    "array_replace_n",
    "array_replace_all",
    // Types of any size, by name.
    "arrow_cast",
    "arrow_try_cast",
];

/// How many of the largest users of memory an error names.
const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::new(3).expect("three is not zero");

/// What the query engine may use, all queries together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarehouseOptions {
    /// Memory for intermediate results, in bytes. Not every allocation is
    /// counted: leave 30 to 40 % of what the process may have.
    pub memory_limit: usize,
    /// Where sorts and aggregations spill; `None` for the system's temporary
    /// folder. It is made, and touched at all, only when something spills, and
    /// the files there have no names: they go with the process, however it ends.
    pub spill_dir: Option<PathBuf>,
    /// How much may be spilled at once, in bytes.
    pub spill_limit: u64,
    /// Threads for queries, and partitions of a plan.
    pub threads: usize,
    /// How many bytes of answers are kept for those who ask the same again; 0 for none.
    pub answers: usize,
}

impl Default for WarehouseOptions {
    /// 1 GiB of memory, 8 GiB of spill space, a thread for each core, no answers kept.
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            memory_limit: 1 << 30,
            spill_dir: None,
            spill_limit: 8 << 30,
            threads,
            answers: 0,
        }
    }
}

/// Makes sessions that share memory, caches and storage.
#[derive(Debug)]
pub(crate) struct Engine {
    template: SessionState,
    memory_limit: usize,
}

impl Engine {
    pub(crate) fn new(
        storage: &WarehouseStore,
        options: &WarehouseOptions,
    ) -> Result<Self, OpenError> {
        let environment = environment(options).map_err(|error| OpenError::Engine {
            reason: error.strip_backtrace(),
        })?;
        let store = ReadOnlyStore::new(Arc::clone(storage.objects()));
        environment.register_object_store(storage.location().url(), Arc::new(store));
        let small = options.memory_limit / SMALL_FILES;
        let files = Files::of(storage, &environment, small);
        let mut sessions = SessionStateBuilder::new_with_default_features();
        spans::know(&mut sessions);
        let mut template = sessions
            .with_config(config(options).with_extension(Arc::new(files)))
            .with_runtime_env(environment)
            .with_analyzer_rule(Arc::new(CheckedArithmetic))
            .with_optimizer_rules(rules())
            .with_physical_optimizer_rule(Arc::new(Metering))
            .build();
        for function in WITHOUT_LIMITS {
            // Takes the other names of the function away, too.
            template
                .deregister_udf(function)
                .map_err(|error| OpenError::Engine {
                    reason: error.strip_backtrace(),
                })?;
        }
        sketches::register(&mut template).map_err(|error| OpenError::Engine {
            reason: error.strip_backtrace(),
        })?;
        growth::limit(&mut template, options.memory_limit)
            .and_then(|()| moments::hasten(&mut template))
            .and_then(|()| bits::register(&mut template))
            .and_then(|()| sums::check(&mut template))
            .map_err(|error| OpenError::Engine {
                reason: error.strip_backtrace(),
            })?;
        Ok(Self {
            template,
            memory_limit: options.memory_limit,
        })
    }

    /// What every session begins with.
    pub(crate) fn template(&self) -> &SessionState {
        &self.template
    }

    /// The memory that all queries together may have, in bytes.
    pub(crate) fn memory_limit(&self) -> usize {
        self.memory_limit
    }

    /// A session that sees `catalog` and nothing else.
    pub(crate) fn session(&self, catalog: Arc<dyn CatalogProvider>) -> SessionState {
        let list = MemoryCatalogProviderList::new();
        list.register_catalog(CATALOG.to_string(), catalog);
        let mut session = self.template.clone();
        session.register_catalog_list(Arc::new(list));
        session.mark_start_execution();
        session
    }
}

/// The root of the store that holds `location`, as plans name it.
pub(crate) fn store_url(location: &WarehouseLocation) -> ObjectStoreUrl {
    let url = location.url();
    let root = format!("{}://{}", url.scheme(), url.authority());
    ObjectStoreUrl::parse(root).expect("scheme and authority of a URL are a URL")
}

/// What files say of themselves may take one part in so many of what queries may have, on top of it:
/// read once, it is used by every query of the file. Months of days take some 100 MB, and where not
/// all of it has room, a query of all days finds none of it.
const FOOTERS: usize = 4;

/// Small files of rows may take one part in so many of it, also on top.
const SMALL_FILES: usize = 16;

fn environment(options: &WarehouseOptions) -> datafusion::error::Result<Arc<RuntimeEnv>> {
    let folder = SpillFolder::new(options.spill_dir.clone(), options.spill_limit);
    let disk = DiskManagerBuilder::default()
        .with_temp_file_factory(Arc::new(SpillFiles(folder)))
        .with_max_spill_merge_fan_in(MERGED_AT_ONCE);
    let pool = TrackConsumersPool::new(Shares::of(options.memory_limit), CONSUMERS_NAMED);
    RuntimeEnvBuilder::new()
        .with_disk_manager_builder(disk)
        .with_memory_pool(Arc::new(pool))
        .with_metadata_cache_limit(options.memory_limit / FOOTERS)
        .build_arc()
}

/// The engine's rules, and ours among them.
pub(crate) fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = Optimizer::new().rules;
    // Where conditions have come down to the columns, and nothing has taken them apart yet.
    let place = rules
        .iter()
        .position(|rule| rule.name() == "push_down_filter");
    let place = place.map_or(rules.len(), |place| place + 1);
    rules.insert(place, Arc::new(MomentsOfHours));
    rules.push(Arc::new(WithoutNulls));
    rules
}

/// Files that a part of a sort merges at once. What is read ahead of each is not counted, so that many
/// of them would hold more than there is.
const MERGED_AT_ONCE: usize = 8;

/// One part in so many of a thread's memory is kept for the merge of each sort, unless the engine keeps
/// less. An answer has some forty sorts, and sixteen of them may be asked for at once.
const MERGES: usize = 1024;

/// Keys of a join that are listed for the other side's files, in bytes.
const KEYS_LISTED: usize = 4096;

fn config(options: &WarehouseOptions) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, SEARCH_SCHEMA)
        // Ours stands in the catalog, with comments.
        .with_information_schema(false)
        .with_target_partitions(options.threads.max(1))
        .with_collect_statistics(true);
    // Files are sorted by run, so that statistics alone leave out what one run, or a span of runs,
    // does not need; to decode columns only for rows that pass costs more than it saves then.
    config.options_mut().execution.parquet.pushdown_filters = false;
    // What each part of a sort keeps for its merge, however little it sorts.
    let merge = options.memory_limit / MERGES / options.threads.max(1);
    let execution = &mut config.options_mut().execution;
    execution.sort_spill_reservation_bytes = execution.sort_spill_reservation_bytes.min(merge);
    // The keys of one side of a join leave out files of the other: few by each, many by the least and
    // the largest. Each file simplifies the list anew, 1.5 ms for some thousand keys.
    config
        .options_mut()
        .optimizer
        .hash_join_inlist_pushdown_max_size = KEYS_LISTED;
    config
}
