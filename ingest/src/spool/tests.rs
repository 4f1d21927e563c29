//! What a spool promises, tried on real folders.

use std::io::Write as _;

use super::*;
use crate::id::RunId;
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

#[test]
fn sealing_is_whole_or_not_at_all_and_twice_is_once() {
    let root = tempfile::tempdir().expect("root");
    let mut spool = Spool::create(root.path(), manifest()).expect("create");
    spool.append(Tag::Sends, &sends(0..2)).expect("append");
    // A seal that was cut short before its marker.
    spool
        .append(Tag::Final(Table::Stages), &sends(70..71))
        .expect("append");
    let folder = spool.folder().to_path_buf();
    drop(spool);

    let mut spool = Spool::take_over(&folder).expect("no error").expect("free");
    assert!(!spool.contents().expect("contents").sealed());
    let sealed = spool.seal(&[(Table::Stages, sends(80..82))]).expect("seal");
    assert!(sealed.sealed());
    assert_eq!(sealed.frames(Tag::Final(Table::Stages)).count(), 1);
    let again = spool.seal(&[(Table::Stages, sends(90..99))]).expect("seal");
    let rows = again
        .batches(Tag::Final(Table::Stages))
        .next()
        .expect("one")
        .expect("whole");
    assert_eq!(SendRow::from_batch(&rows).expect("sends")[0].request_id, 80);
    assert_eq!(ids(&again), [0, 1]);
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
