//! The end that holds a session.

use std::hash::RandomState;
use std::ops::Deref;

use flexbond_transport::Endpoint;

use super::barrier_group::{Barrier, Hold};
use super::broadcast_group::BroadcastSender;
use super::driver::Driver;
use super::endpoint::listen;
use super::error::{AcceptError, GroupError, StartError};
use super::node::{HostError, Node};
use super::options::Options;
use super::session::{Session, over};
use super::shared::{Shared, now};
use super::{MemberId, channel_of, draw};
use crate::socket::IntoEndpoint;

/// The end that holds a session: admits members, watches over them, and makes groups. It sends and receives as
/// everybody else; see [`Session`] for what both can do.
///
/// ```
/// use flexbond_session::group::{Coordinator, Member, Options};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let coordinator = Coordinator::bind("udp://127.0.0.1:0", Options::new()).await?;
/// let member = Member::join(coordinator.endpoint(), Options::new().name("ada")).await?;
/// coordinator.wait_for_members(1).await?;
///
/// let delivery = coordinator.send("hello, everybody").await?;
/// assert_eq!(&member.recv().await?.body[..], b"hello, everybody");
/// delivery.delivered().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Coordinator {
    session: Session,
    endpoint: Endpoint,
}

impl Deref for Coordinator {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl Coordinator {
    /// Begins a session at `endpoint`, such as `udp://192.168.0.5:12345`, or, where UDP is blocked or not meant,
    /// `tcp://…`, `ipc://…` or `inproc://…`: the same session over connections, without multicast. With port 0 the system
    /// chooses one; [`endpoint`](Self::endpoint) tells which.
    ///
    /// # Errors
    /// [`StartError`]; nothing is bound then.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing is bound.
    pub async fn bind(endpoint: impl IntoEndpoint, options: Options) -> Result<Self, StartError> {
        options.validate()?;
        let endpoint = endpoint.into_endpoint()?;
        let site = listen(&endpoint, &options).await?;
        let node = Node::coordinator(
            now(),
            draw::session(),
            RandomState::new(),
            site.node_settings(&options),
        );
        let shared = Shared::new(node, site.socket, options.spin);
        let driver = Driver::new(shared.clone(), site.open_group);
        tokio::spawn(driver.run());
        Ok(Coordinator {
            session: Session::new(shared, options.linger),
            endpoint: site.endpoint,
        })
    }

    /// Where the session is: what members join.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The session, to be shared.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Sends a member away; false if it is none.
    pub fn evict(&self, member: MemberId) -> bool {
        self.session.shared().act(|node, _| node.dismiss(member))
    }

    /// Makes a barrier group, in which this end takes part. Members may [join](super::Member::join_barrier) at any time:
    /// they wait with the others from the next round on that this end comes to. Numbers are 0 to 65,534.
    ///
    /// # Errors
    /// [`GroupError`]; none was made.
    pub fn create_barrier(&self, group: u16) -> Result<Barrier, GroupError> {
        let hosting = self.host(group, |node, channel| node.host_barrier(channel, true))?;
        Ok(Barrier::new(self.session.clone(), group, Hold::Hosting(hosting)))
    }

    /// Makes a barrier group of members alone: this end only says when a round is complete.
    ///
    /// # Errors
    /// [`GroupError`]; none was made.
    pub fn host_barrier(&self, group: u16) -> Result<(), GroupError> {
        self.host(group, |node, channel| node.host_barrier(channel, false))
            .map(drop)
    }

    /// Makes a broadcast group, to which this end sends. Members may [join](super::Member::join_broadcast) at any time:
    /// they get every message that begins to be sent from then on. Numbers are 0 to 65,534, the same as those of
    /// barriers.
    ///
    /// # Errors
    /// [`GroupError`]; none was made.
    pub fn create_broadcast(&self, group: u16) -> Result<BroadcastSender, GroupError> {
        let hosting = self.host(group, Node::host_broadcast)?;
        Ok(BroadcastSender::new(self.session.clone(), group, hosting))
    }

    fn host(
        &self,
        group: u16,
        host: impl FnOnce(&mut Node, u16) -> Result<u64, HostError>,
    ) -> Result<u64, GroupError> {
        let channel = channel_of(group).ok_or(GroupError::Taken(group))?;
        self.session.shared().act(|node, _| match node.ending() {
            Some(ending) => Err(over(ending).into()),
            None => host(node, channel).map_err(|_| GroupError::Taken(group)),
        })
    }

    /// The next member that has joined a group, once for each.
    ///
    /// # Errors
    /// [`AcceptError`]; [`AcceptError::NoGroup`] if there is no such group, or not any more.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing was taken.
    pub async fn accept(&self, group: u16) -> Result<MemberId, AcceptError> {
        accept(&self.session, group).await
    }

    /// Ends the session, once what this end has sent is delivered, or after [`Options::linger`]. Members hear of it.
    ///
    /// # Cancel safety
    /// Once polled it goes on by itself.
    pub async fn close(self) {
        self.session.leave().await;
    }
}

/// The next member that has joined a group.
pub(super) async fn accept(session: &Session, group: u16) -> Result<MemberId, AcceptError> {
    let channel = channel_of(group).ok_or(AcceptError::NoGroup(group))?;
    session
        .shared()
        .wait(|node, _| match (node.pop_arrival(channel), node.ending()) {
            (Some(member), _) => Some(Ok(member)),
            (None, Some(ending)) => Some(Err(over(ending).into())),
            (None, None) if !node.hosts(channel) => Some(Err(AcceptError::NoGroup(group))),
            (None, None) => None,
        })
        .await
}
