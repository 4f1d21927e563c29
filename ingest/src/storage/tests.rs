//! What storage is asked before anything is written to it.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutPayload, PutResult, Result,
};

use super::*;
use crate::delta::{TableError, create_missing, open_table};

/// Storage of an older kind: it takes no notice of conditions.
#[derive(Debug, Default)]
struct Unconditional(InMemory);

impl std::fmt::Display for Unconditional {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("unconditional")
    }
}

#[async_trait]
impl ObjectStore for Unconditional {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        _: PutOptions,
    ) -> Result<PutResult> {
        self.0.put(location, payload).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

fn bucket() -> WarehouseLocation {
    WarehouseLocation::parse("s3://bucket/team/plimsoll").expect("a place")
}

#[tokio::test]
async fn storage_that_overwrites_is_refused_before_anything_is_written() {
    let objects = Arc::new(Unconditional::default());
    let store = WarehouseStore::over(&bucket(), objects);
    let refused = create_missing(&store).await.expect_err("no conditions");
    assert!(
        matches!(
            &refused,
            TableError::Place(StorageError::NoCondition { .. })
        ),
        "{refused:?}"
    );
    let said = help(&refused).expect("a way out");
    assert!(said.contains("If-None-Match"), "{said}");
    let table = open_table(&store, Table::Runs).await.expect("readable");
    assert!(table.is_none(), "no table was made");
}

#[tokio::test]
async fn a_warehouse_lies_below_its_prefix_alone() {
    let objects = Arc::new(InMemory::new());
    for _ in 0..2 {
        // The second finds the object of the first, as a later process does.
        let store = WarehouseStore::over(&bucket(), objects.clone());
        create_missing(&store).await.expect("made");
        let runs = open_table(&store, Table::Runs).await.expect("readable");
        assert!(runs.is_some());
    }
    let all = objects.list_with_delimiter(None).await.expect("a list");
    assert_eq!(all.common_prefixes, [Path::from("team")]);
    let below = Path::from("team/plimsoll");
    let parts = objects.list_with_delimiter(Some(&below)).await;
    let parts: Vec<_> = parts.expect("a list").common_prefixes;
    let names: Vec<_> = parts.iter().filter_map(Path::filename).collect();
    assert_eq!(names, ["_plimsoll", "audit", "raw", "reports"]);
}
