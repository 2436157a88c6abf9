//! Layers around servers and clients: traces, metrics, and those of tower that know nothing of this crate.
#![cfg(all(feature = "inproc", feature = "tcp"))]

mod harness;
#[path = "harness/serving.rs"]
mod serving;
#[path = "../examples/tower_layers.rs"]
mod tower_layers;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use flexbond_rpc::envelope::{Codec, Metadata};
use flexbond_rpc::layers::{ClientTrace, Metrics, ServerTrace, Trace};
use flexbond_rpc::server::Options;
use flexbond_rpc::{Call, CallError, Failure, FailureKind, Methods, Request};
use futures_util::{StreamExt, stream};
use harness::{Seen, until, within};
use parking_lot::Mutex;
use serving::{Serving, failure_kind, request};
use tower::{ServiceBuilder, ServiceExt};

/// Where the code that asks stands: its trace's id, and its own.
fn place() -> Place {
    Trace::current().map(|trace| (trace.trace_id(), trace.span_id()))
}

type Place = Option<(String, String)>;

/// A method that says where it stands, one that streams it, and one that asks another server.
fn traced(behind: Option<flexbond_rpc::Client>) -> Methods {
    Methods::new()
        .add("place", async |()| Ok::<_, Failure>(place()))
        .and_then(|methods| {
            methods.add_stream("places", async |n: u32| {
                Ok::<_, Failure>(stream::iter(0..n).map(|_| Ok::<_, Failure>(place())))
            })
        })
        .and_then(|methods| {
            methods.add("state", async |()| {
                let trace = Trace::current();
                Ok::<_, Failure>(trace.and_then(|trace| trace.state().map(str::to_owned)))
            })
        })
        .and_then(|methods| {
            methods.add("nested", move |()| {
                let behind = behind.clone();
                async move {
                    let client = behind.expect("there is another server");
                    let traced = ServiceBuilder::new().layer(ClientTrace).service(client);
                    let inner: Option<(String, String)> = Call::new(traced, "place").value(&()).await?;
                    Ok::<_, Failure>((place(), inner))
                }
            })
        })
        .unwrap()
}

async fn a_trace_goes_from_caller_to_handler_and_on_to_the_next_server() {
    let follow = || ServiceBuilder::new().layer(ServerTrace);
    let inner = Serving::of(follow().service(traced(None))).await;
    let outer = Serving::of(follow().service(traced(Some(inner.client())))).await;
    let client = outer.client();
    let carry = || ServiceBuilder::new().layer(ClientTrace).service(client.clone());

    let trace = Trace::start();
    let call = Call::new(carry(), "nested").value::<_, (Place, Place)>(&());
    let (outer_place, inner_place) = within("it", trace.scope(call)).await.unwrap();
    let (outer_place, inner_place) = (outer_place.unwrap(), inner_place.unwrap());
    assert_eq!(outer_place.0, trace.trace_id());
    assert_eq!(inner_place.0, trace.trace_id());
    let spans = [trace.span_id(), outer_place.1, inner_place.1];
    assert!(
        spans[0] != spans[1] && spans[1] != spans[2] && spans[0] != spans[2],
        "{spans:?}"
    );

    // Items of a stream are made in the place of their call.
    let call = Call::new(carry(), "places").stream::<_, Place>(&3_u32);
    let mut places = within("it", trace.scope(call)).await.unwrap();
    let mut seen = Vec::new();
    while let Some(place) = within("a place", places.next()).await {
        seen.push(place.unwrap().unwrap());
    }
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|place| *place == seen[0]), "{seen:?}");
    assert_eq!(seen[0].0, trace.trace_id());

    // Without a place of its own a call starts a trace, each another; without any layer there is none at the caller.
    let one: Place = within("it", Call::new(carry(), "place").value(&()))
        .await
        .unwrap();
    let other: Place = within("it", Call::new(carry(), "place").value(&()))
        .await
        .unwrap();
    assert_ne!(one.unwrap().0, other.unwrap().0);
    let own: Place = within("it", client.call("place", &())).await.unwrap();
    assert!(own.is_some(), "the server starts one");
    assert_eq!(Trace::current(), None);
}

async fn a_trace_of_another_language_is_followed_and_nonsense_is_not() {
    let service = ServiceBuilder::new().layer(ServerTrace).service(traced(None));
    let server = Serving::of(service).await;
    let raw = server.raw();
    let id = "4bf92f3577b34da6a3ce929d0e0e4736";
    for (parent, state, follows) in [
        (format!("00-{id}-00f067aa0ba902b7-01"), "a=1,b=2", true),
        (format!("01-{id}-00f067aa0ba902b7-01-more"), "a=1", true),
        (format!("00-{id}-0000000000000000-01"), "a=1", false),
        ("\u{fc}".to_owned(), "a=1", false),
    ] {
        let mut metadata = Metadata::new();
        metadata.insert("traceparent", parent).unwrap();
        metadata.insert("tracestate", state).unwrap();
        raw.send(&request(1, "place", "null").with_metadata(metadata.clone()))
            .await;
        let place: Place = Codec::Json.decode(&raw.recv().await.body, Vec::new()).unwrap();
        assert_eq!(place.unwrap().0 == id, follows);
        raw.send(&request(2, "state", "null").with_metadata(metadata))
            .await;
        let known: Option<String> = Codec::Json.decode(&raw.recv().await.body, Vec::new()).unwrap();
        assert_eq!(known.as_deref(), follows.then_some(state));
    }
}

/// A subscriber that only remembers what the spans were made with and told later.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Spans {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("flexbond_rpc::layers")
    }

    fn new_span(&self, attributes: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        let mut text = String::new();
        attributes.record(&mut Fields(&mut text));
        self.0.lock().push(text);
        tracing::span::Id::from_u64(self.0.lock().len() as u64)
    }

    fn record(&self, span: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        let index = span.into_u64() as usize - 1;
        values.record(&mut Fields(&mut self.0.lock()[index]));
    }

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

struct Fields<'a>(&'a mut String);

impl tracing::field::Visit for Fields<'_> {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        *self.0 += &format!("{}={value:?} ", field.name());
    }
}

#[tokio::test]
async fn spans_say_what_was_called_and_how_it_failed() {
    let spans = Spans::default();
    let _guard = tracing::subscriber::set_default(spans.clone());
    let seen: Arc<Seen> = Arc::default();
    let service = ServiceBuilder::new()
        .layer(ServerTrace)
        .service(harness::methods(&seen));
    let server = Serving::of(service).await;
    let client = server.client();
    let traced = ServiceBuilder::new().layer(ClientTrace).service(client.clone());
    let trace = Trace::start();
    let call = Call::new(traced, "fail").value::<_, ()>(&(7, "no such star"));
    within("it", trace.scope(call)).await.unwrap_err();
    let both = |spans: &Spans| spans.0.lock().clone();
    until("both", || both(&spans).len() == 2).await;
    for (span, side) in both(&spans).iter().zip(["client", "server"]) {
        for part in [
            format!("side=\"{side}\""),
            "method=\"fail\"".to_owned(),
            format!("trace_id={}", trace.trace_id()),
            "error=no such star (code 7)".to_owned(),
        ] {
            assert!(span.contains(&part), "{part} is missing in {span}");
        }
    }
}

async fn metrics_count_every_way_in_which_calls_end() {
    let seen: Arc<Seen> = Arc::default();
    let (at_server, at_client) = (Metrics::new(), Metrics::new());
    let service = ServiceBuilder::new()
        .layer(at_server.clone())
        .service(harness::methods(&seen));
    let server = Serving::start(service, "tcp://127.0.0.1:0", Options::new()).await;
    let client = server.client();
    let metered = || {
        ServiceBuilder::new()
            .layer(at_client.clone())
            .service(client.clone())
    };
    let call = |method: &str| Call::new(metered(), method);
    for _ in 0..3 {
        within("it", call("echo").value::<_, String>(&"x")).await.unwrap();
    }
    within("it", call("fail").value::<_, ()>(&(1, "x")))
        .await
        .unwrap_err();
    within("it", call("echo").value::<_, String>(&5_u8))
        .await
        .unwrap_err();
    within("it", call("nowhere").value::<_, String>(&"x"))
        .await
        .unwrap_err();
    let hanging = call("hang");
    let hanging = tokio::spawn(async move { hanging.value::<_, ()>(&()).await });
    until("its begin", || seen.begun.load(Ordering::SeqCst) == 1).await;
    hanging.abort();
    // Its thread may be another.
    let _ = within("its end", hanging).await;
    // A stream lasts until its end.
    let mut numbers = within("it", call("count").stream::<_, u32>(&3_u32))
        .await
        .unwrap();
    assert_eq!(at_client.snapshot().in_flight, 1);
    while let Some(number) = within("it", numbers.next()).await {
        number.unwrap();
    }
    let mut broken = within("it", call("break").stream::<_, u32>(&1_u32))
        .await
        .unwrap();
    while let Some(number) = within("it", broken.next()).await {
        if number.is_err() {
            break;
        }
    }
    let dropped = within("it", call("count").stream::<_, u32>(&u32::MAX))
        .await
        .unwrap();
    drop(dropped);
    for metrics in [&at_client, &at_server] {
        until("all ends", || {
            let snapshot = metrics.snapshot();
            let total: u64 = snapshot
                .methods
                .iter()
                .map(flexbond_rpc::layers::metrics::MethodMetrics::total)
                .sum();
            (snapshot.in_flight, total) == (0, 10)
        })
        .await;
        let snapshot = metrics.snapshot();
        let count = |method: &str, outcome: &str| {
            let method = snapshot.methods.iter().find(|known| known.name == method);
            method.map_or(0, |method| method.count(outcome))
        };
        assert_eq!(count("echo", "ok"), 3);
        assert_eq!(count("fail", "failed"), 1);
        assert_eq!(count("echo", "bad_arguments"), 1);
        assert_eq!(count("", "unknown_method"), 1);
        assert_eq!(count("count", "ok"), 1);
        assert_eq!(count("count", "dropped"), 1);
        assert_eq!(count("break", "failed"), 1);
        // Nothing that came of it proves that there is such a method.
        assert_eq!(count("", "dropped"), 1);
        let text = metrics.prometheus("rpc");
        assert!(
            text.contains("rpc_call_duration_seconds_count{method=\"echo\"} 4"),
            "{text}"
        );
    }
    // What never reached the server.
    server.kill().await;
    let lost = call("echo").timeout(Duration::from_millis(20));
    let error = within("it", lost.value::<_, String>(&"x")).await.unwrap_err();
    assert!(matches!(
        error,
        CallError::DeadlineExceeded { .. } | CallError::Disconnected { .. }
    ));
}

/// The values of the label `method` in Prometheus' text.
fn labels(metrics: &Metrics) -> Vec<String> {
    let text = metrics.prometheus("rpc");
    let counts = text.lines().filter_map(|line| {
        let (_, rest) = line.split_once("duration_seconds_count{method=\"")?;
        Some(rest.split_once('"')?.0.to_owned())
    });
    counts.collect()
}

async fn a_caller_who_makes_names_up_makes_no_labels() {
    const MADE_UP: usize = 100;
    let seen: Arc<Seen> = Arc::default();
    let metrics = Metrics::new();
    // In front of the methods is what keeps some names waiting, and refuses others.
    let (methods, waiting) = (harness::methods(&seen), Arc::clone(&seen));
    let gate = tower::service_fn(move |request: Request| {
        let (methods, waiting) = (methods.clone(), Arc::clone(&waiting));
        async move {
            let name = request.method.as_str();
            if name.starts_with("slow-") {
                waiting.begun.fetch_add(1, Ordering::SeqCst);
                return std::future::pending().await;
            }
            if name.starts_with("secret-") {
                return Err(Failure::new(FailureKind::PermissionDenied, "not for you"));
            }
            methods.oneshot(request).await
        }
    });
    let server = Serving::of(ServiceBuilder::new().layer(metrics.clone()).service(gate)).await;
    let client = server.client();
    for n in 0..MADE_UP {
        for name in [format!("unknown-{n}"), format!("secret-{n}")] {
            within("a refusal", client.call::<_, ()>(&name, &()))
                .await
                .unwrap_err();
        }
        let name = format!("unknown-once-{n}");
        within("it leaves", client.method(name).one_way(&()))
            .await
            .unwrap();
        let slow = client.method(format!("slow-{n}"));
        let slow = tokio::spawn(async move { slow.value::<_, ()>(&()).await });
        until("it waits", || seen.begun.load(Ordering::SeqCst) == n + 1).await;
        slow.abort();
        let _ = within("its end", slow).await;
    }
    let total = |metrics: &Metrics| {
        let methods = metrics.snapshot().methods;
        let totals = methods
            .iter()
            .map(flexbond_rpc::layers::metrics::MethodMetrics::total);
        totals.sum::<u64>()
    };
    until("all ends", || total(&metrics) == 4 * MADE_UP as u64).await;
    assert_eq!(labels(&metrics), [""]);
    within("it", client.call::<_, String>("echo", &"x"))
        .await
        .unwrap();
    until("one more end", || total(&metrics) == 4 * MADE_UP as u64 + 1).await;
    assert_eq!(labels(&metrics), ["", "echo"]);

    // Of a service that answers to any name, no more than so many are told apart.
    let metrics = Metrics::with_max_methods(3);
    let any = tower::service_fn(async |_: Request| Ok::<_, Failure>(flexbond_rpc::Response::default()));
    let server = Serving::of(ServiceBuilder::new().layer(metrics.clone()).service(any)).await;
    let client = server.client();
    for n in 0..MADE_UP {
        let call = client.method(format!("any-{n}")).stream::<_, ()>(&());
        within("an answer", call).await.unwrap();
    }
    until("all ends", || total(&metrics) == MADE_UP as u64).await;
    assert_eq!(labels(&metrics), ["", "any-0", "any-1", "any-2"]);
}

async fn a_panic_before_the_future_does_not_end_the_worker_of_a_buffer() {
    let methods = Methods::new()
        .add("early", |()| -> std::future::Ready<Result<(), Failure>> {
            panic!("before its future")
        })
        .unwrap();
    let service = ServiceBuilder::new()
        .buffer(4)
        .rate_limit(1000, Duration::from_secs(1))
        .service(methods);
    let server = Serving::of(service).await;
    let client = server.client();
    for n in 1..=3 {
        let error = within("it", client.call::<_, ()>("early", &()))
            .await
            .unwrap_err();
        assert_eq!(error.failure().unwrap().kind(), FailureKind::Panicked, "{error}");
        assert_eq!(server.stats().panics, n);
    }
}

async fn limits_of_tower_refuse_before_anything_runs() {
    let seen: Arc<Seen> = Arc::default();
    let service = ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(2)
        .service(harness::methods(&seen));
    let server = Serving::of(service).await;
    let raw = server.raw();
    for call in 1..=2 {
        raw.send(&request(call, "hang", "null")).await;
    }
    until("both", || seen.begun.load(Ordering::SeqCst) == 2).await;
    raw.send(&request(3, "note", "null")).await;
    let refused = raw.recv().await;
    assert_eq!(
        (refused.header.call, failure_kind(&refused).as_str()),
        (3, "overloaded")
    );
    assert_eq!(seen.noted.load(Ordering::SeqCst), 0);
    raw.send(&flexbond_rpc::envelope::Envelope::cancel(1)).await;
    until("its end", || seen.dropped.load(Ordering::SeqCst) == 1).await;
    raw.send(&request(4, "echo", "\"x\"")).await;
    assert_eq!(&raw.recv().await.body[..], b"\"x\"");
}

async fn the_same_layers_fit_a_client() {
    let seen: Arc<Seen> = Arc::default();
    let server = Serving::of(harness::methods(&seen)).await;
    let client = server.client();
    let service = ServiceBuilder::new()
        .layer(Metrics::new())
        .layer(ClientTrace)
        .timeout(Duration::from_secs(5))
        .map_request(|mut request: Request| {
            request.idempotent = true;
            request
        })
        .service(client.clone());
    let text: String = within("it", Call::new(service.clone(), "echo").value(&"x"))
        .await
        .unwrap();
    assert_eq!(text, "x");
    assert!(service.ready_oneshot().await.is_ok());
}

#[test]
fn the_example_runs_to_its_end() {
    tower_layers::main().expect("it ends well");
}

serving::on_both! {
    a_trace_goes_from_caller_to_handler_and_on_to_the_next_server,
    a_trace_of_another_language_is_followed_and_nonsense_is_not,
    metrics_count_every_way_in_which_calls_end,
    a_caller_who_makes_names_up_makes_no_labels,
    a_panic_before_the_future_does_not_end_the_worker_of_a_buffer,
    limits_of_tower_refuse_before_anything_runs,
    the_same_layers_fit_a_client,
}
