//! What streams at `udp://` addresses have to be told, as arguments.

use clap::Args;

use super::Failure;
use super::argument;
use super::group::{Reach, ToAll};
use crate::stream::ConnectOptions;

/// How streams at `udp://` addresses are carried.
#[derive(Args)]
#[command(next_help_heading = "At udp:// addresses")]
pub(crate) struct Carriage {
    #[command(flatten)]
    to_all: ToAll,

    #[command(flatten)]
    reach: Reach,

    /// Memory for messages that wait, to be sent and to be taken: who is slow for longer needs more. Default: 256M
    #[arg(long, value_name = "SIZE", value_parser = argument::size)]
    memory: Option<usize>,
}

impl Carriage {
    /// The options of streams, beside those that other arguments say. `addresses` are all that the program has.
    ///
    /// To be called while signals still end the process: the file with the key may be a pipe.
    pub(crate) fn options<A: ToString>(
        &self,
        addresses: impl IntoIterator<Item = A>,
    ) -> Result<ConnectOptions, Failure> {
        let is_udp = |address: A| address.to_string().starts_with("udp://");
        let is_set = self.to_all.multicast.is_some() || self.reach.is_set() || self.memory.is_some();
        if is_set && !addresses.into_iter().any(is_udp) {
            return Err(Failure::usage(
                "--multicast, --interface, --key-file and --memory are for udp:// addresses, and there is none",
            ));
        }
        let mut options = ConnectOptions::new()
            .multicast(self.to_all.multicast)
            .interface(self.reach.interface.clone())
            .key(self.reach.key()?);
        if let Some(memory) = self.memory {
            options = options.memory(memory);
        }
        Ok(options)
    }
}
