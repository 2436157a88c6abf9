//! `flexbond federation recv`.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Recv;
use super::place::{GLANCE, failure_of_channel, join, watch};
use super::value::line;
use crate::cli::console;
use crate::cli::failure::{Exit, Failure, note};
use crate::cli::interrupt::Interrupt;
use crate::cli::output::Stop;
use crate::collectives::federation::{
    ChannelError, ChannelName, Config, Delivery, Federation, PartyId, Presence, Received, Waiting,
};

/// How long the sender has to take note.
const FAREWELL: Duration = Duration::from_secs(5);

impl Recv {
    pub(super) async fn run(&self, config: Config) -> Result<Exit, Failure> {
        let mut interrupt = Interrupt::listen()
            .map_err(|error| Failure::new(format!("cannot listen for signals: {error}")))?;
        let federation = tokio::select! {
            joined = join(config, &self.from, self.timeout) => joined?,
            number = interrupt.wait() => return Ok(Exit::Signal(number)),
        };
        let received = tokio::select! {
            received = self.recv(&federation) => match received {
                Ok(received) => received,
                Err(failure) => {
                    // One that has waited too long is used up, which its sender is to know.
                    let _ = tokio::time::timeout(FAREWELL, federation.close()).await;
                    return Err(failure);
                }
            },
            failure = watch(&federation, &self.from) => return Err(failure),
            number = interrupt.wait() => {
                note("interrupted: no message was taken");
                return Ok(Exit::Signal(number));
            }
        };
        // Who dies here gets it again.
        let printed = console::print(&format!("{}\n", line(&received)));
        match printed {
            Ok(()) => drop(received.ack()),
            Err(_) => note("the message could not be written: it comes again"),
        }
        // The sender keeps it until it knows.
        let is_told = tokio::time::timeout(FAREWELL, federation.close()).await.is_ok();
        if !(is_told && federation.is_handed_over()) {
            note("the sender could not be told that the message has come; it may come again");
        }
        match printed {
            Ok(()) | Err(Stop::ReaderGone) => Ok(Exit::Done),
            Err(Stop::Failure(failure)) => Err(failure),
        }
    }

    async fn recv(&self, federation: &Federation) -> Result<Delivery<Received>, Failure> {
        let channel = federation
            .variable(&self.channel, &self.from)
            .map_err(|error| Failure::usage(error.to_string()))?;
        let channel = match &self.tag {
            Some(tag) => channel
                .tagged(tag)
                .map_err(|error| Failure::usage(error.to_string()))?,
            None => channel,
        };
        // By a server, who has left may come back and send more.
        let may_return = federation.config().server().is_some();
        let begin = Instant::now();
        loop {
            let rest = self.timeout.saturating_sub(begin.elapsed());
            match channel.clone().with_timeout(rest).recv_any_delivery().await {
                Ok(received) => return Ok(received),
                Err(ChannelError::Left { .. }) if may_return && !rest.is_zero() => {
                    sleep(rest.min(GLANCE)).await;
                }
                Err(ChannelError::Left { channel, party }) if may_return => {
                    return Err(self.nothing_came(channel, party, Presence::Left));
                }
                Err(ChannelError::Timeout {
                    channel,
                    party,
                    presence,
                    ..
                }) => {
                    return Err(self.nothing_came(channel, party, presence));
                }
                Err(error) => return Err(failure_of_channel(&error)),
            }
        }
    }

    fn nothing_came(&self, channel: ChannelName, party: PartyId, presence: Presence) -> Failure {
        failure_of_channel(&ChannelError::Timeout {
            channel,
            what: self.tag.clone().map_or(Waiting::Message, Waiting::Tagged),
            party,
            after: self.timeout,
            presence,
        })
    }
}
