//! Who may talk: CURVE, PLAIN and authenticators between sockets of our own, and what both ends are told.

mod authenticator;
mod curve;
#[path = "../harness/mod.rs"]
mod harness;
mod malicious;
mod mechanisms;
#[path = "../raw/mod.rs"]
mod raw;

use flexbond_session::socket::{CurveClient, KeyPair, Options, generate_keys};
use harness::brisk;

fn keys() -> KeyPair {
    generate_keys().expect("random numbers")
}

fn client_of(server: &KeyPair) -> Options {
    brisk().curve_client(CurveClient::anonymous(*server.public()).expect("random numbers"))
}
