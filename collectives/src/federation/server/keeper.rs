//! The thread that has the store, where the server may wait for nothing.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc as answers;

use super::report::StoreStats;
use crate::federation::relay::{Op, PieceId, Request};
use crate::federation::store::{FileStore, StoreError};

/// How often a store is tried that could not be used.
const AGAIN: Duration = Duration::from_secs(1);
/// Commits that are under way at once. While the store is busy with these, what comes meanwhile becomes one commit.
const UNDER_WAY: usize = 64;
/// Pieces likewise that are to be read. They are read all at once.
const READS: usize = 4096;
/// When there was no room, so many bytes are committed at once.
const LITTLE: u64 = 256 << 10;
/// So many changes are committed together at most.
const TOGETHER: usize = 65_536;
/// When nothing was asked for so long, the file may take a moment to get smaller.
const QUIET: Duration = Duration::from_secs(10);

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Keeper {
    requests: Option<Sender<Request>>,
    answers: answers::UnboundedReceiver<Answer>,
    under_way: usize,
    reads: usize,
    thread: Option<JoinHandle<()>>,
    pub(super) status: Status,
}

/// How the store is.
#[derive(Clone, Debug, Default)]
pub(super) struct Status {
    /// Bytes of content that it has.
    pub(super) content: u64,
    /// Transactions since the start.
    pub(super) commits: u64,
    /// Why it cannot be used now, and whether that is for lack of room.
    pub(super) trouble: Option<(bool, String)>,
}

impl Status {
    pub(super) fn stats(&self) -> StoreStats {
        StoreStats {
            content_bytes: self.content,
            commits: self.commits,
            is_full: self.trouble.as_ref().is_some_and(|(is_full, _)| *is_full),
            trouble: self.trouble.as_ref().map(|(_, text)| text.clone()),
        }
    }
}

/// What the thread has to say.
#[derive(Debug)]
pub(super) enum Answer {
    Committed {
        batch: u64,
        content: u64,
    },
    Loaded {
        piece: PieceId,
        content: Vec<Bytes>,
    },
    /// A piece that is not there, for it was settled meanwhile.
    Gone {
        piece: PieceId,
    },
    /// It cannot be used, and is tried again.
    Trouble {
        is_full: bool,
        text: String,
    },
    /// It can be used again.
    Well,
}

impl Keeper {
    /// # Errors
    /// The system has no thread.
    pub(super) fn start(store: FileStore) -> io::Result<Self> {
        let (requests, asked) = mpsc::channel();
        let (told, answers) = answers::unbounded_channel();
        let status = Status {
            content: store.content(),
            ..Status::default()
        };
        let thread = thread::Builder::new()
            .name("flexbond-store".to_owned())
            .spawn(move || Thread::new(store, asked, told).run())?;
        Ok(Keeper {
            requests: Some(requests),
            answers,
            under_way: 0,
            reads: 0,
            thread: Some(thread),
            status,
        })
    }

    /// Whether another request should be made now. While the store cannot take what is new, it can be read, and what is
    /// settled makes room.
    pub(super) fn has_room(&self) -> bool {
        (self.under_way < UNDER_WAY && self.reads < READS) || self.status.trouble.is_some()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.under_way == 0 && self.reads == 0
    }

    pub(super) fn ask(&mut self, request: Request) {
        if let Some(requests) = &self.requests {
            match &request {
                Request::Commit { .. } => self.under_way += 1,
                Request::Load(_) => self.reads += 1,
            }
            // The thread ends after this one only.
            let _ = requests.send(request);
        }
    }

    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<Answer>> {
        let answer = self.answers.poll_recv(cx);
        if let Poll::Ready(Some(answer)) = &answer {
            match answer {
                Answer::Committed { content, .. } => {
                    self.under_way -= 1;
                    self.status.content = *content;
                    self.status.commits += 1;
                }
                Answer::Loaded { .. } | Answer::Gone { .. } => self.reads -= 1,
                Answer::Trouble { is_full, text } => self.status.trouble = Some((*is_full, text.clone())),
                Answer::Well => self.status.trouble = None,
            }
        }
        answer
    }

    /// No more requests: the thread does what is left, once, and closes the file. Joined by who may block.
    pub(super) fn end(&mut self) -> Option<JoinHandle<()>> {
        self.requests = None;
        self.thread.take()
    }
}

struct Thread {
    store: FileStore,
    asked: Receiver<Request>,
    told: answers::UnboundedSender<Answer>,
    queue: VecDeque<Request>,
    quiet: Duration,
    is_ending: bool,
    is_in_trouble: bool,
}

impl Thread {
    fn new(store: FileStore, asked: Receiver<Request>, told: answers::UnboundedSender<Answer>) -> Self {
        Thread {
            store,
            asked,
            told,
            queue: VecDeque::new(),
            quiet: QUIET,
            is_ending: false,
            is_in_trouble: false,
        }
    }

    fn run(mut self) {
        loop {
            self.listen();
            if self.queue.is_empty() && self.is_ending {
                return;
            }
            match self.work() {
                Ok(()) => self.well(),
                Err(error) => {
                    self.trouble(&error);
                    if self.is_ending {
                        return;
                    }
                    self.get_by();
                }
            }
        }
    }

    /// Takes what was asked for, and waits if that is nothing.
    fn listen(&mut self) {
        if self.queue.is_empty() && !self.is_ending {
            let mut asked = self.asked.recv_timeout(self.quiet);
            if asked == Err(RecvTimeoutError::Timeout) {
                self.store.shrink();
                asked = self.asked.recv().map_err(RecvTimeoutError::from);
            }
            match asked {
                Ok(request) => self.queue.push_back(request),
                Err(_) => self.is_ending = true,
            }
        }
        loop {
            match self.asked.try_recv() {
                Ok(request) => self.queue.push_back(request),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.is_ending = true;
                    return;
                }
            }
        }
    }

    /// Does all that is in the queue: first reads what is there, which commits need not come before, then the rest in its
    /// order; commits that follow each other are one.
    fn work(&mut self) -> Result<(), StoreError> {
        self.load(0)?;
        while let Some(request) = self.queue.front() {
            if let Request::Load(piece) = request {
                let piece = *piece;
                let mut content = self.store.load(&[piece])?;
                self.queue.pop_front();
                self.tell_loaded(piece, content.pop().flatten());
                continue;
            }
            self.commit()?;
        }
        Ok(())
    }

    /// Reads all pieces of the queue that are there, but not of its first `done` requests.
    fn load(&mut self, done: usize) -> Result<(), StoreError> {
        let pieces = self.queue.iter().skip(done).filter_map(|request| match request {
            Request::Load(piece) => Some(*piece),
            Request::Commit { .. } => None,
        });
        let pieces: Vec<PieceId> = pieces.collect();
        if pieces.is_empty() {
            return Ok(());
        }
        let mut contents = self.store.load(&pieces)?.into_iter();
        let mut left = VecDeque::new();
        for (at, request) in std::mem::take(&mut self.queue).into_iter().enumerate() {
            match request {
                Request::Load(piece) if at >= done => match contents.next().flatten() {
                    Some(content) => self.tell_loaded(piece, Some(content)),
                    // Perhaps it is in a commit before this.
                    None => left.push_back(request),
                },
                other => left.push_back(other),
            }
        }
        self.queue = left;
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        if self.is_in_trouble {
            return self.commit_some();
        }
        let mut together: Vec<Op> = Vec::new();
        let mut batches = Vec::new();
        while together.len() < TOGETHER
            && let Some(Request::Commit { .. }) = self.queue.front()
            && let Some(Request::Commit { batch, ops }) = self.queue.pop_front()
        {
            batches.push((batch, ops.len()));
            if together.is_empty() {
                together = ops;
            } else {
                together.extend(ops);
            }
        }
        let result = self.store.commit(&together);
        match &result {
            Ok(()) => {
                let content = self.store.content();
                for (batch, _) in batches {
                    self.tell(Answer::Committed { batch, content });
                }
            }
            // As it was, for the next time.
            Err(_) => {
                for (batch, count) in batches.into_iter().rev() {
                    let ops = together.split_off(together.len() - count);
                    self.queue.push_front(Request::Commit { batch, ops });
                }
            }
        }
        result
    }

    /// The first changes of the queue, as many as need little room. Changes come in the order of what has caused them, and
    /// are acknowledged when their batch is complete: the first ones alone are as good as a connection that broke there.
    fn commit_some(&mut self) -> Result<(), StoreError> {
        let Some(Request::Commit { batch, ops }) = self.queue.front_mut() else {
            return Ok(());
        };
        let mut room = LITTLE;
        let count = ops.iter().take_while(|op| {
            let has_room = room > 0;
            room = room.saturating_sub(FileStore::weight(op));
            has_room
        });
        let count = count.count();
        self.store.commit(&ops[..count])?;
        ops.drain(..count);
        if ops.is_empty() {
            let (batch, content) = (*batch, self.store.content());
            self.queue.pop_front();
            self.tell(Answer::Committed { batch, content });
        }
        Ok(())
    }

    /// For a while, does what can be done though nothing new can be kept.
    fn get_by(&mut self) {
        let again = Instant::now() + AGAIN;
        let mut done = 0;
        while !self.is_ending {
            let has_removed = self.remove_and_load(done);
            if has_removed && done > 0 {
                return;
            }
            done = self.queue.len();
            match self
                .asked
                .recv_timeout(again.saturating_duration_since(Instant::now()))
            {
                Ok(request) => self.queue.push_back(request),
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => self.is_ending = true,
            }
            self.listen();
        }
    }

    /// What is settled makes room, and what is there can be read. Both may be done again, in their order, when the commits
    /// before them are. The first `done` of the queue had their turn. Whether something was removed.
    fn remove_and_load(&mut self, done: usize) -> bool {
        let is_removal = |op: &&Op| matches!(op, Op::Settled { .. } | Op::Dropped { .. });
        let commits = self.queue.iter().skip(done).filter_map(|request| match request {
            Request::Commit { ops, .. } => Some(ops),
            Request::Load(_) => None,
        });
        let removals: Vec<Op> = commits.flatten().filter(is_removal).cloned().collect();
        let has_removed = !removals.is_empty() && self.store.commit(&removals).is_ok();
        // What cannot be read now is read later.
        let _ = self.load(done);
        has_removed
    }

    fn tell_loaded(&self, piece: PieceId, content: Option<Vec<Bytes>>) {
        self.tell(match content {
            Some(content) => Answer::Loaded { piece, content },
            None => Answer::Gone { piece },
        });
    }

    fn trouble(&mut self, error: &StoreError) {
        if !std::mem::replace(&mut self.is_in_trouble, true) {
            let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
            self.tell(Answer::Trouble {
                is_full: matches!(error, StoreError::Full { .. }),
                text: format!("{error}{}", cause.unwrap_or_default()),
            });
        }
    }

    fn well(&mut self) {
        if std::mem::take(&mut self.is_in_trouble) {
            self.tell(Answer::Well);
        }
    }

    fn tell(&self, answer: Answer) {
        // Nobody asks any more once the server has ended.
        let _ = self.told.send(answer);
    }
}

#[cfg(test)]
mod tests;
