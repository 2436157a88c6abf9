//! The store: what was committed is there, whatever happens in between.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use tempfile::TempDir;

use super::rows::{CHUNK, INLINE, META};
use super::*;
use crate::federation::core::{FlowKey, Kind, Tag};
use crate::federation::name::{ChannelName, JobId, PartyId};
use crate::federation::relay::{Op, PieceId, Record};

const CACHE: usize = 1 << 20;

fn job(name: &str) -> JobId {
    JobId::new(name).unwrap()
}

fn party(name: &str) -> PartyId {
    PartyId::new(name).unwrap()
}

fn open(folder: &TempDir) -> FileStore {
    FileStore::open(folder.path().join("store.redb"), CACHE).unwrap()
}

fn begun(name: &str, flow: u64) -> Vec<Op> {
    let (job, from, to) = (job(name), party("a"), party("b"));
    let members = vec![from.clone(), to.clone()];
    let key = FlowKey {
        kind: Kind::Variable,
        name: ChannelName::new("x").unwrap(),
    };
    let records = [
        Record::Job {
            job: job.clone(),
            members,
            aborted: None,
        },
        Record::Pair {
            job: job.clone(),
            from: from.clone(),
            to: to.clone(),
            ready: true,
            left: false,
        },
        Record::Flow {
            id: flow,
            job,
            from,
            to,
            key,
            epoch: 7,
            source: (7, 1),
        },
        Record::Next { flow, next: 3 },
    ];
    records.map(Op::Keep).into()
}

fn message(flow: u64, offset: u64, content: &[Bytes]) -> Vec<Op> {
    vec![
        Op::Keep(Record::Message {
            flow,
            offset,
            tag: Some(Tag::new(format!("t{offset}")).unwrap()),
            codec: 1,
            parts: content.iter().map(|part| part.len() as u64).collect(),
            expires_unix_ms: Some(99),
        }),
        Op::Piece {
            id: PieceId { flow, offset, at: 0 },
            content: content.to_vec(),
        },
    ]
}

fn settled(flow: u64, offset: u64) -> Op {
    Op::Settled {
        flow,
        offset,
        expired: false,
    }
}

fn records(store: &mut FileStore) -> Vec<Record> {
    let mut records = Vec::new();
    store.restore(&mut |record| records.push(record)).unwrap();
    records
}

/// Bytes that differ.
fn bytes(len: usize, seed: u8) -> Bytes {
    (0..len).map(|at| (at as u8).wrapping_mul(31) ^ seed).collect()
}

#[test]
fn what_was_committed_is_there_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let contents: [Vec<Bytes>; 7] = [
        vec![],
        vec![bytes(0, 0), bytes(3, 1), bytes(0, 0)],
        vec![bytes(INLINE, 2)],
        vec![bytes(INLINE, 3), bytes(1, 4)],
        vec![bytes(CHUNK, 5)],
        vec![
            bytes(10, 6),
            bytes(3 * CHUNK + 7, 7),
            bytes(0, 0),
            bytes(CHUNK - 3, 8),
        ],
        (0..1000).map(|part| bytes(500, part as u8)).collect(),
    ];
    let mut store = open(&folder);
    assert!(records(&mut store).is_empty());
    store.commit(&begun("one", 1)).unwrap();
    for (offset, content) in (0..).zip(&contents) {
        store.commit(&message(1, offset, content)).unwrap();
    }
    let total: usize = contents.iter().flatten().map(Bytes::len).sum();
    assert_eq!(store.content(), total as u64);
    drop(store);

    let mut store = open(&folder);
    let records = records(&mut store);
    assert_eq!(store.content(), total as u64);
    let kept = |op: Op| match op {
        Op::Keep(record) => Some(record),
        _ => None,
    };
    let first: Vec<Record> = begun("one", 1).into_iter().filter_map(kept).collect();
    assert_eq!(records[..4], first);
    assert_eq!(records.len(), 4 + 2 * contents.len());
    let headers = contents
        .iter()
        .zip(0..)
        .flat_map(|(content, offset)| message(1, offset, content));
    let (pieces, messages): (Vec<_>, Vec<_>) =
        (records[4..].iter().cloned()).partition(|record| matches!(record, Record::Piece { .. }));
    assert_eq!(messages, headers.filter_map(kept).collect::<Vec<_>>());
    let ids = pieces.iter().filter_map(|record| match record {
        Record::Piece { id, .. } => Some(id.offset),
        _ => None,
    });
    let mut ids: Vec<u64> = ids.collect();
    ids.sort_unstable();
    assert!(ids.into_iter().eq(0..contents.len() as u64), "{pieces:?}");
    for (offset, content) in (0..).zip(&contents) {
        let id = PieceId {
            flow: 1,
            offset,
            at: 0,
        };
        assert!(
            store.load(&[id]).unwrap() == [Some(content.clone())],
            "message {offset}"
        );
        let len: usize = content.iter().map(Bytes::len).sum();
        assert!(records.contains(&Record::Piece { id, len: len as u64 }));
    }
    let (flow, offset, at) = (1, 0, 1);
    assert!(store.load(&[PieceId { flow, offset, at }]).unwrap() == [None]);
}

#[test]
fn what_is_settled_or_forgotten_is_gone_and_nothing_else() {
    for len in [3 * CHUNK, INLINE] {
        for is_apart in [false, true] {
            settles_and_forgets(len, is_apart);
        }
    }
}

fn settles_and_forgets(len: usize, is_apart: bool) {
    let folder = TempDir::new().unwrap();
    let mut store = open(&folder);
    let content = [bytes(len, 1)];
    for (flow, name) in [(1, "one"), (2, "two"), (3, "one")] {
        store.commit(&begun(name, flow)).unwrap();
        for offset in 0..3 {
            let message = message(flow, offset, &content);
            match is_apart {
                false => store.commit(&message).unwrap(),
                true => message.chunks(1).for_each(|op| store.commit(op).unwrap()),
            }
        }
    }
    // Again, all at once: nothing is left of the first time.
    store.commit(&message(3, 2, &content)).unwrap();
    store.commit(&[settled(1, 1), settled(9, 9)]).unwrap();
    let dropped = Op::Dropped { flow: 2, offset: 2 };
    store.commit(&[dropped]).unwrap();
    let pieces = |store: &mut FileStore| -> Vec<(u64, u64)> {
        let pieces = records(store).into_iter().filter_map(|record| match record {
            Record::Piece { id, .. } => Some((id.flow, id.offset)),
            _ => None,
        });
        let mut pieces: Vec<_> = pieces.collect();
        pieces.sort_unstable();
        pieces
    };
    let left = [(1, 0), (1, 2), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)];
    assert_eq!(pieces(&mut store), left);
    assert_eq!(store.content(), 7 * len as u64);
    store.commit(&[Op::JobGone { job: job("one") }]).unwrap();
    assert_eq!(pieces(&mut store), [(2, 0), (2, 1)]);
    assert_eq!(records(&mut store).len(), 4 + 2 * 2);
    assert_eq!(store.content(), 2 * len as u64);
}

/// Steps of a store, and a model of what it has then: bytes of content by flow and offset.
fn steps(random: &mut fastrand::Rng, count: usize) -> Vec<Vec<Op>> {
    let mut steps = vec![begun("one", 1)];
    let mut live: Vec<u64> = Vec::new();
    for offset in 0..count as u64 {
        let len = [10, INLINE + 1, 2 * CHUNK][random.usize(..3)];
        let mut ops = message(1, offset, &[bytes(len, offset as u8)]);
        live.push(offset);
        while live.len() > 4 {
            ops.push(settled(1, live.swap_remove(random.usize(..live.len()))));
        }
        steps.push(ops);
    }
    steps
}

fn model(steps: &[Vec<Op>]) -> BTreeMap<(u64, u64), Vec<Bytes>> {
    let mut model = BTreeMap::new();
    for op in steps.iter().flatten() {
        match op {
            Op::Piece { id, content } => {
                model.insert((id.flow, id.offset), content.clone());
            }
            Op::Settled { flow, offset, .. } => {
                model.remove(&(*flow, *offset));
            }
            _ => {}
        }
    }
    model
}

fn found(path: &Path) -> BTreeMap<(u64, u64), Vec<Bytes>> {
    let mut store = FileStore::open(path, CACHE).unwrap();
    let mut found = BTreeMap::new();
    for record in records(&mut store) {
        if let Record::Piece { id, .. } = record {
            found.insert(
                (id.flow, id.offset),
                store.load(&[id]).unwrap().remove(0).unwrap(),
            );
        }
    }
    found
}

#[test]
fn a_process_killed_after_any_commit_loses_nothing() {
    let seed = 20;
    println!("seed {seed}");
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store.redb");
    let steps = steps(&mut fastrand::Rng::with_seed(seed), 24);
    let mut store = FileStore::open(&path, CACHE).unwrap();
    for done in 0..steps.len() {
        store.commit(&steps[done]).unwrap();
        // What a process that is killed now leaves behind.
        let copy = folder.path().join("copy.redb");
        fs::copy(&path, &copy).unwrap();
        assert!(found(&copy) == model(&steps[..=done]), "after commit {done}");
    }
}

/// Much was in the store, and little is.
fn emptied(folder: &TempDir) -> FileStore {
    let mut store = open(folder);
    store.commit(&begun("one", 1)).unwrap();
    let content = [bytes(CHUNK, 3)];
    let all: Vec<_> = (0..40).flat_map(|offset| message(1, offset, &content)).collect();
    store.commit(&all).unwrap();
    for offset in 0..39 {
        store.commit(&[settled(1, offset)]).unwrap();
    }
    store.set_slack(256 << 10);
    store
}

#[test]
fn a_file_that_cannot_be_made_smaller_is_served_as_it_is() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store.redb");
    drop(emptied(&folder));
    // What keeps it from that: a device without room is not to be had here.
    let database = redb::Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.persistent_savepoint().unwrap();
    transaction.commit().unwrap();
    drop(database);
    let mut store = open(&folder);
    store.set_slack(256 << 10);
    let before = records(&mut store);
    assert!(!store.shrink());
    assert_eq!(records(&mut store), before);
    store.commit(&message(1, 40, &[bytes(9, 3)])).unwrap();
    assert!(records(&mut store).len() > before.len());
}

#[test]
fn a_file_with_many_rows_is_left_as_it_is() {
    let folder = TempDir::new().unwrap();
    let mut store = emptied(&folder);
    let small = [bytes(1, 3)];
    let many: Vec<_> = (40..340).flat_map(|offset| message(1, offset, &small)).collect();
    store.commit(&many).unwrap();
    // It has less content than that.
    store.set_movable(CHUNK as u64 + (20 << 10));
    assert!(!store.shrink());
    let most: Vec<_> = (40..240).map(|offset| settled(1, offset)).collect();
    store.commit(&most).unwrap();
    assert!(store.shrink());
}

#[test]
fn a_file_gives_back_what_it_has_too_much_of() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store.redb");
    let length = || fs::metadata(&path).unwrap().len();
    let mut store = open(&folder);
    store.commit(&begun("one", 1)).unwrap();
    let content = [bytes(CHUNK, 3)];
    let all: Vec<_> = (0..40).flat_map(|offset| message(1, offset, &content)).collect();
    store.commit(&all).unwrap();
    assert!(!store.shrink(), "{} bytes are not too much", length());
    store.set_slack(256 << 10);
    assert!(!store.shrink(), "{} bytes are in use", length());
    let most: Vec<_> = (0..40).filter(|offset| offset % 20 != 19).collect();
    for offset in most {
        store.commit(&[settled(1, offset)]).unwrap();
    }
    let before = length();
    assert!(store.shrink(), "{before} bytes");
    let after = length();
    assert!(
        before > 2 << 20 && after < 1 << 20,
        "from {before} to {after} bytes"
    );
    assert!(!store.shrink(), "it was done");
    store.commit(&message(1, 40, &content)).unwrap();
    // What a process that is killed now leaves behind.
    let copy = folder.path().join("copy.redb");
    fs::copy(&path, &copy).unwrap();
    let kept = BTreeMap::from([19, 39, 40].map(|offset| ((1, offset), content.to_vec())));
    assert!(found(&copy) == kept);
}

#[test]
fn two_processes_cannot_have_one_file() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder);
    let error = FileStore::open(folder.path().join("store.redb"), CACHE).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("in use by another process"), "{error}");
    drop(store);
    open(&folder);
}

#[test]
fn what_is_no_store_is_refused_and_left_as_it_is() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("file");
    for text in ["notes about something else\n".repeat(1000), "x".to_owned()] {
        fs::write(&path, &text).unwrap();
        let error = FileStore::open(&path, CACHE).unwrap_err();
        assert!(matches!(error, StoreError::Foreign { .. }), "{error:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    let missing = folder.path().join("no").join("where");
    assert!(matches!(
        FileStore::open(missing, CACHE),
        Err(StoreError::Open { .. })
    ));
    assert!(matches!(
        FileStore::open(folder.path(), CACHE),
        Err(StoreError::Open { .. })
    ));

    // A database of somebody else.
    let path = folder.path().join("other.redb");
    let other = redb::Database::create(&path).unwrap();
    let table: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("theirs");
    let transaction = other.begin_write().unwrap();
    transaction.open_table(table).unwrap().insert("x", 1).unwrap();
    transaction.commit().unwrap();
    drop(other);
    assert!(matches!(
        FileStore::open(&path, CACHE),
        Err(StoreError::Foreign { .. })
    ));

    // One of a version to come.
    let path = folder.path().join("newer.redb");
    drop(FileStore::open(&path, CACHE).unwrap());
    let newer = redb::Database::create(&path).unwrap();
    let transaction = newer.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert("format", 3).unwrap();
    transaction.commit().unwrap();
    drop(newer);
    let error = FileStore::open(&path, CACHE).unwrap_err();
    assert!(
        error.to_string().contains("has format 3, which is newer than 2"),
        "{error}"
    );
}

#[test]
fn a_file_of_the_version_before_is_taken_over() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store.redb");
    let content = [bytes(100, 1)];
    let mut store = open(&folder);
    store.commit(&begun("one", 1)).unwrap();
    // Apart, they are two rows, as they were before.
    for op in message(1, 0, &content).chunks(1) {
        store.commit(op).unwrap();
    }
    drop(store);
    let format = |new: Option<u64>| {
        use redb::ReadableTable;

        let database = redb::Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        let mut meta = transaction.open_table(META).unwrap();
        let format = meta.get("format").unwrap().unwrap().value();
        meta.insert("format", new.unwrap_or(format)).unwrap();
        drop(meta);
        transaction.commit().unwrap();
        format
    };
    assert_eq!(format(Some(1)), 2);
    let mut store = open(&folder);
    store.commit(&message(1, 1, &content)).unwrap();
    assert_eq!(records(&mut store).len(), 4 + 2 * 2);
    let id = |offset| PieceId {
        flow: 1,
        offset,
        at: 0,
    };
    let kept = Some(content.to_vec());
    assert_eq!(store.load(&[id(0), id(1)]).unwrap(), [kept.clone(), kept]);
    drop(store);
    assert_eq!(format(None), 2);
}

#[test]
fn a_damaged_file_is_an_error_and_no_panic() {
    let seed = 21;
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store.redb");
    let mut store = FileStore::open(&path, CACHE).unwrap();
    for step in steps(&mut random, 12) {
        store.commit(&step).unwrap();
    }
    drop(store);
    let whole = fs::read(&path).unwrap();
    for round in 0..40 {
        let mut damaged = whole.clone();
        match round % 4 {
            0 => damaged.truncate(random.usize(..whole.len())),
            1 => damaged[..4096].iter_mut().for_each(|byte| *byte ^= random.u8(..)),
            _ => {
                let at = random.usize(..whole.len() - 4096);
                damaged[at..at + 4096]
                    .iter_mut()
                    .for_each(|byte| *byte = random.u8(..));
            }
        }
        fs::write(&path, &damaged).unwrap();
        // It may be opened if what was hit is not in use, or is content.
        let Ok(mut store) = FileStore::open(&path, CACHE) else {
            continue;
        };
        let mut pieces = Vec::new();
        let restored = store.restore(&mut |record| {
            if let Record::Piece { id, .. } = record {
                pieces.push(id);
            }
        });
        if restored.is_ok() {
            for id in pieces {
                let _ = store.load(&[id]);
            }
            let _ = store.commit(&[settled(1, 1)]);
        }
    }
}
