//! Storage as the query engine gets it: for reading alone.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// A store whose objects can be read and not changed, whatever a plan asks.
///
/// It also holds storage to what the log promised: an object that is shorter
/// than it should be is an error, where stores give what there is.
#[derive(Debug)]
pub(crate) struct ReadOnlyStore {
    inner: Arc<dyn ObjectStore>,
}

impl ReadOnlyStore {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner }
    }
}

impl fmt::Display for ReadOnlyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, read-only", self.inner)
    }
}

fn refused<T>(operation: &str) -> Result<T> {
    let source = format!("`{operation}` is refused: queries only read");
    Err(Error::NotSupported {
        source: source.into(),
    })
}

fn check(location: &Path, wanted: &Range<u64>, given: u64) -> Result<()> {
    if given == wanted.end - wanted.start {
        return Ok(());
    }
    let source = format!(
        "{location} is shorter than its table's log says: bytes {}..{} were asked for, and {given} \
         are there",
        wanted.start, wanted.end
    );
    Err(Error::Generic {
        store: "warehouse",
        source: source.into(),
    })
}

#[async_trait]
impl ObjectStore for ReadOnlyStore {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let wanted = options.range.clone();
        let result = self.inner.get_opts(location, options).await?;
        if let Some(GetRange::Bounded(wanted)) = wanted {
            check(location, &wanted, result.range.end - result.range.start)?;
        }
        Ok(result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let parts = self.inner.get_ranges(location, ranges).await?;
        for (wanted, part) in ranges.iter().zip(&parts) {
            check(location, wanted, part.len() as u64)?;
        }
        Ok(parts)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        refused("put")
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        refused("put")
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        drop(locations);
        stream::once(async { refused("delete") }).boxed()
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        refused("copy")
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn it_reads_whole_ranges_and_changes_nothing() {
        let inner = Arc::new(InMemory::new());
        let place = Path::from("a");
        inner.put(&place, "0123456789".into()).await.expect("put");
        let store = ReadOnlyStore::new(Arc::clone(&inner) as _);
        assert_eq!(
            &store.get_range(&place, 2..5).await.expect("bytes")[..],
            b"234"
        );
        let parts = store
            .get_ranges(&place, &[0..1, 9..10])
            .await
            .expect("bytes");
        assert_eq!(parts, [Bytes::from_static(b"0"), Bytes::from_static(b"9")]);

        let short = store
            .get_range(&place, 8..12)
            .await
            .expect_err("two bytes")
            .to_string();
        assert!(short.contains("a is shorter"), "{short}");
        assert!(
            store
                .get_ranges(&place, std::slice::from_ref(&(8..12)))
                .await
                .is_err()
        );

        assert!(store.put(&place, "x".into()).await.is_err());
        assert!(store.put_multipart(&place).await.is_err());
        assert!(store.delete(&place).await.is_err());
        assert!(store.copy(&place, &Path::from("b")).await.is_err());
        assert_eq!(
            &inner
                .get(&place)
                .await
                .expect("there")
                .bytes()
                .await
                .expect("bytes")[..],
            b"0123456789"
        );
    }
}
