//! One message of a recording.

use flexbond_transport::Message;

use super::Timestamp;

/// A message as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recorded {
    /// Its number, from zero on, without gaps but for messages that are missing.
    pub number: u64,
    /// When it arrived; never before the message before it, but in a folder.
    pub time: Timestamp,
    /// All of its parts. Short messages share a buffer of 256 KiB: call [`Message::detach`] before keeping a few out of
    /// many for long.
    pub message: Message,
    /// The first part that its header calls for and that is not there. Told by folders alone: there, it came without or the
    /// file was removed. In other recordings a message is what came.
    pub lacks: Option<u32>,
}

impl From<Recorded> for Message {
    fn from(recorded: Recorded) -> Self {
        recorded.message
    }
}
