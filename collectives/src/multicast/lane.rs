//! The multicast of one epoch: the group session, and what there is to know of who is who in it.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::ops::{Deref, RangeInclusive};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use flexbond_session::group::{Coordinator, Event, Member, SendError, Session};
use flexbond_session::mesh::{Mesh, MeshError};
use futures_util::future::{Either, select};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};

use super::intake::{Announced, Intake, Stage};
use super::notice::{Heading, Subject, tag, word};
use super::reader::Reader;

/// The multicast of one epoch.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) mesh: Arc<Mesh>,
    pub(super) epoch: u32,
    pub(super) intake: Arc<Intake>,
    seat: Seat,
    runtime: Handle,
    last_number: AtomicU32,
    /// Notices on their way.
    notices: Mutex<JoinSet<()>>,
    reader: Attendant,
    warden: Option<Attendant>,
    decliner: Attendant,
}

/// A task that ends with this.
#[derive(Debug)]
struct Attendant(JoinHandle<()>);

impl Attendant {
    /// Waits until the task holds nothing any more.
    async fn stop(mut self) {
        self.0.abort();
        let _ = (&mut self.0).await;
    }
}

impl Drop for Attendant {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// This rank's end of the group session.
#[derive(Debug)]
pub(super) enum Seat {
    Coordinator(Arc<Coordinator>),
    Member(Member),
}

impl Deref for Seat {
    type Target = Session;

    fn deref(&self) -> &Session {
        match self {
            Seat::Coordinator(coordinator) => coordinator,
            Seat::Member(member) => member,
        }
    }
}

impl Lane {
    /// Bytes that are handed to the session at once.
    const PART: usize = 256 << 10;
    /// How long leaving the session may take: the others do not wait for this rank any more.
    const FAREWELL: Duration = Duration::from_secs(1);

    /// `ranks` are those of the session's members, by their numbers there.
    pub(super) fn new(mesh: Arc<Mesh>, epoch: u32, seat: Seat, ranks: HashMap<u32, usize>) -> Self {
        let intake = Arc::new(Intake::default());
        let runtime = Handle::current();
        let reader = Reader::new(epoch, Arc::clone(&intake), ranks);
        let reader = Attendant(runtime.spawn(reader.run(Session::clone(&seat))));
        let decliner = Attendant(runtime.spawn(decline(Arc::clone(&mesh), epoch)));
        let warden = match &seat {
            Seat::Coordinator(coordinator) => {
                Some(Attendant(runtime.spawn(keep_out(Arc::clone(coordinator)))))
            }
            Seat::Member(_) => None,
        };
        Lane {
            mesh,
            epoch,
            intake,
            seat,
            runtime,
            last_number: AtomicU32::new(0),
            notices: Mutex::default(),
            reader,
            warden,
            decliner,
        }
    }

    /// Whether the session still is.
    pub(super) fn is_open(&self) -> bool {
        !self.intake.is_over()
    }

    /// A number for a message; none once all were used.
    pub(super) fn next_number(&self) -> Option<NonZeroU32> {
        let next = |last: u32| last.checked_add(1);
        let last = self
            .last_number
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        NonZeroU32::new(last.ok()?.checked_add(1)?)
    }

    /// What is done through the mesh belongs to this epoch, or is not done. `step` was made a moment ago.
    pub(super) async fn within<T>(
        &self,
        step: impl Future<Output = Result<T, MeshError>>,
    ) -> Result<T, MeshError> {
        // A step belongs to the epoch in which it was made, and epochs grow.
        match self.mesh.epoch() == self.epoch {
            true => step.await,
            false => Err(MeshError::EpochOver { epoch: self.epoch }),
        }
    }

    /// Receives a notice of one byte.
    pub(super) async fn hear(&self, from: usize, subject: Subject, number: u32) -> Result<u8, MeshError> {
        let mut word = [0; 1];
        let receiving = self.mesh.recv(from, tag(subject, number), &mut word);
        let receiving = match subject {
            Subject::Meeting | Subject::Ready => receiving,
            // Meanwhile the session needs this thread.
            Subject::Done | Subject::Instead => receiving.patient(),
        };
        self.within(receiving).await?;
        Ok(word[0])
    }

    /// Sends a notice of one byte, whatever becomes of the caller.
    pub(super) fn tell(&self, to: usize, subject: Subject, number: u32, word: u8) {
        let (mesh, epoch) = (Arc::clone(&self.mesh), self.epoch);
        let notice = async move {
            let body = [word];
            let sending = mesh.send(to, tag(subject, number), &body);
            if mesh.epoch() == epoch {
                // Who cannot hear it needs it no more.
                let _ = sending.await;
            }
        };
        let mut notices = self.notices();
        while notices.try_join_next().is_some() {}
        notices.spawn_on(notice, &self.runtime);
    }

    /// Hands a message to the session.
    pub(super) async fn stream(&self, number: u32, tag: u64, body: &[u8]) -> Result<(), StreamError> {
        let heading = Heading {
            epoch: self.epoch,
            number,
            tag,
            length: body.len() as u64,
        };
        let sent = async {
            let mut stream = self.seat.stream().await;
            stream.send(heading.encode().to_vec()).await?;
            let mut parts = body.chunks(Self::PART);
            let last = parts.next_back().unwrap_or_default();
            for part in parts {
                stream.send(Bytes::copy_from_slice(part)).await?;
            }
            stream.finish(Bytes::copy_from_slice(last)).await
        };
        let (sent, ended) = (std::pin::pin!(sent), std::pin::pin!(self.within(self.ended())));
        match select(sent, ended).await {
            Either::Left((sent, _)) => sent.map(drop).map_err(|_: SendError| StreamError::Session),
            Either::Right((Ok(error) | Err(error), _)) => Err(StreamError::Mesh(error)),
        }
    }

    async fn ended(&self) -> Result<MeshError, MeshError> {
        Ok(self.mesh.ended().await)
    }

    /// Nobody will ask for the messages with these tags: `announced` are those whose receives never had a turn.
    pub(super) fn discard(&self, tags: &RangeInclusive<u64>, announced: Vec<(usize, NonZeroU32)>) {
        for (from, number) in announced {
            self.tell(from, Subject::Ready, number.get(), word::NO);
            self.settle(from, number.get());
        }
        for Announced {
            from, number, stage, ..
        } in self.intake.discard(|tag| tags.contains(&tag))
        {
            match stage {
                Stage::New => self.tell(from, Subject::Ready, number, word::NO),
                // As far as its sender is concerned, this rank has it.
                Stage::Asked => self.tell(from, Subject::Done, number, word::YES),
                Stage::Lost => {
                    self.waste(from, number);
                    continue;
                }
            }
            self.settle(from, number);
        }
    }

    /// This rank has done with a message of another one, who may not know that yet: what it still says of it is for
    /// nobody.
    pub(super) fn settle(&self, from: usize, number: u32) {
        let instead = tag(Subject::Instead, number);
        self.mesh.discard_from(from, self.epoch, instead..=instead);
    }

    /// This rank has done with a message of its own: what the others still answer is for nobody.
    pub(super) fn conclude(&self, number: u32) {
        for subject in [Subject::Ready, Subject::Done] {
            let answer = tag(subject, number);
            self.mesh.discard(self.epoch, answer..=answer);
        }
    }

    /// Takes from the mesh what this rank has asked for and does not want any more.
    fn waste(&self, from: usize, number: u32) {
        let (mesh, epoch) = (Arc::clone(&self.mesh), self.epoch);
        let waste = async move {
            let receiving = mesh.recv_bytes(from, tag(Subject::Instead, number));
            if mesh.epoch() == epoch {
                let _ = receiving.await;
            }
        };
        self.notices().spawn_on(waste, &self.runtime);
    }

    /// Leaves the session in good order, so that the others do not wait for this rank.
    pub(super) async fn leave(self: Arc<Self>) {
        let _ = tokio::time::timeout(Self::FAREWELL, self.take_leave()).await;
    }

    async fn take_leave(self: Arc<Self>) {
        // The others wait for these.
        let mut notices = std::mem::take(&mut *self.notices());
        while notices.join_next().await.is_some() {}
        let Some(lane) = Arc::into_inner(self) else {
            // An operation holds it; with that it goes.
            return;
        };
        lane.reader.stop().await;
        lane.decliner.stop().await;
        if let Some(warden) = lane.warden {
            warden.stop().await;
        }
        match lane.seat {
            Seat::Coordinator(coordinator) => {
                if let Some(coordinator) = Arc::into_inner(coordinator) {
                    coordinator.close().await;
                }
            }
            Seat::Member(member) => member.leave().await,
        }
    }

    fn notices(&self) -> MutexGuard<'_, JoinSet<()>> {
        // Nothing that is done under the lock can panic half-way.
        self.notices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells their senders of messages that were thrown away before they were announced that nobody wants them.
async fn decline(mesh: Arc<Mesh>, epoch: u32) {
    while let Some(announced) = mesh.discarded(epoch).await {
        for (from, number) in announced {
            let number = number.get();
            mesh.post(from, tag(Subject::Ready, number), &[word::NO]);
            let instead = tag(Subject::Instead, number);
            mesh.discard_from(from, epoch, instead..=instead);
        }
    }
}

/// Sends away who comes once all are in: no rank would.
async fn keep_out(coordinator: Arc<Coordinator>) {
    while let Ok(event) = coordinator.event().await {
        if let Event::Joined { member, .. } = event {
            coordinator.evict(member);
        }
    }
}

/// Why a message could not be handed to the session.
#[derive(Debug)]
pub(super) enum StreamError {
    /// The epoch is over.
    Mesh(MeshError),
    /// The session is.
    Session,
}
