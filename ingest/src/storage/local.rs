//! Local files as object storage.
//!
//! A commit that was acknowledged must outlive a power cut. The object store
//! for local files never syncs, so `file://` goes through [`DurableLocal`].

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryFutureExt as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart,
};

mod after;
mod commits;

use after::few_after;
use commits::ReadLogs;

/// Local files, each synced with its folder before a write is acknowledged.
///
/// A small object appears under its name only when its bytes are on disk; a
/// large one is synced before its upload is called complete.
#[derive(Debug)]
pub(super) struct DurableLocal {
    inner: Arc<LocalFileSystem>,
    logs: Arc<ReadLogs>,
}

impl Default for DurableLocal {
    fn default() -> Self {
        Self {
            inner: Arc::new(LocalFileSystem::new()),
            logs: Arc::default(),
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

/// Makes what is at a path outlive a power cut.
fn sync(path: &FilePath, file: &File) -> io::Result<()> {
    file.sync_all()?;
    tracing::trace!(path = %path.display(), "synced");
    #[cfg(test)]
    tests::was_synced(path);
    Ok(())
}

fn sync_folder_of(path: &FilePath) -> io::Result<()> {
    path.parent()
        .map_or(Ok(()), |folder| sync_folder(or_here(folder)))
}

/// Makes the names in a folder outlive a power cut.
pub(crate) fn sync_folder(folder: &FilePath) -> io::Result<()> {
    sync(folder, &File::open(folder)?)
}

/// The parent of a relative path's first folder has no name.
fn or_here(folder: &FilePath) -> &FilePath {
    match folder.as_os_str().is_empty() {
        true => FilePath::new("."),
        false => folder,
    }
}

/// Makes the folder that is to hold the file, and every missing one above it.
///
/// A file is lost with its folder, so the names of new folders are synced too.
pub(crate) fn create_folder_of(path: &FilePath) -> io::Result<()> {
    let Some(folder) = path.parent() else {
        return Ok(());
    };
    let missing: Vec<_> = folder
        .ancestors()
        .take_while(|above| !or_here(above).exists())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    missing.into_iter().rev().try_for_each(sync_folder_of)
}

/// As [`create_folder_of`], before the inner store would make the folders
/// without syncing them.
async fn make_folder_for(path: &FilePath) -> Result<()> {
    let path = path.to_path_buf();
    blocking(move || create_folder_of(&path).map_err(|source| failed(&path, &source))).await
}

fn failed(path: &FilePath, source: &io::Error) -> Error {
    let detail = format!("{}: {source}", path.display());
    generic(io::Error::new(source.kind(), detail))
}

/// A name beside the place that no other writer takes, on any machine that
/// shares the folder.
fn staged_name(path: &FilePath) -> PathBuf {
    let mut random = [0u8; 8];
    getrandom::fill(&mut random).expect("the operating system gives random bytes");
    let mut staging = path.to_path_buf().into_os_string();
    // `LocalFileSystem` hides names that end in `#` and digits from lists.
    staging.push(format!("#{:020}", u64::from_le_bytes(random)));
    PathBuf::from(staging)
}

/// Writes the bytes beside their place, syncs them, then gives them the name.
fn place(path: &FilePath, staging: &FilePath, payload: &PutPayload, mode: &PutMode) -> Result<()> {
    let fail = |source: io::Error| failed(path, &source);
    create_folder_of(path).map_err(fail)?;
    // Where this fails, the file is somebody else's and not ours to remove.
    let file = File::create_new(staging).map_err(fail)?;
    let placed = fill(staging, file, payload)
        .map_err(fail)
        .and_then(|()| give_name(path, staging, mode));
    if placed.is_err() {
        // The staged file is of no use to anybody; that it may stay behind
        // changes nothing about the error that is reported.
        fs::remove_file(staging).ok();
    }
    placed?;
    sync_folder_of(path).map_err(fail)
}

fn fill(path: &FilePath, mut file: File, payload: &PutPayload) -> io::Result<()> {
    payload.iter().try_for_each(|part| file.write_all(part))?;
    sync(path, &file)
}

fn give_name(path: &FilePath, staging: &FilePath, mode: &PutMode) -> Result<()> {
    let named = match mode {
        PutMode::Create => match fs::hard_link(staging, path) {
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::AlreadyExists {
                    path: path.display().to_string(),
                    source: Box::new(source),
                });
            }
            linked => linked.and_then(|()| fs::remove_file(staging)),
        },
        PutMode::Overwrite | PutMode::Update(_) => fs::rename(staging, path),
    };
    named.map_err(|source| failed(path, &source))
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
        let staging = staged_name(&path);
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
        make_folder_for(&path).await?;
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

    /// What lies before the offset is not looked at, not even made a path of: a log may have thousands
    /// of commits, and its newest are asked for at each refresh.
    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, logs) = (Arc::clone(&self.inner), Arc::clone(&self.logs));
        let (prefix, offset) = (prefix.cloned(), offset.clone());
        let listed = async move {
            let few = match &prefix {
                Some(prefix) => few_after(&inner, logs, prefix, &offset).await?,
                None => None,
            };
            Ok::<_, Error>(match few {
                Some(few) => stream::iter(few).map(Ok).boxed(),
                None => inner.list_with_offset(prefix.as_ref(), &offset),
            })
        };
        listed.try_flatten_stream().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let path = self.inner.path_to_filesystem(to)?;
        make_folder_for(&path).await?;
        self.inner.copy_opts(from, to, options).await?;
        blocking(move || sync_file(&path)).await
    }
}

fn sync_file(path: &FilePath) -> Result<()> {
    File::open(path)
        .and_then(|file| sync(path, &file))
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
    use std::sync::Mutex;

    use super::*;
    use object_store::ObjectStoreExt as _;

    /// What was synced so far, by any test of this process.
    static SYNCED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

    /// Notes a sync: only a power cut would show that one is missing.
    pub(super) fn was_synced(path: &FilePath) {
        SYNCED
            .lock()
            .expect("no test holds it")
            .push(path.to_path_buf());
    }

    /// What was synced in a folder so far, in order, by names below it.
    fn synced_in(folder: &tempfile::TempDir) -> Vec<String> {
        let all = SYNCED.lock().expect("no test holds it");
        all.iter()
            .filter_map(|path| path.strip_prefix(folder.path()).ok())
            .map(|path| path.display().to_string())
            .collect()
    }

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

    /// A write is acknowledged when its bytes, its name and the names of all new folders above it
    /// are on disk, and the bytes are there before the name.
    #[tokio::test]
    async fn every_way_of_writing_is_synced_before_it_is_acknowledged() {
        let folder = tempfile::tempdir().expect("folder");
        let store = DurableLocal::default();
        let put = in_folder(&folder, "a/b/x");
        store.put(&put, "text".into()).await.expect("put");
        let synced = synced_in(&folder);
        let [made_a, made_b, bytes, name] = &synced[..] else {
            panic!("two folders, a file and its name: {synced:?}")
        };
        assert_eq!((&made_a[..], &made_b[..], &name[..]), ("", "a", "a/b"));
        assert!(bytes.starts_with("a/b/x#"), "{bytes}");

        let before = synced.len();
        store
            .copy(&put, &in_folder(&folder, "c/x"))
            .await
            .expect("copy");
        assert_eq!(synced_in(&folder)[before..], ["", "c/x", "c"]);

        let before = synced_in(&folder).len();
        let mut upload = store
            .put_multipart(&in_folder(&folder, "d/x"))
            .await
            .expect("upload");
        upload.put_part("text".into()).await.expect("part");
        upload.complete().await.expect("complete");
        assert_eq!(synced_in(&folder)[before..], ["", "d/x", "d"]);
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

    #[tokio::test]
    async fn staged_files_differ_and_no_list_shows_them() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("x");
        let (one, other) = (staged_name(&path), staged_name(&path));
        assert_ne!(one, other);
        fs::write(&one, "half").expect("staged");
        let store = DurableLocal::default();
        store
            .put(&in_folder(&folder, "x"), "whole".into())
            .await
            .expect("put");
        let prefix = Path::from_absolute_path(folder.path()).expect("an absolute path");
        let listed = store.list_with_delimiter(Some(&prefix)).await;
        let listed = listed.expect("list").objects;
        assert_eq!(listed.len(), 1, "{listed:?}");
    }

    #[test]
    fn a_staged_file_of_another_writer_is_left_alone() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("x");
        let staging = staged_name(&path);
        fs::write(&staging, "theirs").expect("staged");
        let refused = place(&path, &staging, &PutPayload::from("ours"), &PutMode::Create);
        assert!(
            matches!(refused, Err(Error::Generic { .. })),
            "the object itself is not there: {refused:?}"
        );
        assert_eq!(fs::read(&staging).expect("there"), b"theirs");
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn folders_are_made_before_any_way_of_writing() {
        let folder = tempfile::tempdir().expect("folder");
        let store = DurableLocal::default();
        let put = in_folder(&folder, "a/b/x");
        store.put(&put, "text".into()).await.expect("put");
        let copied = in_folder(&folder, "c/d/x");
        store.copy(&put, &copied).await.expect("copy");
        let uploaded = in_folder(&folder, "e/f/x");
        let mut upload = store.put_multipart(&uploaded).await.expect("upload");
        upload.put_part("text".into()).await.expect("part");
        upload.complete().await.expect("complete");
        for name in ["a/b/x", "c/d/x", "e/f/x"] {
            let text = fs::read(folder.path().join(name)).expect(name);
            assert_eq!(text, b"text", "{name}");
        }
        create_folder_of(&folder.path().join("a/b/y")).expect("they are there");
    }
}
