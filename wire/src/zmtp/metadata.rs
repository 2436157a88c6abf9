//! The properties that two peers exchange in the handshake (RFC 37, section "Metadata").
//!
//! A property is a name (one byte of length, then the name) and a value (four bytes of length, then the value).

use std::collections::HashSet;

use bytes::Bytes;

use super::{Config, ProtocolError, SocketType};

pub(crate) const SOCKET_TYPE: &str = "Socket-Type";
pub(crate) const IDENTITY: &str = "Identity";
/// Where libzmq's users find who ZAP says the peer is: nothing that a peer may say of itself.
const USER_ID: &str = "User-Id";

/// More properties than any honest peer has; the command's size limits their bytes, this their number.
const MAX_PROPERTIES: usize = 1024;

/// Properties in the order they came.
pub(crate) type Properties = Vec<(String, Bytes)>;

/// Appends what libzmq announces: the socket type, the routing id for types that have one, then the `X-` properties.
pub(crate) fn write(config: &Config, out: &mut Vec<u8>) {
    put(SOCKET_TYPE, config.socket_type.as_str().as_bytes(), out);
    if config.socket_type.announces_routing_id() {
        put(IDENTITY, &config.routing_id, out);
    }
    for (name, value) in &config.metadata {
        put(name, value, out);
    }
}

fn put(name: &str, value: &[u8], out: &mut Vec<u8>) {
    // Both fit: `Config::validate` limits names to 255 bytes and all of them together to 32 KiB.
    out.push(name.len() as u8);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(&(value.len() as u32).to_be_bytes());
    out.extend_from_slice(value);
}

/// Takes properties apart. No name may come twice, in whatever capitals: two readers could take different ones. One that
/// stands for a judgement about the peer is left out.
pub(crate) fn parse(mut bytes: &[u8]) -> Result<Properties, ProtocolError> {
    const SHORT: ProtocolError = ProtocolError::malformed("property longer than its command");
    let mut properties = Properties::new();
    let mut names = HashSet::new();
    while let Some((&name_len, rest)) = bytes.split_first() {
        let (name, rest) = rest.split_at_checked(usize::from(name_len)).ok_or(SHORT)?;
        let (value_len, rest) = rest.split_first_chunk().ok_or(SHORT)?;
        let value_len = usize::try_from(u32::from_be_bytes(*value_len)).map_err(|_| SHORT)?;
        let (value, rest) = rest.split_at_checked(value_len).ok_or(SHORT)?;
        let name =
            std::str::from_utf8(name).map_err(|_| ProtocolError::malformed("property name is not text"))?;
        if names.len() == MAX_PROPERTIES {
            return Err(ProtocolError::malformed("too many properties"));
        }
        if !names.insert(name.to_ascii_lowercase()) {
            return Err(ProtocolError::malformed("property given twice"));
        }
        if !name.eq_ignore_ascii_case(USER_ID) {
            properties.push((name.to_owned(), Bytes::copy_from_slice(value)));
        }
        bytes = rest;
    }
    Ok(properties)
}

/// The value of the property `name`.
pub(crate) fn find<'a>(properties: &'a Properties, name: &str) -> Option<&'a Bytes> {
    properties
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// The peer's socket type, which must suit ours. libzmq lets a peer pass that does not tell.
pub(crate) fn socket_type(
    config: &Config,
    properties: &Properties,
) -> Result<Option<SocketType>, ProtocolError> {
    let Some(value) = find(properties, SOCKET_TYPE) else {
        return Ok(None);
    };
    let theirs = String::from_utf8_lossy(value);
    match theirs.parse() {
        Ok(kind) if config.socket_type.accepts(kind) => Ok(Some(kind)),
        _ => Err(ProtocolError::IncompatibleSocket {
            ours: config.socket_type,
            theirs: theirs.chars().take(64).collect(),
        }),
    }
}

/// The peer's routing id.
pub(crate) fn routing_id(properties: &Properties) -> Result<Bytes, ProtocolError> {
    let routing_id = find(properties, IDENTITY).cloned().unwrap_or_default();
    if routing_id.len() > Config::MAX_ROUTING_ID {
        return Err(ProtocolError::malformed("routing id longer than 255 bytes"));
    }
    Ok(routing_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_round_trip() {
        let mut config = Config::new(SocketType::Router);
        config.routing_id = Bytes::from_static(b"me");
        config
            .metadata
            .push(("X-Key".into(), Bytes::from_static(b"value")));
        let mut bytes = Vec::new();
        write(&config, &mut bytes);
        let properties = parse(&bytes).expect("just written");
        assert_eq!(find(&properties, "socket-type").expect("present"), "ROUTER");
        assert_eq!(routing_id(&properties), Ok(Bytes::from_static(b"me")));
        assert_eq!(find(&properties, "x-key").expect("present"), "value");
        for cut in 1..bytes.len() {
            // A cut between two properties leaves a shorter list; every other cut is an error.
            if let Ok(fewer) = parse(&bytes[..cut]) {
                assert!(fewer.len() < properties.len());
            }
        }
    }

    #[test]
    fn a_publisher_announces_no_routing_id() {
        let mut config = Config::new(SocketType::Pub);
        config.routing_id = Bytes::from_static(b"me");
        let mut bytes = Vec::new();
        write(&config, &mut bytes);
        assert_eq!(bytes, b"\x0bSocket-Type\0\0\0\x03PUB");
    }

    #[test]
    fn unknown_and_unsuitable_types_are_refused() {
        let config = Config::new(SocketType::Pull);
        for theirs in ["PULL", "SCATTER", ""] {
            let properties = vec![("SOCKET-TYPE".to_owned(), Bytes::from(theirs))];
            assert!(socket_type(&config, &properties).is_err(), "{theirs:?}");
        }
        let properties = vec![("SOCKET-TYPE".to_owned(), Bytes::from("PUSH"))];
        assert_eq!(socket_type(&config, &properties), Ok(Some(SocketType::Push)));
    }

    #[test]
    fn properties_are_counted() {
        let many = |count: usize| {
            let mut bytes = Vec::new();
            for number in 0..count {
                put(&format!("X-{number}"), b"", &mut bytes);
            }
            parse(&bytes).map(|properties| properties.len())
        };
        assert_eq!(many(MAX_PROPERTIES), Ok(MAX_PROPERTIES));
        assert!(many(MAX_PROPERTIES + 1).is_err());
    }

    #[test]
    fn no_property_comes_twice_and_none_claims_to_be_the_judges() {
        let parsed = |names: [&str; 2]| {
            let mut bytes = Vec::new();
            for name in names {
                put(name, b"x", &mut bytes);
            }
            parse(&bytes)
        };
        let twice = Err(ProtocolError::malformed("property given twice"));
        for names in [["Identity", "IDENTITY"], ["X-a", "x-A"], ["User-Id", "user-id"]] {
            assert_eq!(parsed(names), twice, "{names:?}");
        }
        let left = parsed(["uSER-iD", "X-a"]).expect("well formed");
        assert_eq!(left, [("X-a".to_owned(), Bytes::from_static(b"x"))]);
    }
}
