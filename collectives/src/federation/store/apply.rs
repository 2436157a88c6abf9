//! What a commit changes.

use redb::WriteTransaction;

use super::failure::Failure;
use super::rows::{
    CONTENTS, FLOWS, FlowRow, INLINE, JOB_FLOWS, JOBS, JobRow, MESSAGES, NEXTS, PAIRS, PIECES, PairRow,
    chunks, is_small, message_row, piece_row, read_message, read_piece, row, size,
};
use crate::federation::relay::{Op, Record};

/// How many bytes of content have come and gone.
#[derive(Default)]
pub(super) struct Change {
    pub(super) added: u64,
    pub(super) removed: u64,
}

/// Does all of it, in order.
pub(super) fn apply(transaction: &WriteTransaction, ops: &[Op]) -> Result<Change, Failure> {
    let mut tables = Tables::open(transaction)?;
    let mut change = Change::default();
    let mut ops = ops.iter().peekable();
    while let Some(op) = ops.next() {
        // A small message stands with its content in one row: that costs half as much as two.
        if let Op::Keep(message @ Record::Message { .. }) = op {
            let next = ops.next_if(|next| is_its_content(message, next));
            tables.keep_message(message, next, &mut change)?;
        } else {
            tables.apply(op, &mut change)?;
        }
    }
    Ok(change)
}

/// Whether the change has all that a message has, and it is little.
fn is_its_content(message: &Record, op: &Op) -> bool {
    let Record::Message {
        flow, offset, parts, ..
    } = message
    else {
        return false;
    };
    let Op::Piece { id, content } = op else {
        return false;
    };
    (id.flow, id.offset, id.at) == (*flow, *offset, 0) && is_small(parts, content)
}

/// Behind all names: they are UTF-8, and begin with no higher character.
const LAST_NAME: &str = "\u{10ffff}\u{10ffff}";

type Table<'t, K, V> = redb::Table<'t, K, V>;

struct Tables<'t> {
    jobs: Table<'t, &'static str, &'static [u8]>,
    pairs: Table<'t, (&'static str, &'static str, &'static str), &'static [u8]>,
    flows: Table<'t, u64, &'static [u8]>,
    nexts: Table<'t, u64, u64>,
    job_flows: Table<'t, (&'static str, u64), ()>,
    messages: Table<'t, (u64, u64), &'static [u8]>,
    pieces: Table<'t, (u64, u64, u64), &'static [u8]>,
    contents: Table<'t, (u64, u64, u64, u32), &'static [u8]>,
}

impl<'t> Tables<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Self, Failure> {
        Ok(Tables {
            jobs: transaction.open_table(JOBS)?,
            pairs: transaction.open_table(PAIRS)?,
            flows: transaction.open_table(FLOWS)?,
            nexts: transaction.open_table(NEXTS)?,
            job_flows: transaction.open_table(JOB_FLOWS)?,
            messages: transaction.open_table(MESSAGES)?,
            pieces: transaction.open_table(PIECES)?,
            contents: transaction.open_table(CONTENTS)?,
        })
    }

    fn apply(&mut self, op: &Op, change: &mut Change) -> Result<(), Failure> {
        match op {
            Op::Keep(record) => self.keep(record)?,
            Op::Piece { id, content } => {
                let (flow, offset, at) = (id.flow, id.offset, id.at);
                let row = piece_row(content);
                let len = content.iter().map(|buffer| buffer.len() as u64).sum::<u64>();
                let before = self.pieces.insert((flow, offset, at), &*row)?;
                let before = before.and_then(|row| read_piece(row.value()).map(|(lens, _)| size(&lens)));
                change.removed += before.unwrap_or(0);
                change.added += len;
                if len > INLINE as u64 {
                    for (number, chunk) in (0..).zip(chunks(content)) {
                        self.contents.insert((flow, offset, at, number), &*chunk)?;
                    }
                }
            }
            Op::JobGone { job } => self.forget(job.as_str(), change)?,
            Op::Settled { flow, offset, .. } | Op::Dropped { flow, offset } => {
                let key = (*flow, *offset);
                let whole = self.messages.remove(key)?.map(|row| whole_size(row.value()));
                match whole.flatten() {
                    Some(size) => change.removed += size,
                    None => self.remove_contents(key, key, change)?,
                }
            }
        }
        Ok(())
    }

    fn keep(&mut self, record: &Record) -> Result<(), Failure> {
        match record {
            Record::Job {
                job,
                members,
                aborted,
            } => {
                let (members, aborted) = (members.clone(), aborted.clone());
                let row = row(&JobRow { members, aborted });
                self.jobs.insert(job.as_str(), &*row)?;
            }
            Record::Pair {
                job,
                from,
                to,
                ready,
                left,
            } => {
                let row = row(&PairRow {
                    ready: *ready,
                    left: *left,
                });
                self.pairs
                    .insert((job.as_str(), from.as_str(), to.as_str()), &*row)?;
            }
            Record::Flow {
                id,
                job,
                from,
                to,
                key,
                epoch,
                source,
            } => {
                let row = row(&FlowRow {
                    job: job.clone(),
                    from: from.clone(),
                    to: to.clone(),
                    key: key.clone(),
                    epoch: *epoch,
                    source: *source,
                });
                if self.flows.insert(*id, &*row)?.is_none() {
                    self.job_flows.insert((job.as_str(), *id), ())?;
                }
            }
            Record::Next { flow, next } => {
                self.nexts.insert(*flow, *next)?;
            }
            // With its content, if it is small.
            Record::Message { .. } => {}
            // Its piece has said so.
            Record::Piece { .. } => {}
        }
        Ok(())
    }

    /// Keeps a message, with its content if that is to stand in its row.
    fn keep_message(
        &mut self,
        message: &Record,
        piece: Option<&Op>,
        change: &mut Change,
    ) -> Result<(), Failure> {
        let Record::Message {
            flow,
            offset,
            tag,
            codec,
            parts,
            expires_unix_ms,
        } = message
        else {
            return Ok(());
        };
        let content = match piece {
            Some(Op::Piece { content, .. }) => Some(&**content),
            _ => None,
        };
        let key = (*flow, *offset);
        let row = message_row((tag.as_ref(), *codec, parts), *expires_unix_ms, content);
        let before = self.messages.insert(key, &*row)?;
        let before = before.map(|row| whole_size(row.value()));
        change.added += content.map_or(0, |_| size(parts));
        match before {
            None => {}
            Some(Some(size)) => change.removed += size,
            Some(None) if content.is_some() => self.remove_contents(key, key, change)?,
            Some(None) => {}
        }
        Ok(())
    }

    /// Removes what messages from `first` to `last` have of content.
    fn remove_contents(
        &mut self,
        first: (u64, u64),
        last: (u64, u64),
        change: &mut Change,
    ) -> Result<(), Failure> {
        let pieces = (first.0, first.1, 0)..=(last.0, last.1, u64::MAX);
        let mut has_chunks = false;
        let mut removed = 0;
        self.pieces.retain_in(pieces, |_, row| {
            let len = read_piece(row).map_or(0, |(lens, _)| size(&lens));
            has_chunks |= len > INLINE as u64;
            removed += len;
            false
        })?;
        change.removed += removed;
        if has_chunks {
            let chunks = (first.0, first.1, 0, 0)..=(last.0, last.1, u64::MAX, u32::MAX);
            self.contents.retain_in(chunks, |_, _| false)?;
        }
        Ok(())
    }

    fn forget(&mut self, job: &str, change: &mut Change) -> Result<(), Failure> {
        self.jobs.remove(job)?;
        // No name is empty, and none is longer than this.
        self.pairs
            .retain_in((job, "", "")..=(job, LAST_NAME, LAST_NAME), |_, _| false)?;
        let mut flows = Vec::new();
        self.job_flows
            .retain_in((job, 0)..=(job, u64::MAX), |(_, flow), ()| {
                flows.push(flow);
                false
            })?;
        for flow in flows {
            self.flows.remove(flow)?;
            self.nexts.remove(flow)?;
            let mut removed = 0;
            self.messages.retain_in((flow, 0)..=(flow, u64::MAX), |_, row| {
                removed += whole_size(row).unwrap_or(0);
                false
            })?;
            change.removed += removed;
            self.remove_contents((flow, 0), (flow, u64::MAX), change)?;
        }
        Ok(())
    }
}

/// The bytes of a message that stands whole in its row.
fn whole_size(row: &[u8]) -> Option<u64> {
    let (_, bytes) = read_message(row)?;
    Some(bytes?.len() as u64)
}
