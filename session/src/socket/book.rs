//! Who subscribed to what at a publisher.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use flexbond_transport::Message;
use flexbond_wire::zmtp::Batch;
use slab::Slab;

use super::lane::Lane;
use super::trie::{Added, Removed, Trie};

/// Who subscribed to what. It is kept with the queues, under their lock: a message takes that once.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) topics: Trie<usize>,
    pub(super) subscribers: Slab<Subscriber>,
    /// Where each lane's subscriber is, for what concerns one lane; messages find subscribers by the trie.
    pub(super) places: HashMap<u64, usize>,
    /// The subscribers of the message in hand, and the message; kept to spare allocations per message.
    pub(super) matching: Vec<usize>,
    pub(super) encoded: Batch,
    /// What the topics of all subscribers take.
    memory: usize,
}

#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) lane: Arc<Lane>,
    pub(super) topics: HashSet<Bytes>,
    /// The bytes of all topics.
    bytes: usize,
}

impl Subscriber {
    /// What its topics take.
    pub(super) fn memory(&self) -> usize {
        memory_of(self.topics.len(), self.bytes)
    }
}

/// What it takes to keep so many topics of so many bytes: each is in a list of its peer's, and in the tree of all.
pub(super) const fn memory_of(topics: usize, bytes: usize) -> usize {
    topics
        .saturating_mul(TOPIC)
        .saturating_add(bytes.saturating_mul(2))
}

/// What a topic takes beside its bytes, as measured with 100,000 short ones.
const TOPIC: usize = 400;

impl Book {
    /// Collects the subscribers that a message is for into `matching`.
    pub(super) fn find(&mut self, message: &Message, invert: bool) {
        let Book {
            topics,
            subscribers,
            matching,
            ..
        } = self;
        matching.clear();
        topics.visit_matches(&message[0], |place| matching.push(place));
        if matching.len() > 1 {
            // A peer with overlapping subscriptions still gets the message once.
            matching.sort_unstable();
            matching.dedup();
        }
        if invert {
            let others = subscribers
                .iter()
                .filter(|(place, peer)| !peer.topics.is_empty() && matching.binary_search(place).is_err());
            *matching = others.map(|(place, _)| place).collect();
        }
    }

    /// Opens the book for a lane.
    pub(super) fn enter(&mut self, lane: &Arc<Lane>) {
        let Book {
            subscribers, places, ..
        } = self;
        places.entry(lane.id()).or_insert_with(|| {
            subscribers.insert(Subscriber {
                lane: Arc::clone(lane),
                topics: HashSet::new(),
                bytes: 0,
            })
        });
    }

    /// Closes the book for a lane; returns each of its topics, and whether it was the last one's. The caller keeps the
    /// lane: it takes the lock under which the book is when it is dropped.
    pub(super) fn leave(&mut self, lane: &Lane) -> Vec<(Bytes, bool)> {
        let Some(place) = self.places.remove(&lane.id()) else {
            return Vec::new();
        };
        let subscriber = self.subscribers.remove(place);
        self.memory -= subscriber.memory();
        let topics = subscriber.topics.into_iter();
        topics
            .map(|topic| {
                let last = self.topics.remove(&topic, place) == Removed::Last;
                (topic, last)
            })
            .collect()
    }

    pub(super) fn add(&mut self, lane: &Lane, topic: &[u8]) -> Added {
        // A peer that is no longer, or not yet, in the book cannot be written to.
        let Some(&place) = self.places.get(&lane.id()) else {
            return Added::Nothing;
        };
        let subscriber = &mut self.subscribers[place];
        if subscriber.topics.insert(Bytes::copy_from_slice(topic)) {
            subscriber.bytes += topic.len();
            self.memory += memory_of(1, topic.len());
        }
        self.topics.add(topic, place)
    }

    pub(super) fn remove(&mut self, lane: &Lane, topic: &[u8]) -> Removed {
        let Some(&place) = self.places.get(&lane.id()) else {
            return Removed::Nothing;
        };
        let subscriber = &mut self.subscribers[place];
        if subscriber.topics.remove(topic) {
            subscriber.bytes -= topic.len();
            self.memory -= memory_of(1, topic.len());
        }
        self.topics.remove(topic, place)
    }

    pub(super) fn subscriber(&self, lane: &Lane) -> Option<&Subscriber> {
        self.subscribers.get(*self.places.get(&lane.id())?)
    }

    pub(super) fn has(&self, lane: &Lane, topic: &[u8]) -> bool {
        self.subscriber(lane)
            .is_some_and(|subscriber| subscriber.topics.contains(topic))
    }

    /// Whether one more topic of so many bytes is more than those of all may take together. If so, whose take most: those of
    /// another lane, or of this one with the new topic.
    pub(super) fn overflow(&self, lane: &Lane, topic: usize, most: usize) -> Option<&Arc<Lane>> {
        let asking = self.subscriber(lane)?;
        let more = memory_of(1, topic);
        if self.memory.saturating_add(more) <= most {
            return None;
        }
        let all = self.subscribers.iter().map(|(_, subscriber)| subscriber);
        let largest = all.max_by_key(|subscriber| subscriber.memory())?;
        match largest.memory() < asking.memory().saturating_add(more) {
            true => Some(&asking.lane),
            false => Some(&largest.lane),
        }
    }

    /// How many topics a lane has, and how many bytes these.
    pub(super) fn extent(&self, lane: &Lane) -> (usize, usize) {
        self.subscriber(lane)
            .map_or((0, 0), |subscriber| (subscriber.topics.len(), subscriber.bytes))
    }
}
