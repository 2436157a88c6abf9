//! A barrier group: nobody goes on before all have come.

use std::time::Duration;

use super::barrier::Outcome;
use super::coordinator::accept;
use super::error::{AcceptError, BarrierError, Over};
use super::node::Node;
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
    hold: Hold,
}

/// By what a place belongs to one group of all those that come and go under the same number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hold {
    /// The coordinator's: which of all groups it is.
    Hosting(u64),
    /// A member's: the request by which it came in.
    Request(u32),
}

impl Barrier {
    pub(super) fn new(session: Session, group: u16, hold: Hold) -> Self {
        Barrier {
            session,
            group,
            channel: channel_of(group).unwrap_or_default(),
            hold,
        }
    }

    /// The group's number.
    #[must_use]
    pub fn group(&self) -> u16 {
        self.group
    }

    /// The next member that has joined the group, once for each.
    ///
    /// # Errors
    /// [`AcceptError`]; [`AcceptError::NoGroup`] at a member, which hears of nobody.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing was taken.
    pub async fn accept(&self) -> Result<MemberId, AcceptError> {
        accept(&self.session, self.group).await
    }

    /// Comes to the barrier, and waits until all others have. The coordinator decides how a round ends, so that it ends
    /// the same way for everybody.
    ///
    /// # Errors
    /// [`BarrierError::Failed`] names those who were lost while others waited for them; the same for all who waited. Once
    /// the coordinator has ended the group, it names the coordinator, now and ever after.
    ///
    /// # Cancel safety
    /// Who has come has come: when the future is dropped before it is ready, the next call waits for the same round.
    pub async fn wait(&mut self) -> Result<(), BarrierError> {
        // Where nobody else takes part it never waits, but others want to come in.
        tokio::task::coop::consume_budget().await;
        let (channel, hold) = (self.channel, self.hold);
        let is_over = |node: &Node| match hold {
            Hold::Hosting(_) => false,
            Hold::Request(request) => node.place_end(channel, request).is_some(),
        };
        let is_over = self.session.shared().act(|node, now| {
            let is_over = is_over(node);
            if !is_over {
                node.arrive(now, channel);
            }
            is_over
        });
        if is_over {
            return Err(BarrierError::Failed {
                failed: vec![MemberId::COORDINATOR],
            });
        }
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
        let (channel, hold) = (self.channel, self.hold);
        self.session.shared().act(|node, now| match hold {
            Hold::Hosting(hosting) => node.unhost(now, channel, hosting, now + LINGER),
            Hold::Request(request) => node.leave_place(now, channel, request),
        });
    }
}
