//! The newest of many files in one folder.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectMeta, Result};

use super::commits::{ReadLogs, version_of};
use super::{blocking, failed, generic};

/// So many are looked at one by one: what a log has since it was last summed up.
pub(super) const FEW: usize = 256;

/// What lies in a folder after the offset, in order; `None` where it is much, or not only plain files.
pub(super) async fn few_after(
    inner: &LocalFileSystem,
    logs: Arc<ReadLogs>,
    folder: &Path,
    offset: &Path,
) -> Result<Option<Vec<ObjectMeta>>> {
    let Some(after) = offset.prefix_match(folder).and_then(|mut parts| {
        let after = parts.next()?.as_ref().to_string();
        parts.next().is_none().then_some(after)
    }) else {
        return Ok(None);
    };
    let Ok(place) = inner.path_to_filesystem(folder) else {
        return Ok(None);
    };
    let files = blocking(move || {
        let files = files_after(&logs, &place, &after);
        files.map_err(|source| failed(&place, &source))
    });
    let Some(files) = files.await? else {
        return Ok(None);
    };
    let objects = files
        .into_iter()
        .map(|(name, metadata)| object(folder.clone().join(name), &metadata));
    let objects = objects.collect::<io::Result<_>>();
    objects.map(Some).map_err(generic)
}

/// A file as `LocalFileSystem` tells of it.
fn object(location: Path, metadata: &Metadata) -> io::Result<ObjectMeta> {
    let modified = metadata.modified()?;
    // A file from before 1970 has 0, as there.
    let since_epoch = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(ObjectMeta {
        location,
        last_modified: modified.into(),
        size: metadata.len(),
        e_tag: Some(format!(
            "{:x}-{:x}-{:x}",
            metadata.ino(),
            since_epoch.as_micros(),
            metadata.len()
        )),
        version: None,
    })
}

fn files_after(
    logs: &ReadLogs,
    folder: &FilePath,
    after: &str,
) -> io::Result<Option<Vec<(String, Metadata)>>> {
    if let Some(commits) = logs.commits_from(folder, after)? {
        return Ok(Some(commits));
    }
    let began = SystemTime::now();
    let Some(names) = names_after(folder, after)? else {
        return Ok(None);
    };
    logs.was_read(folder, began, names.last);
    let names = names.after;
    if names.len() > FEW {
        return Ok(None);
    }
    let mut files = Vec::with_capacity(names.len());
    for name in names {
        match fs::metadata(folder.join(&name)) {
            Ok(metadata) => files.push((name, metadata)),
            // Gone since.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(files))
}

/// The names of files in a folder.
struct Names {
    /// Those after the one that was asked for, in order.
    after: Vec<String>,
    /// The greatest version of a log's commit or checkpoint among all.
    last: Option<u64>,
}

/// The names of files after `after`, in order; `None` where there is anything but files whose names
/// are the objects' names.
fn names_after(folder: &FilePath, after: &str) -> io::Result<Option<Names>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let mut names = Vec::new();
    let mut last = None;
    for entry in entries {
        let entry = entry?;
        if !entry.file_type()?.is_file() {
            return Ok(None);
        }
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            return Ok(None);
        };
        let is_staged = name.split_once('#').is_some_and(|(_, number)| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        });
        last = last.max(version_of(name));
        if name <= after || is_staged {
            continue;
        }
        if !name.bytes().all(is_plain) {
            return Ok(None);
        }
        names.push(name.to_string());
    }
    names.sort_unstable();
    Ok(Some(Names { after: names, last }))
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt as _;
    use futures::stream::BoxStream;
    use object_store::ObjectStore as _;

    use super::super::DurableLocal;
    use super::*;

    fn in_folder(folder: &FilePath, name: &str) -> Path {
        Path::from_absolute_path(folder.join(name)).expect("an absolute path")
    }

    /// Whatever lies there, the same is listed as by a look at everything.
    #[tokio::test]
    async fn what_comes_after_a_name_is_listed_with_little_and_with_much() {
        let folder = tempfile::tempdir().expect("folder");
        let log = folder.path().join("log");
        fs::create_dir(&log).expect("made");
        for commit in 0..400 {
            fs::write(log.join(format!("{commit:04}.json")), "commit").expect("written");
        }
        fs::write(log.join("0399.json#0001"), "half").expect("staged");
        let store = DurableLocal::default();
        let prefix = in_folder(folder.path(), "log");
        let both = async |offset: &Path| {
            let ours = store.list_with_offset(Some(&prefix), offset);
            let all = store.inner.list_with_offset(Some(&prefix), offset);
            let ours: Vec<ObjectMeta> = ours.try_collect().await.expect("listed");
            let mut all: Vec<ObjectMeta> = all.try_collect().await.expect("listed");
            all.sort_by(|one, other| one.location.cmp(&other.location));
            (ours, all)
        };
        for (after, count) in [("0397.json", 2), ("0399.json", 0), ("0398", 2), ("9", 0)] {
            let (ours, all) = both(&in_folder(folder.path(), &format!("log/{after}"))).await;
            assert_eq!((ours.len(), &ours), (count, &all), "{after}");
        }
        // Much of it, from elsewhere, and with what is no file of its name.
        let from_start = in_folder(folder.path(), "log/0000.json");
        let (mut ours, all) = both(&from_start).await;
        ours.sort_by(|one, other| one.location.cmp(&other.location));
        assert_eq!((ours.len(), ours), (399, all));
        assert_eq!(both(&in_folder(folder.path(), "k")).await.0.len(), 400);
        let last = in_folder(folder.path(), "log/0398.json");
        for odd in ["log/more/0400.json", "log/0400 %.json"] {
            let odd = folder.path().join(odd);
            fs::create_dir_all(odd.parent().expect("a folder")).expect("made");
            fs::write(&odd, "commit").expect("written");
            let (mut ours, all) = both(&last).await;
            ours.sort_by(|one, other| one.location.cmp(&other.location));
            assert!(ours.len() > 1, "{ours:?}");
            assert_eq!(ours, all);
        }
        let missing = in_folder(folder.path(), "none");
        let nothing = store.list_with_offset(Some(&missing), &in_folder(folder.path(), "none/1"));
        let nothing: Vec<ObjectMeta> = nothing.try_collect().await.expect("nothing");
        assert!(nothing.is_empty());
    }

    /// A log's commits are found by their names, and told of as by a look at everything.
    #[tokio::test]
    async fn the_commits_of_a_log_are_listed_as_the_folder_has_them() {
        let folder = tempfile::tempdir().expect("folder");
        let log = folder.path().join("_delta_log");
        fs::create_dir(&log).expect("made");
        for commit in 0..12 {
            fs::write(log.join(format!("{commit:020}.json")), "commit").expect("written");
        }
        let checkpoint = log.join("00000000000000000009.checkpoint.parquet");
        fs::write(checkpoint, "all of it").expect("written");
        fs::write(log.join("_last_checkpoint"), r#"{"version":9}"#).expect("written");
        let store = DurableLocal::default();
        let prefix = in_folder(folder.path(), "_delta_log");
        // The library passes over what is no commit.
        let commits = async |listed: BoxStream<'static, Result<ObjectMeta>>| {
            let mut commits: Vec<ObjectMeta> = listed.try_collect().await.expect("listed");
            commits.retain(|object| !object.location.as_ref().ends_with("_last_checkpoint"));
            commits.sort_by(|one, other| one.location.cmp(&other.location));
            commits
        };
        // The first time by all names.
        for (first, count) in [(0, 13), (0, 13), (9, 4), (10, 2), (12, 0)] {
            let offset = in_folder(&log, &format!("{first:020}"));
            let ours = commits(store.list_with_offset(Some(&prefix), &offset)).await;
            let all = commits(store.inner.list_with_offset(Some(&prefix), &offset)).await;
            assert_eq!((ours.len(), ours), (count, all), "{first}");
        }
    }
}
