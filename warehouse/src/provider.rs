//! A table as a plain Parquet scan over files that are known beforehand.
//!
//! Delta's own provider goes another way, and loses the per-column statistics
//! on it. Here each file is handed to DataFusion's scan with its partition
//! values and with what the log knows of its columns, so that files are left
//! out before they are opened, and COUNT, MIN and MAX are answered without
//! opening any.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{DFSchema, Result, Statistics, internal_datafusion_err, project_schema};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::listing::helpers::expr_applicable_for_cols;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;

use object_store::path::Path;

use crate::files::FileList;
use crate::plain;
use crate::small_files::{self, Files};

mod prune;

/// The columns of a table, and where each of them is found.
#[derive(Debug, Clone)]
pub(crate) struct TableColumns {
    /// As the table has them.
    schema: SchemaRef,
    /// As a scan has them: those in files, then those of the partition.
    scanned: TableSchema,
    /// For each column of `schema`, its place in `scanned`.
    places: Vec<usize>,
}

impl TableColumns {
    /// The columns of `schema`, of which those named in `partitions` are not
    /// in the files.
    pub(crate) fn new(schema: SchemaRef, partitions: &[String]) -> Self {
        let schema = plain::as_scanned(&schema);
        let is_partition = |field: &FieldRef| partitions.contains(field.name());
        let (of_partition, in_files): (Vec<FieldRef>, Vec<FieldRef>) =
            schema.fields().iter().cloned().partition(is_partition);
        let (mut next_file, mut next_partition) = (0, in_files.len());
        let places = schema
            .fields()
            .iter()
            .map(|field| {
                let next = if is_partition(field) {
                    &mut next_partition
                } else {
                    &mut next_file
                };
                *next += 1;
                *next - 1
            })
            .collect();
        let scanned = TableSchema::builder(Arc::new(Schema::new(in_files)))
            .with_table_partition_cols(of_partition)
            .build();
        Self {
            schema,
            scanned,
            places,
        }
    }

    fn partitions(&self) -> Vec<&str> {
        self.scanned
            .table_partition_cols()
            .iter()
            .map(|field| field.name().as_str())
            .collect()
    }
}

/// The files that a scan reads.
struct ChosenFiles {
    files: Vec<PartitionedFile>,
    /// False where a limit left files out that hold rows for the filters.
    all: bool,
}

/// A table: its columns, and the files that are visible.
#[derive(Debug, Clone)]
pub(crate) struct FileTable {
    columns: TableColumns,
    files: FileList,
    store: ObjectStoreUrl,
}

impl FileTable {
    /// The table over `files`, which lie in `store`.
    pub(crate) fn new(columns: TableColumns, files: FileList, store: ObjectStoreUrl) -> Self {
        Self {
            columns,
            files,
            store,
        }
    }

    /// Where the files lie in the store.
    pub(crate) fn file_paths(&self) -> impl Iterator<Item = &Path> {
        (0..self.files.len()).map(|file| self.files.path(file))
    }

    /// The files that may hold rows for the filters, with their statistics.
    fn files_for(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<ChosenFiles> {
        let schema = DFSchema::try_from(SchemaRef::clone(&self.columns.schema))?;
        let partitions = self.columns.partitions();
        let keep = prune::files(&self.files, session, &schema, &partitions, filters)?;
        let wanted = self.wanted(projection, filters);
        let in_files: Vec<(&str, &DataType)> = self
            .columns
            .scanned
            .file_schema()
            .fields()
            .iter()
            .map(|field| (field.name().as_str(), field.data_type()))
            .collect();
        // Where every filter is settled by the partition, every row of a kept
        // file counts, and a LIMIT needs only the first files.
        let settled = filters
            .iter()
            .all(|filter| expr_applicable_for_cols(&partitions, filter));
        let enough = limit.filter(|_| settled).unwrap_or(usize::MAX);
        let mut rows = 0;
        let mut files = Vec::new();
        for file in &keep {
            if rows >= enough {
                break;
            }
            let file = *file;
            rows += self.files.rows(file).unwrap_or(0);
            files.push(
                self.files
                    .scan_file(file, &in_files, &wanted, &partitions)?,
            );
        }
        let all = files.len() == keep.len();
        Ok(ChosenFiles { files, all })
    }

    /// The columns that the query names.
    fn wanted(&self, projection: Option<&Vec<usize>>, filters: &[Expr]) -> HashSet<&str> {
        let fields = self.columns.schema.fields();
        let Some(projection) = projection else {
            return fields.iter().map(|field| field.name().as_str()).collect();
        };
        let mut wanted: HashSet<&str> = projection
            .iter()
            .map(|column| fields[*column].name().as_str())
            .collect();
        let filtered: HashSet<&str> = filters
            .iter()
            .flat_map(|filter| filter.column_refs())
            .map(|column| column.name.as_str())
            .collect();
        wanted.extend(
            fields
                .iter()
                .map(|f| f.name().as_str())
                .filter(|n| filtered.contains(n)),
        );
        wanted
    }

    fn groups(
        &self,
        files: Vec<PartitionedFile>,
        count: usize,
    ) -> Result<(Vec<FileGroup>, Statistics)> {
        let schema = self.columns.scanned.table_schema();
        let merged = |files: &[PartitionedFile]| {
            Statistics::try_merge_iter(
                files.iter().filter_map(|file| file.statistics.as_deref()),
                schema,
            )
        };
        let total = merged(&files)?;
        let groups = FileGroup::new(files).split_files(count);
        let groups = groups
            .into_iter()
            .map(|group| {
                let statistics = merged(group.files())?;
                Ok(group.with_statistics(Arc::new(statistics)))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok((groups, total))
    }
}

#[async_trait]
impl TableProvider for FileTable {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.columns.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn statistics(&self) -> Option<Statistics> {
        let rows = (0..self.files.len())
            .map(|file| self.files.rows(file))
            .sum::<Option<usize>>();
        let num_rows = rows.map_or(Precision::Absent, Precision::Exact);
        Some(Statistics {
            num_rows,
            ..Statistics::new_unknown(&self.columns.schema)
        })
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let partitions = self.columns.partitions();
        let support = |filter: &&Expr| {
            if expr_applicable_for_cols(&partitions, filter) {
                TableProviderFilterPushDown::Exact
            } else {
                TableProviderFilterPushDown::Inexact
            }
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let ChosenFiles { files, all } = self.files_for(session, projection, filters, limit)?;
        if files.is_empty() {
            let schema = project_schema(&self.columns.schema, projection)?;
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let reader = session.config().get_extension::<Files>();
        let reader = reader.ok_or_else(|| internal_datafusion_err!("a session without files"))?;
        let reader = reader.of_scan(&files);
        let small = files.iter().all(small_files::is_small);
        let (groups, statistics) = self.groups(files, session.config().target_partitions())?;
        let places = match projection {
            Some(projection) => projection
                .iter()
                .map(|column| self.columns.places[*column])
                .collect(),
            None => self.columns.places.clone(),
        };
        let mut options = session.table_options().parquet.clone();
        // A small file has few pages, and its index would be read again for each question.
        options.global.enable_page_index &= !small;
        let footer_size = options.global.metadata_size_hint;
        let mut source = ParquetSource::new(self.columns.scanned.clone())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(reader);
        if let Some(bytes) = footer_size {
            source = source.with_metadata_size_hint(bytes);
        }
        let scan = FileScanConfigBuilder::new(self.store.clone(), Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(if all {
                statistics
            } else {
                statistics.to_inexact()
            })
            .with_projection_indices(Some(places))?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(scan))
    }
}
