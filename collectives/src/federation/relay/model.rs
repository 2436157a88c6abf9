//! A store that is as simple as it can be.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;
use crate::federation::name::{JobId, PartyId};

#[derive(Clone, Debug, Default)]
pub(super) struct ModelStore {
    jobs: BTreeMap<JobId, Record>,
    pairs: BTreeMap<(JobId, PartyId, PartyId), Record>,
    flows: BTreeMap<FlowId, (JobId, Record)>,
    next: BTreeMap<FlowId, u64>,
    messages: BTreeMap<(FlowId, u64), Record>,
    pieces: BTreeMap<PieceId, Vec<Bytes>>,
}

/// What the core is told.
pub(super) enum Done {
    Committed(u64),
    Loaded(PieceId, Vec<Bytes>),
    /// The message has had its end meanwhile.
    Gone(PieceId),
}

impl ModelStore {
    pub(super) fn done(&mut self, request: Request) -> Done {
        match request {
            Request::Commit { batch, ops } => {
                assert!(!ops.is_empty(), "a batch has something to do");
                ops.into_iter().for_each(|op| self.apply(op));
                Done::Committed(batch)
            }
            Request::Load(piece) => match self.pieces.get(&piece) {
                Some(content) => Done::Loaded(piece, content.clone()),
                None => Done::Gone(piece),
            },
        }
    }

    pub(super) fn show(&self, visit: &mut dyn FnMut(Record)) {
        self.jobs.values().cloned().for_each(&mut *visit);
        self.pairs.values().cloned().for_each(&mut *visit);
        let flows = self.flows.values().map(|(_, record)| record.clone());
        flows.for_each(&mut *visit);
        for (flow, next) in &self.next {
            visit(Record::Next {
                flow: *flow,
                next: *next,
            });
        }
        self.messages.values().cloned().for_each(&mut *visit);
        for (id, content) in &self.pieces {
            let len = content.iter().map(|frame| frame.len() as u64).sum();
            visit(Record::Piece { id: *id, len });
        }
    }

    /// A piece is lost.
    pub(super) fn lose(&mut self, number: usize) {
        let count = self.pieces.len().max(1);
        if let Some(id) = self.pieces.keys().nth(number % count).copied() {
            self.pieces.remove(&id);
        }
    }

    /// How many messages and pieces are kept.
    pub(super) fn kept(&self) -> usize {
        self.messages.len() + self.pieces.len()
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Keep(record) => self.keep(record),
            Op::Piece { id, content } => {
                let is_known = self.messages.contains_key(&(id.flow, id.offset));
                assert!(is_known, "a piece comes after its message");
                self.pieces.insert(id, content);
            }
            Op::JobGone { job } => {
                self.jobs.remove(&job);
                self.pairs.retain(|(of, ..), _| *of != job);
                let gone: Vec<_> = self.flows.iter().filter(|(_, (of, _))| *of == job).collect();
                for id in gone.into_iter().map(|(id, _)| *id).collect::<Vec<_>>() {
                    self.flows.remove(&id);
                    self.next.remove(&id);
                    self.messages.retain(|(flow, _), _| *flow != id);
                    self.pieces.retain(|piece, _| piece.flow != id);
                }
            }
            Op::Settled { flow, offset, .. } | Op::Dropped { flow, offset } => {
                self.messages.remove(&(flow, offset));
                self.pieces
                    .retain(|piece, _| (piece.flow, piece.offset) != (flow, offset));
            }
        }
    }

    fn keep(&mut self, record: Record) {
        match &record {
            Record::Job { job, .. } => {
                self.jobs.insert(job.clone(), record);
            }
            Record::Pair { job, from, to, .. } => {
                let key = (job.clone(), from.clone(), to.clone());
                self.pairs.insert(key, record);
            }
            Record::Flow { id, job, epoch, .. } => {
                let (id, epoch) = (*id, *epoch);
                let before = self.flows.insert(id, (job.clone(), record));
                let is_same =
                    |(_, old): &(_, Record)| matches!(old, Record::Flow { epoch: old, .. } if *old == epoch);
                if !before.as_ref().is_none_or(is_same) {
                    let mut kept = self.messages.keys().filter(|(flow, _)| *flow == id);
                    assert_eq!(kept.next(), None, "what is kept stays in its numbering");
                    // The other numbering begins where its sender says.
                    self.next.remove(&id);
                }
            }
            Record::Next { flow, next } => {
                let kept = self.next.entry(*flow).or_default();
                assert!(*next >= *kept, "in one numbering it never goes back");
                *kept = *next;
            }
            Record::Message { flow, offset, .. } => {
                assert!(self.flows.contains_key(flow), "a message comes after its flow");
                self.messages.insert((*flow, *offset), record);
            }
            Record::Piece { .. } => panic!("pieces come with their content"),
        }
    }
}
