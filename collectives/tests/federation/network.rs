//! What the parties of a test are connected by: every scenario runs over each of these.

use std::time::Duration;

use flexbond_collectives::federation::{Config, Federation, Limits, MemoryNetwork};
#[cfg(feature = "tcp")]
use flexbond_collectives::federation::{Server, ServerConfig};

use crate::config;
#[cfg(feature = "nats")]
use crate::nats_server::NatsServer;

/// A network with nobody in it.
pub(crate) enum Network {
    /// In virtual time.
    Memory(MemoryNetwork),
    /// In real time, as all that follow.
    #[cfg(feature = "nats")]
    Nats(NatsServer),
    #[cfg(feature = "tcp")]
    Server(Box<Hub>),
}

/// A message server.
#[cfg(feature = "tcp")]
pub(crate) struct Hub {
    server: Server,
    /// Where its store is, if it has one.
    _folder: Option<tempfile::TempDir>,
}

#[cfg(feature = "tcp")]
impl Hub {
    async fn start(folder: Option<tempfile::TempDir>) -> Network {
        let mut config = ServerConfig::new();
        config.listen = vec!["tcp://127.0.0.1:0".parse().unwrap()];
        config.store = folder.as_ref().map(|folder| folder.path().join("store.redb"));
        Network::Server(Box::new(Hub {
            server: Server::bind(config).await.unwrap(),
            _folder: folder,
        }))
    }
}

impl Network {
    /// A message server that keeps all in memory.
    #[cfg(feature = "tcp")]
    pub(crate) async fn server() -> Self {
        Hub::start(None).await
    }

    /// A message server with a store.
    #[cfg(all(feature = "tcp", feature = "federation-redb"))]
    pub(crate) async fn stored() -> Self {
        Hub::start(Some(tempfile::tempdir().unwrap())).await
    }

    pub(crate) async fn join(&self, config: Config) -> Federation {
        match self {
            Network::Memory(network) => {
                let carrier = network.carrier(config.local().clone());
                Federation::join(config, carrier).unwrap()
            }
            #[cfg(feature = "tcp")]
            Network::Server(hub) => {
                let config = config.by_server(hub.server.endpoints()[0].to_string());
                Federation::connect(config).await.unwrap()
            }
            #[cfg(feature = "nats")]
            Network::Nats(server) => Federation::connect(config.by_server(server.url())).await.unwrap(),
        }
    }

    /// All parties, in order.
    pub(crate) async fn parties<const N: usize>(&self, names: [&str; N], limits: &Limits) -> [Federation; N] {
        let joining = names.map(|name| self.join(config(name, &names).limits(limits.clone())));
        let joined = futures_util::future::join_all(joining).await;
        joined.try_into().expect("there is one for each name")
    }

    fn is_real(&self) -> bool {
        !matches!(self, Network::Memory(_))
    }

    /// How long a scenario waits for what does not come: where time is real, shorter.
    pub(crate) fn time(&self, seconds: u64) -> Duration {
        match self.is_real() {
            true => Duration::from_millis(50 * seconds),
            false => Duration::from_secs(seconds),
        }
    }

    /// How long a party stays away: an hour where that costs nothing.
    pub(crate) fn pause(&self) -> Duration {
        match self.is_real() {
            true => Duration::from_millis(100),
            false => Duration::from_secs(3600),
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        match self.is_real() {
            true => Limits::new()
                .heartbeat(Duration::from_millis(100))
                // A busy machine must not look like a dead one.
                .dead_after(Duration::from_secs(3))
                .retry(Duration::from_millis(100)),
            false => Limits::new(),
        }
    }
}

/// Runs scenarios, asynchronous functions that take a network, over each kind of network.
macro_rules! over_all_networks {
    ($($scenario:ident),* $(,)?) => {
        mod memory {
            use flexbond_collectives::federation::MemoryNetwork;

            use crate::network::Network;

            $(
                #[tokio::test(start_paused = true)]
                async fn $scenario() {
                    super::$scenario(Network::Memory(MemoryNetwork::new())).await;
                }
            )*
        }

        #[cfg(feature = "tcp")]
        mod server {
            use crate::network::Network;

            $(
                #[tokio::test]
                async fn $scenario() {
                    super::$scenario(Network::server().await).await;
                }
            )*
        }

        #[cfg(all(feature = "tcp", feature = "federation-redb"))]
        mod stored {
            use crate::network::Network;

            $(
                #[tokio::test]
                async fn $scenario() {
                    super::$scenario(Network::stored().await).await;
                }
            )*
        }

        #[cfg(feature = "nats")]
        mod nats {
            use crate::nats_server::{self, NatsServer};
            use crate::network::Network;

            $(
                #[tokio::test]
                async fn $scenario() {
                    if nats_server::is_there() {
                        super::$scenario(Network::Nats(NatsServer::start())).await;
                    }
                }
            )*
        }
    };
}

pub(crate) use over_all_networks;
