//! Federated jobs of several parties in one process, as their programs see them.

mod demo;
mod endings;
mod exchange;
mod groups;
#[cfg(feature = "tcp")]
mod hostile;
#[cfg(feature = "nats")]
#[path = "../nats/server.rs"]
mod nats_server;
mod network;

use std::future::Future;
use std::time::Duration;

use flexbond_collectives::federation::{Config, Federation, MemoryNetwork, Role};

/// No test waits longer for anything, most of them in virtual time.
const DEADLINE: Duration = Duration::from_secs(60);

/// A job whose first party is the guest and whose others are hosts.
fn config(local: &str, parties: &[&str]) -> Config {
    let mut config = Config::new("job-1".parse().unwrap(), local.parse().unwrap());
    for (index, party) in parties.iter().enumerate() {
        let role = if index == 0 { Role::Guest } else { Role::Host };
        config = config.member(party.parse().unwrap(), role);
    }
    config
}

fn join(network: &MemoryNetwork, config: Config) -> Federation {
    let carrier = network.carrier(config.local().clone());
    Federation::join(config, carrier).unwrap()
}

/// Ends with an error what takes too long.
async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work)
        .await
        .expect("it takes too long")
}
