//! The start of an epoch: all its ranks meet, check that they fit together, and tell what they have agreed before.

use std::sync::atomic::AtomicU32;
use std::sync::{Arc, OnceLock};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::agree::{Ledger, Record};
use super::channel::Channel;
use super::scratch::Pool;
use super::tag::{Context, Kind};
use super::{Communicator, Group, Numbering, World, value};
use crate::call::{Call, Operation};
use crate::error::CollectiveError;
use crate::fabric::Fabric;
use crate::tuning::Tuning;

/// Counts up when ranks of different releases would not understand each other.
const PROTOCOL: u32 = 1;

/// What a rank tells all others when an epoch begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Statement {
    protocol: u32,
    tuning: u64,
    /// The epoch it comes from, and its rank there.
    pub(super) previous: Option<(u64, usize)>,
    /// What it has agreed.
    pub(super) records: Vec<Record>,
}

/// The communicator of the epoch after one, and what its ranks said when they met.
pub(super) struct Successor<F: Fabric> {
    communicator: Communicator<F>,
    statements: Arc<Vec<Statement>>,
}

/// How far a rank is on its way to the next epoch.
pub(super) enum Succession<F: Fabric> {
    NotBegun,
    /// Kept where whoever waits for it is dropped: what was said to the others in there cannot be said again.
    UnderWay(BoxFuture<'static, Result<Successor<F>, CollectiveError>>),
    Done(Successor<F>),
}

/// Makes the communicator of the fabric's present epoch, together with all its other ranks.
pub(super) async fn enter<F: Fabric>(
    fabric: Arc<F>,
    tuning: Arc<Tuning>,
    ledger: Arc<Ledger>,
    previous: Option<(u64, usize)>,
) -> Result<(Communicator<F>, Vec<Statement>), CollectiveError> {
    let statement = Statement {
        protocol: PROTOCOL,
        tuning: tuning.fingerprint(),
        previous,
        records: ledger.records(),
    };
    let (rank, size) = (fabric.rank(), fabric.size());
    let world = Arc::new(World {
        epoch: fabric.epoch(),
        size,
        fabric,
        tuning,
        pool: Pool::default(),
        failed: OnceLock::new(),
        // Number 0 is that of the communicator of all ranks.
        communicators: AtomicU32::new(1),
        ledger,
        succession: futures_util::lock::Mutex::new(Succession::NotBegun),
    });
    let group = Group::new(world, (rank, size), Context::WORLD, None)?;
    let communicator = Communicator {
        group: Arc::new(group),
        numbering: Numbering::Sequence,
    };
    let statements = meet(&communicator, &statement).await?;
    Ok((communicator, statements))
}

async fn meet<F: Fabric>(
    communicator: &Communicator<F>,
    statement: &Statement,
) -> Result<Vec<Statement>, CollectiveError> {
    let tag = Context::SETUP.tag(Kind::Sequence, 0);
    let channel = Channel::new(communicator, tag, None, Call::new(Operation::Setup).value());
    let result = value::allgather(&channel, statement).await;
    let statements: Vec<Statement> = channel.finish(result)?;
    // Everybody sees what everybody said, so nobody has to be told.
    let fits = |other: &Statement| (other.protocol, other.tuning) == (statement.protocol, statement.tuning);
    match statements.iter().position(|other| !fits(other)) {
        Some(rank) => Err(CollectiveError::OtherTuning { rank }),
        None => Ok(statements),
    }
}

/// Goes on to the epoch after that of `world`, or finds that this has been done. `rank` is this rank's number in it.
///
/// Cancel safe: another call goes on with what this one has begun.
pub(super) async fn succeed<F: Fabric>(
    world: &World<F>,
    rank: usize,
) -> Result<(Communicator<F>, Arc<Vec<Statement>>), CollectiveError> {
    // Several operations may end at once, and want to go on; one of them does it for all.
    let mut succession = world.succession.lock().await;
    if let Succession::NotBegun = &*succession {
        let past = (world.epoch, rank);
        let (fabric, tuning, ledger) = (&world.fabric, &world.tuning, &world.ledger);
        let going = follow(Arc::clone(fabric), Arc::clone(tuning), Arc::clone(ledger), past);
        *succession = Succession::UnderWay(going.boxed());
    }
    if let Succession::UnderWay(going) = &mut *succession {
        let gone = going.await;
        *succession = Succession::NotBegun;
        *succession = Succession::Done(gone?);
    }
    match &*succession {
        Succession::Done(successor) => {
            Ok((successor.communicator.clone(), Arc::clone(&successor.statements)))
        }
        // It is done by now.
        _ => Err(CollectiveError::Closed),
    }
}

async fn follow<F: Fabric>(
    fabric: Arc<F>,
    tuning: Arc<Tuning>,
    ledger: Arc<Ledger>,
    past: (u64, usize),
) -> Result<Successor<F>, CollectiveError> {
    loop {
        fabric.next_epoch().await?;
        let fabric = Arc::clone(&fabric);
        let entered = enter(fabric, Arc::clone(&tuning), Arc::clone(&ledger), Some(past));
        match entered.await {
            Ok((communicator, statements)) => {
                return Ok(Successor {
                    communicator,
                    statements: Arc::new(statements),
                });
            }
            // One more has failed while all met.
            Err(CollectiveError::PeerFailed { .. }) => {}
            Err(error) => return Err(error),
        }
    }
}
