//! Storage whose errors can be shown to anybody.

use std::fmt;
use std::future::ready;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _, TryFutureExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart,
};

use super::failure::{FailureKind, StorageFailure};

/// A store of a cloud, each of whose errors is told as a [`StorageFailure`], and whose lists
/// hold what was asked for.
#[derive(Debug)]
pub(super) struct Told {
    inner: Arc<dyn ObjectStore>,
    secrets: Arc<[String]>,
}

impl Told {
    /// Strikes `secrets` out of what `inner` says.
    pub(super) fn new(inner: Arc<dyn ObjectStore>, secrets: Vec<String>) -> Self {
        Self {
            inner,
            secrets: secrets.into(),
        }
    }

    fn tell(&self) -> impl Fn(Error) -> Error + Send + Sync + Clone + 'static {
        let secrets = Arc::clone(&self.secrets);
        move |error| told(error, &secrets)
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// The same error to a program, with words for people in it.
fn told(error: Error, secrets: &[String]) -> Error {
    let failure = StorageFailure::of(&error, secrets);
    // Without the bucket every object is missing, which is not what it means.
    if failure.kind() == FailureKind::NoBucket {
        let (store, source) = ("bucket", failure.into());
        return Error::Generic { store, source };
    }
    let source = Box::new(failure);
    match error {
        Error::Generic { store, .. } => Error::Generic { store, source },
        Error::NotFound { path, .. } => Error::NotFound { path, source },
        Error::AlreadyExists { path, .. } => Error::AlreadyExists { path, source },
        Error::Precondition { path, .. } => Error::Precondition { path, source },
        Error::NotModified { path, .. } => Error::NotModified { path, source },
        Error::PermissionDenied { path, .. } => Error::PermissionDenied { path, source },
        Error::Unauthenticated { path, .. } => Error::Unauthenticated { path, source },
        // The others are made on this side of the network.
        other => other,
    }
}

#[async_trait]
impl ObjectStore for Told {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let put = self.inner.put_opts(location, payload, options);
        put.await.map_err(self.tell())
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let begun = self.inner.put_multipart_opts(location, options).await;
        let inner = begun.map_err(self.tell())?;
        let secrets = Arc::clone(&self.secrets);
        Ok(Box::new(ToldUpload { inner, secrets }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let got = self.inner.get_opts(location, options).await;
        let mut result = got.map_err(self.tell())?;
        if let GetResultPayload::Stream(bytes) = result.payload {
            let bytes = bytes.map_err(self.tell()).boxed();
            result.payload = GetResultPayload::Stream(bytes);
        }
        Ok(result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let parts = self.inner.get_ranges(location, ranges).await;
        parts.map_err(self.tell())
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let deleted = self.inner.delete_stream(locations);
        deleted.map_err(self.tell()).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix).map_err(self.tell()).boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.inner.list_with_offset(prefix, offset);
        // Some servers begin with the offset itself, and some take no notice of it.
        let offset = offset.clone();
        let after = listed.try_filter(move |object| ready(object.location > offset));
        after.map_err(self.tell()).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let listed = self.inner.list_with_delimiter(prefix).await;
        listed.map_err(self.tell())
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let copied = self.inner.copy_opts(from, to, options).await;
        copied.map_err(self.tell())
    }
}

/// An upload in parts whose errors are told likewise.
#[derive(Debug)]
struct ToldUpload {
    inner: Box<dyn MultipartUpload>,
    secrets: Arc<[String]>,
}

#[async_trait]
impl MultipartUpload for ToldUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let secrets = Arc::clone(&self.secrets);
        let part = self.inner.put_part(data);
        part.map_err(move |error| told(error, &secrets)).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let completed = self.inner.complete().await;
        completed.map_err(|error| told(error, &self.secrets))
    }

    async fn abort(&mut self) -> Result<()> {
        let aborted = self.inner.abort().await;
        aborted.map_err(|error| told(error, &self.secrets))
    }
}
