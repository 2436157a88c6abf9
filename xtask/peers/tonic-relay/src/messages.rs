//! What goes over the wire.

use bytes::Bytes;

/// Which mailbox: all messages of a channel from one party to another.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Route {
    /// The job.
    #[prost(string, tag = "1")]
    pub job: String,
    /// The channel's name.
    #[prost(string, tag = "2")]
    pub channel: String,
    /// The sender.
    #[prost(string, tag = "3")]
    pub from: String,
    /// The receiver.
    #[prost(string, tag = "4")]
    pub to: String,
}

/// A piece of a message. Pieces are numbered in their mailbox.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Piece {
    /// Its number.
    #[prost(uint64, tag = "1")]
    pub offset: u64,
    /// Whether the message goes on with the next one.
    #[prost(bool, tag = "2")]
    pub goes_on: bool,
    /// Its content.
    #[prost(bytes = "bytes", tag = "3")]
    pub data: Bytes,
}

/// A piece for a mailbox.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Put {
    /// Which one.
    #[prost(message, optional, tag = "1")]
    pub route: Option<Route>,
    /// The piece.
    #[prost(message, optional, tag = "2")]
    pub piece: Option<Piece>,
}

/// The piece, and all before it, are in the mailbox.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Taken {
    /// The next number.
    #[prost(uint64, tag = "1")]
    pub next: u64,
}

/// A wish for a piece, which says as well that the receiver has all before it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Get {
    /// Of which mailbox.
    #[prost(message, optional, tag = "1")]
    pub route: Option<Route>,
    /// Its number.
    #[prost(uint64, tag = "2")]
    pub next: u64,
}

/// The piece, or nothing when there was none for a while.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Given {
    /// The piece.
    #[prost(message, optional, tag = "1")]
    pub piece: Option<Piece>,
}

/// From a party, as much as there is to say at once.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Up {
    /// Mailboxes that have a number from now on.
    #[prost(message, repeated, tag = "1")]
    pub opens: Vec<Open>,
    /// Pieces.
    #[prost(message, repeated, tag = "2")]
    pub pieces: Vec<Numbered>,
    /// What the party has received.
    #[prost(message, repeated, tag = "3")]
    pub marks: Vec<Mark>,
}

/// From the server, as much as there is to say at once.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Down {
    /// Pieces.
    #[prost(message, repeated, tag = "1")]
    pub pieces: Vec<Numbered>,
    /// What became of what the party has sent.
    #[prost(message, repeated, tag = "2")]
    pub marks: Vec<Mark>,
}

/// A mailbox gets a number in this stream.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Open {
    /// The number.
    #[prost(uint32, tag = "1")]
    pub number: u32,
    /// The mailbox.
    #[prost(message, optional, tag = "2")]
    pub route: Option<Route>,
    /// For a receiver: the piece that it wants next. It has all before it.
    #[prost(uint64, optional, tag = "3")]
    pub next: Option<u64>,
}

/// A piece of a numbered mailbox.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Numbered {
    /// The mailbox.
    #[prost(uint32, tag = "1")]
    pub number: u32,
    /// The piece.
    #[prost(message, optional, tag = "2")]
    pub piece: Option<Piece>,
}

/// How far a mailbox has come.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Mark {
    /// The mailbox.
    #[prost(uint32, tag = "1")]
    pub number: u32,
    /// All pieces below this one have come to the server. A receiver does not say it.
    #[prost(uint64, tag = "2")]
    pub taken: u64,
    /// All pieces below this one have come to the receiver.
    #[prost(uint64, tag = "3")]
    pub received: u64,
}
