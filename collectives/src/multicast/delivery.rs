//! A message on its way to all others.

use flexbond_session::mesh::{Mesh, MeshError};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::lane::{Lane, StreamError};
use super::notice::{Subject, tag, word};

/// A message on its way to all others. Dropped before its end, those that wait for it hear that it will not come; what
/// they have answered is thrown away.
struct Delivery<'a> {
    lane: &'a Lane,
    number: u32,
    /// Who has heard of it, and does not have it yet.
    open: Vec<usize>,
    /// Who has left meanwhile.
    left: Option<usize>,
}

/// Brings `body` to all others; done when they have it. Those that have left are an error, but keep it from nobody else.
///
/// # Errors
/// What ended the epoch, or [`MeshError::PeerLeft`].
pub(super) async fn deliver(lane: &Lane, tag: u64, body: &[u8]) -> Result<(), MeshError> {
    let others = (0..lane.mesh.size()).filter(|rank| *rank != lane.mesh.rank());
    let number = match lane.next_number() {
        Some(number) if lane.is_open() => number,
        _ => return lane.within(one_by_one(&lane.mesh, tag, body)).await,
    };
    let mut delivery = Delivery {
        lane,
        number: number.get(),
        open: Vec::new(),
        left: None,
    };
    for rank in others {
        let announcing = lane.mesh.announce(rank, tag, number, body.len());
        match lane.within(announcing).await {
            Ok(()) => delivery.open.push(rank),
            Err(error) => delivery.note(error)?,
        }
    }
    delivery.gather().await?;
    if !delivery.open.is_empty() {
        delivery.stream(tag, body).await?;
        delivery.complete(body).await?;
    }
    delivery
        .left
        .map_or(Ok(()), |rank| Err(MeshError::PeerLeft { rank }))
}

/// As [`deliver`], without multicast.
pub(crate) async fn one_by_one(mesh: &Mesh, tag: u64, body: &[u8]) -> Result<(), MeshError> {
    let epoch = mesh.epoch();
    let mut result = Ok(());
    for rank in (0..mesh.size()).filter(|rank| *rank != mesh.rank()) {
        let sending = mesh.send(rank, tag, body);
        if mesh.epoch() != epoch {
            return Err(MeshError::EpochOver { epoch });
        }
        match sending.await {
            Err(error @ MeshError::PeerLeft { .. }) => result = result.and(Err(error)),
            sent => sent?,
        }
    }
    result
}

impl Delivery<'_> {
    /// Goes on without a rank that has left.
    fn note(&mut self, error: MeshError) -> Result<(), MeshError> {
        match error {
            MeshError::PeerLeft { rank } => {
                self.left.get_or_insert(rank);
                self.open.retain(|other| *other != rank);
                Ok(())
            }
            error => Err(error),
        }
    }

    /// Waits until all are ready, or do not want it.
    async fn gather(&mut self) -> Result<(), MeshError> {
        let (lane, number) = (self.lane, self.number);
        let hear = |&rank: &usize| async move { (rank, lane.hear(rank, Subject::Ready, number).await) };
        let mut answers: FuturesUnordered<_> = self.open.iter().map(hear).collect();
        while let Some((rank, answer)) = answers.next().await {
            match answer {
                Ok(word::YES) => {}
                Ok(_) => self.open.retain(|other| *other != rank),
                Err(error) => self.note(error)?,
            }
        }
        Ok(())
    }

    async fn stream(&self, tag: u64, body: &[u8]) -> Result<(), MeshError> {
        match self.lane.stream(self.number, tag, body).await {
            Ok(()) => Ok(()),
            Err(StreamError::Mesh(error)) => Err(error),
            // Who lacks something says so then.
            Err(StreamError::Session) => {
                for &rank in &self.open {
                    self.lane.tell(rank, Subject::Instead, self.number, word::STOPPED);
                }
                Ok(())
            }
        }
    }

    /// Waits until all have it; those that the stream did not bring it get it through the mesh.
    async fn complete(&mut self, body: &[u8]) -> Result<(), MeshError> {
        let (lane, number) = (self.lane, self.number);
        let see_to = |&rank: &usize| async move {
            let seen = async {
                if lane.hear(rank, Subject::Done, number).await? != word::YES {
                    let sending = lane.mesh.send(rank, tag(Subject::Instead, number), body);
                    lane.within(sending).await?;
                }
                Ok(())
            };
            (rank, seen.await)
        };
        let mut answers: FuturesUnordered<_> = self.open.iter().map(see_to).collect();
        while let Some((rank, seen)) = answers.next().await {
            match seen {
                Ok(()) => self.open.retain(|other| *other != rank),
                Err(error) => self.note(error)?,
            }
        }
        Ok(())
    }
}

impl Drop for Delivery<'_> {
    fn drop(&mut self) {
        for &rank in &self.open {
            self.lane.tell(rank, Subject::Instead, self.number, word::VOID);
        }
        self.lane.conclude(self.number);
    }
}
