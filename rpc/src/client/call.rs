//! Calls with values: arguments written, answers read.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tower::{BoxError, Service};

use super::client::Client;
use super::turn::Turn;
use crate::envelope::{Codec, Metadata, MetadataError, Method, MethodError};
use crate::error::CallError;
use crate::request::{Item, Items, Request, Response, Wants};

/// Items of a streamed answer that may come before the caller has read any, where nobody says otherwise.
pub(crate) const DEFAULT_WINDOW: u32 = 64;

/// A call that is being put together: of one method, by any service of [`Request`]s.
#[derive(Clone, Debug)]
#[must_use = "a call is made by one of its async methods"]
pub struct Call<S> {
    service: S,
    /// How long the service may take to be ready, where no timeout is named.
    patience: Option<Duration>,
    method: Result<Method, MethodError>,
    codec: Codec,
    timeout: Option<Duration>,
    metadata: Metadata,
    idempotent: bool,
    window: u32,
}

impl<S> Call<S> {
    /// A call by `service`, which may be a [`Client`] or layers around it: in postcard, with a window of 64 items.
    /// [`Client::method`] with [`by`](Self::by) has the client's codec and window instead.
    pub fn new(service: S, method: impl AsRef<str>) -> Self {
        Call {
            service,
            patience: None,
            // What is no name is said when the call is made.
            method: Method::new(method.as_ref()),
            codec: Codec::Postcard,
            timeout: None,
            metadata: Metadata::new(),
            idempotent: false,
            window: DEFAULT_WINDOW,
        }
    }

    /// The same with another codec. Its answer comes in the same.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// The same call made by another service: layers around the client, for instance.
    ///
    /// ```
    /// # #[cfg(feature = "inproc")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use flexbond_rpc::layers::Retry;
    /// use flexbond_rpc::{Client, Failure, Methods, Server};
    /// use tower::ServiceBuilder;
    ///
    /// let methods = Methods::new().add("half", async |x: f64| Ok::<_, Failure>(x / 2.0))?;
    /// let server = Server::new(methods);
    /// let endpoint = server.bind("inproc://halves").await?;
    /// tokio::spawn(server.run());
    ///
    /// let client = Client::connect(endpoint)?;
    /// let retrying = ServiceBuilder::new().layer(Retry::new()).service(client.clone());
    /// let half: f64 = client.method("half").by(retrying).idempotent().value(&3.0).await?;
    /// assert_eq!(half, 1.5);
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "inproc"))]
    /// # fn main() {}
    /// ```
    pub fn by<T>(self, service: T) -> Call<T> {
        Call {
            service,
            patience: self.patience,
            method: self.method,
            codec: self.codec,
            timeout: self.timeout,
            metadata: self.metadata,
            idempotent: self.idempotent,
            window: self.window,
        }
    }

    /// The same with so long to wait, from call to answer; of a stream, to its end. What is over before it begins is
    /// not sent.
    ///
    /// A call that names no timeout has that of [`Options::timeout`](super::Options::timeout): for the whole call or,
    /// of a stream or with streamed arguments, for each sign of life that the server owes.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The same with an entry of metadata.
    ///
    /// # Errors
    /// [`MetadataError`] when the name is not one, or there is too much.
    pub fn metadata(mut self, name: &str, value: impl Into<Bytes>) -> Result<Self, MetadataError> {
        self.metadata.insert(name, value)?;
        Ok(self)
    }

    /// The same, and says that the call may run twice without harm: retries rely on it.
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// The same with room for so many items of a streamed answer before the first is read.
    pub fn window(mut self, items: u32) -> Self {
        self.window = items;
        self
    }

    fn request<A: Serialize + ?Sized>(&self, arguments: &A, wants: Wants) -> Result<Request, CallError> {
        let method = self.method.clone()?;
        let arguments = self.codec.encode(arguments).map_err(CallError::Arguments)?;
        let mut request = Request::new(method, self.codec, arguments);
        request.timeout = self.timeout;
        request.metadata = self.metadata.clone();
        request.idempotent = self.idempotent;
        request.wants = wants;
        Ok(request)
    }
}

impl<S> Call<S>
where
    S: Service<Request, Response = Response>,
    S::Error: Into<BoxError>,
{
    /// Calls with these arguments, and reads the answer.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::may_have_run`] says whether a retry is sound.
    ///
    /// # Cancel safety
    /// When the future is dropped, the call is cancelled, here and on the server.
    pub async fn value<A, R>(self, arguments: &A) -> Result<R, CallError>
    where
        A: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        let request = self.request(arguments, Wants::Answer)?;
        make(self.service, self.patience, request).await?.value()
    }

    /// Calls with these arguments, without waiting for any answer. Done when the call was handed to the connection:
    /// whether it ran is not known.
    ///
    /// # Errors
    /// [`CallError`]; the call was not sent.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing was sent.
    pub async fn one_way<A: Serialize + ?Sized>(self, arguments: &A) -> Result<(), CallError> {
        let request = self.request(arguments, Wants::Nothing)?;
        make(self.service, self.patience, request).await.map(drop)
    }

    /// Calls with these arguments, and reads the answer as a stream; ready when its first item or its end is there.
    /// Dropping the stream ends it on the server, too.
    ///
    /// # Errors
    /// [`CallError`]; what fails after the first item is an item of the stream.
    ///
    /// # Cancel safety
    /// When the future is dropped, the call is cancelled, here and on the server.
    pub async fn stream<A, T>(self, arguments: &A) -> Result<Values<T>, CallError>
    where
        A: Serialize + ?Sized,
        T: DeserializeOwned,
    {
        let request = self.request(arguments, Wants::Stream(self.window))?;
        Ok(Values::new(make(self.service, self.patience, request).await?))
    }

    /// Calls with these arguments and a stream of values behind them, which is read as the server takes it.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::may_have_run`] says whether a retry is sound.
    ///
    /// # Cancel safety
    /// When the future is dropped, the call is cancelled, here and on the server.
    pub async fn upload<A, T, R>(
        self,
        arguments: &A,
        values: impl Stream<Item = T> + Send + 'static,
    ) -> Result<R, CallError>
    where
        A: Serialize + ?Sized,
        T: Serialize,
        R: DeserializeOwned,
    {
        let mut request = self.request(arguments, Wants::Answer)?;
        request.items = Some(written(self.codec, values));
        make(self.service, self.patience, request).await?.value()
    }

    /// Calls with these arguments and a stream of values behind them, and reads the answer as a stream.
    ///
    /// # Errors
    /// [`CallError`]; what fails after the first item is an item of the stream.
    ///
    /// # Cancel safety
    /// When the future is dropped, the call is cancelled, here and on the server.
    pub async fn converse<A, T, U>(
        self,
        arguments: &A,
        values: impl Stream<Item = T> + Send + 'static,
    ) -> Result<Values<U>, CallError>
    where
        A: Serialize + ?Sized,
        T: Serialize,
        U: DeserializeOwned,
    {
        let mut request = self.request(arguments, Wants::Stream(self.window))?;
        request.items = Some(written(self.codec, values));
        Ok(Values::new(make(self.service, self.patience, request).await?))
    }
}

/// Calls `service` once it is ready. How long that may take is up to the request or, where it does not say, `patience`.
async fn make<S>(
    mut service: S,
    patience: Option<Duration>,
    mut request: Request,
) -> Result<Response, CallError>
where
    S: Service<Request, Response = Response>,
    S::Error: Into<BoxError>,
{
    let boxed = |error: S::Error| CallError::from_boxed(error.into());
    let mut turn = Turn::new(patience);
    poll_fn(|cx| {
        let room = service.poll_ready(cx).map_err(boxed);
        turn.poll(cx, &mut request, room)
    })
    .await?;
    let answer = service.call(request).await;
    answer.map_err(|error| turn.error(boxed(error)))
}

pub(crate) fn written<T: Serialize>(codec: Codec, values: impl Stream<Item = T> + Send + 'static) -> Items {
    Items::new(values.map(move |value| Item::with_value(codec, &value).map_err(CallError::Arguments)))
}

/// The values of a streamed answer, in order; after an error nothing follows. Dropping it ends the stream on the
/// server, too.
pub struct Values<T> {
    items: Option<Items>,
    values: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Values<T> {
    /// One answer in place of a stream, which a layer may give, is a stream of one.
    pub(crate) fn new(response: Response) -> Self {
        let items = response.items.unwrap_or_else(|| {
            let item = Item {
                codec: response.codec,
                body: response.body,
                buffers: response.buffers,
            };
            Items::new(stream::iter([Ok(item)]))
        });
        Values {
            items: Some(items),
            values: PhantomData,
        }
    }

    /// The next value; none at the end.
    ///
    /// # Cancel safety
    /// No value is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<T, CallError>> {
        StreamExt::next(self).await
    }
}

impl<T: DeserializeOwned> Stream for Values<T> {
    type Item = Result<T, CallError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(items) = &mut self.items else {
            return Poll::Ready(None);
        };
        let Some(item) = ready!(items.poll_next_unpin(cx)) else {
            self.items = None;
            return Poll::Ready(None);
        };
        let value = item.and_then(|item| item.value().map_err(CallError::Answer));
        if value.is_err() {
            self.items = None;
        }
        Poll::Ready(Some(value))
    }
}

impl<T> fmt::Debug for Values<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Values")
    }
}

impl Client {
    /// A call of `method`, to be put together: with the client's codec, and its timeout unless another is named.
    pub fn method(&self, method: impl AsRef<str>) -> Call<Client> {
        let options = self.options();
        let mut call = Call::new(self.clone(), method)
            .codec(options.codec)
            .window(options.stream_window);
        call.patience = options.timeout;
        call
    }

    /// Calls `method` with these arguments, and reads the answer. For more say in it see [`method`](Self::method).
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::may_have_run`] says whether a retry is sound.
    ///
    /// # Cancel safety
    /// When the future is dropped, the call is cancelled, here and on the server.
    pub async fn call<A, R>(&self, method: &str, arguments: &A) -> Result<R, CallError>
    where
        A: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        // The usual case apart: its future holds no request and no client, and is a fraction of the other's size.
        let begun = self.begin_if_room(|| {
            let codec = self.options().codec;
            let arguments = codec.encode(arguments).map_err(CallError::Arguments)?;
            Ok(Request::new(Method::new(method)?, codec, arguments))
        });
        match begun {
            Some(calling) => calling?.await?.value(),
            None => Box::pin(self.method(method).value(arguments)).await,
        }
    }

    /// Makes these calls at once, and gives their answers in the same order. All are sent before the first answer is
    /// waited for, and one that fails does not concern the others.
    ///
    /// # Cancel safety
    /// When the future is dropped, the calls are cancelled, here and on the server.
    pub async fn batch(
        &self,
        requests: impl IntoIterator<Item = Request>,
    ) -> Vec<Result<Response, CallError>> {
        let calls = requests.into_iter().map(|request| self.request(request));
        futures_util::future::join_all(calls).await
    }
}
