//! The greeting: how two peers find the newest version both speak (RFC 37, section "Version negotiation").
//!
//! Nothing is sent that an older peer could not understand: first ten bytes that look like the start of a ZMTP 1.0
//! routing id message, then the major version once the peer has shown that it has versions at all, then the rest once
//! the peer's major version is known.

use super::frame_codec::Framing;
use super::{Config, ProtocolError, SocketType, Transmit, Version};

/// Ten bytes: `FF`, eight of padding (the routing id's length to an old peer), and one whose last bit tells that
/// versions are understood.
const SIGNATURE: usize = 10;
/// Where the peer's major version is.
const MAJOR: usize = 10;
/// The length of a ZMTP 2.0 greeting: signature, revision, socket type.
const V2_LEN: usize = 12;
/// The length of a ZMTP 3.x greeting: signature, version, mechanism, as-server, filler.
const V3_LEN: usize = 64;

/// How far our greeting got.
#[derive(Debug)]
enum Sent {
    Signature,
    Major,
    All,
}

/// A greeting under way.
#[derive(Debug)]
pub(crate) struct Greeting {
    sent: Sent,
}

/// What the peer turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// ZMTP 1.0: no greeting, a routing id message comes first.
    Unversioned,
    /// ZMTP 2.0, or 1.0 with a greeting: a routing id message comes next.
    Routing {
        framing: Framing,
        version: Version,
        socket_type: Option<SocketType>,
    },
    /// ZMTP 3.x: the security mechanism takes over.
    Modern { version: Version, mechanism: [u8; 20] },
}

impl Greeting {
    /// Queues what may be sent before anything is known of the peer.
    pub(crate) fn start(config: &Config, out: &mut Transmit) -> Self {
        if config.max_version < Version::V2_0 {
            put_routing_id(Framing::V1, config, out);
            return Greeting { sent: Sent::All };
        }
        let mut signature = [0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f];
        signature[1..9].copy_from_slice(&(config.routing_id.len() as u64 + 1).to_be_bytes());
        out.put(&signature);
        Greeting {
            sent: Sent::Signature,
        }
    }

    /// Looks at all bytes that arrived so far. Once the peer is known, how many of them were the greeting.
    pub(crate) fn advance(
        &mut self,
        config: &Config,
        bytes: &[u8],
        out: &mut Transmit,
    ) -> Result<Option<(Peer, usize)>, ProtocolError> {
        if config.max_version < Version::V2_0 {
            return Ok(Some((Peer::Unversioned, 0)));
        }
        match bytes {
            [] | [0xff] => return Ok(None),
            [0xff, rest @ ..] => match rest.get(SIGNATURE - 2) {
                None => return Ok(None),
                Some(last) if last & 1 == 0 => return unversioned(config, out),
                Some(_) => {}
            },
            [_] => return Ok(None),
            // The flags of a routing id message say at most that more follows. Anything else is not ØMQ: HTTP, say.
            [_, flags, ..] if *flags > 1 => {
                return Err(ProtocolError::malformed(
                    "neither a greeting nor a routing id message",
                ));
            }
            _ => return unversioned(config, out),
        }
        let modern = config.max_version >= Version::V3_0;
        if matches!(self.sent, Sent::Signature) {
            out.put(if modern { &[3] } else { &[1] });
            self.sent = Sent::Major;
        }
        let Some(&major) = bytes.get(MAJOR) else {
            return Ok(None);
        };
        if modern && major >= 2 {
            self.advance_modern(config, bytes, out)
        } else {
            self.advance_old(config, major, bytes, out)
        }
    }

    fn advance_modern(
        &mut self,
        config: &Config,
        bytes: &[u8],
        out: &mut Transmit,
    ) -> Result<Option<(Peer, usize)>, ProtocolError> {
        if !matches!(self.sent, Sent::All) {
            let mut rest = [0; V3_LEN - MAJOR - 1];
            rest[0] = config.max_version.minor;
            let name = config.security.name().as_bytes();
            rest[1..=name.len()].copy_from_slice(name);
            out.put(&rest);
            self.sent = Sent::All;
        }
        let Some(greeting) = bytes.first_chunk::<V3_LEN>() else {
            return Ok(None);
        };
        // Only a peer that says 3.0 is one; libzmq takes every later version for 3.1.
        let theirs = match greeting[MAJOR..=MAJOR + 1] {
            [3, 0] => Version::V3_0,
            _ => Version::V3_1,
        };
        let mut mechanism = [0; 20];
        mechanism.copy_from_slice(&greeting[12..32]);
        let version = theirs.min(config.max_version);
        Ok(Some((Peer::Modern { version, mechanism }, V3_LEN)))
    }

    fn advance_old(
        &mut self,
        config: &Config,
        major: u8,
        bytes: &[u8],
        out: &mut Transmit,
    ) -> Result<Option<(Peer, usize)>, ProtocolError> {
        // Revision 0 is ZMTP 1.0 with a greeting; 1 is 2.0, and so is everything later when we are old ourselves.
        let (framing, version) = match major {
            0 => (Framing::V1, Version::V1_0),
            _ => (Framing::V2, Version::V2_0),
        };
        refuse_without_security(config, version)?;
        if !matches!(self.sent, Sent::All) {
            out.put(&[config.socket_type.code()]);
            put_routing_id(framing, config, out);
            self.sent = Sent::All;
        }
        let Some(&code) = bytes.get(V2_LEN - 1) else {
            return Ok(None);
        };
        let socket_type = SocketType::from_code(code);
        if let Some(theirs) = socket_type
            && !config.socket_type.accepts(theirs)
        {
            return Err(ProtocolError::IncompatibleSocket {
                ours: config.socket_type,
                theirs: theirs.as_str().to_owned(),
            });
        }
        let peer = Peer::Routing {
            framing,
            version,
            socket_type,
        };
        Ok(Some((peer, V2_LEN)))
    }
}

/// Answers a peer without versions: the ten bytes already sent were the header of our routing id message.
fn unversioned(config: &Config, out: &mut Transmit) -> Result<Option<(Peer, usize)>, ProtocolError> {
    refuse_without_security(config, Version::V1_0)?;
    out.put(&config.routing_id);
    Ok(Some((Peer::Unversioned, 0)))
}

fn refuse_without_security(config: &Config, theirs: Version) -> Result<(), ProtocolError> {
    if matches!(config.security, super::Security::Null) {
        Ok(())
    } else {
        Err(ProtocolError::VersionRefused {
            ours: config.security.name().to_owned(),
            theirs,
        })
    }
}

/// Older versions tell the routing id in a message of its own, whatever the socket type.
fn put_routing_id(framing: Framing, config: &Config, out: &mut Transmit) {
    framing.with_header(false, config.routing_id.len(), |header| out.put(header));
    out.put(&config.routing_id);
}

/// The mechanism in a greeting, without the zeros behind it.
pub(crate) fn mechanism_name(field: &[u8; 20]) -> &[u8] {
    let end = field
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |last| last + 1);
    &field[..end]
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn taken(out: &mut Transmit) -> Vec<u8> {
        let mut slices = [std::io::IoSlice::new(&[]); 8];
        let filled = out.slices(&mut slices);
        let bytes: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
        out.advance(bytes.len());
        bytes
    }

    #[test]
    fn nothing_is_sent_too_early() {
        let mut config = Config::new(SocketType::Dealer);
        config.routing_id = Bytes::from_static(b"abc");
        let mut out = Transmit::default();
        let mut greeting = Greeting::start(&config, &mut out);
        assert_eq!(taken(&mut out), b"\xff\0\0\0\0\0\0\0\x04\x7f");

        let mut theirs = b"\xff12345678\x01\x03\x01NULL".to_vec();
        theirs.resize(64, 0);
        for len in 0..10 {
            assert_eq!(greeting.advance(&config, &theirs[..len], &mut out), Ok(None));
            assert!(out.is_empty());
        }
        assert_eq!(greeting.advance(&config, &theirs[..10], &mut out), Ok(None));
        assert_eq!(taken(&mut out), [3]);
        assert_eq!(greeting.advance(&config, &theirs[..11], &mut out), Ok(None));
        let rest = taken(&mut out);
        assert_eq!(rest.len(), 53);
        assert_eq!(&rest[..6], b"\x01NULL\0");
        for len in 12..64 {
            assert_eq!(greeting.advance(&config, &theirs[..len], &mut out), Ok(None));
        }
        let (peer, len) = greeting
            .advance(&config, &theirs, &mut out)
            .expect("valid")
            .expect("whole");
        assert_eq!(len, 64);
        assert!(
            matches!(peer, Peer::Modern { version: Version::V3_1, mechanism } if mechanism_name(&mechanism) == b"NULL")
        );
        assert!(out.is_empty());
    }

    #[test]
    fn an_unversioned_peer_gets_the_rest_of_a_routing_id_message() {
        let mut config = Config::new(SocketType::Dealer);
        config.routing_id = Bytes::from_static(b"abc");
        for theirs in [&b"\x01\0"[..], b"\xff\0\0\0\0\0\0\x01\0\0"] {
            let mut out = Transmit::default();
            let mut greeting = Greeting::start(&config, &mut out);
            taken(&mut out);
            let found = greeting.advance(&config, theirs, &mut out).expect("valid");
            assert_eq!(found, Some((Peer::Unversioned, 0)));
            assert_eq!(taken(&mut out), b"abc");
        }
    }

    #[test]
    fn higher_and_odd_versions_count_as_the_newest() {
        let config = Config::new(SocketType::Pull);
        for (major, minor, expected) in [
            (3, 0, Version::V3_0),
            (3, 1, Version::V3_1),
            (3, 9, Version::V3_1),
            (4, 0, Version::V3_1),
            (2, 0, Version::V3_1),
        ] {
            let mut out = Transmit::default();
            let mut greeting = Greeting::start(&config, &mut out);
            let mut theirs = [0; 64];
            theirs[..12].copy_from_slice(&[0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, major, minor]);
            let found = greeting.advance(&config, &theirs, &mut out).expect("valid");
            assert!(
                matches!(found, Some((Peer::Modern { version, .. }, 64)) if version == expected),
                "{major}.{minor}"
            );
        }
    }
}
