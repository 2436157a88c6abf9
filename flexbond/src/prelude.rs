//! What most programs need: `use flexbond::prelude::*;`.

pub use crate::session::socket::{
    Dealer, Event, Monitor, Options, Pair, Peer, Proxy, Pub, Pull, Push, RecvError, Rep, Req, Router,
    SendError, SlowPeer, Socket, SocketType, Sub, XPub, XSub,
};
#[cfg(feature = "stream")]
pub use crate::stream::{ConnectOptions, Header, Mode, Stream, StreamMessage};
pub use crate::transport::{Endpoint, Frame, Message};
