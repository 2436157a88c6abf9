//! `flexbond federation send`.

use bytes::Bytes;
use tokio::time::Instant;

use super::Send;
use super::place::{failure_of_channel, join, watch};
use crate::cli::failure::{Exit, Failure, note};
use crate::cli::interrupt::Interrupt;
use crate::collectives::federation::{ChannelError, Config, Encoding, Federation, Over};

impl Send {
    pub(super) async fn run(
        &self,
        config: Config,
        encoding: Encoding,
        parts: Vec<Bytes>,
    ) -> Result<Exit, Failure> {
        let mut interrupt = Interrupt::listen()
            .map_err(|error| Failure::new(format!("cannot listen for signals: {error}")))?;
        let federation = tokio::select! {
            joined = join(config, &self.to, self.timeout) => joined?,
            number = interrupt.wait() => return Ok(Exit::Signal(number)),
        };
        tokio::select! {
            sent = self.send(&federation, encoding, parts) => sent.map(|()| Exit::Done),
            failure = watch(&federation, &self.to) => Err(failure),
            number = interrupt.wait() => {
                note(&format!("interrupted: nobody has taken the message over{}", self.perhaps(&federation)));
                Ok(Exit::Signal(number))
            }
        }
    }

    /// What is to be said of a message that nobody is known to have: perhaps only the word of that is missing.
    fn perhaps(&self, federation: &Federation) -> &'static str {
        let stats = federation.stats();
        let channel = stats
            .get(&self.to)
            .and_then(|stats| stats.channels.get(&self.channel));
        match channel.is_some_and(|channel| channel.departed > 0) {
            true => ", but it has left here, and may come all the same",
            false => "",
        }
    }

    async fn send(
        &self,
        federation: &Federation,
        encoding: Encoding,
        parts: Vec<Bytes>,
    ) -> Result<(), Failure> {
        let channel = federation
            .variable(&self.channel, &self.to)
            .map_err(|error| Failure::usage(error.to_string()))?;
        let channel = match &self.tag {
            Some(tag) => channel
                .tagged(tag)
                .map_err(|error| Failure::usage(error.to_string()))?,
            None => channel,
        };
        let begin = Instant::now();
        // With that it is known how large a message may be.
        match channel.next_offset().await {
            Ok(_) => {}
            Err(ChannelError::Timeout { .. }) => return Err(self.not_taken(federation)),
            Err(error) => return Err(failure_of_channel(&error)),
        }
        channel
            .send_any(encoding, parts)
            .await
            .map_err(|error| failure_of_channel(&error))?;
        // It goes on in the background.
        let rest = self.timeout.saturating_sub(begin.elapsed());
        let _ = tokio::time::timeout(rest, federation.close()).await;
        let over = federation.over().await;
        if !federation.is_handed_over() || matches!(over, Over::Superseded) {
            return Err(self.not_taken(federation));
        }
        match over {
            Over::Aborted { .. } => Err(Failure::new(over.to_string())),
            _ => Ok(()),
        }
    }

    /// Nobody is known to have the message.
    fn not_taken(&self, federation: &Federation) -> Failure {
        let why = match federation.stats().get(&self.to) {
            Some(stats) if stats.waits_for_room => "the message server has no room at present".to_owned(),
            Some(stats) => format!("party {} {}", self.to, stats.presence),
            None => "there is no such party".to_owned(),
        };
        Failure::timed_out(format!(
            "after {:?}, nobody has taken the message over{}; {why}",
            self.timeout,
            self.perhaps(federation)
        ))
    }
}
