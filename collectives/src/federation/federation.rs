//! A party's place in a job: what all its channels belong to.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::broadcast::BroadcastChannel;
use super::carrier::{Carrier, ServerWay};
use super::config::Config;
use super::core::{Barrier, Kind, Node, Peer, Refusal, Setup};
use super::driver::{Shared, State, Topic, drive, now};
use super::error::{JoinError, OpenError, Over, Presence, RefusedReason};
use super::name::{ChannelName, JobId, Member, PartyId, Role};
use super::stats::{ChannelStats, PeerStats};
use super::variable::VariableChannel;

/// A party that takes part in a job.
///
/// A clone is another handle to the same. When the last one and all channels are dropped, the party leaves in the
/// background: it hands over what it has sent, for at most [`Limits::linger`](super::Limits::linger).
/// [`close`](Federation::close) waits for that.
#[derive(Clone)]
pub struct Federation {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    shared: Arc<Shared>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// What the node has for who asks it.
pub(super) enum Asked<R> {
    Answer(R),
    /// Nothing before there is news of this.
    Wait(Topic),
}

impl fmt::Debug for Federation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Federation")
            .field("job", self.job_id())
            .field("local", self.local_id())
            .finish_non_exhaustive()
    }
}

impl Federation {
    /// Takes part in the job of `config`. Returns at once: messages can be sent before others are there, and wait for
    /// them. [`ready`](Federation::ready) is the start-up barrier.
    ///
    /// # Errors
    /// [`JoinError::Config`] and [`JoinError::NoRuntime`].
    pub fn join(config: Config, carrier: impl Carrier) -> Result<Self, JoinError> {
        config.validate()?;
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| JoinError::NoRuntime)?;
        let ids = config.members().iter().map(|member| member.id.clone());
        let piece = match carrier.is_memory() {
            true => u64::MAX,
            false => u64::from(config.bounds().piece),
        };
        let setup = Setup {
            job: config.job().clone(),
            local: config.local().clone(),
            peers: ids.filter(|id| id != config.local()).collect(),
            limits: config.bounds().clone(),
            incarnation: fastrand::u64(1..),
            piece,
        };
        let shared = Shared::new(Node::new(setup, now()));
        runtime.spawn(drive(Arc::clone(&shared), carrier));
        Ok(Federation {
            inner: Arc::new(Inner { config, shared }),
        })
    }

    /// Waits until all parties see each other, at most `timeout`.
    ///
    /// # Errors
    /// [`JoinError::Timeout`] says who is missing; [`JoinError::Refused`] and [`JoinError::Over`].
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn ready(&self, timeout: Duration) -> Result<(), JoinError> {
        let waiting = self.wait(|state| {
            over(state)?;
            for peer in state.node.peers() {
                if let Some(refusal) = peer.refused.filter(|refusal| refusal.is_final()) {
                    let (by, reason) = (peer.id.clone(), refusal.into());
                    return Err(JoinError::Refused { by, reason });
                }
            }
            Ok(match state.node.is_ready() {
                true => Asked::Answer(()),
                false => Asked::Wait(Topic::Ready),
            })
        });
        match tokio::time::timeout(timeout, waiting).await {
            Ok(result) => result,
            Err(_) => Err(JoinError::Timeout {
                after: timeout,
                missing: self.missing(),
            }),
        }
    }

    fn missing(&self) -> Vec<(PartyId, Presence)> {
        let state = self.inner.shared.lock();
        let peers = state.node.peers().iter().enumerate();
        peers
            .filter(|(_, peer)| !(peer.was_up && peer.is_ready))
            .map(|(index, peer)| match presence(&state, index, now()) {
                Presence::Present => (peer.id.clone(), Presence::Waiting),
                presence => (peer.id.clone(), presence),
            })
            .collect()
    }

    /// The job.
    #[must_use]
    pub fn job_id(&self) -> &JobId {
        self.config().job()
    }

    /// The party that this process is.
    #[must_use]
    pub fn local_id(&self) -> &PartyId {
        self.config().local()
    }

    /// What this party does in the job.
    #[must_use]
    pub fn local_role(&self) -> Role {
        let local = self.members().iter().find(|member| member.id == *self.local_id());
        local.expect("the configuration was validated").role
    }

    /// All parties, this one too: guests, hosts and arbiters.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        self.config().members()
    }

    /// The parties of one role, in the order of the configuration.
    pub fn members_of(&self, role: Role) -> impl Iterator<Item = &PartyId> {
        self.config().members_of(role)
    }

    /// The whole configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// The channel of this name to another party, which has one of the same name to this party. Channels that are made
    /// twice are the same.
    ///
    /// # Errors
    /// [`OpenError`]: a name that is none, or a party that is not in the job, or is this one.
    pub fn variable(
        &self,
        name: impl AsRef<str>,
        remote: impl AsRef<str>,
    ) -> Result<VariableChannel, OpenError> {
        let (name, remote) = (ChannelName::new(name)?, PartyId::new(remote)?);
        VariableChannel::new(self.clone(), Kind::Variable, name, remote)
    }

    /// The channel of this name between a root and a group, of which this party is one; all of them make it alike. The
    /// group's order is that of gathered and scattered values.
    ///
    /// # Errors
    /// [`OpenError`]: a name that is none, a party that is not in the job or is named twice, or a group without this one.
    pub fn broadcast<G>(
        &self,
        name: impl AsRef<str>,
        root: impl AsRef<str>,
        group: G,
    ) -> Result<BroadcastChannel, OpenError>
    where
        G: IntoIterator<Item: AsRef<str>>,
    {
        let (name, root) = (ChannelName::new(name)?, PartyId::new(root)?);
        let group = group
            .into_iter()
            .map(PartyId::new)
            .collect::<Result<Vec<_>, _>>()?;
        BroadcastChannel::new(self, name, root, group)
    }

    /// Ends the job for all parties: whatever they wait for ends with [`Over::Aborted`], and says who has aborted and
    /// why. Of the reason, the first 1,024 bytes are kept. Messages under way are dropped. Who is away is told when it
    /// comes back, as long as this party runs.
    pub fn abort(&self, reason: impl Into<String>) {
        let local = self.local_id().clone();
        self.inner
            .shared
            .with(|state| state.node.abort(local, reason.into()));
    }

    /// Waits until the job is over for this party, and says why.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn over(&self) -> Over {
        let ending = self.wait(|state| {
            Ok::<_, Infallible>(match over(state) {
                Err(over) => Asked::Answer(over),
                Ok(()) => Asked::Wait(Topic::Over),
            })
        });
        match ending.await {
            Ok(over) => over,
        }
    }

    /// What is known of another party; none for one that is not in the job, and for this one.
    #[must_use]
    pub fn presence(&self, party: &PartyId) -> Option<Presence> {
        let state = self.inner.shared.lock();
        let peer = state.node.peer_index(party)?;
        Some(presence(&state, peer, now()))
    }

    /// What has passed between this party and each of the others.
    #[must_use]
    pub fn stats(&self) -> BTreeMap<PartyId, PeerStats> {
        let (state, now) = (self.inner.shared.lock(), now());
        let peers = state.node.peers().iter().enumerate();
        peers
            .map(|(index, peer)| {
                let mut channels: BTreeMap<_, ChannelStats> = BTreeMap::new();
                for (key, flow) in peer.out.iter() {
                    channels.entry(key.name.clone()).or_default().add_out(flow);
                }
                for (key, flow) in peer.inn.iter() {
                    channels.entry(key.name.clone()).or_default().add_in(flow);
                }
                let stats = PeerStats {
                    presence: presence(&state, index, now),
                    waits_for_room: peer.is_short(),
                    channels,
                    resent: peer.link.resent,
                    ignored: peer.link.ignored,
                    refused: peer.wrong,
                };
                (peer.id.clone(), stats)
            })
            .collect()
    }

    /// Packets that are nobody's of this job, or that cannot be read.
    #[must_use]
    pub fn foreign_packets(&self) -> u64 {
        self.inner.shared.lock().node.foreign
    }

    /// Leaves the job in good order: waits until the other parties have all that was sent to them, at most
    /// [`Limits::linger`](super::Limits::linger). Messages that are there and were not received are dropped.
    ///
    /// # Cancel safety
    /// Once polled, the federation closes in the background even if the future is dropped.
    pub async fn close(&self) {
        self.inner.shared.close();
        let shared = &self.inner.shared;
        poll_fn(|cx| {
            let mut state = shared.lock();
            if state.is_ended {
                return Poll::Ready(());
            }
            state.wait(Topic::Ended, cx);
            Poll::Pending
        })
        .await;
    }

    /// Whether nothing of what was sent is here alone any more: the other parties have it, or a message server has it in
    /// custody. After [`close`](Federation::close), whether that came to its end within the linger. False, too, once a message
    /// was dropped because it is larger than the other side takes ([`ChannelStats::too_large`](super::ChannelStats)). Whether
    /// programs have received what was sent is told by [`delivered`](VariableChannel::delivered).
    #[must_use]
    pub fn is_handed_over(&self) -> bool {
        let state = self.inner.shared.lock();
        state.node.is_handed_over() && !state.node.peers().iter().any(Peer::has_dropped)
    }

    /// Goes without a word, as a program that dies: others hear that this party is away, and not that it has left.
    pub(super) fn vanish(&self) {
        self.inner.shared.vanish();
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    /// Asks until there is an answer.
    pub(super) async fn wait<R, E>(
        &self,
        mut ask: impl FnMut(&mut State) -> Result<Asked<R>, E>,
    ) -> Result<R, E> {
        poll_fn(|cx: &mut Context<'_>| {
            let mut state = self.inner.shared.lock();
            let (answer, is_news) = match ask(&mut state) {
                Ok(Asked::Answer(answer)) => (Poll::Ready(Ok(answer)), true),
                // Who waits for a flow's other end may have begun the flow.
                Ok(Asked::Wait(topic)) => {
                    let is_news = matches!(topic, Topic::Out(..));
                    state.wait(topic, cx);
                    (Poll::Pending, is_news)
                }
                Err(error) => (Poll::Ready(Err(error)), false),
            };
            drop(state);
            if is_news {
                self.inner.shared.work();
            }
            answer
        })
        .await
    }
}

/// Whether the job is over for this party.
fn over(state: &State) -> Result<(), Over> {
    match state.node.check(None) {
        Err(Barrier::Aborted { by, reason }) => Err(Over::Aborted { by, reason }),
        Err(Barrier::Superseded) => Err(Over::Superseded),
        Err(Barrier::Closed) => Err(Over::Closed),
        _ if state.is_ended => Err(Over::Closed),
        _ => Ok(()),
    }
}

pub(super) fn check(state: &State, peer: usize) -> Result<Option<RefusedReason>, Over> {
    over(state)?;
    match state.node.check(Some(peer)) {
        Err(Barrier::Refused(refusal)) => Ok(Some(refusal.into())),
        _ => Ok(None),
    }
}

pub(super) fn presence(state: &State, peer: usize, now: Instant) -> Presence {
    let peer = &state.node.peers()[peer];
    if let Some(refusal) = peer.refused {
        return Presence::Refuses(refusal.into());
    }
    if peer.has_left {
        return Presence::Left;
    }
    match &state.server {
        Some(ServerWay::Unreachable(why)) => return Presence::NoServer(why.clone()),
        Some(ServerWay::Refused(why)) => return Presence::ServerRefuses(Arc::clone(why)),
        Some(ServerWay::Reached) | None => {}
    }
    match peer.link.heard() {
        _ if peer.is_alive(now) => Presence::Present,
        Some(heard) if peer.is_relayed() && !peer.link.is_alive(now) => {
            Presence::ServerSilent(now.saturating_duration_since(heard))
        }
        Some(heard) if peer.was_up => {
            Presence::Silent(now.saturating_duration_since(peer.gone.unwrap_or(heard)))
        }
        _ => Presence::Unseen,
    }
}

impl From<Refusal> for RefusedReason {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotAMember => RefusedReason::NotAMember,
            Refusal::OtherJob => RefusedReason::OtherJob,
            Refusal::InUse => RefusedReason::InUse,
            Refusal::Superseded => RefusedReason::Superseded,
            Refusal::OtherMembers => RefusedReason::OtherMembers,
            Refusal::Unauthorized => RefusedReason::Unauthorized,
            Refusal::NoRoom => RefusedReason::NoRoom,
        }
    }
}
