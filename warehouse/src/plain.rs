//! Texts within the engine, and texts outside.
//!
//! The engine is quicker with texts that are views into a file's pages than
//! with copies of them. Everybody else gets plain texts.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, cast};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;

/// The schema that a scan gives: texts are views.
pub(crate) fn as_scanned(schema: &Schema) -> SchemaRef {
    let field = |field: &FieldRef| match field.data_type() {
        DataType::Utf8 => {
            let viewed = field.as_ref().clone().with_data_type(DataType::Utf8View);
            Arc::new(viewed)
        }
        _ => Arc::clone(field),
    };
    let fields: Fields = schema.fields().iter().map(field).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The plan, with plain texts where it gives views.
pub(crate) fn texts(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = plan.schema();
    let is_plain = |field: &FieldRef| plain(field.data_type()) == *field.data_type();
    if schema.fields().iter().all(is_plain) {
        return Ok(plan);
    }
    let columns = schema.fields().iter().enumerate().map(|(place, field)| {
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), place));
        let column = match is_plain(field) {
            true => column,
            false => cast(column, &schema, plain(field.data_type()))?,
        };
        Ok((column, field.name().clone()))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(ProjectionExec::try_new(columns, plan)?))
}

/// The type with plain texts in it.
fn plain(kind: &DataType) -> DataType {
    let item = |item: &FieldRef| -> FieldRef {
        let plain = plain(item.data_type());
        Arc::new(Field::clone(item).with_data_type(plain))
    };
    match kind {
        DataType::Utf8View => DataType::Utf8,
        DataType::List(of) => DataType::List(item(of)),
        DataType::LargeList(of) => DataType::LargeList(item(of)),
        DataType::FixedSizeList(of, n) => DataType::FixedSizeList(item(of), *n),
        DataType::Struct(of) => DataType::Struct(of.iter().map(item).collect()),
        other => other.clone(),
    }
}
