//! A flow towards its receiver.

use std::collections::HashSet;
use std::time::Instant;

use super::{Entry, Flow, LOADED_AHEAD, Outlet, Reconciled, Standing, Step, Streamed};
use crate::federation::core::Bounds;
use crate::federation::core::few::Few;
use crate::federation::core::outflow::cut;
use crate::federation::core::packet::{Data, cost};
use crate::federation::core::peer::MIN_PIECE;
use crate::federation::relay::pieces::{Content, Piece};
use crate::federation::relay::store::PieceId;

impl Flow {
    /// The first message that the receiver may still need.
    pub(in crate::federation::relay) fn first(&self) -> u64 {
        let first = self.entries.first();
        first.map_or(self.next, |first| first.min(self.next))
    }

    /// The receiver's session has ended.
    pub(in crate::federation::relay) fn reset_target(&mut self) {
        (self.is_announced, self.is_open) = (false, false);
        let begun = self.again.iter().copied().chain([self.cursor]);
        for seq in begun.collect::<Vec<_>>() {
            if let Some(entry) = self.entries.get_mut(seq) {
                entry.sent = 0;
            }
        }
        (self.cursor, self.ahead, self.reload_at) = (0, (0, 0), None);
        self.again.clear();
        self.target_next = 0;
        self.target_held.clear();
    }

    /// The receiver has said what it has.
    pub(in crate::federation::relay) fn opened(
        &mut self,
        next: u64,
        held: Vec<u64>,
        most: usize,
    ) -> Reconciled {
        (self.is_open, self.is_met) = (true, true);
        self.target_next = next;
        let held: HashSet<u64> = held.into_iter().collect();
        (self.cursor, self.ahead) = (next, (0, 0));
        let mut reconciled = Reconciled::default();
        for (seq, entry) in self.entries.range(0..next) {
            if !held.contains(&seq) {
                reconciled.settled.push(seq);
            } else if entry.is_whole {
                self.ahead.0 += 1;
                self.ahead.1 += entry.size;
            } else if entry.is_streamed {
                reconciled.held.push(seq);
            }
        }
        // Of what is not here, or not all of it, only so much is remembered; more is sent again, and does no harm.
        let is_whole = |seq: &u64| self.entries.get(*seq).is_some_and(|entry| entry.is_whole);
        let mut to_come: Vec<_> = held.into_iter().filter(|seq| !is_whole(seq)).collect();
        to_come.retain(|seq| *seq >= self.next || self.entries.contains(*seq));
        to_come.sort_unstable();
        self.target_end = to_come.get(most).map_or(next, |more| *more);
        to_come.truncate(most);
        reconciled.remembered = to_come.len();
        self.target_held = to_come.into_iter().collect();
        let streams = self.streams.range(next..);
        let is_lost = |seq: &&u64| self.entries.get(**seq).is_some_and(Entry::has_gaps);
        // What has come of those behind it would take the room that it needs.
        reconciled.lost = streams.skip_while(|seq| !is_lost(seq)).copied().collect();
        reconciled
    }

    /// What the receiver had of a message when the flow was opened.
    pub(in crate::federation::relay) fn standing(&self, seq: u64) -> Standing {
        if !self.is_open || seq >= self.target_end {
            Standing::New
        } else if self.target_held.contains(&seq) {
            Standing::Held
        } else {
            Standing::Had
        }
    }

    /// The receiver's program has a message that it had held, and that may not have come again here.
    pub(in crate::federation::relay) fn let_go(&mut self, seq: u64) -> bool {
        // Nearly always there is none, and nothing needs to be looked for.
        !self.target_held.is_empty() && self.target_held.remove(&seq)
    }

    /// A message has come that the receiver holds already.
    pub(in crate::federation::relay) fn count_held(&mut self, seq: u64) {
        if let Some(entry) = self.entries.get(seq) {
            self.ahead.0 += 1;
            self.ahead.1 += entry.size;
        }
    }

    /// Whether the receiver can have this message, and more of it than it has does not come.
    pub(in crate::federation::relay) fn is_sent(&self, seq: u64) -> bool {
        let is_whole = |entry: &Entry| entry.is_whole;
        self.is_begun(seq) && self.entries.get(seq).is_some_and(is_whole)
    }

    /// Whether the receiver can have a part of this message.
    pub(in crate::federation::relay) fn is_begun(&self, seq: u64) -> bool {
        let is_sent = |entry: &Entry| entry.sent > 0;
        self.is_open && (seq < self.cursor || self.entries.get(seq).is_some_and(is_sent))
    }

    /// Whether the receiver cannot know of this message.
    pub(in crate::federation::relay) fn is_unknown(&self, seq: u64) -> bool {
        seq >= self.cursor && !self.is_begun(seq)
    }

    /// Whether there is something that the receiver has not got.
    pub(in crate::federation::relay) fn is_unsent(&self) -> bool {
        if !self.is_open {
            return !self.entries.is_empty();
        }
        !self.again.is_empty() || self.entries.reaches(self.cursor)
    }

    /// The receiver wants a message again that it has got, all or a part. Whether it can be: else it has to be asked for.
    pub(in crate::federation::relay) fn send_again(&mut self, seq: u64) -> Option<bool> {
        let entry = self.entries.get_mut(seq)?;
        entry.sent = 0;
        if seq < self.cursor {
            self.again.insert(seq);
        }
        Some(!entry.has_gaps())
    }

    /// A message has its end. It is gone, but not what the quotas say of it.
    pub(in crate::federation::relay) fn forget(&mut self, seq: u64) -> Option<Entry> {
        let entry = self.entries.remove(seq)?;
        if seq < self.cursor {
            self.ahead.0 = self.ahead.0.saturating_sub(1);
            self.ahead.1 = self.ahead.1.saturating_sub(entry.size);
        }
        self.again.remove(&seq);
        if let Some(at) = entry.expires {
            self.timed.remove(&(at, seq));
        }
        self.streams.remove(&seq);
        self.tombs.remove(&seq);
        self.rewound.remove(&seq);
        self.partial = self.partial.filter(|partial| *partial != seq);
        Some(entry)
    }

    /// A message has had its end, and does not come any more, not even the rest of it.
    pub(in crate::federation::relay) fn pass(&mut self, seq: u64) {
        self.next = self.next.max(seq + 1);
    }

    /// What is here of a message is dropped; it has to come again. What it cost, and its bytes.
    pub(in crate::federation::relay) fn rewind(&mut self, seq: u64) -> (u64, u64) {
        let Some(entry) = self.entries.get_mut(seq) else {
            return (0, 0);
        };
        let unloaded = entry.memory();
        let freed = entry.begin_anew();
        self.turns += 1;
        entry.turn = self.turns;
        self.rewound.insert(seq);
        // Its sender may go on with the next before it hears of it.
        if self.partial.take_if(|partial| *partial == seq).is_some() {
            self.next = self.next.max(seq + 1);
        }
        (freed, unloaded)
    }

    /// What can be done for the receiver now.
    pub(in crate::federation::relay) fn step(&mut self, now: Instant, outlet: &Outlet) -> Step {
        if !self.is_open {
            return Step::Wait;
        }
        // While what is wanted again is not here, what was begun goes on.
        if let Some(again) = self.again.first().copied() {
            let step = self.step_at(now, outlet, again);
            if !matches!(step, Step::Wait) {
                return step;
            }
        }
        self.step_at(now, outlet, self.cursor)
    }

    fn step_at(&mut self, now: Instant, outlet: &Outlet, from: u64) -> Step {
        let Some((seq, entry)) = self.entries.rest_mut(from).next() else {
            return Step::Wait;
        };
        let is_again = seq < self.cursor;
        if entry.batch > outlet.committed {
            return Step::Wait;
        }
        let is_empty = entry.size == 0;
        let is_streamed_on = entry.size > outlet.custody;
        let mut spent = 0;
        if entry.sent == 0 {
            if entry.size > outlet.bounds.message {
                return Step::TooLarge(seq);
            }
            let fits = is_again
                || self.ahead.0 == 0
                || (self.ahead.0 < u64::from(outlet.bounds.messages)
                    && self.ahead.1.saturating_add(entry.size) <= outlet.bounds.bytes);
            if !fits || (is_streamed_on && !outlet.is_seen) {
                return Step::Wait;
            }
            if entry.is_rewound {
                return if entry.is_asked {
                    Step::Wait
                } else {
                    Step::Ask(seq)
                };
            }
            if let Some(left) = outlet.left.filter(|_| !is_streamed_on) {
                // The receiver's credit is for whole messages, and what a message costs is known when it is whole.
                if !entry.is_whole {
                    return Step::Wait;
                }
                spent = entry.whole_cost();
                if spent > left {
                    return Step::Want(spent - left);
                }
            }
        }
        let (at, size) = (entry.sent, entry.size);
        let (mut pieces, mut end, mut unloaded) = (Few::new(), at, 0);
        // Where the piece begins, and whether this is the rest of it.
        let (mut start, mut is_rest) = (at, true);
        if !is_empty {
            let piece = entry.pieces.rest_mut(at).next();
            let is_here = |piece: &&mut Piece| piece.at <= at && piece.batch <= outlet.committed;
            let Some(piece) = piece.filter(is_here) else {
                return Step::Wait;
            };
            // A server with a smaller window than this one's cannot keep such a piece either.
            let most = if is_streamed_on {
                outlet.custody.max(MIN_PIECE)
            } else {
                u64::MAX
            };
            end = piece.end().min(at.saturating_add(most));
            (start, is_rest) = (piece.at, end == piece.end());
            if let Some(left) = outlet.left.filter(|_| is_streamed_on) {
                spent = cost(end - at, if at == 0 { entry.parts.len() } else { 0 });
                if spent > left {
                    return Step::Want(spent - left);
                }
            }
            pieces = match &mut piece.content {
                Content::Memory(frames) => {
                    let is_over = outlet.is_durable && is_rest;
                    let part = match (is_rest && at == start, is_over) {
                        (true, true) => std::mem::take(frames),
                        (true, false) => frames.clone(),
                        (false, _) => cut(frames, at - start, end - start),
                    };
                    if is_over {
                        unloaded = piece.len;
                        piece.content = Content::Stored;
                    }
                    part
                }
                Content::Stored => return Step::Load,
                Content::Loading => return Step::Wait,
            };
        }
        let millis = |expires: Instant| {
            let left = expires.saturating_duration_since(now);
            u64::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
        };
        let data = Data {
            flow: self.target_id,
            offset: seq,
            tag: entry.tag.clone().filter(|_| at == 0),
            codec: entry.codec,
            ttl: entry.expires.map(millis),
            expired: entry.is_expired,
            at,
            parts: if at == 0 { entry.parts.clone() } else { Few::new() },
            pieces: u16::try_from(pieces.len()).expect("a packet has at most `MAX_PARTS` pieces"),
        };
        let turn = entry.turn;
        let streamed =
            (entry.is_streamed && !is_empty && is_rest).then_some(Streamed { seq, turn, at: start });
        entry.sent = end;
        if end == size {
            entry.sent = 0;
            self.again.remove(&seq);
            if !is_again {
                self.cursor = seq + 1;
                self.ahead.0 += 1;
                self.ahead.1 += size;
            }
        }
        Step::Send {
            data,
            pieces,
            spent,
            streamed,
            unloaded,
        }
    }

    /// Whether so much of what was loaded is sent that more should be, before it is at its end.
    pub(in crate::federation::relay) fn wants_more(&self) -> bool {
        self.reload_at.is_some_and(|at| self.cursor > at)
    }

    /// The pieces that are wanted next of the store and their lengths, at most `most` bytes and one piece.
    pub(in crate::federation::relay) fn load(&mut self, most: u64, bounds: Bounds) -> Vec<(PieceId, u64)> {
        // What is here already counts as what is loaded ahead, too.
        let (mut ids, mut bytes, mut here) = (Vec::new(), 0, 0);
        let flow = self.id;
        let (count, ahead) = LOADED_AHEAD;
        let from = self.again.first().copied().unwrap_or(self.cursor);
        let (mut messages, mut content) = self.ahead;
        'entries: for (index, (offset, entry)) in self.entries.rest_mut(from).take(count).enumerate() {
            let fits = messages < u64::from(bounds.messages) && content + entry.size <= bounds.bytes;
            // The first one goes in any case; before it, numbers may be missing.
            if !fits && index > 0 {
                break;
            }
            messages += 1;
            content += entry.size;
            let sent = entry.sent;
            for piece in entry.pieces.rest_mut(sent) {
                if !matches!(piece.content, Content::Stored) {
                    here += piece.len;
                } else if ids.len() >= count
                    || (!ids.is_empty() && (bytes + piece.len > most || bytes + here + piece.len > ahead))
                {
                    break 'entries;
                } else {
                    piece.content = Content::Loading;
                    bytes += piece.len;
                    let at = piece.at;
                    ids.push((PieceId { flow, offset, at }, piece.len));
                }
            }
        }
        self.reload_at = ids.get(ids.len() / 2).map(|(piece, _)| piece.offset);
        ids
    }
}
