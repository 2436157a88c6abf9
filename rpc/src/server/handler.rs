//! Functions as methods: arguments out of the request, the answer into a response.

use std::future::Future;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;

use futures_core::Stream;
use futures_util::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::context::Context;
use crate::codec::CodecError;
use crate::envelope::Codec;
use crate::error::CallError;
use crate::failure::{Failure, FailureKind};
use crate::request::{Item, Items, Request, Response, Wants};

/// What a call of a method becomes.
pub type Answering = Pin<Box<dyn Future<Output = Result<Response, Failure>> + Send>>;

/// A function that can be a method: `async fn(Args) -> Result<Answer, E>`, or `async fn(Context, Args) -> …` to know
/// who calls, where `E` is [`Failure`] or can become one. See [`Methods::add`](super::Methods::add).
///
/// `M` only tells the two forms apart.
pub trait Handler<Args, Answer, M>: Send + Sync + 'static {
    /// Calls the function.
    fn call(
        &self,
        context: Context,
        arguments: Args,
    ) -> impl Future<Output = Result<Answer, Failure>> + Send + 'static;
}

/// Marks functions of the arguments alone.
#[derive(Debug)]
pub struct OfArguments<E>(PhantomData<E>);

/// Marks functions of context and arguments.
#[derive(Debug)]
pub struct OfContext<E>(PhantomData<E>);

impl<F, Fut, Args, Answer, E> Handler<Args, Answer, OfArguments<E>> for F
where
    F: Fn(Args) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Answer, E>> + Send + 'static,
    E: Into<Failure>,
{
    fn call(
        &self,
        _context: Context,
        arguments: Args,
    ) -> impl Future<Output = Result<Answer, Failure>> + Send + 'static {
        let answering = self(arguments);
        async move { answering.await.map_err(Into::into) }
    }
}

impl<F, Fut, Args, Answer, E> Handler<Args, Answer, OfContext<E>> for F
where
    F: Fn(Context, Args) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Answer, E>> + Send + 'static,
    E: Into<Failure>,
{
    fn call(
        &self,
        context: Context,
        arguments: Args,
    ) -> impl Future<Output = Result<Answer, Failure>> + Send + 'static {
        let answering = self(context, arguments);
        async move { answering.await.map_err(Into::into) }
    }
}

/// The values of a stream of arguments, in the order in which the caller sent them; after an error nothing follows.
#[derive(Debug)]
pub struct Incoming<T> {
    items: Option<Items>,
    values: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Incoming<T> {
    fn new(items: Option<Items>) -> Self {
        Incoming {
            items,
            values: PhantomData,
        }
    }

    /// The next value; none at the end, once the caller has sent all.
    ///
    /// # Errors
    /// [`Failure`] when an item is not a `T`, or the stream broke off: [`Cancelled`](FailureKind::Cancelled) when the
    /// call or its connection ended first, so that what has come is not taken for all of it.
    ///
    /// # Cancel safety
    /// No item is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<T, Failure>> {
        let items = self.items.as_mut()?;
        let item = items.next().await?;
        let value = item
            .map_err(Failure::from)
            .and_then(|item| item.value().map_err(|error| bad_arguments("item", &error)));
        if value.is_err() {
            self.items = None;
        }
        Some(value)
    }
}

/// What a method is made of: what it does with a request.
pub(super) type Action = Box<dyn Fn(Request) -> Answering + Send + Sync>;

pub(super) fn unary<Args, Answer, M>(handler: impl Handler<Args, Answer, M>) -> Action
where
    Args: DeserializeOwned,
    Answer: Serialize,
{
    action(ONE, move |codec, context, arguments, _| {
        let answering = handler.call(context, arguments);
        Box::pin(async move { value(codec, &answering.await.map_err(Failure::begun)?) })
    })
}

pub(super) fn streaming<Args, S, T, E, M>(handler: impl Handler<Args, S, M>) -> Action
where
    Args: DeserializeOwned,
    S: Stream<Item = Result<T, E>> + Send + 'static,
    T: Serialize,
    E: Into<Failure>,
{
    action(STREAM, move |codec, context, arguments, _| {
        let answering = handler.call(context, arguments);
        Box::pin(async move {
            let answer = answering.await.map_err(Failure::begun)?;
            Ok(Response::from_items(codec, items(codec, answer)))
        })
    })
}

pub(super) fn uploading<Args, T, Answer, M>(handler: impl Handler<(Args, Incoming<T>), Answer, M>) -> Action
where
    Args: DeserializeOwned,
    T: DeserializeOwned,
    Answer: Serialize,
{
    action(ONE, move |codec, context, arguments, sent| {
        let answering = handler.call(context, (arguments, Incoming::new(sent)));
        Box::pin(async move { value(codec, &answering.await.map_err(Failure::begun)?) })
    })
}

pub(super) fn conversing<Args, T, S, U, E, M>(handler: impl Handler<(Args, Incoming<T>), S, M>) -> Action
where
    Args: DeserializeOwned,
    T: DeserializeOwned,
    S: Stream<Item = Result<U, E>> + Send + 'static,
    U: Serialize,
    E: Into<Failure>,
{
    action(STREAM, move |codec, context, arguments, sent| {
        let answering = handler.call(context, (arguments, Incoming::new(sent)));
        Box::pin(async move {
            let answer = answering.await.map_err(Failure::begun)?;
            Ok(Response::from_items(codec, items(codec, answer)))
        })
    })
}

/// A function of the request as it came.
pub(super) fn raw<F, Fut>(handler: F) -> Action
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Response, Failure>> + Send + 'static,
{
    Box::new(move |request| {
        let answering = handler(request);
        Box::pin(async move { answering.await.map_err(Failure::begun) })
    })
}

/// Methods with one answer, and those that stream it.
const ONE: bool = false;
const STREAM: bool = true;

/// Does it. A panic before there is a future is one of the future's: a layer such as tower's buffer, whose worker calls
/// for all, is not to die of it.
pub(super) fn act(action: &Action, request: Request) -> Answering {
    match std::panic::catch_unwind(AssertUnwindSafe(|| action(request))) {
        Ok(answering) => answering,
        Err(panic) => Box::pin(async move { std::panic::resume_unwind(panic) }),
    }
}

/// Takes a request apart for `call`, or refuses it. What is refused here has not run; what `call` fails with has.
fn action<Args: DeserializeOwned>(
    streams: bool,
    call: impl Fn(Codec, Context, Args, Option<Items>) -> Answering + Send + Sync + 'static,
) -> Action {
    Box::new(move |request| {
        let codec = request.codec;
        if streams && request.wants == Wants::Answer {
            let message = format!("{} streams its answer: ask for a stream", request.method);
            let failure = Failure::new(FailureKind::BadArguments, message);
            return Box::pin(std::future::ready(Err(failure)));
        }
        match taken(request) {
            Ok((context, arguments, items)) => call(codec, context, arguments, items),
            Err(failure) => Box::pin(std::future::ready(Err(failure))),
        }
    })
}

/// Context, arguments and items of a request.
fn taken<Args: DeserializeOwned>(request: Request) -> Result<(Context, Args, Option<Items>), Failure> {
    let Request {
        codec,
        body,
        buffers,
        context,
        items,
        method,
        ..
    } = request;
    let Some(context) = context else {
        return Err(Failure::new(
            FailureKind::Internal,
            "a request without its context",
        ));
    };
    let arguments = match codec.decode(&body, buffers) {
        Ok(arguments) => arguments,
        Err(error) => {
            let none = none(codec, &body).unwrap_or(Err(error));
            none.map_err(|error| bad_arguments(method.as_str(), &error))?
        }
    };
    Ok((context, arguments, items))
}

/// Arguments where none were given: nothing, null, and an empty map or list all say so, and what is wanted may be any of
/// these, or a structure whose fields all have defaults. If it is none of these, the error names what is missing.
#[cold]
fn none<Args: DeserializeOwned>(codec: Codec, body: &[u8]) -> Option<Result<Args, CodecError>> {
    let ways: [&[u8]; 3] = match codec {
        Codec::Json => [b"null", b"[]", b"{}"],
        Codec::MessagePack => [&[0xc0], &[0x90], &[0x80]],
        _ => return None,
    };
    let body = body.trim_ascii();
    if !body.is_empty() && !ways.contains(&body) {
        return None;
    }
    ways.iter()
        .map(|way| codec.decode(way, Vec::new()))
        .reduce(Result::or)
}

fn bad_arguments(what: &str, error: &CodecError) -> Failure {
    // Codecs quote what they could not read, however long it is.
    const MOST: usize = 1000;
    let mut message = format!("{what}: {error}");
    if let Some((end, _)) = message.char_indices().nth(MOST) {
        message.truncate(end);
        message.push('…');
    }
    Failure::new(FailureKind::BadArguments, message)
}

pub(super) fn value<T: Serialize + ?Sized>(codec: Codec, value: &T) -> Result<Response, Failure> {
    Response::with_value(codec, value).map_err(|error| Failure::new(FailureKind::Internal, error.to_string()))
}

fn items<T: Serialize, E: Into<Failure>>(
    codec: Codec,
    stream: impl Stream<Item = Result<T, E>> + Send + 'static,
) -> Items {
    Items::new(stream.map(move |item| {
        let item = item.map_err(|error| CallError::Failure(error.into()))?;
        Item::with_value(codec, &item)
            .map_err(|error| CallError::Failure(Failure::new(FailureKind::Internal, error.to_string())))
    }))
}
