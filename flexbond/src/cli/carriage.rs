//! What streams at `udp://` addresses have to be told, as arguments.

use std::collections::HashMap;
use std::sync::Arc;

use clap::Args;

use super::Failure;
use super::argument;
use super::failure::explain;
use super::group::{Reach, ToAll};
use crate::group::{JoinError, RejectReason};
use crate::stream::{ConnectOptions, Stream};

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

/// Tells why streams are not let in, each reason once.
#[derive(Debug, Default)]
pub(crate) struct Refusals(HashMap<String, String>);

impl Refusals {
    /// A reason that was not told yet.
    pub(crate) fn poll(&mut self, stream: &Stream) -> Option<String> {
        self.poll_at(&stream.endpoint().to_string(), stream.refusal())
    }

    /// The same for the stream at this address, which is told along.
    pub(crate) fn poll_at(&mut self, address: &str, refusal: Option<Arc<JoinError>>) -> Option<String> {
        let refusal = said(&*refusal?)?;
        if self.0.get(address) == Some(&refusal) {
            return None;
        }
        self.0.insert(address.to_owned(), refusal.clone());
        Some(match refusal.contains(address) {
            true => refusal,
            false => format!("{address}: {refusal}"),
        })
    }
}

/// Why the other side does not let a stream in, if it has said so: trying again is of no use then.
pub(crate) fn refusal(stream: &Stream) -> Option<String> {
    said(&*stream.refusal()?)
}

fn said(refusal: &JoinError) -> Option<String> {
    match refusal {
        // One that ends may begin again.
        JoinError::Rejected {
            why: RejectReason::Closing | RejectReason::Spent,
            ..
        } => None,
        JoinError::Rejected { .. } => Some(explain(refusal)),
        _ => None,
    }
}
