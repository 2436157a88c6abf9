//! Values on the command line: seconds, sizes, bytes.

use std::net::SocketAddr;
use std::time::Duration;

/// A number of seconds, whole or not.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "not a number of seconds from zero on".to_owned())
}

/// A number of seconds above zero.
pub(crate) fn positive_seconds(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => Err("must be more than zero".to_owned()),
        duration => Ok(duration),
    }
}

/// Seconds that may have no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Linger(pub(crate) Option<Duration>);

/// Seconds; `-1` and `inf` are for ever.
pub(crate) fn linger(text: &str) -> Result<Linger, String> {
    match text {
        "-1" | "inf" | "forever" => Ok(Linger(None)),
        _ => seconds(text).map(|duration| Linger(Some(duration))),
    }
}

/// A number of bytes, such as `1500`, `64K`, `16M`, `2G` (powers of 1024).
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let factor: usize = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KB" | "KIB" => 1 << 10,
        "M" | "MB" | "MIB" => 1 << 20,
        "G" | "GB" | "GIB" => 1 << 30,
        _ => return Err("not a size; write 1500, 64K, 16M or 2G".to_owned()),
    };
    let number: usize = digits
        .parse()
        .map_err(|_| "not a size; write 1500, 64K, 16M or 2G".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "too large".to_owned())
}

/// The most that [`megabytes`] gives: more than any machine can hold in one message.
const MAX_SIZE: usize = 1 << 40;

/// A number of megabytes of 2^20 bytes, which may be a fraction, as a number of bytes.
pub(crate) fn megabytes(text: &str) -> Result<usize, String> {
    let megabytes: f64 = text.parse().map_err(|_| "not a number of megabytes".to_owned())?;
    let bytes = megabytes * f64::from(1 << 20);
    match (0.0..=MAX_SIZE as f64).contains(&bytes) {
        true => Ok(bytes as usize),
        false => Err("out of range".to_owned()),
    }
}

/// A multicast address and a port.
pub(crate) fn multicast(text: &str) -> Result<SocketAddr, String> {
    let group: SocketAddr = text
        .parse()
        .map_err(|_| "not an address with a port; write 239.1.2.3:5000".to_owned())?;
    match group.ip().is_multicast() && group.port() != 0 {
        true => Ok(group),
        false => Err("not a multicast address with a port; write 239.1.2.3:5000".to_owned()),
    }
}

/// Bytes as text, or as hexadecimal digits after `hex:`.
pub(crate) fn bytes(text: &str) -> Result<Vec<u8>, String> {
    match text.strip_prefix("hex:") {
        Some(digits) => {
            hex::decode(digits).map_err(|error| format!("after hex: {}", error.to_string().to_lowercase()))
        }
        None => Ok(text.as_bytes().to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_fractions_too() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(seconds("0"), Ok(Duration::ZERO));
        for bad in ["", "x", "-1", "nan", "inf", "1e300"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
        assert!(positive_seconds("0").is_err());
        assert_eq!(linger("-1"), Ok(Linger(None)));
        assert_eq!(linger("inf"), Ok(Linger(None)));
        assert_eq!(linger("2"), Ok(Linger(Some(Duration::from_secs(2)))));
    }

    #[test]
    fn sizes_have_suffixes() {
        assert_eq!(size("1500"), Ok(1500));
        assert_eq!(size("64k"), Ok(65_536));
        assert_eq!(size("2GiB"), Ok(2 << 30));
        for bad in [
            "",
            "K",
            "-1",
            "1.5M",
            "1T",
            "99999999999999999999",
            "18446744073709551615K",
            "ü",
        ] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn megabytes_may_be_fractions() {
        assert_eq!(megabytes("1"), Ok(1 << 20));
        assert_eq!(megabytes("0.5"), Ok(1 << 19));
        assert_eq!(megabytes("0.01"), Ok(10_485));
        assert_eq!(megabytes("1048576"), Ok(MAX_SIZE));
        for bad in ["", "x", "-1", "nan", "inf", "1e300", "1048577"] {
            assert!(megabytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_multicast_address_has_a_port() {
        assert_eq!(multicast("239.1.2.3:5000"), Ok(([239, 1, 2, 3], 5000).into()));
        assert!(multicast("[ff02::5]:5000").is_ok());
        for bad in ["", "239.1.2.3", "239.1.2.3:0", "10.0.0.1:5000"] {
            assert!(multicast(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bytes_are_text_or_hexadecimal() {
        assert_eq!(bytes("news"), Ok(b"news".to_vec()));
        assert_eq!(bytes("hex:00ff"), Ok(vec![0, 255]));
        assert_eq!(bytes(""), Ok(vec![]));
        assert!(bytes("hex:0").is_err() && bytes("hex:zz").is_err());
    }
}
