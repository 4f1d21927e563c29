//! The catalog `plimsoll`: schemas `reports`, `raw` and `audit`.
//!
//! Names without a schema resolve in that order among those that the query
//! may see. DataFusion looks such names up in one default schema, so there is
//! a fourth one that holds what the others hold; it is found by its name and
//! listed nowhere.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::Result;
use datafusion::execution::SessionState;
use plimsoll_ingest::{SchemaName, Table};

use crate::engine::SEARCH_SCHEMA;
use crate::information::{self, Information};
use crate::limits::Access;
use crate::snapshots::Snapshots;
use crate::views::View;

/// What a schema of the catalog can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    /// A table in storage.
    Table(Table),
    /// A view over tables.
    View(View),
}

impl Relation {
    /// Every table and view, in the order in which names resolve.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let tables = Table::ALL.iter().copied().map(Self::Table);
        tables.chain(View::ALL.iter().copied().map(Self::View))
    }

    /// The name in SQL.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Table(table) => table.name(),
            Self::View(view) => view.name(),
        }
    }

    /// The schema that holds it. Views are all in `reports`.
    pub(crate) fn schema(self) -> SchemaName {
        match self {
            Self::Table(table) => table.schema_name(),
            Self::View(_) => SchemaName::Reports,
        }
    }
}

/// The catalog over one set of snapshots, as one query may see it.
#[derive(Debug, Clone)]
pub(crate) struct Catalog {
    snapshots: Arc<Snapshots>,
    access: Access,
}

impl Catalog {
    /// The catalog over `snapshots`, without the schemas that `access` leaves out.
    pub(crate) fn new(snapshots: Arc<Snapshots>, access: Access) -> Self {
        Self { snapshots, access }
    }

    /// A session that sees `catalog` and nothing else.
    pub(crate) fn session(&self, catalog: Arc<dyn CatalogProvider>) -> SessionState {
        self.snapshots.engine().session(catalog)
    }
}

impl CatalogProvider for Catalog {
    fn schema_names(&self) -> Vec<String> {
        self.access
            .schemas()
            .iter()
            .map(|schema| schema.as_str().to_string())
            .collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        if name == information::NAME {
            return Some(Arc::new(Information::of(Arc::new(self.clone()))));
        }
        let schemas = if name == SEARCH_SCHEMA {
            self.access.schemas()
        } else {
            let position = self
                .access
                .schemas()
                .iter()
                .position(|schema| schema.as_str() == name)?;
            &self.access.schemas()[position..=position]
        };
        Some(Arc::new(Relations {
            snapshots: Arc::clone(&self.snapshots),
            schemas,
        }))
    }
}

/// The tables and views of one schema, or of several.
#[derive(Debug)]
struct Relations {
    snapshots: Arc<Snapshots>,
    schemas: &'static [SchemaName],
}

impl Relations {
    fn relations(&self) -> impl Iterator<Item = Relation> {
        Relation::all().filter(|relation| self.schemas.contains(&relation.schema()))
    }

    fn relation(&self, name: &str) -> Option<Relation> {
        self.relations().find(|relation| relation.name() == name)
    }
}

#[async_trait]
impl SchemaProvider for Relations {
    fn table_names(&self) -> Vec<String> {
        self.relations()
            .map(|relation| relation.name().to_string())
            .collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(match self.relation(name) {
            Some(Relation::Table(table)) => Some(self.snapshots.table(table).await?),
            Some(Relation::View(view)) => Some(self.snapshots.view(view).await?),
            None => None,
        })
    }

    /// Known without opening anything.
    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        Ok(self.relation(name).map(|relation| match relation {
            Relation::Table(_) => TableType::Base,
            Relation::View(_) => TableType::View,
        }))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.relation(name).is_some()
    }
}
