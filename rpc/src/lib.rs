//! Remote calls over ØMQ-compatible sockets, tower services at both ends.
//!
//! A [`Server`] answers calls with any tower service of [`Request`]s; [`Methods`] is one, made of functions. A
//! [`Client`] is such a service, too: timeouts, retries, limits, load balancing and whatever else tower has go around
//! either. The [`envelope`] is documented byte by byte, so that a program in any language can call and be called with
//! an ØMQ socket and JSON.
//!
//! ```
//! use flexbond_rpc::{Client, Failure, Methods, Server};
//!
//! # #[cfg(feature = "inproc")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let methods = Methods::new().add("add", async |(a, b): (i64, i64)| Ok::<_, Failure>(a + b))?;
//! let server = Server::new(methods);
//! let endpoint = server.bind("inproc://calculator").await?;
//! tokio::spawn(server.run());
//!
//! let client = Client::connect(endpoint)?;
//! let sum: i64 = client.call("add", &(1, 2)).await?;
//! assert_eq!(sum, 3);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "inproc"))]
//! # fn main() {}
//! ```
//!
//! # Layers
//! Below it is `flexbond-session`, whose DEALER and ROUTER sockets carry envelopes. Above it is the facade `flexbond`.
//!
//! # Features
//! | feature | default | what it adds |
//! | --- | --- | --- |
//! | `inproc`, `ipc`, `tcp` | yes | endpoints of these transports |
//! | `macros` | yes | [`service`](macro@service): a typed client and a server of a trait; [`typed`] |
//! | `ndarray` | no | [`Tensor`]s from and to arrays of the `ndarray` crate |
//! | `interop-tests` | no | this crate's own tests against pyzmq |

mod buffer;
pub mod client;
mod codec;
pub mod envelope;
mod error;
#[cfg(feature = "macros")]
#[doc(hidden)]
pub mod expansion;
mod failure;
pub mod layers;
mod property;
#[cfg(all(doctest, feature = "inproc", feature = "macros"))]
mod readme;
mod request;
pub mod server;
pub mod tensor;
#[cfg(feature = "macros")]
pub mod typed;

pub use buffer::Buffer;
pub use client::{Call, Client, ClientError, Values};
pub use codec::{CodecError, Encoded};
pub use error::CallError;
pub use failure::{Failure, FailureKind};
pub use request::{Item, Items, Request, Response, Wants};
pub use server::{AddError, Context, Incoming, MethodInfo, Methods, Server};
pub use tensor::{AnyTensor, Tensor};

/// Makes a typed client and a server of a trait.
///
/// The methods of the trait are what can be called. Who implements it has a server: the trait gets a method
/// `into_methods`, which gives [`Methods`]. Who calls has a client that is called like the trait with `Client` behind it,
/// with the same methods; each gives an [`Invocation`](typed::Invocation), which is awaited.
///
/// ```
/// use std::sync::Mutex;
/// use std::time::Duration;
///
/// use flexbond_rpc::{Context, Failure, Incoming, Server};
/// use futures_util::{Stream, StreamExt, stream};
///
/// /// Sums and such.
/// #[flexbond_rpc::service]
/// pub trait Calculator {
///     /// Adds two numbers.
///     #[rpc(idempotent)]
///     async fn add(&self, a: f64, b: f64) -> Result<f64, Failure>;
///     /// Counts to n.
///     async fn count(&self, n: u32) -> Result<impl Stream<Item = Result<u32, Failure>>, Failure>;
///     /// Adds many numbers.
///     async fn total(&self, start: f64, values: Incoming<f64>) -> Result<f64, Failure>;
///     /// Keeps a line.
///     #[rpc(one_way)]
///     async fn log(&self, line: String) -> Result<(), Failure>;
///     /// The last lines that were kept, and by which address they were asked for.
///     #[rpc(name = "get_log", timeout = "5s")]
///     async fn lines(
///         &self,
///         context: &Context,
///         #[serde(default)] n: Option<usize>,
///     ) -> Result<(String, Vec<String>), Failure>;
/// }
///
/// #[derive(Default)]
/// struct Mine {
///     lines: Mutex<Vec<String>>,
/// }
///
/// impl Calculator for Mine {
///     async fn add(&self, a: f64, b: f64) -> Result<f64, Failure> {
///         Ok(a + b)
///     }
///
///     async fn count(&self, n: u32) -> Result<impl Stream<Item = Result<u32, Failure>>, Failure> {
///         Ok(stream::iter((1..=n).map(Ok)))
///     }
///
///     async fn total(&self, start: f64, mut values: Incoming<f64>) -> Result<f64, Failure> {
///         let mut total = start;
///         while let Some(value) = values.next().await {
///             total += value?;
///         }
///         Ok(total)
///     }
///
///     async fn log(&self, line: String) -> Result<(), Failure> {
///         self.lines.lock().unwrap().push(line);
///         Ok(())
///     }
///
///     async fn lines(&self, context: &Context, n: Option<usize>) -> Result<(String, Vec<String>), Failure> {
///         let lines = self.lines.lock().unwrap();
///         let first = lines.len().saturating_sub(n.unwrap_or(5));
///         Ok((context.connection().peer().to_string(), lines[first..].to_vec()))
///     }
/// }
///
/// # #[cfg(feature = "inproc")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::new(Mine::default().into_methods());
/// let endpoint = server.bind("inproc://typed").await?;
/// tokio::spawn(server.run());
///
/// let calculator = CalculatorClient::connect(endpoint)?;
/// assert_eq!(calculator.add(1.0, 2.0).await?, 3.0);
/// assert_eq!(calculator.total(1.0, stream::iter([2.0, 3.0])).await?, 6.0);
/// calculator.log("hello".to_owned()).await?;
/// let (_, lines) = calculator.lines(None).timeout(Duration::from_secs(1)).await?;
/// assert_eq!(lines, ["hello"]);
/// let counted: Vec<_> = calculator.count(2).await?.collect().await;
/// assert_eq!(counted, [Ok(1), Ok(2)]);
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "inproc"))]
/// # fn main() {}
/// ```
///
/// # Methods
/// - They are `async`, take `&self` and owned arguments with names, and return a `Result`. Its error is [`Failure`] or
///   any type of which one can be made (`E: Into<Failure>`). Their futures can be sent to other threads.
/// - `Result<impl Stream<Item = Result<T, E>>, E>` answers with a stream. It may borrow from `&self`, and is read as the
///   caller reads.
/// - [`Incoming<T>`](Incoming), behind all arguments, is a stream that the caller sends; to the client's method it gives
///   any stream of `T`.
/// - The service is shared by all calls, which run at the same time: what changes is in a mutex, or an atomic. Who wants
///   to keep it besides implements the trait for `Arc<Mine>`.
/// - [`&Context`](Context) (or `Context`) tells who calls. It is no argument: clients do not have it.
/// - `#[serde(…)]` on an argument holds as on the field of a structure: `#[serde(default)]` for one that may be missing.
///   (Not with postcard, which sends all of them always.)
///
/// `#[rpc(…)]` on a method says more of it:
///
/// | | |
/// | --- | --- |
/// | `name = "…"` | its name on the wire, where it is not that of the method |
/// | `timeout = "5s"` | how long callers wait who do not say otherwise (`ms`, `s`, `min`, `h`) |
/// | `idempotent` | it may run twice without harm: retries rely on it |
/// | `one_way` | callers do not wait for an answer; it returns `Result<(), E>` |
///
/// `#[service(…)]` says more of all of them:
///
/// | | |
/// | --- | --- |
/// | `name = "calc"` | their names on the wire begin so: `calc.add` |
/// | `client = Name` | what the client is called |
/// | `crate = path` | where this crate is, if not at `::flexbond_rpc` |
///
/// # On the wire
/// The arguments are a structure whose fields are the arguments: in JSON and MessagePack `{"a": 1, "b": 2}`, or a list in
/// the same order; in postcard one behind the other, as a tuple. A field that is unknown, missing or of another type is an
/// error that names it. What a method without arguments gets is `{}`, `[]`, null or nothing at all.
///
/// `flexbond.methods` lists the methods with their signatures and the first paragraphs of their comments.
#[cfg(feature = "macros")]
pub use flexbond_rpc_macros::service;
