//! The request that the command line asks for.

use std::fs;
use std::io::{self, Read};

use super::{CallCommand, Travelling};
use crate::cli::Failure;
use crate::rpc::envelope::{Codec, Method};
use crate::rpc::{Encoded, Request, Wants};
use crate::transport::Frame;

/// Items of a stream that may wait here.
const WINDOW: u32 = 64;

/// `name=value`.
pub(super) fn entry(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write name=value".to_owned()),
    }
}

impl CallCommand {
    pub(super) fn request(&self, method: &str) -> Result<Request, Failure> {
        let method = Method::new(method).map_err(|error| Failure::usage(format!("METHOD: {error}")))?;
        let buffers = self.buffer.iter().map(|path| match fs::read(path) {
            Ok(bytes) => Ok(Frame::from(bytes)),
            Err(error) => Err(Failure::usage(format!("cannot read {}: {error}", path.display()))),
        });
        let buffers = buffers.collect::<Result<_, Failure>>()?;
        let body = match &self.arguments {
            None => Frame::from(&b""[..]),
            Some(text) => body(text, self.codec)?,
        };
        let mut request = self.request_of(method, Encoded { body, buffers })?;
        if self.stream {
            request.wants = Wants::Stream(WINDOW);
        }
        Ok(request)
    }

    /// Asks for the methods that there are.
    pub(super) fn listing(&self) -> Result<Request, Failure> {
        let method = Method::new("flexbond.methods").map_err(|error| Failure::usage(error.to_string()))?;
        self.request_of(method, Encoded::default())
    }

    fn request_of(&self, method: Method, arguments: Encoded) -> Result<Request, Failure> {
        let mut request = Request::new(method, self.codec.codec(), arguments);
        // Of a stream it is the time for each item, which the client watches: a stream as such may take any.
        request.timeout = self.timeout.filter(|_| !self.stream);
        for (name, value) in &self.metadata {
            let inserted = request.metadata.insert(name, value.clone());
            inserted.map_err(|error| Failure::usage(format!("--metadata {name}: {error}")))?;
        }
        Ok(request)
    }
}

/// Arguments as they travel.
fn body(text: &str, travelling: Travelling) -> Result<Frame, Failure> {
    let (origin, json) = match text {
        "-" => {
            let mut json = Vec::new();
            io::stdin()
                .read_to_end(&mut json)
                .map_err(|error| Failure::new(format!("cannot read standard input: {error}")))?;
            ("standard input", json)
        }
        _ => match text.strip_prefix('@') {
            Some(path) => {
                let json = fs::read(path);
                let json = json.map_err(|error| Failure::usage(format!("cannot read {path}: {error}")))?;
                (path, json)
            }
            None => ("JSON", text.as_bytes().to_vec()),
        },
    };
    if json.trim_ascii().is_empty() {
        return Ok(Frame::from(&b""[..]));
    }
    let wrong = |error: serde_json::Error| {
        Failure::usage(format!("{origin}: {error}"))
            .hint(r#"the arguments are JSON, such as '{"a": 1, "b": "text"}'"#)
    };
    match travelling {
        // As it was written: nothing is lost of its numbers.
        Travelling::Json => match serde_json::from_slice::<serde::de::IgnoredAny>(&json) {
            Ok(_) => Ok(Frame::from(json)),
            Err(error) => Err(wrong(error)),
        },
        Travelling::Msgpack => {
            let value: serde_json::Value = serde_json::from_slice(&json).map_err(wrong)?;
            let encoded = Codec::MessagePack.encode(&value);
            Ok(encoded.map_err(|error| Failure::usage(error.to_string()))?.body)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_checked_before_they_are_sent() {
        let json = |text| body(text, Travelling::Json);
        assert_eq!(&json("[1, 2]").unwrap()[..], b"[1, 2]");
        assert_eq!(&json("  ").unwrap()[..], b"");
        assert_eq!(
            &json("12345678901234567890123456789").unwrap()[..],
            b"12345678901234567890123456789"
        );
        for text in ["{", "{a: 1}", "[1] 2", "@/no/such/file"] {
            assert_eq!(json(text).unwrap_err().exit().code(), 2, "{text}");
        }
        assert_eq!(&body("[1]", Travelling::Msgpack).unwrap()[..], [0x91, 1]);
    }

    #[test]
    fn entries_have_a_name() {
        assert_eq!(entry("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(entry("a").is_err() && entry("=b").is_err());
    }
}
