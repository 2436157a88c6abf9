//! The services that take a call's place up, and send it along.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use tower::{Layer, Service};
use tracing::{Instrument, Span};

use super::context::Trace;
use crate::envelope::Metadata;
use crate::request::{Items, Request, Response};

/// The layer for clients: sends the place of each call along.
///
/// The call is a child of [`Trace::current`]; without one, of what its metadata tells; without that, it starts a trace.
/// To layers inside of this one, its place is the current one. Its span ends with the answer, of a stream with its first
/// item.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientTrace;

/// The layer for servers: takes up the place that a call brings, or starts a trace.
///
/// What handlers and the streams that they answer with do, belongs to its span.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerTrace;

/// What [`ClientTrace`] and [`ServerTrace`] make of a service.
#[derive(Clone, Debug)]
pub struct Traced<S> {
    inner: S,
    side: Side,
}

/// Where a service stands between caller and handler.
#[derive(Clone, Copy, Debug)]
enum Side {
    Client,
    Server,
}

/// What a call of [`Traced`] becomes.
pub type Tracing<E> = Pin<Box<dyn Future<Output = Result<Response, E>> + Send>>;

impl<S> Layer<S> for ClientTrace {
    type Service = Traced<S>;

    fn layer(&self, inner: S) -> Traced<S> {
        let side = Side::Client;
        Traced { inner, side }
    }
}

impl<S> Layer<S> for ServerTrace {
    type Service = Traced<S>;

    fn layer(&self, inner: S) -> Traced<S> {
        let side = Side::Server;
        Traced { inner, side }
    }
}

impl Side {
    /// The place of a call, which is sent along on the client's side.
    fn place(self, metadata: &mut Metadata) -> Trace {
        let told = || Trace::from_metadata(metadata);
        let parent = match self {
            Side::Client => Trace::current().or_else(told),
            Side::Server => told(),
        };
        let place = parent.map_or_else(Trace::start, |parent| parent.child());
        if let Side::Client = self {
            place.write_to(metadata);
        }
        place
    }

    fn span(self, request: &Request, trace: &Trace) -> Span {
        let side = match self {
            Side::Client => "client",
            Side::Server => "server",
        };
        tracing::debug_span!(
            "call",
            side,
            method = request.method.as_str(),
            trace_id = %trace.trace_id(),
            span_id = %trace.span_id(),
            error = tracing::field::Empty,
        )
    }
}

impl<S> Service<Request> for Traced<S>
where
    S: Service<Request, Response = Response>,
    S::Error: fmt::Display,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Tracing<S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let side = self.side;
        let trace = side.place(&mut request.metadata);
        let span = side.span(&request, &trace);
        let answering = trace.sync_scope(|| span.in_scope(|| self.inner.call(request)));
        Box::pin(async move {
            let answering = trace.scope(answering).instrument(span.clone());
            let mut answered = answering.await;
            record(&span, answered.as_ref().err());
            if let (Side::Server, Ok(response)) = (side, &mut answered) {
                response.items = response.items.take().map(|items| within(trace, span, items));
            }
            answered
        })
    }
}

/// A stream whose items are made in the place of their call.
fn within(trace: Trace, span: Span, mut items: Items) -> Items {
    Items::new(futures_util::stream::poll_fn(move |cx| {
        let next = trace.sync_scope(|| span.in_scope(|| Pin::new(&mut items).poll_next(cx)));
        if let Poll::Ready(Some(Err(error))) = &next {
            record(&span, Some(error));
        }
        next
    }))
}

fn record<E: fmt::Display>(span: &Span, error: Option<&E>) {
    if let Some(error) = error {
        span.record("error", tracing::field::display(error));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tower::util::BoxService;

    use super::super::super::scripted::request;
    use super::*;

    /// Where a service stands: as its call begins, while it goes on, and as its metadata tells.
    async fn places<L>(layer: L) -> [Option<Trace>; 3]
    where
        L: Layer<BoxService<Request, Response, String>>,
        L::Service: Service<Request, Response = Response, Error = String>,
    {
        let seen = Arc::new(Mutex::new([None, None, None]));
        let told = Arc::clone(&seen);
        let service = tower::service_fn(move |request: Request| {
            let seen = Arc::clone(&told);
            let begun = Trace::current();
            async move {
                tokio::task::yield_now().await;
                *seen.lock() = [begun, Trace::current(), Trace::from_metadata(&request.metadata)];
                Ok::<_, String>(Response::default())
            }
        });
        let mut service = layer.layer(BoxService::new(service));
        service.call(request(false, None)).await.unwrap();
        std::mem::take(&mut *seen.lock())
    }

    #[tokio::test]
    async fn inside_of_either_layer_the_place_of_the_call_is_the_current_one() {
        let outside = Trace::start();
        let [begun, then, sent] = outside.scope(places(ClientTrace)).await;
        let place = begun.expect("a place");
        assert_eq!(place.trace_id(), outside.trace_id());
        assert_ne!(place.span_id(), outside.span_id());
        // And it is sent along.
        assert_eq!([then, sent], [Some(place.clone()), Some(place)]);

        // What a server is told nothing of is a trace of its own.
        let [begun, then, told] = outside.scope(places(ServerTrace)).await;
        let place = begun.expect("a place");
        assert_ne!(place.trace_id(), outside.trace_id());
        assert_eq!([then, told], [Some(place), None]);
        assert_eq!(Trace::current(), None);
    }
}
