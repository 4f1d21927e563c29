//! Object storage as the warehouse uses it.
//!
//! A commit that was acknowledged must outlive a power cut. The object store
//! for local files never syncs, so `file://` goes through [`DurableLocal`].

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart,
};

/// Local files, each synced with its folder before a write is acknowledged.
///
/// A small object appears under its name only when its bytes are on disk; a
/// large one is synced before its upload is called complete.
#[derive(Debug)]
pub struct DurableLocal {
    inner: Arc<LocalFileSystem>,
}

/// Sets staged files of this process apart, whichever store makes them.
static STAGED: AtomicU64 = AtomicU64::new(0);

impl Default for DurableLocal {
    fn default() -> Self {
        Self {
            inner: Arc::new(LocalFileSystem::new()),
        }
    }
}

impl fmt::Display for DurableLocal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("local files, synced")
    }
}

fn generic(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Generic {
        store: "local files",
        source: Box::new(source),
    }
}

/// Runs file work away from the threads that drive futures.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(generic)?
}

fn sync_folder_of(path: &FilePath) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Writes the bytes beside their place, syncs them, then gives them the name.
fn place(path: &FilePath, staging: &FilePath, payload: &PutPayload, mode: &PutMode) -> Result<()> {
    let write = || -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = File::create_new(staging)?;
        payload.iter().try_for_each(|part| file.write_all(part))?;
        file.sync_all()
    };
    let name = || match mode {
        PutMode::Create => {
            fs::hard_link(staging, path)?;
            fs::remove_file(staging)
        }
        PutMode::Overwrite | PutMode::Update(_) => fs::rename(staging, path),
    };
    let placed = write()
        .and_then(|()| name())
        .and_then(|()| sync_folder_of(path));
    placed.map_err(|source| {
        // The staged file is of no use to anybody; that it may stay behind
        // changes nothing about the error that is reported.
        fs::remove_file(staging).ok();
        if source.kind() == io::ErrorKind::AlreadyExists {
            Error::AlreadyExists {
                path: path.display().to_string(),
                source: Box::new(source),
            }
        } else {
            let detail = format!("{}: {source}", path.display());
            generic(io::Error::new(source.kind(), detail))
        }
    })
}

#[async_trait]
impl ObjectStore for DurableLocal {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        if matches!(opts.mode, PutMode::Update(_)) || !opts.attributes.is_empty() {
            return self.inner.put_opts(location, payload, opts).await;
        }
        let path = self.inner.path_to_filesystem(location)?;
        let number = STAGED.fetch_add(1, Ordering::Relaxed);
        let mut staging = path.clone().into_os_string();
        // `LocalFileSystem` hides names that end in `#` and digits from lists.
        staging.push(format!("#{}{number:06}", std::process::id()));
        let staging = PathBuf::from(staging);
        blocking(move || place(&path, &staging, &payload, &opts.mode)).await?;
        Ok(PutResult {
            e_tag: None,
            version: None,
        })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let path = self.inner.path_to_filesystem(location)?;
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(DurableUpload { inner, path }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(
        &self,
        location: &Path,
        ranges: &[std::ops::Range<u64>],
    ) -> Result<Vec<bytes::Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        let path = self.inner.path_to_filesystem(to)?;
        blocking(move || sync_file(&path)).await
    }
}

fn sync_file(path: &FilePath) -> Result<()> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .and_then(|()| sync_folder_of(path))
        .map_err(generic)
}

/// An upload in parts that is synced when it is complete.
#[derive(Debug)]
struct DurableUpload {
    inner: Box<dyn MultipartUpload>,
    path: PathBuf,
}

#[async_trait]
impl MultipartUpload for DurableUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.inner.complete().await?;
        let path = self.path.clone();
        blocking(move || sync_file(&path)).await?;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt as _;

    fn in_folder(folder: &tempfile::TempDir, name: &str) -> Path {
        Path::from_absolute_path(folder.path().join(name)).expect("an absolute path")
    }

    #[tokio::test]
    async fn create_refuses_what_is_there_and_leaves_no_staged_file() {
        let folder = tempfile::tempdir().expect("folder");
        let store = DurableLocal::default();
        let place = in_folder(&folder, "log/1.json");
        let create = PutOptions {
            mode: PutMode::Create,
            ..Default::default()
        };
        store
            .put_opts(&place, "one".into(), create.clone())
            .await
            .expect("first");
        let refused = store.put_opts(&place, "two".into(), create).await;
        assert!(
            matches!(refused, Err(Error::AlreadyExists { .. })),
            "{refused:?}"
        );
        let bytes = store
            .get(&place)
            .await
            .expect("there")
            .bytes()
            .await
            .expect("bytes");
        assert_eq!(&bytes[..], b"one");
        let names = fs::read_dir(folder.path().join("log"))
            .expect("folder")
            .count();
        assert_eq!(names, 1);
    }

    #[tokio::test]
    async fn overwrite_replaces_the_whole_object() {
        let folder = tempfile::tempdir().expect("folder");
        let store = DurableLocal::default();
        let place = in_folder(&folder, "x");
        store
            .put(&place, "a longer text".into())
            .await
            .expect("first");
        store.put(&place, "short".into()).await.expect("second");
        let bytes = store
            .get(&place)
            .await
            .expect("there")
            .bytes()
            .await
            .expect("bytes");
        assert_eq!(&bytes[..], b"short");
    }
}
