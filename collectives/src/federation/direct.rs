//! Parties that reach each other: a socket to each, and one for all.

use std::collections::{BTreeMap, VecDeque};
use std::task::{Context, Poll};
use std::time::Duration;

use flexbond_session::socket::{
    BindError, ConnectError, Event, Monitor, OptionError, Options, Socket, SocketType,
};
use flexbond_session::{Endpoint, EndpointError};
use flexbond_transport::Message;
use futures_util::StreamExt;
use thiserror::Error;

use super::carrier::{Arrival, Carrier};
use super::config::Config;
use super::core::sender_of;
use super::name::PartyId;

/// What a carrier has sent and its socket has not is given up after this when the carrier is dropped: it comes again, or
/// nobody waits for it.
const LINGER: Duration = Duration::from_secs(1);
/// Packets may be large: only so many wait in a socket.
const QUEUED: usize = 32;
/// The largest piece of a message, and the header before it.
pub(super) const MAX_PACKET: usize = (1 << 30) + (2 << 20);

/// Why a party cannot be reached, or cannot listen.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DirectError {
    /// The configuration has no address for a party.
    #[error("`addresses` has none for party {party}; add one, such as \"tcp://host:9370\"")]
    NoAddress {
        /// The party.
        party: PartyId,
    },
    /// An address is none.
    #[error("the address of party {party} is wrong")]
    Address {
        /// The party.
        party: PartyId,
        /// What is wrong with it.
        source: EndpointError,
    },
    /// This party cannot listen at its address.
    #[error("cannot listen")]
    Bind(#[from] BindError),
    /// An address can never be connected to.
    #[error("cannot connect to party {party}")]
    Connect {
        /// The party.
        party: PartyId,
        /// Why.
        source: ConnectError,
    },
    /// An option of a socket is out of bounds.
    #[error(transparent)]
    Option(#[from] OptionError),
}

/// One party's end where parties reach each other, over tcp, ipc, or any transport of the sockets' registry.
///
/// Each party listens with a ROUTER, and sends to each of the others with a DEALER of its own: every party needs an
/// address that the others can connect to.
///
/// # Who may talk
/// Without more, whoever reaches the address may say to be any party of the job. With sockets that know their peers, a
/// packet is taken only from the party that it says it is from: give the ROUTER an authenticator whose
/// [`Decision`](flexbond_session::socket::Decision) names the party, such as `CurveAllow` with party ids for users. Others
/// are counted by [`forged`](DirectCarrier::forged) until the carrier is handed over, and dropped.
#[derive(Debug)]
pub struct DirectCarrier {
    router: Socket,
    endpoint: Endpoint,
    dealers: BTreeMap<PartyId, Dealer>,
    /// Parties whose connection has broken, and how many packets may still come before that is said.
    lost: VecDeque<(PartyId, usize)>,
    forged: u64,
}

#[derive(Debug)]
struct Dealer {
    socket: Socket,
    monitor: Monitor,
}

impl DirectCarrier {
    /// Listens at this party's address in the configuration, and connects to those of all others.
    ///
    /// # Errors
    /// [`DirectError`] says which party's address is missing or wrong. A party that is not there yet is no error.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing bound.
    pub async fn from_config(config: &Config) -> Result<Self, DirectError> {
        let address = |party: &PartyId| {
            let address = config.addresses().get(party);
            let address = address.ok_or_else(|| DirectError::NoAddress { party: party.clone() })?;
            address
                .parse::<Endpoint>()
                .map_err(|source| DirectError::Address {
                    party: party.clone(),
                    source,
                })
        };
        let mut carrier = Self::bind(address(config.local())?, Options::new()).await?;
        for member in config
            .members()
            .iter()
            .filter(|member| member.id != *config.local())
        {
            carrier.connect(member.id.clone(), address(&member.id)?, Options::new())?;
        }
        Ok(carrier)
    }

    /// Listens, with options such as keys. Limits of messages, high-water marks and linger are set as is needed here.
    ///
    /// # Errors
    /// [`DirectError::Bind`] and [`DirectError::Option`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing bound.
    pub async fn bind(endpoint: Endpoint, options: Options) -> Result<Self, DirectError> {
        let options = options
            .max_message_size(MAX_PACKET)
            .recv_hwm(QUEUED)
            .linger(Some(LINGER));
        let router = Socket::with_options(SocketType::Router, options)?;
        let endpoint = router.bind(endpoint).await?;
        Ok(DirectCarrier {
            router,
            endpoint,
            dealers: BTreeMap::new(),
            lost: VecDeque::new(),
            forged: 0,
        })
    }

    /// Where this party listens, with the port that the system has chosen if it was 0.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Packets that were not from the party that they said they were from.
    #[must_use]
    pub fn forged(&self) -> u64 {
        self.forged
    }

    /// Connects to another party, in the background, and again whenever the connection is lost.
    ///
    /// # Errors
    /// [`DirectError::Connect`] and [`DirectError::Option`].
    pub fn connect(
        &mut self,
        party: PartyId,
        endpoint: Endpoint,
        options: Options,
    ) -> Result<(), DirectError> {
        // Nothing is queued for a party that is not there: it would be old when that one comes.
        let options = options.immediate(true).send_hwm(QUEUED).linger(Some(LINGER));
        let socket = Socket::with_options(SocketType::Dealer, options)?;
        let monitor = socket.monitor();
        if let Err(source) = socket.connect(endpoint) {
            return Err(DirectError::Connect { party, source });
        }
        self.dealers.insert(party, Dealer { socket, monitor });
        Ok(())
    }
}

impl Carrier for DirectCarrier {
    fn poll_send(&mut self, cx: &mut Context<'_>, to: &PartyId, packet: &mut Option<Message>) -> Poll<()> {
        let Some(dealer) = self.dealers.get(to) else {
            *packet = None;
            return Poll::Ready(());
        };
        // What cannot be sent is lost, as on its way: it comes again.
        dealer.socket.poll_send(cx, packet).map(drop)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        let queued = QUEUED * self.dealers.len();
        for (party, dealer) in &mut self.dealers {
            while let Poll::Ready(Some(event)) = dealer.monitor.poll_next_unpin(cx) {
                if let Event::Disconnected { .. } = event
                    && !self.lost.iter().any(|(lost, _)| lost == party)
                {
                    self.lost.push_back((party.clone(), queued));
                }
            }
        }
        // What it had sent before comes first: after it, the party would be held for alive.
        if self.lost.front().is_some_and(|(_, left)| *left == 0)
            && let Some((party, _)) = self.lost.pop_front()
        {
            return Poll::Ready(Arrival::Lost(party));
        }
        while let Poll::Ready(Ok((mut packet, peer))) = self.router.poll_recv(cx) {
            // The routing id, which the ROUTER has put there.
            packet.pop_front();
            let is_known = peer.user_id().is_none_or(|user| {
                let sender = sender_of(&packet);
                sender.is_some_and(|sender| sender == *user)
            });
            for (_, left) in &mut self.lost {
                *left = left.saturating_sub(1);
            }
            if is_known {
                return Poll::Ready(Arrival::Packet(packet));
            }
            self.forged += 1;
        }
        match self.lost.pop_front() {
            Some((party, _)) => Poll::Ready(Arrival::Lost(party)),
            None => Poll::Pending,
        }
    }
}

#[cfg(all(test, feature = "tcp"))]
mod tests;
