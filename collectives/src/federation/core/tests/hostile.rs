//! A party that was let in and does not keep to the rules.

use super::super::packet::{Content, Data, Header, Hello, Item, MAX_OFFSET, Packet};
use super::*;

const WINDOW: u32 = 4;
/// The incarnations of the party that is looked at, and of the other one.
const LOCAL: u64 = 7;
const REMOTE: u64 = 9;

/// `a`, before a `b` that says what it likes and acknowledges nothing.
struct Stage {
    now: Instant,
    node: Node,
}

impl Stage {
    fn new() -> Self {
        let now = Instant::now();
        let setup = Setup {
            job: JobId::new("job").unwrap(),
            local: party(0),
            peers: vec![party(1)],
            limits: Limits {
                window_messages: WINDOW,
                ..limits()
            },
            incarnation: LOCAL,
            piece: 1000,
        };
        let mut stage = Stage {
            now,
            node: Node::new(setup, now),
        };
        stage.hear(Content::Hello(Hello {
            members: vec![party(0), party(1)],
            window_messages: 1000,
            window_bytes: 1 << 20,
            max_message: 1 << 30,
            credit: u64::MAX,
            custody: u64::MAX,
        }));
        assert!(stage.node.peers()[0].link.is_up());
        stage
    }

    fn hear(&mut self, content: Content) {
        self.hear_with(content, Vec::new());
    }

    fn hear_with(&mut self, content: Content, pieces: Vec<Bytes>) {
        let header = Header {
            job: JobId::new("job").unwrap(),
            from: party(1),
            to: party(0),
            mine: REMOTE,
            yours: LOCAL,
            ack: 0,
            content,
        };
        self.node
            .handle_packet(self.now, Packet { header, pieces }.encode());
    }

    /// Whether an item is taken.
    fn takes(&mut self, mut item: Item, pieces: Vec<Bytes>) -> bool {
        let seq = self.node.peers()[0].link.ack();
        if let Item::Data(data) = &mut item {
            data.pieces = u16::try_from(pieces.len()).unwrap();
        }
        let items = vec![item];
        self.hear_with(Content::Items { seq, items }, pieces);
        self.node.peers()[0].link.ack() > seq
    }

    fn opens(&mut self, flow: u32, name: &str) -> bool {
        let (key, from) = (key(name), None);
        self.takes(Item::Open { flow, key, from }, Vec::new())
    }

    fn queued(&self) -> usize {
        self.node.peers()[0].link.queued().0
    }
}

fn data(offset: u64, parts: Vec<u64>) -> Data {
    Data {
        flow: 0,
        offset,
        tag: None,
        codec: 0,
        ttl: None,
        expired: false,
        at: 0,
        parts,
        pieces: 0,
    }
}

#[test]
fn a_flow_is_opened_once() {
    let mut stage = Stage::new();
    assert!(stage.opens(0, "x"));
    for (flow, name) in [(0, "x"), (1, "x"), (0, "y")] {
        assert!(!stage.opens(flow, name), "{flow} {name}");
    }
    assert!(stage.opens(1, "y"));
}

#[test]
fn answers_that_nobody_acknowledges_are_bounded() {
    for is_resumed in [false, true] {
        let mut stage = Stage::new();
        assert!(stage.opens(0, "x"));
        if is_resumed {
            stage.node.resume(0, &key("x"), 1).unwrap();
        }
        let taken = (0..10_000)
            .take_while(|offset| {
                let data = match is_resumed {
                    // What the program has already; its end is told again each time.
                    true => data(0, vec![0]),
                    false => Data {
                        expired: true,
                        ..data(*offset, Vec::new())
                    },
                };
                stage.takes(Item::Data(data), Vec::new())
            })
            .count();
        assert!(taken < 300 && stage.queued() < 300, "{taken} were taken");
    }
}

#[test]
fn offsets_that_nobody_counts_to_are_refused() {
    let mut stage = Stage::new();
    stage.node.send(stage.now, 0, &key("x"), letter(1), None).unwrap();
    let opened = |next| Item::Opened {
        flow: 0,
        epoch: 1,
        next,
        held: Vec::new(),
    };
    assert!(!stage.takes(opened(u64::MAX), Vec::new()));
    assert!(!stage.takes(opened(MAX_OFFSET), Vec::new()));
    assert!(stage.takes(opened(MAX_OFFSET - 1), Vec::new()));
    for number in 0..2 {
        let sent = stage.node.send(stage.now, 0, &key("x"), letter(number), None);
        assert_eq!(sent, Ok(()));
    }
    assert!(stage.opens(0, "y"));
    let last = Item::Data(data(MAX_OFFSET, vec![1]));
    assert!(!stage.takes(last, vec![Bytes::from_static(b"x")]));
}

#[test]
fn memory_is_taken_for_what_has_come() {
    let mut stage = Stage::new();
    assert!(stage.opens(0, "x"));
    let first = data(0, vec![1 << 29]);
    assert!(stage.takes(Item::Data(first), vec![Bytes::from_static(b"xyz")]));
    let room = stage.node.peers()[0].inn.get(&key("x")).unwrap().room();
    assert!(room < 1000, "{room} bytes for three");
    let rest = Data {
        at: 3,
        ..data(0, Vec::new())
    };
    assert!(stage.takes(Item::Data(rest), vec![Bytes::from(vec![0; 5000])]));
    let room = stage.node.peers()[0].inn.get(&key("x")).unwrap().room();
    assert!((5003..20_000).contains(&room), "{room} bytes for five thousand");
}
