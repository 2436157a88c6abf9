//! The server: mailboxes, by single calls and by streams.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use crate::generated::relay_server::Relay;
use crate::mailbox::{self, End, Mailbox};
use crate::messages::{Down, Get, Given, Numbered, Open, Put, Route, Taken, Up};
use crate::outbox::{Outbox, Size};

/// How long a call waits for a message.
const POLL: Duration = Duration::from_secs(20);

/// All mailboxes.
pub(crate) struct Mailboxes {
    room: usize,
    batch: usize,
    known: Arc<Mutex<HashMap<Route, Arc<Mailbox>>>>,
}

impl Mailboxes {
    pub(crate) fn new(room: usize, batch: usize) -> Self {
        Mailboxes {
            room,
            batch,
            known: Arc::default(),
        }
    }

    fn of(&self, route: Option<Route>) -> Result<Arc<Mailbox>, Status> {
        let route = route.ok_or_else(|| Status::invalid_argument("no route"))?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mailbox = known
            .entry(route)
            .or_insert_with(|| Arc::new(Mailbox::new(self.room)));
        Ok(Arc::clone(mailbox))
    }

    fn clone(&self) -> Self {
        Mailboxes {
            room: self.room,
            batch: self.batch,
            known: Arc::clone(&self.known),
        }
    }
}

#[tonic::async_trait]
impl Relay for Mailboxes {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<Down, Status>> + Send>>;

    async fn send(&self, request: Request<Put>) -> Result<Response<Taken>, Status> {
        let put = request.into_inner();
        let mailbox = self.of(put.route)?;
        let piece = put.piece.ok_or_else(|| Status::invalid_argument("no piece"))?;
        let next = mailbox.put_in_turn(piece).await?;
        Ok(Response::new(Taken { next }))
    }

    async fn receive(&self, request: Request<Get>) -> Result<Response<Given>, Status> {
        let get = request.into_inner();
        let mailbox = self.of(get.route)?;
        mailbox.received(get.next);
        let piece = tokio::time::timeout(POLL, mailbox.wait_for(get.next)).await.ok();
        Ok(Response::new(Given { piece }))
    }

    async fn attach(&self, request: Request<Streaming<Up>>) -> Result<Response<Self::AttachStream>, Status> {
        let mut ups = request.into_inner();
        let outbox = Outbox::new(self.batch);
        let stream = Arc::clone(&outbox).stream(|batch| {
            Ok(Down {
                pieces: batch.items,
                marks: batch.marks,
            })
        });
        let mut party = Attached {
            mailboxes: self.clone(),
            open: HashMap::new(),
            outbox,
        };
        tokio::spawn(async move {
            while let Some(Ok(up)) = ups.next().await {
                if party.take(up).is_err() {
                    break;
                }
            }
            // Dropped: the other direction ends, and the mailboxes wait for the next stream.
        });
        Ok(Response::new(Box::pin(stream)))
    }
}

/// One party's stream.
struct Attached {
    mailboxes: Mailboxes,
    open: HashMap<u32, Arc<Mailbox>>,
    outbox: Arc<Outbox<Numbered>>,
}

impl Attached {
    fn take(&mut self, up: Up) -> Result<(), Status> {
        for open in up.opens {
            self.open(open)?;
        }
        for mark in up.marks {
            self.mailbox(mark.number)?.received(mark.received);
        }
        for Numbered { number, piece } in up.pieces {
            let piece = piece.ok_or_else(|| Status::invalid_argument("no piece"))?;
            // A party keeps to the window, or its stream ends and it sends again.
            match self.mailbox(number)?.put(piece)? {
                mailbox::Put::Taken(_) => {}
                mailbox::Put::Full => return Err(Status::resource_exhausted("no room")),
            }
        }
        Ok(())
    }

    fn open(&mut self, open: Open) -> Result<(), Status> {
        let mailbox = self.mailboxes.of(open.route)?;
        let end = End {
            outbox: Arc::clone(&self.outbox),
            number: open.number,
        };
        match open.next {
            Some(next) => {
                mailbox.received(next);
                mailbox.attach_reader(end);
            }
            None => mailbox.attach_writer(end),
        }
        self.open.insert(open.number, mailbox);
        Ok(())
    }

    fn mailbox(&self, number: u32) -> Result<&Mailbox, Status> {
        let mailbox = self.open.get(&number);
        Ok(mailbox.ok_or_else(|| Status::not_found(format!("mailbox {number} is not open")))?)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.outbox.close();
        for mailbox in self.open.values() {
            mailbox.detach(&self.outbox);
        }
    }
}

impl Size for Numbered {
    fn size(&self) -> usize {
        self.piece.as_ref().map_or(0, |piece| piece.data.len())
    }
}
