//! Small objects that never change, kept for those who read them again.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};

/// What an entry takes beside its bytes.
const ENTRY_BYTES: usize = 512;

/// How long an object is kept. What was damaged and is mended is read again then at the latest.
const KEPT_FOR: Duration = Duration::from_secs(600);

/// How many objects are read at once that nobody waits for one by one.
const READ_AT_ONCE: usize = 32;

/// Which objects are kept, and how many bytes of them.
#[derive(Debug, Clone, Copy)]
pub struct Keeping {
    /// Whether the object of this name has one content for as long as it is there.
    pub settled: fn(&Path) -> bool,
    /// Larger ones are read in parts each time, in bytes.
    pub largest: u64,
    /// What all that is kept may take, in bytes.
    pub capacity: u64,
}

impl Keeping {
    /// The commits and the checkpoints of tables' logs.
    ///
    /// A log is read from its last checkpoint on several times for one opening: for the schema, for
    /// the files, for each application transaction that is asked for. Over a network each commit of
    /// it is a request.
    pub(super) const LOGS: Self = Self {
        settled: is_of_log,
        // Any commit, and the checkpoint of some thousand files.
        largest: 1 << 20,
        capacity: 16 << 20,
    };
}

/// A store that reads small objects whole, and each of them once while there is room.
///
/// What is kept is given out until a list shows another object of its name: somebody may delete a
/// table and make another one. Whoever reads a log lists it before; files of rows have names that
/// nothing else ever has.
#[derive(Debug)]
pub struct KeptObjects {
    inner: Arc<dyn ObjectStore>,
    keeping: Keeping,
    kept: Cache<Path, Kept>,
}

/// What was found out about an object.
#[derive(Debug, Clone)]
enum Kept {
    Whole(Whole),
    /// It is too large to be kept.
    Large,
}

/// An object with all of its bytes.
#[derive(Debug, Clone)]
struct Whole {
    meta: ObjectMeta,
    attributes: Attributes,
    bytes: Bytes,
}

impl Whole {
    /// The bytes that a range means in it, and where they lie.
    fn part(&self, range: &GetRange) -> Result<(Range<u64>, Bytes)> {
        let range = range
            .as_range(self.meta.size)
            .map_err(|source| Error::Generic {
                store: "kept objects",
                source: source.into(),
            })?;
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let bytes = self.bytes.slice(place(range.start)..place(range.end));
        Ok((range, bytes))
    }
}

impl KeptObjects {
    /// Keeps objects of `inner`.
    pub fn over(inner: Arc<dyn ObjectStore>, keeping: Keeping) -> Self {
        let weigher = |path: &Path, kept: &Kept| {
            let bytes = match kept {
                Kept::Whole(whole) => whole.bytes.len(),
                Kept::Large => 0,
            };
            u32::try_from(ENTRY_BYTES + path.as_ref().len() + bytes).unwrap_or(u32::MAX)
        };
        let kept = Cache::builder()
            .max_capacity(keeping.capacity)
            .weigher(weigher)
            // What was read last is asked for next: by the same scan.
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(KEPT_FOR);
        Self {
            inner,
            keeping,
            kept: kept.build(),
        }
    }

    /// An object with all of its bytes, read where it is not kept yet; `None` where it is not to be.
    async fn whole(&self, location: &Path) -> Result<Option<Whole>> {
        if !(self.keeping.settled)(location) {
            return Ok(None);
        }
        match self.kept.get(location) {
            Some(Kept::Whole(whole)) => return Ok(Some(whole)),
            Some(Kept::Large) => return Ok(None),
            None => {}
        }
        // One byte more says that there is more.
        let options = GetOptions {
            range: Some(GetRange::Bounded(0..self.keeping.largest + 1)),
            ..GetOptions::default()
        };
        let result = self.inner.get_opts(location, options).await?;
        if result.meta.size > self.keeping.largest {
            self.kept.insert(location.clone(), Kept::Large);
            return Ok(None);
        }
        let (meta, attributes) = (result.meta.clone(), result.attributes.clone());
        // A part of what a connection read would keep all of that in memory.
        let bytes = Bytes::copy_from_slice(&result.bytes().await?);
        if bytes.len() as u64 != meta.size {
            let (given, size) = (bytes.len(), meta.size);
            let source = format!("{location} has {size} bytes, and {given} were given");
            return Err(Error::Generic {
                store: "kept objects",
                source: source.into(),
            });
        }
        let whole = Whole {
            meta,
            attributes,
            bytes,
        };
        self.kept
            .insert(location.clone(), Kept::Whole(whole.clone()));
        Ok(Some(whole))
    }

    /// Reads objects that are not kept yet, many at once, until one cannot be read: who asks for it
    /// is told why.
    pub async fn read_ahead(&self, locations: &[Path]) {
        let unread = locations
            .iter()
            .filter(|location| !self.kept.contains_key(*location))
            .cloned()
            .map(Ok);
        let read = stream::iter(unread.collect::<Vec<_>>())
            .try_for_each_concurrent(READ_AT_ONCE, async |location| -> Result<()> {
                self.whole(&location).await.map(drop)
            });
        drop(read.await);
    }

    /// What looks at each object of a list, and forgets those that are others by now.
    fn comparing(&self) -> impl Fn(&ObjectMeta) + Send + 'static {
        let kept = self.kept.clone();
        move |listed| {
            if let Some(Kept::Whole(whole)) = kept.get(&listed.location)
                && !is_same(&whole.meta, listed)
            {
                kept.invalidate(&listed.location);
            }
        }
    }
}

/// Whether an object is a commit, or a checkpoint.
fn is_of_log(location: &Path) -> bool {
    let mut parts = location.parts().rev();
    let (Some(name), Some(folder)) = (parts.next(), parts.next()) else {
        return false;
    };
    let Some((version, kind)) = name.as_ref().split_once('.') else {
        return false;
    };
    folder.as_ref() == "_delta_log"
        && version.len() == 20
        && version.bytes().all(|byte| byte.is_ascii_digit())
        && (kind == "json" || (kind.starts_with("checkpoint.") && kind.ends_with("parquet")))
}

/// Whether two looks at a name saw the same object. Lists of some stores say the time of a change
/// more finely than answers do, and leave out the quotes of a tag.
fn is_same(one: &ObjectMeta, other: &ObjectMeta) -> bool {
    one.size == other.size
        && match (&one.e_tag, &other.e_tag) {
            (Some(one), Some(other)) => tag(one) == tag(other),
            _ => one.last_modified.timestamp() == other.last_modified.timestamp(),
        }
}

/// A tag without what some answers have around it.
fn tag(text: &str) -> &str {
    text.trim_start_matches("W/").trim_matches('"')
}

/// Whether nothing but bytes is asked for.
fn is_plain(options: &GetOptions) -> bool {
    let GetOptions {
        if_match,
        if_none_match,
        if_modified_since,
        if_unmodified_since,
        version,
        head,
        range: _,
        extensions: _,
    } = options;
    let texts = [if_match, if_none_match, version];
    let moments = [if_modified_since, if_unmodified_since];
    !head && texts.iter().all(|text| text.is_none()) && moments.iter().all(|at| at.is_none())
}

impl fmt::Display for KeptObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for KeptObjects {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let whole = match is_plain(&options) {
            true => self.whole(location).await?,
            false => None,
        };
        let Some(whole) = whole else {
            return self.inner.get_opts(location, options).await;
        };
        let (range, bytes) = match &options.range {
            Some(range) => whole.part(range)?,
            None => (0..whole.meta.size, whole.bytes),
        };
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream::once(async { Ok(bytes) }).boxed()),
            meta: whole.meta,
            range,
            attributes: whole.attributes,
        })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let Some(whole) = self.whole(location).await? else {
            return self.inner.get_ranges(location, ranges).await;
        };
        let parts = ranges.iter().map(|range| {
            let (_, bytes) = whole.part(&GetRange::Bounded(range.clone()))?;
            Ok(bytes)
        });
        parts.collect()
    }

    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let put = self.inner.put_opts(location, payload, options).await;
        self.kept.invalidate(location);
        put
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.kept.invalidate(location);
        self.inner.put_multipart_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let kept = self.kept.clone();
        let deleted = self.inner.delete_stream(locations);
        deleted
            .inspect_ok(move |location| kept.invalidate(location))
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.inner.list(prefix);
        listed.inspect_ok(self.comparing()).boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.inner.list_with_offset(prefix, offset);
        listed.inspect_ok(self.comparing()).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let listed = self.inner.list_with_delimiter(prefix).await?;
        listed.objects.iter().for_each(self.comparing());
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let copied = self.inner.copy_opts(from, to, options).await;
        self.kept.invalidate(to);
        copied
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt as _;
    use object_store::memory::InMemory;
    use plimsoll_faulty_storage::Faulty;

    use super::*;

    /// A log of which one commit was read.
    async fn read_once() -> (Arc<Faulty>, KeptObjects, Path) {
        let inner = Faulty::healthy(Arc::new(InMemory::new()));
        let logs = KeptObjects::over(Arc::clone(&inner) as _, Keeping::LOGS);
        let commit = Path::from("runs/_delta_log/00000000000000000007.json");
        logs.put(&commit, "0123456789".into()).await.expect("put");
        assert_eq!(&bytes(&logs, &commit).await[..], b"0123456789");
        (inner, logs, commit)
    }

    async fn bytes(store: &dyn ObjectStore, location: &Path) -> Bytes {
        let got = store.get(location).await.expect("there");
        got.bytes().await.expect("bytes")
    }

    async fn list(store: &dyn ObjectStore) -> Vec<ObjectMeta> {
        let listed = store.list(Some(&Path::from("runs/_delta_log")));
        listed.try_collect().await.expect("a list")
    }

    #[tokio::test]
    async fn what_was_read_is_not_asked_for_again() {
        let (inner, logs, commit) = read_once().await;
        let before = inner.operations();
        assert_eq!(&bytes(&logs, &commit).await[..], b"0123456789");
        let range = logs.get_range(&commit, 2..4).await.expect("bytes");
        assert_eq!(&range[..], b"23");
        let ranges = logs.get_ranges(&commit, &[0..1, 8..10]).await;
        assert_eq!(ranges.expect("bytes"), ["0", "89"]);
        let beyond = logs.get_ranges(&commit, std::slice::from_ref(&(11..12)));
        assert!(beyond.await.is_err(), "there are ten bytes");
        assert_eq!(inner.operations(), before);
        assert_eq!(logs.head(&commit).await.expect("there").size, 10);
        assert_eq!(inner.operations(), before + 1, "whether it is there");
        assert_eq!(list(&logs).await.len(), 1);
        let before = inner.operations();
        assert_eq!(&bytes(&logs, &commit).await[..], b"0123456789");
        assert_eq!(inner.operations(), before, "the list showed the same");
    }

    /// Another process deletes the table and makes another one.
    #[tokio::test]
    async fn another_object_of_the_same_name_is_seen() {
        let (inner, logs, commit) = read_once().await;
        inner.put(&commit, "abcdefghij".into()).await.expect("put");
        list(&logs).await;
        assert_eq!(&bytes(&logs, &commit).await[..], b"abcdefghij");
        logs.put(&commit, "third".into()).await.expect("put");
        assert_eq!(&bytes(&logs, &commit).await[..], b"third");
        logs.delete(&commit).await.expect("deleted");
        assert!(logs.get(&commit).await.is_err());
    }

    /// Azure's lists leave out what its answers have around a tag.
    #[test]
    fn a_tag_is_the_same_with_and_without_quotes() {
        let with = |tag: &str| ObjectMeta {
            location: Path::from("a"),
            last_modified: chrono::DateTime::default(),
            size: 1,
            e_tag: Some(tag.to_owned()),
            version: None,
        };
        assert!(is_same(&with("0x8D93C7D4"), &with("\"0x8D93C7D4\"")));
        assert!(is_same(&with("W/\"0x8D93C7D4\""), &with("0x8D93C7D4")));
        assert!(!is_same(&with("0x8D93C7D4"), &with("\"0x8D93C7D5\"")));
    }

    #[tokio::test]
    async fn what_was_read_ahead_is_there() {
        let (inner, objects, commit) = read_once().await;
        let missing = Path::from("runs/_delta_log/00000000000000000008.json");
        let before = inner.operations();
        objects.read_ahead(&[commit.clone(), missing.clone()]).await;
        assert_eq!(inner.operations(), before + 1, "one was kept already");
        assert!(objects.get(&missing).await.is_err());
        inner.put(&missing, "late".into()).await.expect("put");
        assert_eq!(&bytes(&objects, &missing).await[..], b"late");
    }

    #[tokio::test]
    async fn large_checkpoints_are_read_in_parts() {
        let inner = Faulty::healthy(Arc::new(InMemory::new()));
        let logs = KeptObjects::over(Arc::clone(&inner) as _, Keeping::LOGS);
        let checkpoint = Path::from("runs/_delta_log/00000000000000000100.checkpoint.parquet");
        let large = usize::try_from(Keeping::LOGS.largest).expect("small") + 1;
        let payload = vec![7; large].into();
        logs.put(&checkpoint, payload).await.expect("put");
        for _ in 0..2 {
            let part = logs.get_range(&checkpoint, 5..9).await.expect("bytes");
            assert_eq!(&part[..], [7; 4]);
        }
        assert_eq!(inner.operations(), 4, "a put, a look, two parts");
    }

    #[test]
    fn only_what_never_changes_is_kept() {
        for (name, settled) in [
            ("_delta_log/00000000000000000007.json", true),
            ("_delta_log/00000000000000000100.checkpoint.parquet", true),
            (
                "_delta_log/00000000000000000100.checkpoint.0000000001.0000000002.parquet",
                true,
            ),
            ("_delta_log/_last_checkpoint", false),
            ("_delta_log/.tmp/00000000000000000007.json", false),
            ("_delta_log/_commit_5f.json.tmp", false),
            ("part-7.zstd.parquet", false),
            ("00000000000000000007.json", false),
        ] {
            let location = Path::from(format!("runs/{name}"));
            assert_eq!(is_of_log(&location), settled, "{location}");
        }
    }
}
