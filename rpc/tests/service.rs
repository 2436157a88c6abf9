//! Services of traits: typed calls of all kinds, and the same methods by their names.
#![cfg(all(feature = "macros", feature = "inproc"))]

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flexbond_rpc::envelope::Codec;
use flexbond_rpc::typed::Caller;
use flexbond_rpc::{
    AddError, Buffer, CallError, Client, Context, Failure, FailureKind, Incoming, MethodInfo, Methods, Server,
};
use flexbond_session::Endpoint;
use futures_util::{Stream, StreamExt, stream};
use harness::{DEADLINE, until, within};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tower::Service;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Star {
    name: String,
    magnitude: f64,
}

#[derive(Debug)]
enum Trouble {
    Clouds,
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Clouds => Failure::failed(9, "clouds"),
        }
    }
}

/// Sums and such.
#[flexbond_rpc::service]
trait Calculator {
    /// Adds two numbers,
    /// exactly.
    ///
    /// Well, nearly.
    #[rpc(idempotent)]
    async fn add(&self, a: f64, b: f64) -> Result<f64, Failure>;
    /// Counts from what the service counts from.
    async fn count(&self, n: u32) -> Result<impl Stream<Item = Result<u32, Trouble>>, Failure>;
    async fn total(&self, start: f64, values: Incoming<f64>) -> Result<f64, Failure>;
    async fn double(
        &self,
        values: Incoming<i64>,
    ) -> Result<impl Stream<Item = Result<i64, Failure>>, Failure>;
    async fn whoami(&self, context: &Context, greeting: String) -> Result<String, Failure>;
    async fn time_left(&self, context: Context) -> Result<Option<Duration>, Failure>;
    #[rpc(one_way)]
    async fn note(&self, n: usize) -> Result<(), Failure>;
    async fn brightest(&self, stars: Vec<Star>) -> Result<Option<Star>, Trouble>;
    #[rpc(timeout = "20ms")]
    async fn hang(&self) -> Result<(), Failure>;
    async fn lines(&self, #[serde(default = "five")] n: u8) -> Result<u8, Failure>;
    #[rpc(name = "mirror")]
    async fn reflect(&self, data: Buffer) -> Result<Buffer, Failure>;
}

fn five() -> u8 {
    5
}

#[derive(Default)]
struct Seen {
    noted: AtomicUsize,
    begun: Notify,
    dropped: Notify,
}

struct Mine {
    first: u32,
    seen: Arc<Seen>,
}

struct Dropped<'a>(&'a Seen);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        self.0.dropped.notify_one();
    }
}

impl Calculator for Mine {
    async fn add(&self, a: f64, b: f64) -> Result<f64, Failure> {
        Ok(a + b)
    }

    async fn count(&self, n: u32) -> Result<impl Stream<Item = Result<u32, Trouble>>, Failure> {
        if n > 1000 {
            return Err(Failure::failed(1, "too far"));
        }
        // It refers to the service.
        let numbers = stream::iter(0..n).map(|number| Ok(self.first + number));
        Ok(numbers.chain(stream::iter((n == 13).then_some(Err(Trouble::Clouds)))))
    }

    async fn total(&self, start: f64, mut values: Incoming<f64>) -> Result<f64, Failure> {
        let mut total = start;
        while let Some(value) = values.next().await {
            total += value?;
        }
        Ok(total)
    }

    async fn double(
        &self,
        values: Incoming<i64>,
    ) -> Result<impl Stream<Item = Result<i64, Failure>>, Failure> {
        Ok(stream::unfold(values, async |mut values| {
            let value = values.next().await?;
            Some((value.map(|value| 2 * value), values))
        }))
    }

    async fn whoami(&self, context: &Context, greeting: String) -> Result<String, Failure> {
        Ok(format!("{greeting} {}", context.connection().peer().id()))
    }

    async fn time_left(&self, context: Context) -> Result<Option<Duration>, Failure> {
        Ok(context.time_left())
    }

    async fn note(&self, n: usize) -> Result<(), Failure> {
        self.seen.noted.fetch_add(n, Ordering::SeqCst);
        Ok(())
    }

    async fn brightest(&self, stars: Vec<Star>) -> Result<Option<Star>, Trouble> {
        match stars.len() {
            0 => Err(Trouble::Clouds),
            _ => Ok(stars
                .into_iter()
                .min_by(|a, b| a.magnitude.total_cmp(&b.magnitude))),
        }
    }

    async fn hang(&self) -> Result<(), Failure> {
        let _dropped = Dropped(&self.seen);
        self.seen.begun.notify_one();
        std::future::pending().await
    }

    async fn lines(&self, n: u8) -> Result<u8, Failure> {
        Ok(n)
    }

    async fn reflect(&self, data: Buffer) -> Result<Buffer, Failure> {
        Ok(data)
    }
}

/// Serves these methods, for as long as the test runs.
async fn serve(methods: Methods, endpoint: &str) -> (Endpoint, JoinHandle<()>) {
    let server = Server::new(methods);
    let endpoint = within("bind", server.bind(endpoint)).await.expect("bound");
    let task = tokio::spawn(async {
        server.run().await;
    });
    (endpoint, task)
}

async fn calculator(endpoint: &str) -> (CalculatorClient, Arc<Seen>) {
    let seen = Arc::<Seen>::default();
    let mine = Mine {
        first: 10,
        seen: Arc::clone(&seen),
    };
    let (endpoint, _) = serve(mine.into_methods(), endpoint).await;
    let calculator = CalculatorClient::new(harness::client(&endpoint));
    (calculator, seen)
}

#[tokio::test]
async fn every_kind_of_call_is_answered_by_inproc() {
    every_kind_of_call("inproc://service-kinds").await;
}

#[cfg(feature = "tcp")]
#[tokio::test]
async fn every_kind_of_call_is_answered_by_tcp() {
    every_kind_of_call("tcp://127.0.0.1:*").await;
}

async fn every_kind_of_call(endpoint: &str) {
    let (calculator, seen) = calculator(endpoint).await;
    assert_eq!(within("add", calculator.add(1.0, 2.0)).await, Ok(3.0));

    let counted = within("count", calculator.count(3)).await.expect("a stream");
    let counted: Vec<_> = within("numbers", counted.collect()).await;
    assert_eq!(counted, [Ok(10), Ok(11), Ok(12)]);
    let counted = within("count", calculator.count(13)).await.expect("a stream");
    let last = within("numbers", counted.collect::<Vec<_>>()).await.pop();
    assert_eq!(last, Some(Err(CallError::Failure(Failure::failed(9, "clouds")))));
    let refused = within("count", calculator.count(1001)).await.err();
    assert_eq!(refused, Some(CallError::Failure(Failure::failed(1, "too far"))));

    let total = calculator.total(0.5, stream::iter([1.0, 2.0]));
    assert_eq!(within("total", total).await, Ok(3.5));
    let doubled = calculator.double(stream::iter(1..4));
    let doubled = within("double", doubled).await.expect("a stream");
    let doubled: Vec<_> = within("numbers", doubled.collect()).await;
    assert_eq!(doubled, [Ok(2), Ok(4), Ok(6)]);

    let me = within("whoami", calculator.whoami("hello".to_owned())).await;
    assert!(me.is_ok_and(|me| me.starts_with("hello ")));
    within("note", calculator.note(2)).await.expect("sent");
    until("the note", || seen.noted.load(Ordering::SeqCst) == 2).await;

    let star = |name: &str, magnitude| Star {
        name: name.to_owned(),
        magnitude,
    };
    let stars = vec![star("Deneb", 1.25), star("Vega", 0.03)];
    let brightest = within("brightest", calculator.brightest(stars.clone())).await;
    assert_eq!(brightest, Ok(Some(stars[1].clone())));
    let none = within("brightest", calculator.brightest(Vec::new())).await;
    assert_eq!(none, Err(CallError::Failure(Failure::failed(9, "clouds"))));

    let data = Buffer::from(vec![7; 100_000]);
    assert_eq!(within("mirror", calculator.reflect(data.clone())).await, Ok(data));
}
