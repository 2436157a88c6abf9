//! An end that joins a session.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use flexbond_transport::Endpoint;
use flexbond_wire::group::{ChannelKind, ChannelRefusal};

use super::barrier_group::{Barrier, Hold};
use super::broadcast_group::BroadcastReceiver;
use super::channel_of;
use super::draw;
use super::driver::Driver;
use super::endpoint::reach;
use super::error::{JoinError, JoinGroupError, Over, StartError};
use super::node::{Ending, Node};
use super::options::Options;
use super::session::{Session, over};
use super::shared::{Shared, now};
use crate::socket::IntoEndpoint;

/// An end that joins a session; see [`Session`] for what it shares with the coordinator.
#[derive(Debug)]
pub struct Member {
    session: Session,
    endpoint: Endpoint,
    join_timeout: Duration,
}

impl Deref for Member {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

/// How often joining begins, at most, when the coordinator has admitted this end and nothing of that has come through.
const NONCES: usize = 8;

impl Member {
    /// Joins the session at `endpoint`, such as `udp://192.168.0.5:12345` (any that a coordinator can
    /// be at), within [`Options::join_timeout`].
    ///
    /// # Errors
    /// [`JoinError`]; nothing is left behind.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, it leaves again.
    pub async fn join(endpoint: impl IntoEndpoint, options: Options) -> Result<Self, JoinError> {
        options.validate().map_err(StartError::from)?;
        let endpoint = endpoint.into_endpoint().map_err(StartError::from)?;
        let (coordinator, site) = reach(&endpoint, &options).await?;
        let [nonce, spare @ ..] = [(); NONCES].map(|()| draw::nonce());
        let node = Node::member(now(), coordinator, nonce, &spare, site.node_settings(&options));
        let shared = Shared::new(node, site.socket, options.spin);
        let driver = Driver::new(Arc::clone(&shared), site.open_group);
        tokio::spawn(driver.run());
        let session = Session::new(Arc::clone(&shared), options.linger);
        let ended = shared
            .wait(|node, _| match node.ending() {
                Some(ending) => Some(Err(ending.clone())),
                None => node.is_in().then_some(Ok(())),
            })
            .await;
        match ended {
            Ok(()) => Ok(Member {
                session,
                endpoint,
                join_timeout: options.join_timeout,
            }),
            Err(Ending::Rejected(why, reason)) => Err(JoinError::Rejected {
                endpoint,
                why,
                reason,
            }),
            Err(Ending::NoAnswer) => Err(JoinError::NoAnswer {
                endpoint,
                timeout: options.join_timeout,
            }),
            Err(ending) => Err(over(&ending).into()),
        }
    }

    /// Where the session is.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The session, to be shared.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Takes part in a barrier group, from the next round on that the coordinator comes to. One that is not there yet is waited for, for
    /// [`Options::join_timeout`].
    ///
    /// # Errors
    /// [`JoinGroupError`]; this end takes no part.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, this end takes no part.
    pub async fn join_barrier(&self, group: u16) -> Result<Barrier, JoinGroupError> {
        let request = self.join_group(group, ChannelKind::Barrier).await?;
        Ok(Barrier::new(self.session.clone(), group, Hold::Request(request)))
    }

    /// Receives what is sent to a broadcast group from now on. One that is not there yet is waited for, for
    /// [`Options::join_timeout`].
    ///
    /// # Errors
    /// [`JoinGroupError`]; this end takes no part.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, this end takes no part.
    pub async fn join_broadcast(&self, group: u16) -> Result<BroadcastReceiver, JoinGroupError> {
        let request = self.join_group(group, ChannelKind::Broadcast).await?;
        Ok(BroadcastReceiver::new(self.session.clone(), group, request))
    }

    /// Joins a group; returns the request by which this end came in.
    async fn join_group(&self, group: u16, kind: ChannelKind) -> Result<u32, JoinGroupError> {
        let timeout = self.join_timeout;
        let unknown = JoinGroupError::Unknown { group, timeout };
        let channel = channel_of(group).ok_or_else(|| unknown.clone())?;
        let request = self.session.shared().act(|node, now| match node.ending() {
            Some(ending) => Err(over(ending).into()),
            None if node.takes_part(channel) => Err(JoinGroupError::Joined(group)),
            None => Ok(node.join_channel(now, channel, kind)),
        })?;
        let mut asked = Asked {
            session: &self.session,
            request,
            channel,
            granted: false,
        };
        let answer = self
            .session
            .shared()
            .wait(|node, _| match node.take_reply(request) {
                Some(answer) => Some(Ok(answer)),
                None => node.ending().map(|ending| Err(over(ending))),
            })
            .await?;
        match answer {
            Ok(_) => {
                asked.granted = true;
                Ok(request)
            }
            Err(None) => Err(Over::CoordinatorDead.into()),
            Err(Some(ChannelRefusal::Unknown)) => Err(unknown),
            Err(Some(reason)) => Err(JoinGroupError::Refused { group, reason }),
        }
    }

    /// Leaves, once what this end has sent is delivered, or after [`Options::linger`].
    ///
    /// # Cancel safety
    /// Once polled it goes on by itself.
    pub async fn leave(self) {
        self.session.leave().await;
    }
}

/// A request that may be given up: then this end takes no part, even if the coordinator has let it in.
struct Asked<'a> {
    session: &'a Session,
    request: u32,
    channel: u16,
    granted: bool,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if !self.granted {
            self.session.shared().act(|node, now| {
                node.forget_request(self.request);
                node.leave_place(now, self.channel, self.request);
            });
        }
    }
}
