//! A message that is sent in parts.

use bytes::Bytes;
use tokio::sync::MutexGuard;

use super::error::SendError;
use super::session::{Delivery, Part, Session};

/// A message that is sent in parts. Receivers get each part as soon as it has come ([`Part`]).
///
/// Dropped before it has [ended](Self::finish), the message ends where it is: an empty last part is sent then, so that
/// receivers wait for no more.
#[derive(Debug)]
pub struct StreamSender<'a> {
    session: &'a Session,
    channel: u16,
    _turn: MutexGuard<'a, ()>,
    /// The number of the first part, while the message is not at its end.
    open: Option<u64>,
}

impl<'a> StreamSender<'a> {
    /// Bytes in a part, at most; what is longer is sent as several.
    pub const MAX_PART: usize = 1 << 20;

    pub(super) fn new(session: &'a Session, channel: u16, turn: MutexGuard<'a, ()>) -> Self {
        StreamSender {
            session,
            channel,
            _turn: turn,
            open: None,
        }
    }

    /// Sends the next part, as soon as there is room for it.
    ///
    /// # Errors
    /// [`SendError`]; what of the part had room was sent.
    ///
    /// # Cancel safety
    /// Of up to [`MAX_PART`](Self::MAX_PART) bytes all or, when the future is dropped before it is ready, nothing is
    /// sent. Of more, a part may have been.
    pub async fn send(&mut self, part: impl Into<Bytes>) -> Result<(), SendError> {
        let mut rest = part.into();
        while !rest.is_empty() {
            let part = rest.split_to(rest.len().min(Self::MAX_PART));
            self.push(part).await?;
        }
        Ok(())
    }

    async fn push(&mut self, body: Bytes) -> Result<(), SendError> {
        let part = match self.open {
            Some(_) => Part::More,
            None => Part::First,
        };
        let delivery = self.session.push(self.channel, part, body).await?;
        self.open.get_or_insert(delivery.number());
        Ok(())
    }

    /// Sends the last part, which may be empty, and ends the message.
    ///
    /// # Errors
    /// [`SendError`]; the message has not ended.
    ///
    /// # Cancel safety
    /// As [`send`](Self::send).
    pub async fn finish(mut self, part: impl Into<Bytes>) -> Result<Delivery, SendError> {
        let mut last = part.into();
        while last.len() > Self::MAX_PART {
            let part = last.split_to(Self::MAX_PART);
            self.push(part).await?;
        }
        let part = match self.open {
            Some(_) => Part::Last,
            None => Part::Whole,
        };
        let delivery = self.session.push(self.channel, part, last).await?;
        Ok(match self.open.take() {
            Some(first) => delivery.since(first),
            None => delivery,
        })
    }
}

impl Drop for StreamSender<'_> {
    fn drop(&mut self) {
        if self.open.is_some() {
            let channel = self.channel;
            self.session.shared().act(|node, _| node.push_end(channel));
        }
    }
}
