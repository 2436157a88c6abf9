//! Counts and durations of calls, by method.
//!
//! ```
//! use flexbond_rpc::layers::Metrics;
//! use flexbond_rpc::{Client, Failure, Methods, Server};
//! use tower::ServiceBuilder;
//!
//! # #[cfg(feature = "inproc")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let metrics = Metrics::new();
//! let methods = Methods::new().add("add", async |(a, b): (i64, i64)| Ok::<_, Failure>(a + b))?;
//! let server = Server::new(ServiceBuilder::new().layer(metrics.clone()).service(methods));
//! let endpoint = server.bind("inproc://metered").await?;
//! tokio::spawn(server.run());
//!
//! let client = Client::connect(endpoint)?;
//! let _sum: i64 = client.call("add", &(1, 2)).await?;
//! let snapshot = metrics.snapshot();
//! assert_eq!((&*snapshot.methods[0].name, snapshot.methods[0].count("ok")), ("add", 1));
//! let text = metrics.prometheus("calculator");
//! assert!(text.contains("calculator_calls_total{method=\"add\",outcome=\"ok\"} 1"));
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "inproc"))]
//! # fn main() {}
//! ```

mod exposition;
mod record;

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures_core::Stream;
use parking_lot::RwLock;
use tokio::time::Instant;
use tower::{BoxError, Layer, Service};

use self::record::{DROPPED, OK, Record, outcome, proves_method};
pub use self::record::{MethodMetrics, OUTCOMES};
use crate::envelope::Method;
use crate::request::{Items, Request, Response};

/// A layer that counts calls and how long they take, by method; around a client or a server's service. A clone counts
/// to the same.
///
/// A call lasts from when the service is called to its answer, of a stream to its end. One whose future is dropped
/// before counts as `dropped`.
///
/// # Names
/// Names come from callers, who may make them up. A method is therefore listed by its name only once the end of a call
/// proves that there is one: an answer (at a client, of a one-way call that it was sent), an item or the end of a stream, a handler's failure or panic, or any failure that
/// says that the work had [begun](crate::Failure::begun). Until then its calls count to the empty name, however they end
/// (`dropped`, `deadline_exceeded`, `unknown_method`, `disconnected`, …), and what was counted there stays there. From
/// then on, all count to its own.
///
/// At most [so many](Self::with_max_methods) are listed, for there are services that answer to any name; calls of others
/// count to the empty name. A name has [`Method::MAX_LEN`] bytes at most, and one of them takes some 40 counters of eight
/// bytes: nobody makes this grow from without.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    methods: RwLock<HashMap<Box<str>, Arc<Record>>>,
    others: Arc<Record>,
    max_methods: usize,
    in_flight: AtomicU64,
}

/// What was counted until now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Calls under way.
    pub in_flight: u64,
    /// Calls that ended, by method, in the order of their names.
    pub methods: Vec<MethodMetrics>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Methods that are told apart where nobody says otherwise.
    const MAX_METHODS: usize = 1000;

    /// Nothing counted yet; up to 1000 methods are told apart.
    #[must_use]
    pub fn new() -> Self {
        Self::with_max_methods(Self::MAX_METHODS)
    }

    /// The same, with up to so many methods that are told apart by name: the first that prove to exist, for good.
    #[must_use]
    pub fn with_max_methods(max_methods: usize) -> Self {
        Metrics(Arc::new(Inner {
            methods: RwLock::default(),
            others: Arc::default(),
            max_methods,
            in_flight: AtomicU64::new(0),
        }))
    }

    /// What was counted until now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let inner = &self.0;
        let known = inner.methods.read();
        let mut methods: Vec<_> = known.iter().map(|(name, record)| record.snapshot(name)).collect();
        drop(known);
        methods.push(inner.others.snapshot(""));
        methods.retain(|method| method.total() > 0);
        methods.sort_by(|one, other| one.name.cmp(&other.name));
        Snapshot {
            in_flight: inner.in_flight.load(Ordering::Relaxed),
            methods,
        }
    }

    /// The same in Prometheus' text format 0.0.4: `<prefix>_calls_total` by `method` and `outcome` (see [`OUTCOMES`]),
    /// the histogram `<prefix>_call_duration_seconds` by `method`, and the gauge `<prefix>_calls_in_flight`. What may not
    /// stand in a name becomes `_` in the prefix.
    #[must_use]
    pub fn prometheus(&self, prefix: &str) -> String {
        exposition::render(prefix, &self.snapshot())
    }
}

impl Inner {
    /// Where calls of this method are counted, given whether it is known to exist.
    fn record(&self, method: &Method, exists: bool) -> Arc<Record> {
        if let Some(record) = self.methods.read().get(method.as_str()) {
            return Arc::clone(record);
        }
        // Of others anybody could make up as many as there may be.
        if !exists {
            return Arc::clone(&self.others);
        }
        let mut methods = self.methods.write();
        if methods.len() >= self.max_methods && !methods.contains_key(method.as_str()) {
            return Arc::clone(&self.others);
        }
        Arc::clone(methods.entry(method.as_str().into()).or_default())
    }
}

/// A call that is counted when it ends, however it does.
struct Counting {
    metrics: Metrics,
    method: Method,
    begun: Instant,
    outcome: usize,
    /// The end proves that there is such a method.
    exists: bool,
}

impl Counting {
    fn begin(metrics: &Metrics, method: &Method) -> Self {
        metrics.0.in_flight.fetch_add(1, Ordering::Relaxed);
        Counting {
            metrics: metrics.clone(),
            method: method.clone(),
            begun: Instant::now(),
            outcome: DROPPED,
            exists: false,
        }
    }

    fn succeed(mut self) {
        self.outcome = OK;
        self.exists = true;
    }

    fn fail(mut self, error: &(dyn Error + 'static)) {
        self.outcome = outcome(error);
        self.exists = proves_method(error);
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        let inner = &self.metrics.0;
        inner.in_flight.fetch_sub(1, Ordering::Relaxed);
        inner
            .record(&self.method, self.exists)
            .count(self.outcome, self.begun.elapsed());
    }
}

impl<S> Layer<S> for Metrics {
    type Service = Metered<S>;

    fn layer(&self, inner: S) -> Metered<S> {
        Metered {
            inner,
            metrics: self.clone(),
        }
    }
}

/// What [`Metrics`] makes of a service.
#[derive(Clone, Debug)]
pub struct Metered<S> {
    inner: S,
    metrics: Metrics,
}

/// What a call of [`Metered`] becomes.
pub type Metering = Pin<Box<dyn Future<Output = Result<Response, BoxError>> + Send>>;

impl<S> Service<Request> for Metered<S>
where
    S: Service<Request, Response = Response>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = BoxError;
    type Future = Metering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request) -> Metering {
        let counting = Counting::begin(&self.metrics, &request.method);
        let answering = self.inner.call(request);
        Box::pin(async move {
            match answering.await {
                Ok(mut response) => {
                    match response.items.take() {
                        Some(items) => response.items = Some(counted(counting, items)),
                        None => counting.succeed(),
                    }
                    Ok(response)
                }
                Err(error) => {
                    let error = error.into();
                    counting.fail(&*error);
                    Err(error)
                }
            }
        })
    }
}

/// A stream that counts as a call until its end.
fn counted(counting: Counting, mut items: Items) -> Items {
    let mut counting = Some(counting);
    Items::new(futures_util::stream::poll_fn(move |cx| {
        let next = std::task::ready!(Pin::new(&mut items).poll_next(cx));
        match &next {
            // An item proves that there is such a method.
            Some(Ok(_)) => {
                if let Some(counting) = &mut counting {
                    counting.exists = true;
                }
            }
            Some(Err(error)) => {
                if let Some(counting) = counting.take() {
                    counting.fail(error);
                }
            }
            None => {
                if let Some(counting) = counting.take() {
                    counting.succeed();
                }
            }
        }
        Poll::Ready(next)
    }))
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics")
            .field("methods", &self.0.methods.read().len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::CallError;
    use crate::failure::{Failure, FailureKind};

    fn method(name: &str) -> Method {
        Method::new(name).expect("a name")
    }

    fn call(metrics: &Metrics, name: &str) {
        Counting::begin(metrics, &method(name)).succeed();
    }

    #[test]
    fn methods_that_do_not_exist_or_are_too_many_count_together() {
        let metrics = Metrics::with_max_methods(2);
        let unknown = Failure::new(FailureKind::UnknownMethod, "");
        for n in 0..100 {
            Counting::begin(&metrics, &method(&format!("made-up-{n}"))).fail(&unknown);
        }
        for name in ["a", "b", "c", "a"] {
            call(&metrics, name);
        }
        let snapshot = metrics.snapshot();
        let counts: Vec<_> = snapshot
            .methods
            .iter()
            .map(|method| (&*method.name, method.count("ok"), method.total()))
            .collect();
        assert_eq!(counts, [("", 1, 101), ("a", 2, 2), ("b", 1, 1)]);
        assert_eq!(snapshot.methods[0].count("unknown_method"), 100);
    }

    #[test]
    fn only_what_proves_that_a_method_exists_makes_it_known() {
        let metrics = Metrics::new();
        let ended = |name: &str, error: &CallError| {
            Counting::begin(&metrics, &method(name)).fail(error);
        };
        for (n, kind) in FailureKind::ALL.into_iter().enumerate() {
            let failure = Failure::new(kind, "");
            let proves = matches!(kind, FailureKind::Failed | FailureKind::Panicked);
            ended(&format!("plain-{n}"), &failure.clone().into());
            assert_eq!(is_known(&metrics, &format!("plain-{n}")), proves, "{kind:?}");
            if kind.is_before_it_ran() {
                ended(&format!("begun-{n}"), &failure.begun().into());
                assert!(is_known(&metrics, &format!("begun-{n}")), "{kind:?}");
            }
        }
        ended("closed", &CallError::Closed);
        drop(Counting::begin(&metrics, &method("dropped")));
        assert!(!is_known(&metrics, "closed") && !is_known(&metrics, "dropped"));
        // What is known counts however it ends.
        call(&metrics, "good");
        drop(Counting::begin(&metrics, &method("good")));
        let snapshot = metrics.snapshot();
        let good = snapshot.methods.iter().find(|method| method.name == "good");
        assert_eq!(good.map(|good| good.count("dropped")), Some(1));
    }

    fn is_known(metrics: &Metrics, name: &str) -> bool {
        metrics.0.methods.read().contains_key(name)
    }

    #[tokio::test(start_paused = true)]
    async fn durations_fall_into_buckets() {
        let metrics = Metrics::new();
        for millis in [1, 1, 2, 40, 100_000] {
            let counting = Counting::begin(&metrics, &method("m"));
            assert_eq!(metrics.snapshot().in_flight, 1);
            tokio::time::advance(Duration::from_millis(millis)).await;
            counting.succeed();
        }
        let method = &metrics.snapshot().methods[0];
        assert_eq!(method.duration, Duration::from_millis(100_044));
        assert_eq!(method.quantile(0.0), Some(Duration::from_millis(1)));
        assert_eq!(method.quantile(0.5), Some(Duration::from_micros(2500)));
        assert_eq!(method.quantile(0.8), Some(Duration::from_millis(50)));
        assert_eq!(method.quantile(1.0), None, "more than the last bound");
    }
}
