//! A barrier group: nobody goes on before all have come.

use std::time::Duration;

use super::barrier::Outcome;
use super::coordinator::accept;
use super::error::{BarrierError, Over};
use super::session::{Session, over};
use super::{MemberId, channel_of};

/// How long members are still told how the last rounds ended after the coordinator has gone from a group.
const LINGER: Duration = Duration::from_secs(2);

/// A place in a barrier group: nobody goes on before all have come. Dropped, it is given up: the others do not wait for
/// it. When the coordinator's is dropped, the group ends.
#[derive(Debug)]
pub struct Barrier {
    session: Session,
    group: u16,
    channel: u16,
    /// Whether this is the coordinator's.
    hosts: bool,
}

impl Barrier {
    pub(super) fn new(session: Session, group: u16, hosts: bool) -> Self {
        Barrier {
            session,
            group,
            channel: channel_of(group).unwrap_or_default(),
            hosts,
        }
    }

    /// The group's number.
    #[must_use]
    pub fn group(&self) -> u16 {
        self.group
    }

    /// The next member that has joined the group, once for each; only the coordinator's end ever hears of one.
    ///
    /// # Errors
    /// [`Over`].
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing was taken.
    pub async fn accept(&self) -> Result<MemberId, Over> {
        accept(&self.session, self.group).await
    }

    /// Comes to the barrier, and waits until all others have. The coordinator decides how a round ends, so that it ends
    /// the same way for everybody.
    ///
    /// # Errors
    /// [`BarrierError::Failed`] names those who were lost while others waited for them; the same for all who waited.
    ///
    /// # Cancel safety
    /// Who has come has come: when the future is dropped before it is ready, the next call waits for the same round.
    pub async fn wait(&mut self) -> Result<(), BarrierError> {
        // Where nobody else takes part it never waits, but others want to come in.
        tokio::task::coop::consume_budget().await;
        let channel = self.channel;
        self.session.shared().act(|node, now| node.arrive(now, channel));
        let outcome = self
            .session
            .shared()
            .wait(|node, _| match (node.take_outcome(channel), node.ending()) {
                (Some(outcome), _) => Some(Ok(outcome)),
                (None, Some(ending)) => Some(Err(over(ending))),
                (None, None) if !node.has_seat(channel) => Some(Err(Over::Left)),
                (None, None) => None,
            })
            .await?;
        match outcome {
            Outcome::Released => Ok(()),
            Outcome::Aborted(failed) => Err(BarrierError::Failed { failed }),
        }
    }
}

impl Drop for Barrier {
    fn drop(&mut self) {
        let (channel, hosts) = (self.channel, self.hosts);
        self.session.shared().act(|node, now| match hosts {
            true => node.unhost(now, channel, now + LINGER),
            false => node.leave_channel(now, channel),
        });
    }
}
