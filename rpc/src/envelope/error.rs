//! What can be wrong with an envelope.

use thiserror::Error;

use super::{Header, Kind, MAX_BUFFERS, Metadata, Method};

/// Why a text is not the name of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MethodError {
    /// A name has at least one byte.
    #[error("a method's name is empty")]
    Empty,
    /// A name has at most [`Method::MAX_LEN`] bytes.
    #[error("a method's name has {len} bytes, more than {}", Method::MAX_LEN)]
    TooLong {
        /// The length in bytes.
        len: usize,
    },
    /// A name is UTF-8.
    #[error("a method's name is not UTF-8")]
    NotUtf8 {
        /// Where it ceases to be.
        #[source]
        source: std::str::Utf8Error,
    },
}

/// Why something is not metadata.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// A name has 1 to 255 letters, digits, `-`, `_` and `.`.
    #[error("\"{name}\" is not a name: 1 to 255 letters, digits, \"-\", \"_\" or \".\"")]
    Name {
        /// What it is, escaped.
        name: Box<str>,
    },
    /// A name occurs once.
    #[error("\"{name}\" is there twice")]
    Twice {
        /// The name.
        name: Box<str>,
    },
    /// There are at most [`Metadata::MAX_ENTRIES`].
    #[error("more than {} entries", Metadata::MAX_ENTRIES)]
    TooMany,
    /// They take at most [`Metadata::MAX_LEN`] bytes.
    #[error("{len} bytes, more than {}", Metadata::MAX_LEN)]
    TooLong {
        /// The length in bytes.
        len: usize,
    },
    /// The last entry is cut off.
    #[error("the last entry is cut off")]
    Truncated,
}

/// Why an envelope cannot be sent as it is. Nothing is lost: the envelope was only borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A request or one-way call names its method.
    #[error("a {kind} names no method")]
    NoMethod {
        /// What the envelope is.
        kind: Kind,
    },
    /// Only requests and one-way calls name a method.
    #[error("a {kind} names a method")]
    UnexpectedMethod {
        /// What the envelope is.
        kind: Kind,
    },
    /// There are more than [`MAX_BUFFERS`] buffers.
    #[error("{count} buffers, more than {MAX_BUFFERS}")]
    TooManyBuffers {
        /// How many there are.
        count: usize,
    },
    /// The codec's number is that of a named one, or of none that an application may use.
    #[error("{number} is not a codec number of applications (128 to 255)")]
    ReservedCodec {
        /// The number.
        number: u8,
    },
}

/// Why a message is not an envelope. The message is used up; what came before and comes after it is unaffected.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// An envelope has at least three frames, or all in one; metadata is a frame more.
    #[error("{count} frames are too few")]
    TooFewFrames {
        /// How many there are.
        count: usize,
    },
    /// There are more than [`MAX_BUFFERS`] buffers.
    #[error("{count} buffers, more than {MAX_BUFFERS}")]
    TooManyBuffers {
        /// How many there are.
        count: usize,
    },
    /// The first frame is shorter than a header.
    #[error("a header of {len} bytes instead of {}", Header::LEN)]
    HeaderLength {
        /// The frame's length in bytes.
        len: usize,
    },
    /// The sender speaks another version.
    #[error("version {version} instead of {}", Header::VERSION)]
    Version {
        /// What the header says.
        version: u8,
    },
    /// There is no such kind.
    #[error("unknown kind {kind}")]
    Kind {
        /// What the header says.
        kind: u8,
    },
    /// A codec's number is reserved.
    #[error("unknown codec {codec}")]
    Codec {
        /// What the header says.
        codec: u8,
    },
    /// There is a flag that this version does not know.
    #[error("unknown flags {flags:#010b}")]
    Flags {
        /// What the header says.
        flags: u8,
    },
    /// The method's name is longer than the frame.
    #[error("the method's name is cut off")]
    Truncated,
    /// The metadata is not acceptable.
    #[error("unacceptable metadata: {source}")]
    Metadata {
        /// What is wrong with it.
        source: MetadataError,
    },
    /// The method's name is not acceptable.
    #[error("unacceptable method: {source}")]
    Method {
        /// What is wrong with it.
        source: MethodError,
    },
    /// Only requests and one-way calls name a method.
    #[error("a {kind} names a method")]
    UnexpectedMethod {
        /// What the message is.
        kind: Kind,
    },
}
