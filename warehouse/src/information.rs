//! `information_schema`, with what tables and columns mean.
//!
//! The engine's own says what there is; `comment` is added to its tables
//! `tables` and `columns`, so that who knows SQL alone finds meanings, units
//! and null rules there.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema};
use async_trait::async_trait;
use datafusion::catalog::information_schema::{INFORMATION_SCHEMA, InformationSchemaProvider};
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    SchemaProvider, TableProvider,
};
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use datafusion::physical_plan::collect;

use crate::catalog::{Catalog, Relation};
use crate::engine::CATALOG;
use crate::views::View;

/// The schema's name.
pub(crate) const NAME: &str = INFORMATION_SCHEMA;

/// Where names and meanings meet: schema, table and column; no column for the table itself.
type Name = (String, String, Option<String>);

/// The schema over one catalog.
#[derive(Debug)]
pub(crate) struct Information {
    catalog: Arc<Catalog>,
    inner: InformationSchemaProvider,
}

impl Information {
    /// What `catalog` holds.
    pub(crate) fn of(catalog: Arc<Catalog>) -> Self {
        let list = MemoryCatalogProviderList::new();
        let shown: Arc<dyn CatalogProvider> = Arc::<Catalog>::clone(&catalog);
        list.register_catalog(CATALOG.to_string(), shown);
        Self {
            catalog,
            inner: InformationSchemaProvider::new(Arc::new(list)),
        }
    }

    /// The rows of one of the engine's tables.
    async fn rows(&self, table: &Arc<dyn TableProvider>) -> Result<RecordBatch> {
        let session = self.catalog.session(Arc::new(MemoryCatalogProvider::new()));
        let plan = table.scan(&session, None, &[], None).await?;
        let batches = collect(plan, session.task_ctx()).await?;
        Ok(concat_batches(&table.schema(), &batches)?)
    }
}

#[async_trait]
impl SchemaProvider for Information {
    fn table_names(&self) -> Vec<String> {
        self.inner.table_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(table) = self.inner.table(name).await? else {
            return Ok(None);
        };
        if !["tables", "columns"].contains(&name) {
            return Ok(Some(table));
        }
        let rows = commented(&self.rows(&table).await?)?;
        let table = MemTable::try_new(rows.schema(), vec![vec![rows]])?;
        Ok(Some(Arc::new(table)))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.inner.table_exist(name)
    }
}

/// The rows with their meaning; null of what is not ours. Texts have one name, whatever the engine
/// holds them in.
fn commented(rows: &RecordBatch) -> Result<RecordBatch> {
    let comments = comments();
    let text = |column: &str| {
        rows.column_by_name(column)
            .and_then(|c| c.as_string_opt::<i32>())
    };
    let (schemas, tables) = (text("table_schema"), text("table_name"));
    let columns = text("column_name");
    let value = |texts: Option<&StringArray>, row: usize| texts.map(|t| t.value(row).to_string());
    let told = (0..rows.num_rows()).map(|row| {
        let name = (
            value(schemas, row)?,
            value(tables, row)?,
            value(columns, row),
        );
        comments.get(&name).cloned()
    });
    let told: ArrayRef = Arc::new(told.collect::<StringArray>());
    let mut fields: Vec<_> = rows.schema().fields().iter().cloned().collect();
    let mut values = rows.columns().to_vec();
    if let (Some(kinds), Ok(place)) = (text("data_type"), rows.schema().index_of("data_type")) {
        let plain = kinds
            .iter()
            .map(|kind| Some(kind?.replace("Utf8View", "Utf8")));
        values[place] = Arc::new(plain.collect::<StringArray>());
    }
    fields.push(Arc::new(Field::new("comment", DataType::Utf8, true)));
    values.push(told);
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), values)?)
}

/// What every table, view and column of ours means.
fn comments() -> HashMap<Name, String> {
    let mut comments = HashMap::new();
    for relation in Relation::all() {
        let schema = relation.schema().as_str().to_string();
        let name = relation.name().to_string();
        let (doc, columns): (String, Vec<(&str, String)>) = match relation {
            Relation::Table(table) => {
                let columns = table.columns().iter();
                (
                    table.doc(),
                    columns.map(|c| (c.name, c.comment())).collect(),
                )
            }
            Relation::View(view) => (View::doc(view), view.columns()),
        };
        for (column, doc) in columns {
            let of = (schema.clone(), name.clone(), Some(column.to_string()));
            comments.insert(of, doc);
        }
        comments.insert((schema, name, None), doc);
    }
    comments
}
