//! Services of traits: typed calls of all kinds, and the same methods by their names.
#![cfg(all(feature = "macros", feature = "inproc"))]

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flexbond_rpc::envelope::Codec;
use flexbond_rpc::typed::Caller;
use flexbond_rpc::{
    AddError, Buffer, CallError, Client, Context, Failure, FailureKind, Incoming, MethodInfo, Methods,
    Request, Response, Server, Wants,
};
use flexbond_session::Endpoint;
use futures_util::{Stream, StreamExt, stream};
use harness::{until, within};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tower::ServiceExt;

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
        let guard = (n == 999).then(|| Dropped(&self.seen));
        let numbers = stream::iter(0..n).map(move |number| {
            let _ = &guard;
            Ok(self.first + number)
        });
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
async fn serve(methods: Methods, endpoint: &str) -> Endpoint {
    let server = Server::new(methods);
    let endpoint = within("bind", server.bind(endpoint)).await.expect("bound");
    tokio::spawn(server.run());
    endpoint
}

/// A client of a calculator, what that has seen, and a client that knows nothing of the trait.
async fn calculator(endpoint: &str) -> (CalculatorClient, Arc<Seen>, Client) {
    let seen = Arc::<Seen>::default();
    let mine = Mine {
        first: 10,
        seen: Arc::clone(&seen),
    };
    let endpoint = serve(mine.into_methods(), endpoint).await;
    let client = harness::client(&endpoint);
    (CalculatorClient::new(client.clone()), seen, client)
}

fn failure(error: CallError) -> Failure {
    match error {
        CallError::Failure(failure) => failure,
        other => panic!("not the server's answer: {other}"),
    }
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
    let (calculator, seen, _) = calculator(endpoint).await;
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

#[tokio::test]
async fn a_call_has_the_deadline_of_its_method_unless_it_says_otherwise() {
    let (calculator, _, client) = calculator("inproc://service-deadlines").await;
    // Whichever side notices first.
    let is_late = |answered| match answered {
        Err(CallError::DeadlineExceeded { unconnected, .. }) => unconnected.is_none(),
        Err(CallError::Failure(failure)) => failure.kind() == FailureKind::DeadlineExceeded,
        Err(_) | Ok(()) => false,
    };
    within("connection", client.connected(harness::DEADLINE))
        .await
        .expect("connected");
    assert!(is_late(within("hang", calculator.hang()).await));
    let sooner = calculator.hang().timeout(Duration::from_millis(5));
    assert!(is_late(within("hang", sooner).await));

    let an_hour = Duration::from_secs(3600);
    let left = within("left", calculator.time_left().timeout(an_hour)).await;
    let left = left.expect("an answer").expect("a deadline");
    assert!(left <= an_hour && left > an_hour - harness::DEADLINE, "{left:?}");
    let patient = CalculatorClient::from(Caller::new(client).timeout(an_hour));
    let left = within("left", patient.time_left()).await.expect("an answer");
    assert!(left.expect("a deadline") > an_hour - harness::DEADLINE);
}

#[tokio::test]
async fn dropping_a_call_stops_the_work() {
    let (calculator, seen, client) = calculator("inproc://service-dropped").await;
    drop(calculator.hang());
    assert_eq!(client.in_flight(), 0, "nothing is called before it is awaited");

    let call = calculator.hang().timeout(harness::DEADLINE);
    let call = tokio::spawn(call);
    within("the work", seen.begun.notified()).await;
    call.abort();
    within("the end of the work", seen.dropped.notified()).await;
    assert_eq!(client.in_flight(), 0);

    let mut counted = within("count", calculator.count(999)).await.expect("a stream");
    assert_eq!(within("a number", counted.next()).await, Some(Ok(10)));
    drop(counted);
    within("the end of the stream", seen.dropped.notified()).await;
}

#[tokio::test]
async fn the_last_client_may_go_while_it_calls() {
    let (calculator, _, client) = calculator("inproc://service-last").await;
    drop(client);
    let call = calculator.add(1.0, 2.0);
    drop(calculator);
    assert_eq!(within("add", call).await, Ok(3.0));
}

#[tokio::test]
async fn callers_in_other_languages_send_arguments_by_name() {
    let (_, _, client) = calculator("inproc://service-json").await;
    for codec in [Codec::Json, Codec::MessagePack] {
        for (method, arguments, answer) in [
            ("add", json!({"a": 1, "b": 2}), json!(3.0)),
            ("add", json!({"b": 2.5, "a": 1}), json!(3.5)),
            ("add", json!([1, 2]), json!(3.0)),
            ("lines", json!({}), json!(5)),
            ("lines", json!(null), json!(5)),
            ("lines", json!({"n": 7}), json!(7)),
            (
                "brightest",
                json!({"stars": [{"name": "Vega", "magnitude": 0.03}]}),
                json!({
                    "name": "Vega",
                    "magnitude": 0.03,
                }),
            ),
        ] {
            let call = client.method(method).codec(codec).value(&arguments);
            let answered: Result<Value, _> = within(method, call).await;
            assert_eq!(answered, Ok(answer), "{method} {arguments}");
        }
        for nothing in [json!(null), json!({}), json!([])] {
            let call = client.method("time_left").codec(codec).value(&nothing);
            let answered: Result<Value, _> = within("time_left", call).await;
            assert!(answered.is_ok_and(|left| left.is_object()), "{nothing}");
        }
        let two = json!({"n": 2});
        let counted = client.method("count").codec(codec).stream(&two);
        let counted = within("count", counted).await.expect("a stream");
        let counted: Vec<Result<Value, _>> = within("numbers", counted.collect()).await;
        assert_eq!(counted, [Ok(json!(10)), Ok(json!(11))]);
        let start = json!({"start": 1});
        let total = client
            .method("total")
            .codec(codec)
            .upload(&start, stream::iter([json!(2), json!(3)]));
        assert_eq!(within("total", total).await, Ok(json!(6.0)));
    }
    // Postcard has no names: a tuple in the same order is the same.
    assert_eq!(within("add", client.call("add", &(1.0, 2.0))).await, Ok(3.0));
}

#[tokio::test]
async fn wrong_arguments_are_named() {
    let (_, _, client) = calculator("inproc://service-wrong").await;
    for (method, arguments, reason) in [
        ("add", r#"{"a":1}"#, "missing field `b`"),
        (
            "add",
            r#"{"a":1,"b":2,"c":3}"#,
            "at c: unknown field `c`, expected `a` or `b`",
        ),
        (
            "add",
            r#"{"a":1,"b":"two"}"#,
            "at b: invalid type: string \"two\", expected f64",
        ),
        (
            "add",
            "[1]",
            "invalid length 1, expected the arguments (a: f64, b: f64)",
        ),
        (
            "add",
            "7",
            "invalid type: integer `7`, expected the arguments (a: f64, b: f64)",
        ),
        ("add", "", "missing field `a`"),
        (
            "hang",
            r#"{"for":1}"#,
            "unknown field `for`, there are no arguments",
        ),
        (
            "brightest",
            r#"{"stars":[{"name":"Vega"}]}"#,
            "at stars[0]: missing field `magnitude`",
        ),
        ("total", "[]", "missing field `start`"),
        (
            "total",
            "7",
            "invalid type: integer `7`, expected the arguments (start: f64)",
        ),
    ] {
        let mut request = Request::new(
            method.parse().expect("a name"),
            Codec::Json,
            Codec::Json.encode(&()).expect("written"),
        );
        request.body = arguments.as_bytes().to_vec().into();
        let answered = within(method, client.request(request)).await;
        let failure = failure(answered.expect_err("a failure"));
        assert_eq!(failure.kind(), FailureKind::BadArguments);
        let begin = format!("{method}: JSON: {reason}");
        assert!(failure.message().starts_with(&begin), "{begin:?} is {failure}");
    }
    for (arguments, reason) in [
        (json!({"a": 1}), "add: MessagePack: missing field `b`"),
        (
            json!({"a": 1, "b": 2, "z": 3}),
            "add: MessagePack: at z: unknown field `z`, expected `a` or `b`",
        ),
        (
            json!({"a": 1, "b": "two"}),
            "add: MessagePack: at b: wrong msgpack marker FixStr(3)",
        ),
        (
            json!([1]),
            "add: MessagePack: invalid length 1, expected the arguments (a: f64, b: f64)",
        ),
    ] {
        let call = client
            .method("add")
            .codec(Codec::MessagePack)
            .value::<_, f64>(&arguments);
        let failure = failure(within("add", call).await.expect_err("a failure"));
        assert_eq!(
            (failure.kind(), failure.message()),
            (FailureKind::BadArguments, reason)
        );
    }
}

#[tokio::test]
async fn the_server_lists_what_the_trait_says() {
    let (_, _, client) = calculator("inproc://service-list").await;
    let infos: Vec<MethodInfo> = within("list", client.call("flexbond.methods", &()))
        .await
        .expect("a list");
    let listed: Vec<_> = infos
        .iter()
        .filter(|info| !info.name.starts_with("flexbond."))
        .map(|info| (&info.name[..], &info.signature[..], info.streams, info.uploads))
        .collect();
    assert_eq!(
        listed,
        [
            ("add", "(a: f64, b: f64) -> f64", false, false),
            ("brightest", "(stars: Vec<Star>) -> Option<Star>", false, false),
            ("count", "(n: u32) -> stream u32", true, false),
            ("double", "(values: stream i64) -> stream i64", true, true),
            ("hang", "() -> ()", false, false),
            ("lines", "(n: u8) -> u8", false, false),
            ("mirror", "(data: Buffer) -> Buffer", false, false),
            ("note", "(n: usize) -> ()", false, false),
            ("time_left", "() -> Option<Duration>", false, false),
            ("total", "(start: f64, values: stream f64) -> f64", false, true),
            ("whoami", "(greeting: String) -> String", false, false),
        ]
    );
    let add = infos.iter().find(|info| info.name == "add").expect("listed");
    assert_eq!(add.description, "Adds two numbers, exactly.");
}

#[tokio::test]
async fn layers_go_around_the_client() {
    let (_, _, client) = calculator("inproc://service-layers").await;
    #[derive(Debug, thiserror::Error)]
    #[error("not today: {0}")]
    struct Refused(CallError);
    let layered = client
        .map_request(|mut request: Request| {
            request.timeout = Some(Duration::from_secs(77));
            request
        })
        .map_err(Refused);
    let calculator = CalculatorClient::new(layered);
    let left = within("left", calculator.time_left()).await.expect("an answer");
    assert!(left.expect("a deadline") > Duration::from_secs(60));
    let refused = within("brightest", calculator.brightest(Vec::new())).await;
    assert_eq!(
        refused,
        Err(CallError::Layer("not today: clouds (code 9)".to_owned()))
    );
}

#[tokio::test]
async fn requests_have_what_trait_caller_and_call_say() {
    let (heard, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let service = tower::service_fn(move |request: Request| {
        let codec = request.codec;
        heard.send(request).expect("the test waits");
        std::future::ready(Response::with_value(codec, &1.0))
    });
    let caller = Caller::new(service)
        .codec(Codec::Json)
        .metadata("place", "here")
        .expect("metadata")
        .window(3);
    let calculator = CalculatorClient::from(caller);

    let call = calculator
        .add(1.0, 2.0)
        .metadata("time", "now")
        .expect("metadata");
    assert_eq!(within("add", call).await, Ok(1.0));
    let add = requests.recv().await.expect("called");
    assert_eq!(&add.body[..], br#"{"a":1.0,"b":2.0}"#);
    assert_eq!((add.method.as_str(), add.wants), ("add", Wants::Answer));
    assert_eq!((add.idempotent, add.timeout), (true, None));
    assert!(add.metadata.get("place").is_some() && add.metadata.get("time").is_some());

    let _ = within("hang", calculator.hang().idempotent()).await;
    let hang = requests.recv().await.expect("called");
    assert_eq!(
        (hang.idempotent, hang.timeout),
        (true, Some(Duration::from_millis(20)))
    );
    let _ = within("hang", calculator.hang().timeout(Duration::from_secs(1))).await;
    assert_eq!(
        requests.recv().await.expect("called").timeout,
        Some(Duration::from_secs(1))
    );
    let _ = within("note", calculator.note(1)).await;
    assert_eq!(requests.recv().await.expect("called").wants, Wants::Nothing);
    let _ = within("count", calculator.count(1)).await;
    assert_eq!(requests.recv().await.expect("called").wants, Wants::Stream(3));
    let _ = within("count", calculator.count(1).window(8)).await;
    assert_eq!(requests.recv().await.expect("called").wants, Wants::Stream(8));
    let _ = within("reflect", calculator.reflect(Buffer::default())).await;
    assert_eq!(requests.recv().await.expect("called").method.as_str(), "mirror");
}

/// A service that has no room for so long.
#[derive(Clone)]
struct Busy {
    until: tokio::time::Instant,
    seen: Arc<AtomicUsize>,
}

impl tower::Service<Request> for Busy {
    type Response = Response;
    type Error = CallError;
    type Future = std::future::Ready<Result<Response, CallError>>;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), CallError>> {
        if tokio::time::Instant::now() >= self.until {
            return std::task::Poll::Ready(Ok(()));
        }
        let (until, waker) = (self.until, cx.waker().clone());
        tokio::spawn(async move {
            tokio::time::sleep_until(until).await;
            waker.wake();
        });
        std::task::Poll::Pending
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let left = request.timeout.unwrap_or_default().as_millis() as usize;
        self.seen.store(left, Ordering::SeqCst);
        std::future::ready(Response::with_value(request.codec, &1.0).map_err(CallError::Answer))
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_room_counts_to_the_time_of_a_call() {
    let busy = Busy {
        until: tokio::time::Instant::now() + Duration::from_secs(4),
        seen: Arc::default(),
    };
    let calculator = CalculatorClient::new(busy.clone());
    let patient = calculator.add(1.0, 2.0).timeout(Duration::from_secs(9));
    let late = calculator.add(1.0, 2.0).timeout(Duration::from_secs(3));
    let (patient, late) = tokio::join!(patient, late);
    assert_eq!(patient, Ok(1.0));
    assert_eq!(busy.seen.load(Ordering::SeqCst), 5000, "milliseconds are left");
    let timeout = Duration::from_secs(3);
    let refused = late.expect_err("no room");
    assert!(!refused.may_have_run());
    assert!(
        matches!(&refused, CallError::DeadlineExceeded { timeout: limit, .. } if *limit == timeout),
        "{refused}"
    );
}

/// Another one, with names of its own.
#[flexbond_rpc::service(name = "sky", client = Telescope)]
trait Sky {
    async fn point(&self, at: Star) -> Result<(), Failure>;
    #[rpc(name = "park it")]
    async fn park(&self) -> Result<(), Failure>;
}

struct Clear;

impl Sky for Clear {
    async fn point(&self, at: Star) -> Result<(), Failure> {
        match at.magnitude > 6.5 {
            true => Err(Failure::failed(2, format!("{} is too faint", at.name))),
            false => Ok(()),
        }
    }

    async fn park(&self) -> Result<(), Failure> {
        Ok(())
    }
}

#[tokio::test]
async fn two_services_are_served_by_one_server() {
    let mine = Mine {
        first: 0,
        seen: Arc::default(),
    };
    let methods = mine
        .into_methods()
        .merge(Clear.into_methods())
        .expect("no name twice");
    let names: Vec<String> = methods.infos().into_iter().map(|info| info.name).collect();
    assert!(names.iter().any(|name| name == "sky.park it"), "{names:?}");
    assert_eq!(
        methods.clone().merge(Clear.into_methods()).unwrap_err(),
        AddError::Taken {
            name: "sky.park it".to_owned()
        }
    );
    let endpoint = serve(methods, "inproc://service-merged").await;
    let calculator = CalculatorClient::connect(&endpoint).expect("an endpoint");
    let telescope = Telescope::connect(&endpoint).expect("an endpoint");
    assert_eq!(within("add", calculator.add(1.0, 1.0)).await, Ok(2.0));
    assert_eq!(within("park", telescope.park()).await, Ok(()));
    let faint = Star {
        name: "Proxima".to_owned(),
        magnitude: 11.1,
    };
    let refused = within("point", telescope.point(faint)).await.unwrap_err();
    assert_eq!(failure(refused), Failure::failed(2, "Proxima is too faint"));
}
