//! Where metrics are served: a port of this machine, unless another interface is named.

use std::net::{Ipv4Addr, SocketAddr};

/// `9100`, `localhost:9100`, `127.0.0.1:9100`, `[::1]:9100`, `*:9100`.
pub(super) fn parse(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let named = text.rsplit_once(':').and_then(|(host, port)| {
        let ip = match host {
            "localhost" => Ipv4Addr::LOCALHOST,
            "*" => Ipv4Addr::UNSPECIFIED,
            _ => return None,
        };
        Some(SocketAddr::from((ip, port.parse::<u16>().ok()?)))
    });
    named.ok_or_else(|| "write a port such as 9100, an IP address with a port, or *:9100".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_for_this_machine_only() {
        for (text, address) in [
            ("9100", "127.0.0.1:9100"),
            ("0", "127.0.0.1:0"),
            ("localhost:9100", "127.0.0.1:9100"),
            ("10.0.0.1:9100", "10.0.0.1:9100"),
            ("[::1]:9100", "[::1]:9100"),
            ("*:9100", "0.0.0.0:9100"),
        ] {
            assert_eq!(parse(text), Ok(address.parse().unwrap()), "{text}");
        }
        // Elsewhere `:9100` means every interface, and here nothing does but what says so.
        for bad in [
            "",
            ":9100",
            "65536",
            "host:9100",
            "*",
            "*:x",
            "tcp://*:9100",
            "::1",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
