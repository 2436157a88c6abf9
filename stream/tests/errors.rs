//! What went wrong is said once: an error names what failed, and its cause is in `source()` alone.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use flexbond_session::socket::{BindError, RecvError};
use flexbond_stream::bsread::{BsreadError, ChannelError, EncodeError, ReadingError};
use flexbond_stream::compression::DecompressError;
use flexbond_stream::detector::DetectorError;
use flexbond_stream::merge::MergeError;
use flexbond_stream::split::{ConfigError, SplitError};
use flexbond_stream::stream2::{self, ShapeError};
use flexbond_stream::{
    ArrayError, ConnectError, DecodeError, Decoder, Handler, Header, HeaderError, ReceiveError,
};
use flexbond_transport::{Endpoint, Frame, Message};

type Wrong = Box<dyn Error>;

fn json_error() -> serde_json::Error {
    serde_json::from_str::<u8>("none").unwrap_err()
}

fn array_error() -> ArrayError {
    ArrayError::Length {
        index: 0,
        expected: 4,
        actual: 3,
    }
}

/// Errors that have a cause, each of its own kind.
fn messages_and_streams() -> Vec<Wrong> {
    let nowhere = "nowhere".parse::<Endpoint>().unwrap_err();
    let malformed = DecodeError::from(HeaderError::NoHtype);
    vec![
        Box::new(HeaderError::from(json_error())),
        Box::new(DecodeError::from(array_error())),
        Box::new(DecodeError::from(DetectorError::Header {
            part: 2,
            error: json_error().into(),
        })),
        Box::new(DecodeError::from(DetectorError::Array {
            part: 2,
            error: array_error(),
        })),
        Box::new(DecodeError::from(BsreadError::from(HeaderError::NoHtype))),
        Box::new(BsreadError::from(DecompressError::TrailingBytes { count: 3 })),
        Box::new(DecodeError::from(stream2::DecodeError::Array {
            field: "data".to_owned(),
            error: ShapeError::TooManyDimensions(99),
        })),
        Box::new(EncodeError::Channel {
            channel: "X:Y".to_owned(),
            error: ChannelError::UnknownType("float9".to_owned()),
        }),
        Box::new(ReadingError::from(
            String::from_utf8(vec![0xff]).unwrap_err().utf8_error(),
        )),
        Box::new(ReceiveError::Malformed {
            error: malformed,
            message: Message::from("x"),
        }),
        Box::new(MergeError::Stream {
            stream: 1,
            error: Box::new(ReceiveError::from(RecvError::WouldBlock)),
        }),
        Box::new(ConfigError::from(json_error())),
        Box::new(SplitError::from(RecvError::WouldBlock)),
        Box::new(SplitError::Connect {
            address: "nowhere".to_owned(),
            error: ConnectError::from(BindError::from(nowhere)),
        }),
        Box::new(refused_by_a_handler()),
    ]
}

fn refused_by_a_handler() -> DecodeError {
    struct Picky;

    impl Handler for Picky {
        type Value = ();
        type Error = io::Error;

        fn decode(&mut self, _: &Header, _: &[Frame]) -> io::Result<()> {
            Err(io::Error::other("too salty"))
        }
    }

    let mut decoder = Decoder::new();
    decoder.register("soup-1.0", Picky);
    let message = Message::from(r#"{"htype":"soup-1.0"}"#);
    decoder.decode(&message).unwrap_err()
}

#[cfg(feature = "recording")]
fn recordings() -> Vec<Wrong> {
    use flexbond_stream::recording::{
        Compression, ExportError, FolderError, FolderWriteError, OpenError, PlayError, ReadError,
        SourceError, UnsupportedCompression, WriteError,
    };

    let path = || PathBuf::from("run.fbr");
    let source = || io::Error::other("the disk is gone");
    vec![
        Box::new(SourceError::Open {
            path: path(),
            source: OpenError::from(source()),
        }),
        Box::new(ReadError::Io {
            offset: 3,
            source: source(),
        }),
        Box::new(ReadError::Unsupported {
            offset: 3,
            number: 1,
            error: UnsupportedCompression(Compression::Zstd),
        }),
        Box::new(FolderError::Io {
            path: path(),
            source: source(),
        }),
        Box::new(FolderError::Part {
            message: 1,
            path: path(),
            source: source(),
        }),
        Box::new(FolderWriteError::Folder {
            path: path(),
            source: source(),
        }),
        Box::new(FolderWriteError::Write {
            path: path(),
            kept: 1,
            message: 1,
            source: source(),
        }),
        Box::new(WriteError::Create {
            path: path(),
            source: source(),
        }),
        Box::new(WriteError::Append {
            path: path(),
            source: OpenError::NotARecording,
        }),
        Box::new(WriteError::Thread { source: source() }),
        Box::new(WriteError::Stopped {
            path: path(),
            kept: 1,
            lost: 1,
            closed: false,
            source: source(),
        }),
        Box::new(PlayError::Thread { source: source() }),
        Box::new(ExportError::Io {
            path: path(),
            source: source(),
        }),
    ]
}

#[cfg(not(feature = "recording"))]
fn recordings() -> Vec<Wrong> {
    let _ = PathBuf::new();
    Vec::new()
}

#[test]
fn a_cause_is_not_repeated_by_what_it_caused() {
    let mut wrong = messages_and_streams();
    wrong.extend(recordings());
    for error in wrong {
        assert!(error.source().is_some(), "{error:?} does not say why");
        let mut outer: &dyn Error = &*error;
        while let Some(inner) = outer.source() {
            let (text, cause) = (outer.to_string(), inner.to_string());
            assert!(!text.contains(&cause), "{text:?} repeats {cause:?}");
            outer = inner;
        }
    }
}
