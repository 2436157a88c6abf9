//! Multicast as a fabric has it: from epoch to epoch, and not in all of them.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use flexbond_session::mesh::{Mesh, MeshError};
use flexbond_transport::Endpoint;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::warn;

use super::delivery::{deliver, one_by_one};
use super::fetch::fetch;
use super::intake::{Announced, Stage};
use super::lane::Lane;
use super::meeting::meet;
use super::options::MulticastOptions;

/// A mesh and the multicast of its epochs.
#[derive(Debug)]
pub(crate) struct Station {
    mesh: Arc<Mesh>,
    server: Endpoint,
    options: MulticastOptions,
    shared: Arc<Shared>,
    meeting: Mutex<Meeting>,
}

#[derive(Debug)]
struct Shared {
    present: Mutex<Present>,
    /// The newest epoch of which it is known whether it has multicast.
    settled: watch::Sender<u32>,
}

#[derive(Debug, Default)]
struct Present {
    lane: Option<Arc<Lane>>,
    refusal: Option<String>,
}

/// The task that finds out.
#[derive(Debug, Default)]
struct Meeting {
    epoch: u32,
    task: Option<AbortHandle>,
}

impl Station {
    /// What is shorter goes from rank to rank: the ranks would need longer to get ready.
    const LEAST: usize = 64 << 10;

    pub(crate) fn new(mesh: Arc<Mesh>, server: Endpoint, options: MulticastOptions) -> Self {
        Station {
            mesh,
            server,
            options,
            shared: Arc::new(Shared {
                present: Mutex::default(),
                settled: watch::Sender::new(0),
            }),
            meeting: Mutex::default(),
        }
    }

    /// Waits until it is known whether the mesh's present epoch has multicast.
    ///
    /// Cancel safe: another call goes on to wait.
    pub(crate) async fn settle(&self) {
        let epoch = self.mesh.epoch();
        let mut settled = self.shared.settled.subscribe();
        self.begin(epoch);
        // The sender lives as long as this.
        let _ = settled.wait_for(|settled| *settled >= epoch).await;
    }

    /// Whether it is known of the mesh's present epoch.
    pub(crate) fn is_settled(&self) -> bool {
        *self.shared.settled.borrow() >= self.mesh.epoch()
    }

    fn begin(&self, epoch: u32) {
        let mut meeting = self.meeting.lock().unwrap_or_else(PoisonError::into_inner);
        if meeting.epoch >= epoch {
            return;
        }
        // That of an epoch that is over does not matter any more, and neither does its lane.
        if let Some(task) = meeting.task.take() {
            task.abort();
        }
        self.shared.replace(Present::default());
        let (mesh, shared) = (Arc::clone(&self.mesh), Arc::clone(&self.shared));
        let (options, server) = (self.options.clone(), self.server.clone());
        let find_out = async move {
            let met = match mesh.size() {
                1 => Ok(None),
                _ => meet(mesh, &options, &server).await.map(Some),
            };
            let refusal = met.as_ref().err().cloned();
            if let Some(reason) = &refusal {
                warn!(epoch, reason, "no multicast: long messages go from rank to rank");
            }
            shared.replace(Present {
                lane: met.ok().flatten().map(Arc::new),
                refusal,
            });
            shared.settled.send_replace(epoch);
        };
        *meeting = Meeting {
            epoch,
            task: Some(tokio::spawn(find_out).abort_handle()),
        };
    }

    /// Whether the present epoch has multicast.
    pub(crate) fn is_on(&self) -> bool {
        self.lane().is_some()
    }

    /// Why it has none, if it was to.
    pub(crate) fn refusal(&self) -> Option<String> {
        self.shared.present().refusal.clone()
    }

    fn lane(&self) -> Option<Arc<Lane>> {
        let lane = self.shared.present().lane.clone();
        lane.filter(|lane| lane.epoch == self.mesh.epoch())
    }

    pub(crate) async fn multicast(&self, tag: u64, body: &[u8]) -> Result<(), MeshError> {
        if body.len() >= Self::LEAST
            && let Some(lane) = self.lane()
        {
            return deliver(&lane, tag, body).await;
        }
        one_by_one(&self.mesh, tag, body).await
    }

    pub(crate) async fn recv(&self, from: usize, tag: u64, into: &mut [u8]) -> Result<usize, MeshError> {
        let epoch = self.mesh.epoch();
        loop {
            let announced = match self.waiting(from, tag, into.len())? {
                Some(announced) => announced,
                None => match self.within(epoch, self.mesh.recv(from, tag, into)).await {
                    Err(error) => announced(from, tag, error)?,
                    received => return received,
                },
            };
            if fetch(&*self.lane_of(epoch)?, announced, into).await? {
                return Ok(announced.length);
            }
        }
    }

    pub(crate) async fn recv_bytes(&self, from: usize, tag: u64) -> Result<Bytes, MeshError> {
        let epoch = self.mesh.epoch();
        loop {
            let announced = match self.waiting(from, tag, usize::MAX)? {
                Some(announced) => announced,
                None => match self.within(epoch, self.mesh.recv_bytes(from, tag)).await {
                    Err(error) => announced(from, tag, error)?,
                    received => return received,
                },
            };
            // No longer than the mesh permits.
            let mut body = vec![0; announced.length];
            if fetch(&*self.lane_of(epoch)?, announced, &mut body).await? {
                return Ok(body.into());
            }
        }
    }

    /// What is done through the mesh belongs to this epoch, or is not done. `step` was made a moment ago.
    async fn within<T>(
        &self,
        epoch: u32,
        step: impl Future<Output = Result<T, MeshError>>,
    ) -> Result<T, MeshError> {
        // A step belongs to the epoch in which it was made, and epochs grow.
        match self.mesh.epoch() == epoch {
            true => step.await,
            false => Err(MeshError::EpochOver { epoch }),
        }
    }

    /// A message that was announced to a receive that is no more.
    fn waiting(&self, from: usize, tag: u64, room: usize) -> Result<Option<Announced>, MeshError> {
        match self
            .lane()
            .and_then(|lane| lane.intake.take_waiting(from, tag, room))
        {
            Some(Ok(announced)) => Ok(Some(announced)),
            Some(Err(length)) => Err(MeshError::Truncated { length, room }),
            None => Ok(None),
        }
    }

    /// The one by which something was announced in an epoch.
    fn lane_of(&self, epoch: u32) -> Result<Arc<Lane>, MeshError> {
        let lane = self.lane().filter(|lane| lane.epoch == epoch);
        lane.ok_or(MeshError::EpochOver { epoch })
    }

    pub(crate) fn discard(&self, epoch: u32, tags: &RangeInclusive<u64>) {
        let announced = self.mesh.discard(epoch, tags.clone());
        if let Some(lane) = self.lane().filter(|lane| lane.epoch == epoch) {
            lane.discard(tags, announced);
        }
    }

    /// Leaves the session of the present epoch in good order.
    pub(crate) async fn leave(&self) {
        let lane = self.shared.present().lane.take();
        if let Some(lane) = lane {
            lane.leave().await;
        }
    }
}

fn announced(from: usize, tag: u64, error: MeshError) -> Result<Announced, MeshError> {
    match error {
        MeshError::Announced { number, length } => Ok(Announced {
            from,
            tag,
            number,
            length,
            stage: Stage::New,
        }),
        error => Err(error),
    }
}

impl Shared {
    fn present(&self) -> MutexGuard<'_, Present> {
        // Every change is made in one go.
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replace(&self, present: Present) {
        // Dropped without the lock.
        let _past = std::mem::replace(&mut *self.present(), present);
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        let meeting = self.meeting.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = meeting.task.take() {
            // It holds the mesh, which has to end now.
            task.abort();
        }
    }
}
