//! Messages between the ranks of one computation: ordered, reliable, tagged, over tcp, tls, ipc or inproc.
//!
//! A [`MeshServer`] is where the ranks meet; each [joins](Mesh::join), and once all are there an epoch begins, in which
//! they are numbered from zero on. From then on the server only watches who lives; messages pass from rank to rank, over
//! one connection between any two of them that have something to say to each other.
//!
//! ```
//! use flexbond_session::mesh::{Mesh, MeshError, MeshOptions, MeshServer};
//!
//! # #[cfg(feature = "tcp")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = MeshServer::bind("tcp://127.0.0.1:0", MeshOptions::new().size(2)).await?;
//! let endpoint = server.endpoint().clone();
//!
//! let (zero, one) = tokio::try_join!(
//!     Mesh::join(&endpoint, MeshOptions::new().rank(0)),
//!     Mesh::join(&endpoint, MeshOptions::new().rank(1)),
//! )?;
//! let mut answer = [0; 16];
//! let (sent, received) = tokio::join!(zero.send(1, 7, b"hello"), one.recv(0, 7, &mut answer));
//! sent?;
//! assert_eq!(&answer[..received?], b"hello");
//!
//! drop(one);
//! let lost = zero.recv_bytes(1, 7).await;
//! assert_eq!(lost, Err(MeshError::PeerFailed { failed: vec![1] }));
//! zero.next_epoch().await?;
//! assert_eq!((zero.rank(), zero.size()), (0, 1));
//! zero.leave().await;
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "tcp"))]
//! # fn main() {}
//! ```
//!
//! # Who reads and who writes
//! No task stands between an operation and its connection: a send writes from the caller's memory, a receive reads into
//! it. Who polls a receive reads whatever its connection brings. A message for another receive that waits is left to
//! that one, which is woken; one that nobody waits for is stored, up to [`MeshOptions::unexpected_limit`], beyond which
//! it stays in the connection, and with it what follows, until somebody asks for it. So a future that was polled once must
//! be polled again when it is woken, or be dropped; one that is kept aside may hold up the others of its connection.
//!
//! Where latency is worth a processor, [`MeshOptions::spin`] has operations look for a moment before they sleep.
//!
//! # Failure
//! Each rank and the server tell each other that they live, from threads of their own, so that it does not matter how
//! long the application computes. Who is silent for [`MeshOptions::dead_after`], or whose connection ends without a word,
//! is dead; so is who cannot be reached by one of the others for that long. The first death of an epoch ends it: whatever
//! waits in it, at any survivor, ends with the same [`MeshError::PeerFailed`]. [`Mesh::next_epoch`] goes on without the
//! dead. Who [leaves](Mesh::leave) in good order is not dead, and only what needs it fails.
//!
//! Where the path between two ranks goes dead while both still reach the server, whoever waits for the other finds out:
//! once nothing has moved between them for half that time, it opens a second connection to the other, on which nothing is
//! ever under way, and keeps it. Where it cannot, or where the system finds out later that nobody answers there, it
//! complains to the server, and one of the two is dead for all within three times `dead_after`, from when the path went
//! dead. A rank that computes for long and receives nothing is not taken for dead: its system answers for it.
//!
//! # Who may take part
//! Connections are not authenticated: whoever reaches the server's endpoint may join, and whoever sees the traffic may
//! read it. Use it within a machine, or in a network that is trusted.
//!
//! Or over `tls://` (feature `tls`), in [`MeshOptions::registry`] a `Tls` with a `TlsServer` that demands certificates of
//! clients and a `TlsClient` that shows one: then whom the authority has issued a certificate may join, and nobody else
//! reads anything. Every rank both listens and connects, by IP address, and so its certificate has to be for the address at
//! which it listens; or all have a name in common that is set as `TlsClient::server_name`. Unlike one of tcp, a handshake of
//! TLS needs the other application's runtime: a rank that keeps its runtime from working for longer than
//! [`MeshOptions::dead_after`] may be taken for dead by who connects to it, or has waited for it, meanwhile. Compute on
//! threads that the runtime does not need, or choose a longer time.

mod attendance;
mod attendant;
mod channel;
mod claim;
mod dial;
mod epoch;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod header;
mod hello;
mod hub;
mod inbound;
mod line;
mod link;
#[expect(clippy::module_inception, reason = "the handle is what the module is about")]
mod mesh;
mod notice;
mod operation;
mod options;
mod outbound;
mod posts;
mod receiving;
mod registrar;
mod sending;
mod server;
mod site;
mod spent;
mod stalls;
mod stats;
mod thread;
mod turns;
mod wakes;
mod watch;

pub use error::{JoinError, MeshError, OptionError, Refusal, ServeError};
pub use mesh::Mesh;
pub use options::MeshOptions;
pub use receiving::{Receiving, ReceivingBytes};
pub use sending::Sending;
pub use server::{MeshServer, ServerStats};
pub use stats::MeshStats;
