//! What a spool promises, tried on real folders.

use std::io::Write as _;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array};
use arrow::datatypes::{Field, Schema};

use super::*;
use crate::id::RunId;
use crate::location::WarehouseLocation;
use crate::publish::{PublishError, publish};
use crate::row::TableRow as _;
use crate::storage::WarehouseStore;
use crate::table::ChunksRow;
use crate::time::Timestamp;

fn manifest() -> Manifest {
    Manifest::new(RunId::new(Timestamp::now()), "./warehouse", "0.1.0")
}

fn sends(ids: std::ops::Range<i64>) -> RecordBatch {
    let rows: Vec<_> = ids
        .map(|id| SendRow {
            request_id: id,
            stage: 0,
            scheduled_ns: id * 10,
            sent_ns: id * 10 + 1,
        })
        .collect();
    SendRow::to_batch(&rows).expect("batch")
}

fn chunks(ids: std::ops::Range<i64>) -> RecordBatch {
    let run_id = RunId::new(Timestamp::now());
    let rows: Vec<_> = ids
        .map(|request_id| ChunksRow {
            run_id,
            run_key: run_id.run_key(),
            date: run_id.date(),
            request_id,
            at_ns: vec![1, 2],
            tokens: None,
        })
        .collect();
    ChunksRow::to_batch(&rows).expect("batch")
}

/// The batch as a release wrote it that did not know the column.
fn without(batch: &RecordBatch, column: &str) -> RecordBatch {
    let kept: Vec<usize> = (0..batch.num_columns())
        .filter(|index| batch.schema_ref().field(*index).name() != column)
        .collect();
    assert_eq!(kept.len() + 1, batch.num_columns(), "it has the column");
    batch.project(&kept).expect("batch")
}

/// The batch as a release wrote it that knows one column more.
fn with_more(batch: &RecordBatch) -> RecordBatch {
    let names = batch.schema();
    let names = names.fields().iter().map(|field| field.name().as_str());
    let columns = names.zip(batch.columns().iter().cloned());
    let more: ArrayRef = batch["request_id"].clone();
    RecordBatch::try_from_iter(columns.chain([("unheard_of", more)])).expect("batch")
}

fn ids(contents: &SpoolContents) -> Vec<i64> {
    let batches = contents
        .batches(Tag::Sends)
        .map(|batch| batch.expect("whole"));
    let rows = batches.flat_map(|batch| SendRow::from_batch(&batch).expect("sends"));
    rows.map(|row| row.request_id).collect()
}

#[test]
fn what_was_appended_is_there_after_the_process_is_gone() {
    let root = tempfile::tempdir().expect("root");
    let manifest = manifest();
    let mut spool = Spool::create(root.path(), manifest.clone()).expect("create");
    spool.append(Tag::Sends, &sends(0..3)).expect("append");
    spool.append(Tag::Sends, &sends(3..5)).expect("append");
    spool.sync().expect("sync");
    let folder = spool.folder().to_path_buf();

    assert!(
        Spool::take_over(&folder).expect("no error").is_none(),
        "its process lives"
    );
    assert_eq!(abandoned(root.path()).expect("list"), []);
    drop(spool);
    let warehouse = Some(manifest.warehouse.clone());
    assert_eq!(abandoned(root.path()).expect("list"), [warehouse]);

    let spool = Spool::take_over(&folder)
        .expect("no error")
        .expect("abandoned");
    assert_eq!(spool.manifest(), &manifest);
    let contents = spool.contents().expect("contents");
    assert_eq!(ids(&contents), [0, 1, 2, 3, 4]);
    assert!(!contents.sealed());
    spool.remove().expect("remove");
    assert_eq!(list(root.path()).expect("list"), Vec::<PathBuf>::new());
}

#[test]
fn a_torn_last_frame_is_dropped_and_the_rest_stays() {
    let root = tempfile::tempdir().expect("root");
    let mut spool = Spool::create(root.path(), manifest()).expect("create");
    spool.append(Tag::Sends, &sends(0..3)).expect("append");
    let folder = spool.folder().to_path_buf();
    drop(spool);
    let segment = folder.join("segment-000000.plsf");
    let whole = fs::read(&segment).expect("segment");
    for torn in [1, 15, 16, 17, whole.len() - 1] {
        let mut file = File::create(&segment).expect("segment");
        file.write_all(&whole).expect("write");
        file.write_all(&whole[..torn]).expect("write");
        drop(file);
        let mut spool = Spool::take_over(&folder).expect("no error").expect("free");
        let contents = spool.contents().expect("contents");
        assert_eq!(ids(&contents), [0, 1, 2]);
        assert_eq!(contents.torn_bytes(), torn as u64);
        // Whoever goes on writes to a segment of its own.
        spool.append(Tag::Sends, &sends(9..10)).expect("append");
        assert_eq!(ids(&spool.contents().expect("contents")), [0, 1, 2, 9]);
        drop(spool);
        fs::remove_file(folder.join("segment-000001.plsf")).expect("clean");
    }
}

/// A byte that the disk changed: nothing from there on is taken for a measurement.
#[test]
fn a_frame_that_does_not_fit_its_checksum_ends_its_segment() {
    let root = tempfile::tempdir().expect("root");
    let mut spool = Spool::create(root.path(), manifest()).expect("create");
    let segment = spool.folder().join("segment-000000.plsf");
    let mut ends = vec![0];
    for first in 0..3 {
        spool
            .append(Tag::Sends, &sends(first..first + 1))
            .expect("append");
        ends.push(fs::metadata(&segment).expect("segment").len() as usize);
    }
    let whole = fs::read(&segment).expect("segment");
    for frame in 0..3 {
        let mut flipped = whole.clone();
        let middle = ends[frame] + frame::HEADER_LEN + (ends[frame + 1] - ends[frame]) / 2;
        flipped[middle] ^= 1;
        fs::write(&segment, &flipped).expect("write");
        let contents = spool.contents().expect("contents");
        assert_eq!(ids(&contents), (0..frame as i64).collect::<Vec<_>>());
        assert_eq!(contents.torn_bytes(), (whole.len() - ends[frame]) as u64);
    }
}

#[test]
fn a_full_segment_is_followed_by_the_next() {
    let root = tempfile::tempdir().expect("root");
    let spool = Spool::create(root.path(), manifest()).expect("create");
    let frame = frame::encode(Tag::Sends, Some(&sends(0..1))).expect("frame");
    let two = 2 * frame.len() as u64;
    let mut writer = segment::SegmentWriter::begin(spool.folder(), 0).expect("begin");
    writer.limit = two;
    for _ in 0..5 {
        writer.append(&frame).expect("append");
    }
    writer.sync().expect("sync");
    let sizes: Vec<_> = (0..4)
        .map(|number| {
            let segment = spool.folder().join(format!("segment-{number:06}.plsf"));
            fs::metadata(segment).map(|file| file.len()).ok()
        })
        .collect();
    assert_eq!(sizes, [Some(two), Some(two), Some(two / 2), None]);
    assert_eq!(ids(&spool.contents().expect("contents")), [0; 5]);
    // A frame past the limit by itself has a segment to itself.
    let mut writer = segment::SegmentWriter::begin(spool.folder(), 3).expect("begin");
    writer.limit = 1;
    writer.append(&frame).expect("append");
    writer.append(&frame).expect("append");
    assert_eq!(ids(&spool.contents().expect("contents")), [0; 7]);
}

#[test]
fn what_this_process_wrote_and_cannot_read_keeps_it_from_sealing() {
    let root = tempfile::tempdir().expect("root");
    let mut spool = Spool::create(root.path(), manifest()).expect("create");
    for first in 0..3 {
        let rows = sends(first..first + 1);
        spool.append(Tag::Sends, &rows).expect("append");
    }
    let segment = spool.folder().join("segment-000000.plsf");
    let whole = fs::read(&segment).expect("segment");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    fs::write(&segment, &flipped).expect("write");
    let refused = spool.seal(&[]).expect_err("a frame is gone");
    assert!(matches!(refused, SpoolError::Damaged { .. }), "{refused}");
    assert!(!spool.contents().expect("contents").sealed());
    fs::write(&segment, &whole).expect("write");
    let sealed = spool.seal(&[]).expect("seal");
    sealed.check().expect("all is there");
    assert_eq!(ids(&sealed), [0, 1, 2]);
    fs::remove_file(&segment).expect("remove");
    let contents = spool.contents().expect("contents");
    assert!(contents.sealed());
    contents.check().expect_err("a segment is gone");
}

#[test]
fn a_frame_that_changes_after_it_was_found_is_not_read() {
    let root = tempfile::tempdir().expect("root");
    let mut spool = Spool::create(root.path(), manifest()).expect("create");
    spool.append(Tag::Sends, &sends(0..9)).expect("append");
    let contents = spool.contents().expect("contents");
    let segment = spool.folder().join("segment-000000.plsf");
    let mut bytes = fs::read(&segment).expect("segment");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, &bytes).expect("write");
    let read = contents.batches(Tag::Sends).next().expect("one");
    assert!(matches!(read, Err(SpoolError::Io { .. })), "{read:?}");
}

/// Two processes that look for abandoned spools see the same folders.
#[test]
fn a_spool_that_somebody_published_in_the_meantime_is_nobodys() {
    let root = tempfile::tempdir().expect("root");
    let spool = Spool::create(root.path(), manifest()).expect("create");
    let folder = spool.folder().to_path_buf();
    spool.remove().expect("remove");
    assert!(Spool::take_over(&folder).expect("no error").is_none());
    fs::create_dir(&folder).expect("folder");
    Spool::take_over(&folder).expect_err("it has no lock");
}

#[test]
fn sealing_is_whole_or_not_at_all_and_twice_is_once() {
    let root = tempfile::tempdir().expect("root");
    let mut spool = Spool::create(root.path(), manifest()).expect("create");
    spool.append(Tag::Sends, &sends(0..2)).expect("append");
    // A seal that was cut short before its marker.
    spool
        .append(Tag::Final(Table::Chunks), &chunks(70..71))
        .expect("append");
    let folder = spool.folder().to_path_buf();
    drop(spool);

    let mut spool = Spool::take_over(&folder).expect("no error").expect("free");
    assert!(!spool.contents().expect("contents").sealed());
    let finals = |ids| [(Table::Chunks, chunks(ids))];
    let sealed = spool.seal(&finals(80..82)).expect("seal");
    assert!(sealed.sealed());
    assert_eq!(sealed.frames(Tag::Final(Table::Chunks)).count(), 1);
    let again = spool.seal(&finals(90..99)).expect("seal");
    let rows = again
        .batches(Tag::Final(Table::Chunks))
        .next()
        .expect("one")
        .expect("whole");
    let rows = ChunksRow::from_batch(&rows).expect("chunks");
    assert_eq!(rows[0].request_id, 80);
    assert_eq!(ids(&again), [0, 1]);
    spool.drop_cut_short_seal().expect("nothing was cut short");
    assert!(spool.contents().expect("contents").sealed());
}

#[test]
fn rows_appended_after_a_seal_was_cut_short_stay() {
    let root = tempfile::tempdir().expect("root");
    let mut spool = Spool::create(root.path(), manifest()).expect("create");
    spool.append(Tag::Sends, &sends(0..2)).expect("append");
    spool
        .append(Tag::Final(Table::Chunks), &chunks(70..71))
        .expect("append");
    let folder = spool.folder().to_path_buf();
    drop(spool);

    let mut spool = Spool::take_over(&folder).expect("no error").expect("free");
    spool.drop_cut_short_seal().expect("dropped");
    let contents = spool.contents().expect("contents");
    assert!(!contents.has(Tag::Final(Table::Chunks)));
    spool.append(Tag::Sends, &sends(2..4)).expect("append");
    spool.drop_cut_short_seal().expect("twice is once");
    let sealed = spool.seal(&[(Table::Chunks, chunks(80..81))]);
    let sealed = sealed.expect("seal");
    assert_eq!(ids(&sealed), [0, 1, 2, 3]);
    assert_eq!(sealed.frames(Tag::Final(Table::Chunks)).count(), 1);
}

#[test]
fn rows_of_another_release_read_back_with_the_columns_of_this_one() {
    let root = tempfile::tempdir().expect("root");
    let now = chunks(0..3);
    let table = Table::Chunks;
    for tag in [Tag::Draft(table), Tag::Facts(table), Tag::Final(table)] {
        for other in [without(&now, "tokens"), with_more(&now)] {
            let mut spool = Spool::create(root.path(), manifest()).expect("create");
            spool.append(tag, &other).expect("append");
            let contents = spool.contents().expect("contents");
            let read = contents.batches(tag).next().expect("one").expect("whole");
            assert_eq!(read, now, "{tag}");
        }
    }
}

#[test]
fn a_column_that_may_not_be_null_is_missed_by_name() {
    let root = tempfile::tempdir().expect("root");
    let mut spool = Spool::create(root.path(), manifest()).expect("create");
    let tag = Tag::Facts(Table::Chunks);
    let rows = without(&chunks(0..3), "at_ns");
    spool.append(tag, &rows).expect("append");
    let contents = spool.contents().expect("contents");
    let refused = contents.batches(tag).next().expect("one");
    let message = refused.expect_err("no `at_ns`").to_string();
    assert!(message.contains("have no column `at_ns`"), "{message}");
}

#[test]
fn values_of_another_type_and_nulls_are_named() {
    let root = tempfile::tempdir().expect("root");
    let tag = Tag::Facts(Table::Chunks);
    let changed = |column: &str, values: ArrayRef| {
        let rows = without(&chunks(0..3), column);
        let mut columns: Vec<_> = rows.schema().fields().iter().cloned().collect();
        columns.push(Arc::new(Field::new(
            column,
            values.data_type().clone(),
            true,
        )));
        let mut arrays = rows.columns().to_vec();
        arrays.push(values);
        RecordBatch::try_new(Arc::new(Schema::new(columns)), arrays).expect("rows")
    };
    for (rows, said) in [
        (
            changed("request_id", Arc::new(Int32Array::from(vec![0, 1, 2]))),
            "column `request_id`: is Int32, expected Int64",
        ),
        (
            changed(
                "request_id",
                Arc::new(Int64Array::from(vec![Some(0), None, None])),
            ),
            "column `request_id`, row 1: is null",
        ),
    ] {
        let mut spool = Spool::create(root.path(), manifest()).expect("create");
        spool.append(tag, &rows).expect("append");
        let contents = spool.contents().expect("contents");
        let refused = contents.batches(tag).next().expect("one");
        let message = refused
            .expect_err("not what the table asks for")
            .to_string();
        assert!(message.contains(said), "{message}");
    }
}

#[tokio::test]
async fn frames_of_a_later_release_keep_a_spool_from_being_published() {
    let root = tempfile::tempdir().expect("root");
    let spools = root.path().join("spool");
    let mut spool = Spool::create(&spools, manifest()).expect("create");
    spool.append(Tag::Sends, &sends(0..2)).expect("append");
    let frame = frame::encode_tagged("facts/unheard_of", Some(&sends(0..1))).expect("frame");
    let mut segment = OpenOptions::new()
        .append(true)
        .open(spool.folder().join("segment-000000.plsf"))
        .expect("segment");
    spool.seal(&[]).expect("seal");
    segment.write_all(&frame).expect("write");
    segment.write_all(&frame).expect("write");

    let message = spool.contents().expect_err("later").to_string();
    assert!(message.contains("2 in number"), "{message}");
    assert!(message.contains("`facts/unheard_of`"), "{message}");
    let warehouse = root.path().join("warehouse").display().to_string();
    let location = WarehouseLocation::parse(&warehouse).expect("path");
    let warehouse = WarehouseStore::connect(&location).expect("local files");
    let refused = publish(spool, &warehouse).await;
    assert!(
        matches!(
            refused,
            Err(PublishError::Spool(SpoolError::UnknownFrames { .. }))
        ),
        "{refused:?}"
    );
    assert_eq!(list(&spools).expect("list").len(), 1);
}

#[test]
fn a_sweep_deletes_what_is_left_of_published_spools_alone() {
    let root = tempfile::tempdir().expect("root");
    let spool = Spool::create(root.path(), manifest()).expect("create");
    for name in [".done-1/deep", ".new-2", ".new-3", "other"] {
        fs::create_dir_all(root.path().join(name)).expect("folder");
    }
    fs::write(root.path().join(".done-1/deep/rest"), "x").expect("file");
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(7_200);
    let abandoned = File::open(root.path().join(".new-3")).expect("folder");
    abandoned.set_modified(long_ago).expect("it is ours");
    sweep(root.path());
    assert!(!root.path().join(".done-1").exists());
    assert!(!root.path().join(".new-3").exists());
    assert!(root.path().join(".new-2").exists());
    assert!(root.path().join("other").exists());
    assert_eq!(list(root.path()).expect("list"), [spool.folder()]);
    spool.remove().expect("remove");
    sweep(&root.path().join("missing"));
}

#[test]
fn a_spool_that_lost_a_part_is_not_passed_over() {
    for (part, other) in [("manifest.json", "lock"), ("lock", "manifest.json")] {
        let root = tempfile::tempdir().expect("root");
        let mut spool = Spool::create(root.path(), manifest()).expect("create");
        spool.append(Tag::Sends, &sends(0..3)).expect("append");
        let folder = spool.folder().to_path_buf();
        drop(spool);
        fs::remove_file(folder.join(part)).expect("removed");
        assert_eq!(list(root.path()).expect("list"), [folder.as_path()]);
        assert_eq!(abandoned(root.path()).expect("list").len(), 1, "{part}");
        let message = Spool::take_over(&folder).expect_err(part).to_string();
        assert!(message.contains(&format!("lost its `{part}`")), "{message}");
        // Its rows alone are enough to be told.
        fs::remove_file(folder.join(other)).expect("removed");
        assert_eq!(list(root.path()).expect("list"), [folder.as_path()]);
        fs::remove_dir_all(&folder).expect("removed");
        assert!(
            Spool::take_over(&folder).expect("no error").is_none(),
            "gone"
        );
    }
}

#[test]
fn a_spool_of_a_later_release_is_refused_politely() {
    let root = tempfile::tempdir().expect("root");
    let later = Manifest {
        version: SPOOL_VERSION + 1,
        ..manifest()
    };
    let spool = Spool::create(root.path(), later).expect("create");
    let folder = spool.folder().to_path_buf();
    drop(spool);
    let message = Spool::take_over(&folder).expect_err("newer").to_string();
    assert!(
        message.contains("publish it with the release that wrote it"),
        "{message}"
    );
}
