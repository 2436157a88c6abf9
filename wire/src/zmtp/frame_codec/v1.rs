//! The frame header of ZMTP 1.0 (RFC 13).
//!
//! One byte with the length of flags and body together, then one byte of flags; or, when that length needs more than
//! a byte, `FF`, the length in eight bytes, and the flags.

use super::{Header, ProtocolError};

const MORE: u8 = 1;
const LONG: u8 = 0xff;

pub(super) fn parse(bytes: &[u8]) -> Result<Option<Header>, ProtocolError> {
    let Some(&first) = bytes.first() else {
        return Ok(None);
    };
    let (len, length) = if first == LONG {
        let Some(length) = bytes.get(1..).and_then(|rest| rest.first_chunk()) else {
            return Ok(None);
        };
        (10, u64::from_be_bytes(*length))
    } else {
        (2, u64::from(first))
    };
    // The length counts the flags, so zero is impossible. Said before the flags arrive, as libzmq does.
    let Some(body) = length.checked_sub(1) else {
        return Err(ProtocolError::malformed("frame without room for its flags"));
    };
    Ok(bytes.get(len - 1).map(|flags| Header {
        more: flags & MORE != 0,
        command: false,
        len,
        body,
    }))
}

#[inline]
pub(super) fn with_header<R>(more: bool, body: usize, put: impl FnOnce(&[u8]) -> R) -> R {
    let flags = if more { MORE } else { 0 };
    let length = body as u64 + 1;
    if length < u64::from(LONG) {
        put(&[length as u8, flags])
    } else {
        let mut header = [LONG, 0, 0, 0, 0, 0, 0, 0, 0, flags];
        header[1..9].copy_from_slice(&length.to_be_bytes());
        put(&header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_round_trip() {
        for body in [0, 1, 253, 254, 255, 65_536] {
            for more in [false, true] {
                with_header(more, body, |header| {
                    assert_eq!(header.len(), if body < 254 { 2 } else { 10 });
                    for cut in 0..header.len() {
                        assert_eq!(parse(&header[..cut]), Ok(None));
                    }
                    let expected = Header {
                        more,
                        command: false,
                        len: header.len(),
                        body: body as u64,
                    };
                    assert_eq!(parse(header), Ok(Some(expected)));
                });
            }
        }
    }

    #[test]
    fn a_length_of_zero_is_refused() {
        assert!(parse(&[0]).is_err());
        assert!(parse(&[0xff, 0, 0, 0, 0, 0, 0, 0, 0]).is_err());
    }
}
