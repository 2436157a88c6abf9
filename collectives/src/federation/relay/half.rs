//! What the server is towards one party in the place of another: a link, and the flows on it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use super::Way;
use super::flow::Streamed;
use super::numbered::Numbered;
use super::quota::Account;
use crate::federation::core::Bounds;
use crate::federation::core::link::Link;
use crate::federation::core::packet::{FlowKey, Hello};
use crate::federation::name::PartyId;

/// No more items without content wait for their acknowledgement than this; then nothing is taken that may cause more.
const MAX_ANSWERS: usize = 1 << 14;

#[derive(Debug)]
pub(super) struct Half {
    pub(super) job: usize,
    /// The party that it speaks with, and that one's number in the job.
    pub(super) party: PartyId,
    pub(super) member: usize,
    /// The party whose place it takes.
    pub(super) plays: PartyId,
    /// The half that speaks with that party in the place of this one's.
    pub(super) twin: usize,
    pub(super) link: Link,
    pub(super) way: Option<Way>,
    /// The way on which it is waiting for its turn to send.
    pub(super) awake: Option<Way>,
    /// Another number for each session.
    pub(super) session: u64,
    pub(super) armed: Option<Instant>,
    /// Whether the other side is heard.
    pub(super) is_present: bool,
    /// Whether the other side is a server, and what it has last said of the party.
    pub(super) is_relay: bool,
    pub(super) is_seen: bool,

    /// The flows that the party sends, and their numbers in this session.
    pub(super) sources: BTreeMap<FlowKey, usize>,
    pub(super) incoming: Numbered<usize>,
    /// Which of them have a message under way that is not kept whole.
    pub(super) streaming: BTreeSet<usize>,
    pub(super) account: Account,
    pub(super) is_ready: bool,
    pub(super) has_left: bool,
    /// Batches of the store, and the items that can be confirmed with each.
    pub(super) unconfirmed: VecDeque<(u64, u64)>,

    /// The flows that the party receives, by their numbers.
    pub(super) targets: Vec<usize>,
    /// Those that may have something to send, one piece each in turn.
    pub(super) active: VecDeque<usize>,
    /// How many have something that the party has not got.
    pub(super) unsent: usize,
    /// Those that wait for credit.
    pub(super) starved: Vec<usize>,
    pub(super) bounds: Bounds,
    pub(super) custody: u64,
    /// What may be sent in this session, and what was; none where no credit is kept.
    pub(super) credit: Option<u64>,
    pub(super) spent: u64,
    pub(super) wanted: u64,
    /// How many messages it holds that may come again from their sender.
    pub(super) remembered: usize,
    /// Pieces that are not kept once they have come: the number of the item, the flow, and which it is.
    pub(super) streamed: VecDeque<(u64, usize, Streamed)>,
    /// Bytes of the store's that wait for their acknowledgement: up to which item, and how many.
    pub(super) lent: VecDeque<(u64, u64)>,
    /// Bytes that the store was asked for, and flows that wait until there are fewer.
    pub(super) loading: u64,
    pub(super) queued_loads: Vec<usize>,
    pub(super) told: Told,
    pub(super) wrong: u64,
}

/// What the party was told in this session.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    pub(super) seen: Option<bool>,
    pub(super) ready: bool,
    pub(super) abort: bool,
    pub(super) leave: bool,
}

impl Half {
    pub(super) fn new(
        job: usize,
        ids: (PartyId, PartyId),
        member: usize,
        link: Link,
        account: Account,
    ) -> Self {
        let (party, plays) = ids;
        Half {
            job,
            party,
            member,
            plays,
            twin: 0,
            link,
            way: None,
            awake: None,
            session: 0,
            armed: None,
            is_present: false,
            is_relay: false,
            is_seen: false,
            sources: BTreeMap::new(),
            incoming: Numbered::default(),
            streaming: BTreeSet::new(),
            account,
            is_ready: false,
            has_left: false,
            unconfirmed: VecDeque::new(),
            targets: Vec::new(),
            active: VecDeque::new(),
            unsent: 0,
            starved: Vec::new(),
            bounds: Bounds {
                messages: 1,
                bytes: 1,
                message: 0,
            },
            custody: u64::MAX,
            credit: None,
            spent: 0,
            wanted: 0,
            remembered: 0,
            streamed: VecDeque::new(),
            lent: VecDeque::new(),
            loading: 0,
            queued_loads: Vec::new(),
            told: Told::default(),
            wrong: 0,
        }
    }

    /// The other side has introduced itself.
    pub(super) fn meet(&mut self, hello: &Hello) {
        self.is_relay = hello.credit != u64::MAX;
        self.bounds = Bounds {
            messages: hello.window_messages.max(1),
            // A server's window is for all flows together, and its credit keeps to it.
            bytes: if self.is_relay {
                u64::MAX
            } else {
                hello.window_bytes.max(1)
            },
            message: hello.max_message,
        };
        self.custody = hello.custody;
        self.credit = self.is_relay.then(|| self.credit.unwrap_or(0).max(hello.credit));
    }

    /// A session begins.
    pub(super) fn reset(&mut self, session: u64) {
        self.session = session;
        self.incoming = Numbered::default();
        self.unconfirmed.clear();
        self.has_left = false;
        self.is_seen = false;
        self.active.clear();
        self.unsent = 0;
        self.starved.clear();
        self.queued_loads.clear();
        self.credit = None;
        (self.spent, self.wanted) = (0, 0);
        self.remembered = 0;
        self.streamed.clear();
        self.told = Told::default();
    }

    /// Forgets its channels, of which nobody needs anything any more. Those that the party receives.
    pub(super) fn forget_flows(&mut self) -> Vec<usize> {
        self.sources.clear();
        self.incoming = Numbered::default();
        self.streaming.clear();
        self.active.clear();
        self.unsent = 0;
        self.starved.clear();
        self.remembered = 0;
        self.streamed.clear();
        self.loading = 0;
        self.queued_loads.clear();
        std::mem::take(&mut self.targets)
    }

    /// Whether the party is there, and not only the server through which it is reached.
    pub(super) fn is_party_present(&self) -> bool {
        self.is_present && (!self.is_relay || self.is_seen)
    }

    /// Whether something may be taken that causes answers.
    pub(super) fn has_room_for_answers(&self) -> bool {
        self.link.queued().0 < MAX_ANSWERS
    }
}
