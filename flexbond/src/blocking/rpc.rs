//! Remote calls that simply wait.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::CallError;
use super::runtime::{enter, wait};
use crate::rpc::client::Options;
use crate::rpc::envelope::Codec;
use crate::rpc::{self, ClientError, Values};
use crate::session::socket::IntoEndpoint;
use crate::transport::Endpoint;

/// Calls a function on another machine: connects, calls, waits for the answer at most 30 seconds, and disconnects. The
/// arguments travel as JSON, which a server in any language reads: a structure or a map has them by name, a tuple in
/// order. Large arrays in them are [`rpc::Tensor`]s, whose memory is not copied.
///
/// For more than one call, or with another timeout or codec, there is [`Client`].
///
/// ```no_run
/// use std::collections::BTreeMap;
///
/// use flexbond::blocking::call_remote_func;
///
/// let args = BTreeMap::from([("a", 1), ("b", 2)]);
/// let sum: i64 = call_remote_func("localhost", 12345, "add", &args)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`rpc::CallError`] within [`CallError`]; [`rpc::CallError::may_have_run`] says whether a retry is sound. A host that
/// cannot be connected to is [`rpc::CallError::Unconnected`].
pub fn call_remote_func<A, R>(
    host: &str,
    port: u16,
    func: &str,
    args: &A,
) -> Result<R, CallError<rpc::CallError>>
where
    A: Serialize + ?Sized,
    R: DeserializeOwned,
{
    // An address of version 6 has colons of its own.
    let endpoint = match host.contains(':') && !host.starts_with('[') {
        true => format!("tcp://[{host}]:{port}"),
        false => format!("tcp://{host}:{port}"),
    };
    let client = Client::with_options(endpoint.as_str(), Options::new().codec(Codec::Json));
    let client = client.map_err(|error| match error {
        CallError::AsyncContext => CallError::AsyncContext,
        CallError::Runtime(error) => CallError::Runtime(error),
        CallError::Socket(error) => CallError::Socket(rpc::CallError::Unconnected {
            endpoint: endpoint.clone(),
            reason: error.to_string(),
        }),
    })?;
    client.call(func, args)
}

/// A client whose calls wait; see [`rpc::Client`] for its rules. Its connection is made once and kept, and made again
/// when it is lost.
///
/// A clone uses the same connection, for another thread.
#[derive(Clone)]
pub struct Client {
    inner: rpc::Client,
}

impl Client {
    /// A client of the server at `endpoint`, with default options: calls in postcard, which needs a server in Rust, that
    /// wait for at most 30 seconds. The connection is made in the background. Never waits.
    ///
    /// # Errors
    /// [`ClientError`] within [`CallError`], for what can never be connected to.
    pub fn connect(endpoint: impl IntoEndpoint) -> Result<Self, CallError<ClientError>> {
        Self::with_options(endpoint, Options::default())
    }

    /// The same with the given options.
    ///
    /// # Errors
    /// [`ClientError`] within [`CallError`], for what can never be connected to, or an option that is out of bounds.
    pub fn with_options(
        endpoint: impl IntoEndpoint,
        options: Options,
    ) -> Result<Self, CallError<ClientError>> {
        let _background = enter()?;
        Ok(Client {
            inner: rpc::Client::with_options(endpoint, options)?,
        })
    }

    /// The server's endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        self.inner.endpoint()
    }

    /// The same client for asynchronous code. Its connection stays on the background thread.
    #[must_use]
    pub fn as_async(&self) -> &rpc::Client {
        &self.inner
    }

    /// Calls `method` with these arguments, and waits for the answer, at most [`Options::timeout`].
    ///
    /// # Errors
    /// [`rpc::CallError`] within [`CallError`]; [`rpc::CallError::may_have_run`] says whether a retry is sound.
    pub fn call<A, R>(&self, method: &str, args: &A) -> Result<R, CallError<rpc::CallError>>
    where
        A: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        Ok(wait(self.inner.call(method, args))??)
    }

    /// Calls `method` with these arguments, and waits until it was handed to the connection: whether it ran is not known.
    ///
    /// # Errors
    /// [`rpc::CallError`] within [`CallError`]; the call was not sent.
    pub fn one_way<A>(&self, method: &str, args: &A) -> Result<(), CallError<rpc::CallError>>
    where
        A: Serialize + ?Sized,
    {
        Ok(wait(self.inner.method(method).one_way(args))??)
    }

    /// Calls `method` with these arguments, and gives the items of its answer one by one. While nobody asks for the next
    /// one the server sends no more than a few ahead; dropping the iterator ends the stream there, too.
    ///
    /// # Errors
    /// [`rpc::CallError`] within [`CallError`]; what fails after the first item is an item.
    pub fn stream<A, T>(&self, method: &str, args: &A) -> Result<Items<T>, CallError<rpc::CallError>>
    where
        A: Serialize + ?Sized,
        T: DeserializeOwned,
    {
        let values = wait(self.inner.method(method).stream(args))??;
        Ok(Items { values })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner, f)
    }
}

/// The items of a streamed answer, in order; after an error nothing follows.
pub struct Items<T> {
    values: Values<T>,
}

impl<T: DeserializeOwned> Iterator for Items<T> {
    type Item = Result<T, CallError<rpc::CallError>>;

    /// Waits for the next item, at most [`Options::timeout`].
    fn next(&mut self) -> Option<Self::Item> {
        match wait(self.values.next()) {
            Ok(value) => Some(value?.map_err(CallError::Socket)),
            Err(error) => Some(Err(error)),
        }
    }
}

impl<T> fmt::Debug for Items<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Items")
    }
}
