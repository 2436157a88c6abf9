//! CURVE: each side proves that it owns a key, and every frame is sealed (RFC 25, RFC 26).
//!
//! The client sends HELLO, the server WELCOME with a cookie, the client INITIATE with that cookie, the server READY.
//! Then every frame is a MESSAGE. In the comments, C and S are the long-term public keys of client and server, C' and
//! S' those that this connection alone has.

mod client;
mod server;
mod traffic;

pub(super) use client::Client;
pub(super) use server::Server;

use crate::zmtp::ProtocolError;
use crate::zmtp::curve::PublicKey;
use crate::zmtp::curve::seal::Unauthentic;

const HELLO: &[u8] = b"HELLO";
const WELCOME: &[u8] = b"WELCOME";
const INITIATE: &[u8] = b"INITIATE";

const HELLO_NONCE: &[u8; 16] = b"CurveZMQHELLO---";
const INITIATE_NONCE: &[u8; 16] = b"CurveZMQINITIATE";
const READY_NONCE: &[u8; 16] = b"CurveZMQREADY---";
const WELCOME_NONCE: &[u8; 8] = b"WELCOME-";
const COOKIE_NONCE: &[u8; 8] = b"COOKIE--";
const VOUCH_NONCE: &[u8; 8] = b"VOUCH---";

/// The server's state, in the client's keeping: a nonce of 16 bytes, a tag, C' and s'.
const COOKIE: usize = 96;

/// The nonces of the commands: a side counts all that it sends, from 1 on.
const FIRST: u64 = 1;
const SECOND: u64 = 2;

/// Takes `N` bytes off the front of `bytes`.
fn take<'a, const N: usize>(
    bytes: &mut &'a [u8],
    otherwise: &'static str,
) -> Result<&'a [u8; N], ProtocolError> {
    let (first, rest) = bytes
        .split_first_chunk()
        .ok_or(ProtocolError::malformed(otherwise))?;
    *bytes = rest;
    Ok(first)
}

/// A public key off the front of `bytes`.
fn take_key(bytes: &mut &[u8], otherwise: &'static str) -> Result<PublicKey, ProtocolError> {
    take(bytes, otherwise).map(|key| PublicKey::from_bytes(*key))
}

/// What follows when something cannot be opened.
fn unauthentic(what: &'static str) -> impl Fn(Unauthentic) -> ProtocolError {
    move |Unauthentic| ProtocolError::Unauthentic { what }
}
