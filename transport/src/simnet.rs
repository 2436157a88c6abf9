//! A network in memory that loses, duplicates, reorders, delays, corrupts and cuts by a seed, for the tests of
//! protocols over datagrams.
//!
//! - [`Network`] is the heart: plain code without clock or task, to be driven together with other code of that kind.
//!   Time is a [`Duration`](std::time::Duration) since its start, which the caller counts.
//! - [`SimNet`] and [`SimSocket`] put it under tokio's clock: a `SimSocket` is a [`DatagramSocket`](crate::DatagramSocket)
//!   like the real one. With `tokio::time::pause`, hours of it pass in milliseconds.
//!
//! A host is an IP address. What happens to packets on the way from one host to another is a [`Path`]; it can be set for
//! all and for each directed pair, at any time. A host's packets to itself take no path: they arrive at once, and
//! always.
//!
//! The same seed and the same calls give the same run, packet by packet. With `SimNet`, on a current-thread runtime
//! with the clock paused.
//!
//! Everything is bounded: what is under way, what a host keeps while it is paused, and what waits at a socket. Each packet
//! counts there with its bytes and [`PACKET_OVERHEAD`] more.
//!
//! # Example
//! A fifth of the packets is lost, and the others arrive after 5 ms:
//! ```
//! use std::time::Duration;
//!
//! use flexbond_transport::simnet::{Config, Network, Path};
//!
//! let path = Path::default().delay(Duration::from_millis(5)).loss(0.2);
//! let mut network = Network::new(7, Config::default().path(path));
//! for number in 0..100_u8 {
//!     network.send(Duration::ZERO, "10.0.0.1:1".parse()?, "10.0.0.2:2".parse()?, vec![number]);
//! }
//! assert_eq!(network.poll_timeout(), Some(Duration::from_millis(5)));
//! assert!(network.poll_delivery(Duration::from_millis(4)).is_none());
//!
//! let mut arrived = 0;
//! while let Some(delivery) = network.poll_delivery(Duration::from_millis(5)) {
//!     assert_eq!(delivery.to, "10.0.0.2:2".parse()?);
//!     arrived += 1;
//! }
//! assert_eq!(arrived + network.counters().lost, 100);
//! # Ok::<(), std::net::AddrParseError>(())
//! ```

mod config;
mod counters;
mod line;
mod net;
mod network;
mod socket;
mod stash;

pub use config::{Config, PACKET_OVERHEAD, Path};
pub use counters::Counters;
pub use net::SimNet;
pub use network::{Delivery, Network};
pub use socket::SimSocket;
