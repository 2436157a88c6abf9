//! The thread of the store.

use std::fs;

use super::*;
use crate::federation::relay::Record;

#[test]
fn the_file_gets_smaller_when_nothing_is_asked_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let mut store = FileStore::open(&path, 1 << 20).unwrap();
    store.set_slack(256 << 10);
    let content = [Bytes::from(vec![1; 100_000])];
    let message = |offset| {
        let record = Record::Message {
            flow: 1,
            offset,
            tag: None,
            codec: 0,
            parts: vec![100_000],
            expires_unix_ms: None,
        };
        let id = PieceId {
            flow: 1,
            offset,
            at: 0,
        };
        let content = content.to_vec();
        [Op::Keep(record), Op::Piece { id, content }]
    };
    let settled = |offset| Op::Settled {
        flow: 1,
        offset,
        expired: false,
    };
    let all: Vec<_> = (0..40).flat_map(message).collect();
    store.commit(&all).unwrap();
    // The last one lies far behind.
    store.commit(&(0..39).map(settled).collect::<Vec<_>>()).unwrap();
    let length = || fs::metadata(&path).unwrap().len();
    let before = length();
    assert!(before > 2 << 20, "{before}");

    let (requests, asked) = mpsc::channel();
    let (told, mut answers) = answers::unbounded_channel();
    let mut thread = Thread::new(store, asked, told);
    thread.quiet = Duration::ZERO;
    let thread = thread::spawn(move || thread.run());
    let deadline = Instant::now() + Duration::from_secs(20);
    while length() > 1 << 20 {
        assert!(Instant::now() < deadline, "{before} bytes, and then {}", length());
        thread::yield_now();
    }
    // It does what is asked after that.
    let id = PieceId {
        flow: 1,
        offset: 39,
        at: 0,
    };
    requests.send(Request::Load(id)).unwrap();
    drop(requests);
    thread.join().unwrap();
    let answer = answers.try_recv().unwrap();
    assert!(
        matches!(answer, Answer::Loaded { piece, .. } if piece == id),
        "{answer:?}"
    );
}
