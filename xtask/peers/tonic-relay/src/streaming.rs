//! A party with one stream to the server and back, for all of its channels.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use peer_harness::Result;
use tokio::sync::{Notify, oneshot};
use tonic::Request;
use tonic::transport::Channel;

use crate::generated::relay_client::RelayClient;
use crate::mailbox::{MOST, PIECE};
use crate::messages::{Down, Mark, Numbered, Open, Piece, Route, Up};
use crate::outbox::{Batch, Outbox, Size};

/// Between attempts, while the server is not there.
const PAUSE: Duration = Duration::from_millis(100);

/// A party. A clone is the same.
#[derive(Clone)]
pub(crate) struct Party(Arc<Inner>);

struct Inner {
    room: usize,
    batch: usize,
    state: Mutex<State>,
    /// Ends the stream when the party is dropped.
    _alive: oneshot::Sender<()>,
}

struct State {
    outbox: Arc<Outbox<Item>>,
    mailboxes: Vec<Arc<Mailbox>>,
}

/// What goes up.
enum Item {
    Open(Open),
    Piece(Numbered),
}

impl Size for Item {
    fn size(&self) -> usize {
        match self {
            Item::Open(_) => 0,
            Item::Piece(piece) => piece.size(),
        }
    }
}

/// One direction of a channel.
struct Mailbox {
    number: u32,
    route: Route,
    direction: Direction,
    /// Something has come, or there is room.
    changed: Notify,
}

enum Direction {
    There(Mutex<There>),
    Back(Mutex<Back>),
}

#[derive(Default)]
struct There {
    next: u64,
    /// What the receiver has not yet.
    kept: VecDeque<Piece>,
    bytes: usize,
}

#[derive(Default)]
struct Back {
    /// What came in order so far ends here, and what the program has begins there.
    next: u64,
    received: u64,
    waiting: VecDeque<Piece>,
}

/// A channel.
pub(crate) struct Line {
    party: Party,
    there: Arc<Mailbox>,
    back: Arc<Mailbox>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Party {
    /// Connects, and connects again whenever the stream breaks.
    pub(crate) fn new(client: RelayClient<Channel>, room: usize, batch: usize) -> Self {
        let (alive, mut dropped) = oneshot::channel();
        let party = Party(Arc::new(Inner {
            room,
            batch,
            state: Mutex::new(State {
                outbox: Outbox::new(batch),
                mailboxes: Vec::new(),
            }),
            _alive: alive,
        }));
        let weak = Arc::downgrade(&party.0);
        tokio::spawn(async move {
            while let Some(inner) = weak.upgrade() {
                let outbox = inner.attach();
                drop(inner);
                let attached = async {
                    let ups = Arc::clone(&outbox).stream(up);
                    let mut downs = client.clone().attach(Request::new(ups)).await?.into_inner();
                    while let Some(down) = downs.next().await {
                        let (down, Some(inner)) = (down?, weak.upgrade()) else {
                            break;
                        };
                        inner.take(down);
                    }
                    Ok::<_, tonic::Status>(())
                };
                tokio::select! {
                    _ = attached => {}
                    _ = &mut dropped => return,
                }
                outbox.close();
                tokio::time::sleep(PAUSE).await;
            }
        });
        party
    }

    /// A channel, whose directions have these routes.
    pub(crate) fn line(&self, to: Route, from: Route) -> Line {
        let there = Direction::There(Mutex::default());
        let back = Direction::Back(Mutex::default());
        Line {
            there: self.0.open(to, there),
            back: self.0.open(from, back),
            party: self.clone(),
        }
    }
}

fn up(batch: Batch<Item>) -> Up {
    let mut up = Up {
        marks: batch.marks,
        ..Up::default()
    };
    for item in batch.items {
        match item {
            Item::Open(open) => up.opens.push(open),
            Item::Piece(piece) => up.pieces.push(piece),
        }
    }
    up
}

impl Inner {
    fn open(&self, route: Route, direction: Direction) -> Arc<Mailbox> {
        let mut state = lock(&self.state);
        let mailbox = Arc::new(Mailbox {
            number: u32::try_from(state.mailboxes.len()).unwrap_or(u32::MAX),
            route,
            direction,
            changed: Notify::new(),
        });
        state.outbox.push(Item::Open(mailbox.open()));
        state.mailboxes.push(Arc::clone(&mailbox));
        mailbox
    }

    /// A stream begins: mailboxes are opened again, and what has not arrived is sent again.
    fn attach(&self) -> Arc<Outbox<Item>> {
        let mut state = lock(&self.state);
        let outbox = Outbox::new(self.batch);
        for mailbox in &state.mailboxes {
            outbox.push(Item::Open(mailbox.open()));
        }
        for mailbox in &state.mailboxes {
            if let Direction::There(there) = &mailbox.direction {
                for piece in &lock(there).kept {
                    outbox.push(mailbox.numbered(piece.clone()));
                }
            }
        }
        state.outbox = Arc::clone(&outbox);
        outbox
    }

    fn take(&self, down: Down) {
        let (mailboxes, outbox) = {
            let state = lock(&self.state);
            let numbers = down.pieces.iter().map(|piece| piece.number);
            let numbers = numbers.chain(down.marks.iter().map(|mark| mark.number));
            let find = |number: u32| state.mailboxes.get(number as usize).cloned();
            (numbers.map(find).collect::<Vec<_>>(), Arc::clone(&state.outbox))
        };
        let (to, from) = mailboxes.split_at(down.pieces.len());
        for (piece, mailbox) in down.pieces.into_iter().zip(to) {
            if let (Some(mailbox), Some(piece)) = (mailbox, piece.piece) {
                let is_large = piece.data.len() >= PIECE;
                mailbox.come(piece, &outbox);
                if is_large {
                    outbox.hurry();
                }
            }
        }
        for (mark, mailbox) in down.marks.iter().zip(from) {
            if let Some(mailbox) = mailbox {
                mailbox.arrived(mark.received);
            }
        }
    }

    fn outbox(&self) -> Arc<Outbox<Item>> {
        Arc::clone(&lock(&self.state).outbox)
    }
}

impl Mailbox {
    fn open(&self) -> Open {
        Open {
            number: self.number,
            route: Some(self.route.clone()),
            next: match &self.direction {
                Direction::There(_) => None,
                Direction::Back(back) => Some(lock(back).next),
            },
        }
    }

    fn numbered(&self, piece: Piece) -> Item {
        Item::Piece(Numbered {
            number: self.number,
            piece: Some(piece),
        })
    }

    /// A piece has come, once or again. Of a large message it is the stream that has it, not the program: it could not
    /// come to its end in its window otherwise.
    fn come(&self, piece: Piece, outbox: &Outbox<Item>) {
        let Direction::Back(back) = &self.direction else {
            return;
        };
        let mut back = lock(back);
        if piece.offset != back.next {
            return;
        }
        back.next += 1;
        let is_part = piece.goes_on;
        back.waiting.push_back(piece);
        if is_part {
            outbox.mark(self.mark(back.next));
            return;
        }
        drop(back);
        self.changed.notify_one();
    }

    fn mark(&self, received: u64) -> Mark {
        Mark {
            number: self.number,
            taken: 0,
            received,
        }
    }

    /// The receiver has all pieces below `next`.
    fn arrived(&self, next: u64) {
        let Direction::There(there) = &self.direction else {
            return;
        };
        let mut there = lock(there);
        while there.kept.front().is_some_and(|piece| piece.offset < next) {
            if let Some(piece) = there.kept.pop_front() {
                there.bytes -= piece.data.len();
            }
        }
        drop(there);
        self.changed.notify_one();
    }
}

impl Line {
    pub(crate) async fn swap(&mut self, value: Bytes) -> Result<Bytes> {
        self.send(value).await?;
        self.receive().await
    }

    pub(crate) async fn send(&mut self, mut value: Bytes) -> Result<()> {
        loop {
            let data = value.split_to(value.len().min(PIECE));
            self.put(data, !value.is_empty()).await;
            if value.is_empty() {
                return Ok(());
            }
        }
    }

    async fn put(&self, data: Bytes, goes_on: bool) {
        while !self.has_put(&data, goes_on) {
            self.there.changed.notified().await;
        }
    }

    fn has_put(&self, data: &Bytes, goes_on: bool) -> bool {
        let Direction::There(there) = &self.there.direction else {
            return true;
        };
        // A stream that begins meanwhile has the piece, or comes before it.
        let state = lock(&self.party.0.state);
        let mut there = lock(there);
        let is_full = there.kept.len() >= MOST || there.bytes + data.len() > self.party.0.room;
        if is_full && !there.kept.is_empty() {
            return false;
        }
        let piece = Piece {
            offset: there.next,
            goes_on,
            data: data.clone(),
        };
        there.next += 1;
        there.bytes += piece.data.len();
        there.kept.push_back(piece.clone());
        state.outbox.push(self.there.numbered(piece));
        true
    }

    pub(crate) async fn receive(&mut self) -> Result<Bytes> {
        loop {
            if let Some(value) = self.whole() {
                return Ok(value);
            }
            self.back.changed.notified().await;
        }
    }

    /// The next message, if all of it is there.
    fn whole(&self) -> Option<Bytes> {
        let Direction::Back(back) = &self.back.direction else {
            return None;
        };
        let mut back = lock(back);
        let end = back.waiting.iter().position(|piece| !piece.goes_on)?;
        let value = match end {
            0 => back.waiting.pop_front()?.data,
            _ => {
                let mut value = Vec::with_capacity((end + 1) * PIECE);
                for piece in back.waiting.drain(..=end) {
                    value.extend_from_slice(&piece.data);
                }
                value.into()
            }
        };
        back.received += end as u64 + 1;
        let mark = self.back.mark(back.received);
        drop(back);
        self.party.0.outbox().mark(mark);
        Some(value)
    }
}
