//! The frame header of ZMTP 2.0 and later (RFC 15, RFC 23, RFC 37).
//!
//! One byte of flags, then the body's length in one byte or, with the LONG flag, in eight.

use super::Header;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// Reserved flags are ignored, and a long header in front of a short body is accepted, as libzmq does.
#[inline]
pub(super) fn parse(bytes: &[u8]) -> Option<Header> {
    let &[flags, short, ref rest @ ..] = bytes else {
        return None;
    };
    let more = flags & MORE != 0;
    let command = flags & COMMAND != 0;
    if flags & LONG == 0 {
        return Some(Header {
            more,
            command,
            len: 2,
            body: u64::from(short),
        });
    }
    let rest: &[u8; 7] = rest.first_chunk()?;
    let [b, c, d, e, f, g, h] = *rest;
    Some(Header {
        more,
        command,
        len: 9,
        body: u64::from_be_bytes([short, b, c, d, e, f, g, h]),
    })
}

#[inline]
pub(super) fn with_header<R>(more: bool, command: bool, body: usize, put: impl FnOnce(&[u8]) -> R) -> R {
    let mut flags = if more { MORE } else { 0 };
    if command {
        flags |= COMMAND;
    }
    if let Ok(short) = u8::try_from(body) {
        put(&[flags, short])
    } else {
        let mut header = [flags | LONG, 0, 0, 0, 0, 0, 0, 0, 0];
        header[1..].copy_from_slice(&(body as u64).to_be_bytes());
        put(&header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_round_trip() {
        for body in [0, 1, 255, 256, 65_536] {
            for (more, command) in [(false, false), (true, false), (false, true)] {
                with_header(more, command, body, |header| {
                    assert_eq!(header.len(), if body < 256 { 2 } else { 9 });
                    for cut in 0..header.len() {
                        assert_eq!(parse(&header[..cut]), None);
                    }
                    let expected = Header {
                        more,
                        command,
                        len: header.len(),
                        body: body as u64,
                    };
                    assert_eq!(parse(header), Some(expected));
                });
            }
        }
    }

    #[test]
    fn a_long_header_may_announce_a_short_body() {
        let header = parse(&[LONG | MORE, 0, 0, 0, 0, 0, 0, 0, 3]).expect("nine bytes are enough");
        assert_eq!((header.body, header.len, header.more), (3, 9, true));
    }

    #[test]
    fn reserved_flags_are_ignored() {
        let header = parse(&[0xf8, 1]).expect("two bytes are enough");
        assert!(!header.more && !header.command);
    }
}
