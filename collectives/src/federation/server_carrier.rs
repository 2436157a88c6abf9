//! Parties that reach each other by a message server.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Duration;

use flexbond_session::socket::{ConnectError, Event, Monitor, OptionError, Options, Socket, SocketType};
use flexbond_session::{Endpoint, EndpointError};
use flexbond_transport::Message;
use futures_util::StreamExt;
use thiserror::Error;

use super::carrier::{Arrival, Carrier};
use super::config::Config;
use super::credentials::CredentialError;
use super::direct::MAX_PACKET;
use super::name::PartyId;

/// As in direct mode: what the server did not get comes again, or nobody waits for it.
const LINGER: Duration = Duration::from_secs(1);
/// How many packets wait in the socket at most, and how many bytes: what is urgent waits behind them. One packet may always
/// wait, however large it is.
const QUEUED: usize = 256;
const QUEUED_BYTES: usize = 8 << 20;
/// The server is asked so often whether it is there, when it says nothing; a connection whose machine is gone ends after
/// three of these, and is made anew.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Why the message server cannot be reached, whatever is waited for.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerCarrierError {
    /// The configuration names no server.
    #[error("the configuration has no `server`; give one, such as \"tcp://host:9370\"")]
    NoServer,
    /// The address is none.
    #[error("`server` {server:?} is no address")]
    Address {
        /// What is there.
        server: String,
        /// What is wrong with it.
        source: EndpointError,
    },
    /// Keys or certificates cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// The address can never be connected to.
    #[error("cannot connect to `server` {server}")]
    Connect {
        /// The address.
        server: Endpoint,
        /// Why.
        source: ConnectError,
    },
    /// An option of the socket is out of bounds.
    #[error(transparent)]
    Option(#[from] OptionError),
}

/// One party's end where parties reach each other by a message server, such as `flexbond serve`: one connection, which is
/// made again whenever it is lost.
///
/// Parties then need not run at the same time. A message that the server has acknowledged is in its custody, and the sender
/// may leave.
#[derive(Debug)]
pub struct ServerCarrier {
    socket: Socket,
    monitor: Monitor,
    parties: Vec<PartyId>,
    /// With the connection, the way to all of these has broken.
    lost: VecDeque<PartyId>,
}

impl ServerCarrier {
    /// Connects to the server of the configuration, in the background.
    ///
    /// # Errors
    /// [`ServerCarrierError`] says which key is wrong. A server that is not there yet is no error.
    pub fn from_config(config: &Config) -> Result<Self, ServerCarrierError> {
        let server = config.server().ok_or(ServerCarrierError::NoServer)?;
        let endpoint = endpoint(server, config.tls_files().is_some())?;
        let mut options = Options::new();
        if let Some(keys) = config.curve_keys() {
            options = keys.client("curve", options)?;
        }
        let options = with_tls(options, config, &endpoint)?;
        let parties = config.members().iter().map(|member| member.id.clone());
        let others = parties.filter(|party| party != config.local());
        Self::connect(endpoint, others, options)
    }

    /// Connects with options such as keys, in the background. High-water marks, heartbeats and linger are set as is needed
    /// here. `parties` are all others of the job.
    ///
    /// # Errors
    /// [`ServerCarrierError::Connect`] and [`ServerCarrierError::Option`].
    pub fn connect(
        server: Endpoint,
        parties: impl IntoIterator<Item = PartyId>,
        options: Options,
    ) -> Result<Self, ServerCarrierError> {
        // Nothing is queued for a server that is not there: it would be old when it comes.
        let options = options
            .immediate(true)
            .max_message_size(MAX_PACKET)
            .send_hwm(QUEUED)
            .send_hwm_bytes(QUEUED_BYTES)
            .recv_hwm(QUEUED)
            .recv_hwm_bytes(QUEUED_BYTES)
            .heartbeat_interval(HEARTBEAT)
            .heartbeat_timeout(2 * HEARTBEAT)
            .linger(LINGER);
        let socket = Socket::with_options(SocketType::Dealer, options)?;
        let monitor = socket.monitor();
        socket
            .connect(&server)
            .map_err(|source| ServerCarrierError::Connect { server, source })?;
        Ok(ServerCarrier {
            socket,
            monitor,
            parties: parties.into_iter().collect(),
            lost: VecDeque::new(),
        })
    }
}

impl Carrier for ServerCarrier {
    fn poll_send(&mut self, cx: &mut Context<'_>, _: &PartyId, packet: &mut Option<Message>) -> Poll<()> {
        // What cannot be sent is lost, as on its way: it comes again.
        self.socket.poll_send(cx, packet).map(drop)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        while let Poll::Ready(Some(event)) = self.monitor.poll_next_unpin(cx) {
            if let Event::Disconnected { .. } = event {
                self.lost = self.parties.iter().cloned().collect();
            }
        }
        if let Some(party) = self.lost.pop_front() {
            return Poll::Ready(Arrival::Lost(party));
        }
        match self.socket.poll_recv(cx) {
            Poll::Ready(Ok((packet, _))) => Poll::Ready(Arrival::Packet(packet)),
            // The socket is closed by nobody but this one.
            _ => Poll::Pending,
        }
    }
}

/// `host:port` is short for an endpoint.
pub(super) fn endpoint(server: &str, has_tls: bool) -> Result<Endpoint, ServerCarrierError> {
    let text = match (server.contains("://"), has_tls) {
        (true, _) => server.to_owned(),
        (false, false) => format!("tcp://{server}"),
        (false, true) => format!("tls://{server}"),
    };
    text.parse().map_err(|source| ServerCarrierError::Address {
        server: server.to_owned(),
        source,
    })
}

#[cfg(feature = "tls")]
fn with_tls(options: Options, config: &Config, endpoint: &Endpoint) -> Result<Options, ServerCarrierError> {
    use std::sync::Arc;

    if !matches!(endpoint, Endpoint::Tls(_)) {
        return match config.tls_files() {
            Some(_) => Err(unusable_tls("it is for a `server` at tls://")),
            None => Ok(options),
        };
    }
    let files = config.tls_files().cloned().unwrap_or_default();
    let registry = flexbond_transport::Registry::standard();
    let registered = registry.register("tls", Arc::new(files.transport("tls", false)?));
    registered.map_err(|error| unusable_tls(&error.to_string()))?;
    Ok(options.registry(registry))
}

#[cfg(feature = "tls")]
fn unusable_tls(reason: &str) -> ServerCarrierError {
    let (key, reason) = ("tls".to_owned(), reason.to_owned());
    CredentialError::Unusable { key, reason }.into()
}

#[cfg(not(feature = "tls"))]
fn with_tls(options: Options, config: &Config, endpoint: &Endpoint) -> Result<Options, ServerCarrierError> {
    match config.tls_files().is_some() || matches!(endpoint, Endpoint::Tls(_)) {
        true => Err(CredentialError::Missing {
            key: "tls".to_owned(),
            feature: "tls",
        }
        .into()),
        false => Ok(options),
    }
}
