//! A server with its store, and what must hold of it at all times.

use std::collections::VecDeque;
use std::time::Instant;

use crate::federation::relay::model::{Done, ModelStore};
use crate::federation::relay::relay::Relay;
use crate::federation::relay::{RelaySetup, Request};

pub(super) struct Server {
    setup: RelaySetup,
    pub(super) relay: Relay,
    store: ModelStore,
    /// What the store was asked for and has not done.
    storing: VecDeque<Request>,
    started: Instant,
}

impl Server {
    pub(super) fn new(mut setup: RelaySetup, number: u64, now: Instant) -> Self {
        (setup.incarnation, setup.epochs) = (number, number);
        Server {
            relay: Relay::new(setup.clone(), now),
            setup,
            store: ModelStore::default(),
            storing: VecDeque::new(),
            started: now,
        }
    }

    pub(super) fn store(&mut self) -> &mut ModelStore {
        &mut self.store
    }

    /// It dies when its store has done some of what it was asked for, and starts again with what is there.
    pub(super) fn restart(&mut self, done: usize, number: u64, now: Instant) {
        let count = done % (self.storing.len() + 1);
        for request in self.storing.drain(..).take(count) {
            self.store.done(request);
        }
        self.storing.clear();
        let passed = u64::try_from(now.duration_since(self.started).as_millis()).expect("it is not so long");
        let mut setup = self.setup.clone();
        (setup.incarnation, setup.epochs) = (number, number);
        setup.unix_ms += passed;
        self.relay = Relay::new(setup, now);
        let relay = &mut self.relay;
        self.store.show(&mut |record| relay.restore(record));
    }

    /// Hears what is asked of the store, and what there is to tell.
    pub(super) fn collect(&mut self) {
        while let Some(request) = self.relay.poll_store() {
            self.storing.push_back(request);
        }
        while self.relay.poll_event().is_some() {}
    }

    /// The store does the next thing; false if there is none.
    pub(super) fn done(&mut self) -> bool {
        let Some(request) = self.storing.pop_front() else {
            return false;
        };
        match self.store.done(request) {
            Done::Committed(batch) => self.relay.handle_committed(batch),
            Done::Loaded(piece, content) => self.relay.handle_loaded(piece, content),
            Done::Gone(piece) => self.relay.handle_missing(piece),
        }
        self.collect();
        true
    }

    /// What is counted is what is there, and no more than may be.
    pub(super) fn check(&self) {
        let relay = &self.relay;
        let (limits, is_durable) = (&relay.limits, relay.ledger.is_durable());
        let (mut held, mut left, mut memory) = (0, 0, relay.ledger.loading());
        for (_, half) in relay.halves.iter() {
            let flows = half.sources.values().map(|flow| &relay.flows[*flow]);
            let entries = flows.flat_map(|flow| flow.entries.iter());
            let (cost, content) = entries.fold((0, 0), |(cost, content), (_, entry)| {
                (cost + entry.cost, content + entry.memory())
            });
            assert_eq!(half.account.held, cost, "of {} to {}", half.party, half.plays);
            held += cost;
            left += half.account.left();
            memory += content + half.lent.iter().map(|(_, bytes)| bytes).sum::<u64>();
            assert!(half.sources.len() <= limits.channels as usize);
            let pair = limits.of_pair(is_durable);
            assert!(
                half.account.held + half.account.left() <= 2 * pair,
                "of {}",
                half.party
            );
        }
        let (used, granted) = relay.quota.used(relay.scope);
        assert_eq!(used - granted, held, "what is kept is what is counted");
        assert!(granted <= left, "{granted} of {left} are granted");
        assert_eq!(
            relay.ledger.memory, memory,
            "what is in memory is what is counted"
        );
        let total = limits.total(is_durable);
        assert!(held <= total, "{held} of {total} bytes are kept");
        if is_durable {
            // Whatever there is, each receiver may have one piece.
            let pieces = relay.halves.iter().count() as u64 * 64 * 1024;
            assert!(
                memory <= limits.memory_bytes + pieces,
                "{memory} bytes are in memory"
            );
        }
        assert!(relay.job_ids.len() <= limits.jobs as usize);
    }
}
