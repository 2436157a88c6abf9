//! A party before another, played by the test, which says what it likes: its packets one by one.

use super::super::packet::{Content, Data, Header, Hello, Item, Packet};
use super::*;

pub(super) const WINDOW: u32 = 4;
/// The incarnations of the party that is looked at, and of the other one.
pub(super) const LOCAL: u64 = 7;
pub(super) const REMOTE: u64 = 9;

/// `a`, before a `b` that acknowledges nothing unless it is told to.
pub(super) struct Stage {
    pub(super) now: Instant,
    pub(super) node: Node,
    local: u64,
    /// The incarnation of `b`, and what it acknowledges.
    pub(super) mine: u64,
    pub(super) ack: u64,
}

pub(super) fn hello() -> Hello {
    Hello {
        members: vec![party(0), party(1)],
        window_messages: 1000,
        window_bytes: 1 << 20,
        max_message: 1 << 30,
        credit: u64::MAX,
        custody: u64::MAX,
    }
}

impl Stage {
    /// The two know each other; `b` has said this.
    pub(super) fn new(hello: Hello) -> Self {
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
        Stage::with(Node::new(setup, now), LOCAL, now, hello)
    }

    /// The same with another node, whose incarnation is `local`.
    pub(super) fn with(node: Node, local: u64, now: Instant, hello: Hello) -> Self {
        let mut stage = Stage {
            now,
            node,
            local,
            mine: REMOTE,
            ack: 0,
        };
        stage.hear(Content::Hello(hello));
        assert!(stage.node.peers()[0].link.is_up());
        stage
    }

    /// `b` is another process from now on.
    pub(super) fn restart(&mut self, hello: Hello) {
        self.node.handle_lost(0);
        self.mine += 1;
        self.ack = 0;
        self.hear(Content::Hello(hello));
    }

    pub(super) fn hear(&mut self, content: Content) {
        self.hear_with(content, Vec::new());
    }

    pub(super) fn hear_with(&mut self, content: Content, pieces: Vec<Bytes>) {
        let header = Header {
            job: JobId::new("job").unwrap(),
            from: party(1),
            to: party(0),
            mine: self.mine,
            yours: self.local,
            ack: self.ack,
            content,
        };
        self.node
            .handle_packet(self.now, Packet { header, pieces }.encode());
    }

    /// Whether an item is taken.
    pub(super) fn takes(&mut self, mut item: Item, pieces: Vec<Bytes>) -> bool {
        let seq = self.node.peers()[0].link.ack();
        if let Item::Data(data) = &mut item {
            data.pieces = u16::try_from(pieces.len()).unwrap();
        }
        let items = vec![item];
        self.hear_with(Content::Items { seq, items }, pieces);
        self.node.peers()[0].link.ack() > seq
    }

    pub(super) fn opens(&mut self, flow: u32, name: &str) -> bool {
        let (key, from) = (key(name), None);
        self.takes(Item::Open { flow, key, from }, Vec::new())
    }

    /// A message in one piece comes.
    pub(super) fn brings(&mut self, offset: u64, content: &'static str) -> bool {
        let data = data(offset, vec![content.len() as u64]);
        self.takes(Item::Data(data), vec![Bytes::from(content)])
    }

    /// Both directions of a channel are open, with the numbering `epoch` of the one from `a`.
    pub(super) fn opened(&mut self, flow: u32, epoch: u64, next: u64) -> bool {
        let held = Vec::new();
        self.takes(
            Item::Opened {
                flow,
                epoch,
                next,
                held,
            },
            Vec::new(),
        )
    }

    pub(super) fn queued(&self) -> usize {
        self.node.peers()[0].link.queued().0
    }

    /// All packets that are to be sent now.
    pub(super) fn says(&mut self) -> Vec<Packet> {
        let packets = std::iter::from_fn(|| self.node.poll_transmit(self.now, 0));
        packets.map(|packet| Packet::decode(packet).unwrap()).collect()
    }

    /// All items that are to be sent now. They are acknowledged with what is heard next.
    pub(super) fn items(&mut self) -> Vec<Item> {
        let mut all = Vec::new();
        for packet in self.says() {
            if let Content::Items { seq, items } = packet.header.content {
                assert_eq!(seq, self.ack, "in order, and each once");
                self.ack += items.len() as u64;
                all.extend(items);
            }
        }
        all
    }

    /// Time goes by, and what is due is done.
    pub(super) fn wait(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        self.node.handle_timeout(self.now);
    }

    pub(super) fn sends(&mut self, name: &str, letter: Letter) {
        self.node.send(self.now, 0, &key(name), letter, None).unwrap();
    }

    pub(super) fn receives(&mut self, name: &str) -> Option<String> {
        let taken = self.node.take(0, &key(name), None)?;
        text(&taken)
    }
}

pub(super) fn data(offset: u64, parts: Vec<u64>) -> Data {
    Data {
        flow: 0,
        offset,
        tag: None,
        codec: 0,
        ttl: None,
        expired: false,
        at: 0,
        parts: parts.into(),
        pieces: 0,
    }
}

/// Flow, offset and start of each piece, in turn.
pub(super) fn pieces(items: &[Item]) -> Vec<(u32, u64, u64)> {
    let pieces = items.iter().filter_map(|item| match item {
        Item::Data(data) => Some((data.flow, data.offset, data.at)),
        _ => None,
    });
    pieces.collect()
}
