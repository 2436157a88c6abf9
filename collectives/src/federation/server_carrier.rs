//! Parties that reach each other by a message server.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use flexbond_session::socket::{ConnectError, OptionError, Options};
use flexbond_session::{Endpoint, EndpointError};
use flexbond_transport::Message;
use thiserror::Error;

use super::carrier::{Arrival, Carrier, ServerWay};
use super::config::Config;
use super::credentials::CredentialError;
use super::name::PartyId;
use super::uplink::{News, Uplink, UplinkError};

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
        source: Box<ConnectError>,
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
    uplink: Uplink,
    parties: Vec<PartyId>,
    /// With the connection, the way to all of these has broken.
    lost: VecDeque<PartyId>,
    /// How it stands with the server, as was told.
    told: Option<ServerWay>,
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
        let uplink = Uplink::new(&server, options).map_err(|error| match error {
            UplinkError::Connect(source) => ServerCarrierError::Connect {
                server,
                source: Box::new(source),
            },
            UplinkError::Option(error) => error.into(),
        })?;
        Ok(ServerCarrier {
            uplink,
            parties: parties.into_iter().collect(),
            lost: VecDeque::new(),
            told: None,
        })
    }
}

impl Carrier for ServerCarrier {
    fn poll_send(&mut self, cx: &mut Context<'_>, _: &PartyId, packet: &mut Option<Message>) -> Poll<()> {
        self.uplink.poll_send(cx, packet)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        loop {
            if let Some(party) = self.lost.pop_front() {
                return Poll::Ready(Arrival::Lost(party));
            }
            let news = self.uplink.poll_news(cx);
            let way = self.uplink.way();
            if news.is_pending() && self.told.as_ref() != Some(way) {
                self.told = Some(way.clone());
                return Poll::Ready(Arrival::Server(way.clone()));
            }
            match news {
                Poll::Ready(News::Packet(packet)) => return Poll::Ready(Arrival::Packet(packet)),
                Poll::Ready(News::Lost) => self.lost = self.parties.iter().cloned().collect(),
                Poll::Ready(News::Connected) => {}
                Poll::Ready(News::Refused(reason)) => tracing::warn!("the message server: {reason}"),
                Poll::Pending => return Poll::Pending,
            }
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
