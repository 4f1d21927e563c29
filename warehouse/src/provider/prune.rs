//! Leaving out files before they are opened.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::and;
use arrow::datatypes::{Field, Schema};
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, Result};
use datafusion::datasource::listing::helpers::expr_applicable_for_cols;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;

use crate::files::FileList;

/// The numbers of the files that may hold rows for which all `filters` hold.
///
/// Filters on partition columns alone are settled here once and for all, since
/// every row of a file has the file's value; the others only leave out files
/// whose least and greatest values rule every row out.
pub(super) fn files(
    files: &FileList,
    session: &dyn Session,
    schema: &DFSchema,
    partitions: &[&str],
    filters: &[Expr],
) -> Result<Vec<usize>> {
    let (settled, others): (Vec<Expr>, Vec<Expr>) = filters
        .iter()
        .cloned()
        .partition(|filter| expr_applicable_for_cols(partitions, filter));
    let mut keep = BooleanArray::from(vec![true; files.len()]);
    if let Some(filter) = conjunction(settled) {
        keep = and(&keep, &by_partition(files, session, partitions, &filter)?)?;
    }
    if let Some(filter) = conjunction(others) {
        keep = and(&keep, &by_statistics(files, session, schema, &filter)?)?;
    }
    // A filter that is null for a file is true for none of its rows.
    Ok((0..keep.len())
        .filter(|file| keep.is_valid(*file) && keep.value(*file))
        .collect())
}

fn by_partition(
    files: &FileList,
    session: &dyn Session,
    partitions: &[&str],
    filter: &Expr,
) -> Result<BooleanArray> {
    let columns: Vec<(&str, &ArrayRef)> = partitions
        .iter()
        .filter_map(|name| Some((*name, files.partition_column(name)?)))
        .collect();
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, values)| Field::new(*name, values.data_type().clone(), true))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let expression =
        session.create_physical_expr(filter.clone(), &DFSchema::try_from(Arc::clone(&schema))?)?;
    let values = columns
        .into_iter()
        .map(|(_, values)| Arc::clone(values))
        .collect();
    let rows = RecordBatchOptions::new().with_row_count(Some(files.len()));
    let batch = RecordBatch::try_new_with_options(schema, values, &rows)?;
    let holds = expression.evaluate(&batch)?.into_array(files.len())?;
    Ok(holds.as_boolean().clone())
}

fn by_statistics(
    files: &FileList,
    session: &dyn Session,
    schema: &DFSchema,
    filter: &Expr,
) -> Result<BooleanArray> {
    let expression = session.create_physical_expr(filter.clone(), schema)?;
    let predicate = PruningPredicateBuilder::new()
        .with_file_schema(Arc::clone(schema.inner()))
        .build(expression);
    // `None` where the filter says nothing about least and greatest values.
    if let Some(predicate) = predicate {
        match predicate.prune(files) {
            Ok(keep) => return Ok(keep.into()),
            // Reading too much is slow and still right.
            Err(error) => tracing::warn!(%filter, %error, "no file can be left out"),
        }
    }
    Ok(BooleanArray::from(vec![true; files.len()]))
}
