//! Keys of the mechanism CURVE (RFC 25, RFC 26): Curve25519, XSalsa20 and Poly1305, as in NaCl's `crypto_box`.
//!
//! A server has a key pair whose public half its clients know beforehand. A client has one, too; whether it is
//! let in by its public half is for whoever answers [`Event::Authenticate`](super::Event::Authenticate).
//!
//! # What it protects
//!
//! - Nobody else can read messages; change, repeat or reorder them, add to them or take some out: any of that ends the
//!   connection. Whoever can do that can also end the connection, and what was on its way is lost with it.
//! - A client talks to the owner of the server's secret key only; a server knows whose secret key the client has.
//! - Each connection has keys of its own, which are forgotten when it ends: who learns a long-term key later cannot
//!   read what was recorded before.
//! - The client's public key travels encrypted, and a server does the expensive part of a handshake only for who knows
//!   its public key.
//!
//! # What it does not
//!
//! - The last messages before a connection ends may be missing: nothing tells an honest end from one that somebody on
//!   the way made.
//! - A server's ERROR command travels in clear and bears no proof: somebody on the way can refuse a client in its name.
//!   One that comes before the server has proved that it owns its key is no refusal but an error of the protocol.
//! - The sizes, times and number of messages can be seen, and the addresses.
//! - The flags in front of a sealed frame are not sealed, and not looked at, as by libzmq: those inside count.
//! - A server is not told that a client whom it lets in is harmless: limits still apply.
//! - Who owns the server's secret key can be any server to its clients, and read what they sent to servers with this
//!   key that still run. Keep it in a file that only its owner can read.
//! - A future quantum computer could open what was recorded.
//!
//! # How it is done
//!
//! Everything that concerns one connection is wiped from memory when it ends. A server that answered HELLO keeps
//! nothing of it but the key to the cookie that it gave away, until the client returns that in INITIATE; the key opens
//! one cookie and lives no longer than the handshake may take, and 60 seconds at most. Nonces count up from 1: a sender
//! ends the connection before they are used up, a receiver when one does not follow the last. RFC 26 has them increase
//! only; libzmq and its translations count every frame, so a gap is taken for what it is. Keys that lead to the same secret with
//! whatever key (points of low order) are refused.
//!
//! ```
//! use flexbond_wire::zmtp::curve::{KeyPair, PublicKey, SecretKey};
//!
//! let secret: SecretKey = "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6".parse()?;
//! let keys = KeyPair::from(secret);
//! assert_eq!(keys.public().to_string(), "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7");
//! # Ok::<(), flexbond_wire::zmtp::curve::KeyError>(())
//! ```

mod certificate;
mod key;
pub(crate) mod seal;
mod z85;

pub use certificate::{Certificate, CertificateError};
pub use key::{KeyError, KeyPair, PublicKey, SecretKey};
