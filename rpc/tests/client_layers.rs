//! Retries, several servers, and second calls: what becomes of calls when servers go, come back, or are slow.
#![cfg(all(feature = "inproc", feature = "tcp"))]

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flexbond_rpc::client::{ClientError, Options};
use flexbond_rpc::envelope::{Codec, Method};
use flexbond_rpc::layers::{Balanced, Hedge, Retry};
use flexbond_rpc::{Call, CallError, Client, Failure, FailureKind, Methods, Request, Response, Server};
use flexbond_session::Endpoint;
use flexbond_session::socket::Router;
use harness::{DEADLINE, Running, client, until, vacant, within};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::retry::budget::TpsBudget;
use tower::{Service, ServiceBuilder};

/// A server whose one method `which` says whose it is, and may be made to wait.
struct Named {
    endpoint: Endpoint,
    calls: Arc<AtomicUsize>,
    /// Calls that were given up while they waited.
    dropped: Arc<AtomicUsize>,
    go: Arc<Notify>,
    task: JoinHandle<()>,
}

struct CountDropped(Arc<AtomicUsize>);

impl Drop for CountDropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Named {
    async fn start(name: &'static str, is_slow: bool) -> Self {
        let (calls, dropped, go) = (Arc::default(), Arc::default(), Arc::new(Notify::new()));
        let which = {
            let (calls, dropped, go): (Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<Notify>) =
                (Arc::clone(&calls), Arc::clone(&dropped), Arc::clone(&go));
            move |()| {
                calls.fetch_add(1, Ordering::SeqCst);
                let (go, dropped) = (Arc::clone(&go), Arc::clone(&dropped));
                async move {
                    if is_slow {
                        let waiting = CountDropped(dropped);
                        go.notified().await;
                        std::mem::forget(waiting);
                    }
                    Ok::<_, Failure>(name.to_owned())
                }
            }
        };
        let server = Server::new(Methods::new().add("which", which).unwrap());
        let endpoint = within("bind", server.bind("tcp://127.0.0.1:0")).await.unwrap();
        let task = tokio::spawn(async move {
            server.run().await;
        });
        Named {
            endpoint,
            calls,
            dropped,
            go,
            task,
        }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

fn balanced<'a>(endpoints: impl IntoIterator<Item = &'a Endpoint>) -> Balanced {
    Balanced::with_options(endpoints, &Options::new().timeout(DEADLINE)).unwrap()
}

/// Servers by name, slow or not, and who is connected to all of them.
async fn started<const N: usize>(servers: [(&'static str, bool); N]) -> ([Named; N], Balanced) {
    let starting = servers.map(|(name, is_slow)| Named::start(name, is_slow));
    let named: Result<[Named; N], _> = futures_util::future::join_all(starting).await.try_into();
    let named = named.ok().expect("as many as were started");
    let servers = balanced(named.iter().map(|server| &server.endpoint));
    connected(&servers, N).await;
    (named, servers)
}

/// So many calls, each in a task of its own.
fn spawned<S>(count: usize, call: impl Fn() -> Call<S>) -> Vec<JoinHandle<Result<String, CallError>>>
where
    S: Service<Request, Response = Response, Error = CallError, Future: Send> + Clone + Send + 'static,
{
    (0..count)
        .map(|_| {
            let call = call();
            tokio::spawn(async move { call.value(&()).await })
        })
        .collect()
}

async fn connected(servers: &Balanced, count: usize) {
    until("their connections", || {
        servers
            .clients()
            .iter()
            .filter(|client| client.is_connected())
            .count()
            == count
    })
    .await;
}

#[tokio::test]
async fn a_server_that_restarts_under_load_loses_no_idempotent_call_of_a_client_that_retries() {
    let mut server = Running::start("tcp://127.0.0.1:0").await;
    let client = server.client();
    let retry = Retry::new()
        .attempts(50)
        .backoff(Duration::from_millis(2), Duration::from_millis(50));
    let service = ServiceBuilder::new().layer(retry).service(client.clone());
    let done = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..50_u32)
        .map(|n| {
            let (client, service, done) = (client.clone(), service.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                for k in 0..40 {
                    let text = format!("{n} {k}");
                    let call = client.method("echo").by(service.clone()).idempotent();
                    assert_eq!(call.value::<_, String>(&text).await.unwrap(), text);
                    done.fetch_add(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for n in 1..4 {
        until("some calls", || done.load(Ordering::SeqCst) > n * 300).await;
        let endpoint = server.kill().await;
        server = Running::start(&endpoint.to_string()).await;
    }
    for caller in callers {
        within("a caller", caller).await.expect("all its answers");
    }
    assert_eq!(done.load(Ordering::SeqCst), 2000);
}

#[tokio::test]
async fn what_may_have_run_is_not_made_again_unless_it_may_run_twice() {
    let server = Running::start("tcp://127.0.0.1:0").await;
    let client = server.client();
    let service = ServiceBuilder::new().layer(Retry::new()).service(client.clone());
    let calls = [false, true].map(|is_idempotent| {
        let mut call = client.method("hang").by(service.clone());
        if is_idempotent {
            call = call.idempotent();
        }
        tokio::spawn(async move { call.timeout(DEADLINE).value::<_, ()>(&()).await })
    });
    until("both", || server.seen.begun.load(Ordering::SeqCst) == 2).await;
    let endpoint = server.kill().await;
    let [once, again] = calls;
    let error = within("its end", once).await.unwrap().unwrap_err();
    assert!(
        matches!(error, CallError::Disconnected { sent: true, .. }),
        "{error}"
    );
    let server = Running::start(&endpoint.to_string()).await;
    until("the other again", || {
        server.seen.begun.load(Ordering::SeqCst) == 1
    })
    .await;
    again.abort();
    until("its end", || server.seen.dropped.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn a_server_that_refuses_is_asked_again_within_the_budget() {
    let asked = Arc::new(AtomicUsize::new(0));
    let refusing = {
        let asked = Arc::clone(&asked);
        tower::service_fn(move |_: Request| {
            let n = asked.fetch_add(1, Ordering::SeqCst);
            async move {
                match n {
                    3 => Ok(Response::default()),
                    _ => Err(CallError::from(Failure::new(FailureKind::Overloaded, "later"))),
                }
            }
        })
    };
    let quick = Retry::new().backoff(Duration::from_millis(1), Duration::from_millis(1));
    let service = ServiceBuilder::new()
        .layer(quick.clone())
        .service(refusing.clone());
    let call = Call::new(service, "any");
    within("an answer", call.one_way(&())).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 4);

    let little = quick.budget(TpsBudget::new(Duration::from_secs(60), 0, 0.1));
    let service = ServiceBuilder::new().layer(little).service(refusing);
    let error = within("an answer", Call::new(service, "any").one_way(&()))
        .await
        .unwrap_err();
    assert_eq!(error.failure().unwrap().kind(), FailureKind::Overloaded);
    assert_eq!(asked.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn a_server_that_is_gone_has_no_calls_and_the_others_share_them() {
    let ([a, b, c], servers) = started([("a", false), ("b", false), ("c", false)]).await;
    let calls = (0..300).map(|_| servers.method("which").value::<_, String>(&()));
    for answer in within("all answers", futures_util::future::join_all(calls)).await {
        answer.unwrap();
    }
    for server in [&a, &b, &c] {
        assert!(server.calls() > 30, "{}", server.calls());
    }
    b.task.abort();
    connected(&servers, 2).await;
    for _ in 0..100 {
        let call = servers.method("which").value::<_, String>(&());
        assert_ne!(within("an answer", call).await.unwrap(), "b");
    }
    // With two of three gone, all calls go to the third.
    a.task.abort();
    connected(&servers, 1).await;
    for _ in 0..100 {
        let call = servers.method("which").value::<_, String>(&());
        assert_eq!(within("an answer", call).await.unwrap(), "c");
    }
}

/// Lets all calls go on until they have ended.
async fn release<T>(servers: &[&Named], calls: &[JoinHandle<T>]) {
    until("all ends", || {
        servers.iter().for_each(|server| server.go.notify_waiters());
        calls.iter().all(JoinHandle::is_finished)
    })
    .await;
}

#[tokio::test]
async fn a_server_that_dies_in_mid_call_fails_its_own_calls_only() {
    let ([a, b, c], servers) = started([("a", true), ("b", true), ("c", true)]).await;
    let calls = spawned(60, || servers.method("which"));
    until("all calls", || a.calls() + b.calls() + c.calls() == 60).await;
    assert!(b.calls() > 10, "{}", b.calls());
    b.task.abort();
    connected(&servers, 2).await;
    release(&[&a, &c], &calls).await;
    let mut lost = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(which) => assert_ne!(which, "b"),
            Err(error) => {
                // It may have run, and is not made again without leave.
                let CallError::Disconnected {
                    endpoint, sent: true, ..
                } = &error
                else {
                    panic!("{error}");
                };
                assert_eq!(*endpoint, b.endpoint.to_string());
                assert!(error.may_have_run());
                lost += 1;
            }
        }
    }
    assert_eq!(lost, b.calls());
    assert_eq!(a.calls() + c.calls(), 60 - lost);
}

#[tokio::test]
async fn what_a_server_that_dies_in_mid_call_had_is_done_by_the_others_if_it_may_run_twice() {
    let ([a, b, c], servers) = started([("a", true), ("b", true), ("c", true)]).await;
    let retry = Retry::new().backoff(Duration::from_millis(1), Duration::from_millis(5));
    let service = ServiceBuilder::new().layer(retry).service(servers.clone());
    let calls = spawned(60, || servers.method("which").by(service.clone()).idempotent());
    until("all calls", || a.calls() + b.calls() + c.calls() == 60).await;
    assert!(b.calls() > 10, "{}", b.calls());
    b.task.abort();
    until("all of its calls at others", || a.calls() + c.calls() == 60).await;
    release(&[&a, &c], &calls).await;
    for call in calls {
        assert_ne!(call.await.unwrap().unwrap(), "b");
    }
    // Each once.
    assert_eq!(a.calls() + c.calls(), 60);
}

/// A default that is not that of the options.
const DEFAULT: Duration = Duration::from_millis(40);

/// A call that names no timeout ends in that of the options: by a server that does not answer, without room, and
/// without any server.
async fn has_the_default<S>(
    connect: impl Fn(&Endpoint, &Options) -> S,
    call: impl AsyncFn(S) -> Result<String, CallError>,
) where
    S: Service<Request, Response = Response, Error = CallError, Future: Send> + Clone + Send + 'static,
{
    let slow = Named::start("slow", true).await;
    let gone = vacant();
    for (endpoint, is_full, is_sent) in [
        (&slow.endpoint, false, true),
        (&slow.endpoint, true, false),
        (&gone, false, false),
    ] {
        let options = Options::new().timeout(DEFAULT).max_in_flight(1);
        let service = connect(endpoint, &options);
        let before = slow.calls();
        let other = Call::new(service.clone(), "which").timeout(2 * DEADLINE);
        let other = is_full.then(|| tokio::spawn(async move { other.value::<_, String>(&()).await }));
        until("who has the only place", || {
            slow.calls() == before + usize::from(is_full)
        })
        .await;
        let begun = Instant::now();
        let error = within("its end", call(service)).await.unwrap_err();
        let CallError::DeadlineExceeded { timeout, unconnected } = error else {
            panic!("{error}");
        };
        assert_eq!(
            (timeout, unconnected.is_none()),
            (DEFAULT, is_sent),
            "{unconnected:?}"
        );
        assert!(begun.elapsed() >= DEFAULT);
        if let Some(other) = other {
            other.abort();
        }
    }
}

fn one_client(endpoint: &Endpoint, options: &Options) -> Client {
    Client::with_options(endpoint, options.clone()).unwrap()
}

fn several(endpoint: &Endpoint, options: &Options) -> Balanced {
    Balanced::with_options([endpoint], options).unwrap()
}

#[tokio::test]
async fn calls_that_name_no_timeout_have_that_of_the_client() {
    has_the_default(one_client, async |client| client.call("which", &()).await).await;
    has_the_default(one_client, async |client| client.method("which").value(&()).await).await;
}

#[tokio::test]
async fn calls_of_several_servers_that_name_no_timeout_have_that_of_their_options() {
    has_the_default(several, async |servers| servers.method("which").value(&()).await).await;
}

#[cfg(feature = "macros")]
#[flexbond_rpc::service]
trait Which {
    async fn which(&self) -> Result<String, Failure>;
}

#[cfg(feature = "macros")]
#[tokio::test]
async fn typed_calls_that_name_no_timeout_have_that_of_the_client() {
    has_the_default(one_client, async |client| WhichClient::new(client).which().await).await;
}

#[cfg(feature = "macros")]
#[tokio::test]
async fn typed_calls_of_several_servers_that_name_no_timeout_have_that_of_their_options() {
    has_the_default(several, async |servers| WhichClient::new(servers).which().await).await;
}

#[tokio::test]
async fn a_server_that_is_slow_has_few_calls() {
    let ([a, b, slow], servers) = started([("a", false), ("b", false), ("slow", true)]).await;
    let mut stuck = Vec::new();
    for _ in 0..200 {
        // However long this takes: a call that is over by its deadline would make room for one more.
        let call = servers.method("which").timeout(Duration::from_secs(3600));
        let calling = tokio::spawn(async move { call.value::<_, String>(&()).await });
        let before = stuck.len();
        until("an answer, or none", || {
            calling.is_finished() || slow.calls() > before
        })
        .await;
        if !calling.is_finished() {
            stuck.push(calling);
        }
    }
    // Once it has a call it is busier than the others, which have none.
    assert!(stuck.len() <= 1, "{} of 200", stuck.len());
    assert_eq!(slow.calls(), stuck.len());
    assert!(a.calls() > 50 && b.calls() > 50, "{} {}", a.calls(), b.calls());
}

#[tokio::test]
async fn while_nobody_is_there_calls_wait_for_the_first_who_comes() {
    let [gone, later] = [vacant(), vacant()];
    let servers = balanced([&gone, &later]);
    let early = servers.method("echo").timeout(Duration::from_millis(20));
    let error = within("its end", early.value::<_, String>(&"x"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("none of 2 servers"), "{error}");
    assert!(!error.may_have_run());
    let waiting = tokio::spawn({
        let call = servers.method("echo");
        async move { call.value::<_, String>(&"x").await }
    });
    let _server = Running::start(&later.to_string()).await;
    assert_eq!(within("an answer", waiting).await.unwrap().unwrap(), "x");
    assert!(matches!(Balanced::connect([""; 0]), Err(ClientError::NoEndpoint)));
}

#[tokio::test]
async fn a_call_whose_server_goes_before_it_was_sent_goes_to_another() {
    // One that reads nothing, so that most calls wait to be sent.
    let options = flexbond_session::socket::Options::new().recv_hwm(1_usize);
    let deaf = Router::with_options(options).unwrap();
    let first = within("bind", deaf.bind("tcp://127.0.0.1:0")).await.unwrap();
    let second = vacant();
    let mut options = Options::new().timeout(DEADLINE);
    options.socket = options.socket.send_hwm(1_usize);
    let servers = Balanced::with_options([&first, &second], &options).unwrap();
    connected(&servers, 1).await;
    let text = "x".repeat(256 << 10);
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let (call, text) = (servers.method("echo"), text.clone());
            tokio::spawn(async move { call.value::<_, String>(&text).await })
        })
        .collect();
    until("all calls", || servers.clients()[0].in_flight() == 100).await;
    let _server = Running::start(&second.to_string()).await;
    connected(&servers, 2).await;
    drop(deaf);
    let mut answered = 0;
    for call in calls {
        match within("its end", call).await.unwrap() {
            Ok(echo) => {
                assert_eq!(echo, text);
                answered += 1;
            }
            Err(CallError::Disconnected { sent: true, .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(answered > 0);
}

#[tokio::test]
async fn several_servers_have_as_much_room_as_they_have_together() {
    let [a, b] = [Named::start("a", true).await, Named::start("b", true).await];
    let options = Options::new().max_in_flight(2).timeout(DEADLINE);
    let servers = Balanced::with_options([&a.endpoint, &b.endpoint], &options).unwrap();
    connected(&servers, 2).await;
    let calls = spawned(10, || servers.method("which"));
    until("all who have room", || a.calls() == 2 && b.calls() == 2).await;
    while !calls.iter().all(JoinHandle::is_finished) {
        let busy = |server: &Named, client: &Client| client.in_flight() <= 2 && server.calls() <= 10;
        assert!(busy(&a, &servers.clients()[0]) && busy(&b, &servers.clients()[1]));
        a.go.notify_waiters();
        b.go.notify_waiters();
        tokio::task::yield_now().await;
    }
    for call in calls {
        within("an answer", call).await.unwrap().unwrap();
    }
    assert_eq!(a.calls() + b.calls(), 10);
}

#[tokio::test]
async fn who_waits_for_room_goes_to_a_server_that_comes_meanwhile() {
    let busy = Running::start("tcp://127.0.0.1:0").await;
    let later = vacant();
    let options = Options::new().max_in_flight(1).timeout(DEADLINE);
    let servers = Balanced::with_options([&busy.endpoint, &later], &options).unwrap();
    connected(&servers, 1).await;
    let call = servers.method("hang").timeout(3 * DEADLINE);
    let hanging = tokio::spawn(async move { call.value::<_, ()>(&()).await });
    until("the only place", || busy.seen.begun.load(Ordering::SeqCst) == 1).await;
    let mut waiting = servers.clone();
    // A task of its own: it looks again only when it is woken.
    let (looked, has_looked) = tokio::sync::oneshot::channel();
    let mut looked = Some(looked);
    let waiting = tokio::spawn(async move {
        let place = std::future::poll_fn(|cx| {
            let place = Service::poll_ready(&mut waiting, cx);
            if let Some(looked) = looked.take() {
                looked.send(place.is_pending()).unwrap();
            }
            place
        });
        place.await.map(|()| waiting)
    });
    assert!(within("a look", has_looked).await.unwrap(), "there is no room");
    let _server = Running::start(&later.to_string()).await;
    let waiting = within("a place", waiting).await.unwrap().unwrap();
    // Nothing is kept at the one that is busy.
    let call = servers.method("echo").by(waiting);
    assert_eq!(
        within("an answer", call.value::<_, String>(&"x")).await.unwrap(),
        "x"
    );
    hanging.abort();
    let _ = hanging.await;
    until("its end", || servers.clients()[0].in_flight() == 0).await;
    within(
        "a place",
        tower::ServiceExt::ready(&mut servers.clients()[0].clone()),
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn the_balancer_of_tower_prefers_clients_that_are_connected() {
    let [a, gone] = [Named::start("a", false).await, Named::start("gone", false).await];
    let clients = [&a, &gone].map(|server| client(&server.endpoint));
    for client in &clients {
        client.connected(DEADLINE).await.unwrap();
    }
    gone.task.abort();
    until("the loss", || !clients[1].is_connected()).await;
    let mut balance = Balance::new(ServiceList::new::<Request>(clients));
    for _ in 0..50 {
        let call = Call::new(&mut balance, "which").timeout(DEADLINE);
        assert_eq!(
            within("an answer", call.value::<_, String>(&())).await.unwrap(),
            "a"
        );
    }
}

#[tokio::test]
async fn a_slow_answer_is_overtaken_by_that_of_another_server() {
    let ([slow, quick], servers) = started([("slow", true), ("quick", false)]).await;
    let hedge =
        Hedge::after(Duration::from_millis(5)).budget(TpsBudget::new(Duration::from_secs(1), 1000, 1.0));
    let service = ServiceBuilder::new().layer(hedge).service(servers.clone());
    let mut made = 0;
    while slow.calls() < 3 {
        let call = servers.method("which").by(service.clone()).idempotent();
        let which = within("an answer", call.value::<_, String>(&())).await.unwrap();
        assert_eq!(which, "quick");
        made += 1;
        assert!(made < 1000, "the slow one is never asked");
    }
    // The losers are cancelled.
    until("their end", || {
        slow.dropped.load(Ordering::SeqCst) == slow.calls()
    })
    .await;
    assert_eq!(quick.calls(), made);

    // What may not run twice does not.
    let before = slow.calls();
    while slow.calls() == before {
        let call = servers
            .method("which")
            .by(service.clone())
            .timeout(Duration::from_millis(50));
        let _ = within("its end", call.value::<_, String>(&())).await;
        made += 1;
        assert!(made < 2000, "the slow one is never asked");
    }
    assert!(quick.calls() + slow.calls() == made + before);
}

#[tokio::test]
async fn an_attempt_that_fails_leaves_the_answer_to_the_other() {
    let asked = Arc::new(AtomicUsize::new(0));
    let go = Arc::new(Notify::new());
    let service = {
        let (asked, go) = (Arc::clone(&asked), Arc::clone(&go));
        tower::service_fn(move |_: Request| {
            let n = asked.fetch_add(1, Ordering::SeqCst);
            let go = Arc::clone(&go);
            async move {
                if n == 1 {
                    go.notify_one();
                    return Err(CallError::from(Failure::new(FailureKind::Overloaded, "later")));
                }
                go.notified().await;
                Ok(Response::default())
            }
        })
    };
    let hedge = Hedge::after(Duration::from_millis(1));
    let service = ServiceBuilder::new().layer(hedge).service(service);
    let call = Call::new(service, "any").idempotent();
    let _: Result<(), _> = within("an answer", call.value(&())).await;
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_second_call_is_made_when_a_call_takes_longer_than_most_did_and_the_budget_allows() {
    let asked = Arc::new(AtomicUsize::new(0));
    let slow = Arc::new(AtomicUsize::new(0));
    let service = {
        let (asked, slow) = (Arc::clone(&asked), Arc::clone(&slow));
        tower::service_fn(move |_: Request| {
            asked.fetch_add(1, Ordering::SeqCst);
            let slow = Arc::clone(&slow);
            async move {
                tokio::time::sleep(Duration::from_millis(10)).await;
                if slow.load(Ordering::SeqCst) > 0 {
                    tokio::time::sleep(Duration::from_secs(10)).await;
                }
                Ok::<_, CallError>(Response::default())
            }
        })
    };
    let hedge =
        Hedge::at_quantile(0.95, Duration::ZERO).budget(TpsBudget::new(Duration::from_secs(1), 3, 0.0));
    let service = ServiceBuilder::new().layer(hedge).service(service);
    let call = async || {
        let call = Call::new(service.clone(), "any").idempotent();
        let _: Result<(), _> = call.value(&()).await;
    };
    for _ in 0..100 {
        call().await;
    }
    assert_eq!(asked.swap(0, Ordering::SeqCst), 100, "none took long");
    slow.store(1, Ordering::SeqCst);
    let calls = (0..10).map(|_| call());
    futures_util::future::join_all(calls).await;
    assert_eq!(asked.load(Ordering::SeqCst), 13, "ten and those of the budget");
}

#[tokio::test(start_paused = true)]
async fn a_delay_without_end_is_no_second_call() {
    let service = tower::service_fn(async |_: Request| {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok::<_, CallError>(Response::default())
    });
    let hedge = Hedge::after(Duration::MAX);
    let service = ServiceBuilder::new().layer(hedge).service(service);
    let call = Call::new(service, "any").idempotent();
    call.stream::<_, ()>(&()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_second_call_that_gave_up_on_room_is_not_in_the_way_of_others() {
    let server = Running::start("inproc://layers-places").await;
    let hour = Duration::from_secs(3600);
    let options = Options::new().max_in_flight(2).timeout(hour);
    let client = Client::with_options(&server.endpoint, options).unwrap();
    let other = tokio::spawn({
        let client = client.clone();
        async move { client.call::<_, ()>("hang", &()).await }
    });
    let hedged = ServiceBuilder::new()
        .layer(Hedge::after(Duration::from_millis(10)))
        .service(client.clone());
    let hedged = tokio::spawn(async move {
        let call = Call::new(hedged, "hang").idempotent();
        call.value::<_, ()>(&()).await
    });
    // The second waits for room for half a minute.
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(server.seen.begun.load(Ordering::SeqCst), 2);
    other.abort();
    let echo = within("an answer", client.call::<_, String>("echo", &"x")).await;
    assert_eq!(echo.unwrap(), "x");
    assert!(!hedged.is_finished());
    hedged.abort();
}

/// Calls `hang` by a client that has room for one call, 6 s before there is room. What it says of its end.
async fn after_a_wait(name: &str, call: impl AsyncFn(Client) -> CallError) -> (Duration, Option<String>) {
    let server = Running::start(name).await;
    let options = Options::new().max_in_flight(1).timeout(Duration::from_secs(10));
    let client = Client::with_options(&server.endpoint, options).unwrap();
    let first = client.method("hang").timeout(Duration::from_secs(6));
    let (first, error) = tokio::join!(first.value::<_, ()>(&()), call(client.clone()));
    first.unwrap_err();
    server.kill().await;
    let CallError::DeadlineExceeded { timeout, unconnected } = error else {
        panic!("{error}");
    };
    (timeout, unconnected)
}

#[tokio::test(start_paused = true)]
async fn what_a_call_waited_for_room_is_in_the_time_that_its_error_tells() {
    let request = |timeout| {
        let arguments = Codec::Postcard.encode(&()).unwrap();
        let mut request = Request::new(Method::new("hang").unwrap(), Codec::Postcard, arguments);
        request.timeout = timeout;
        request
    };
    for (named, whole) in [(None, 10), (Some(Duration::from_secs(8)), 8)] {
        let whole = (Duration::from_secs(whole), None);
        let by_request = async |client: Client| client.request(request(named)).await.unwrap_err();
        assert_eq!(after_a_wait("inproc://layers-waits", by_request).await, whole);
        let by_method = async |client: Client| {
            let mut call = client.method("hang");
            if let Some(timeout) = named {
                call = call.timeout(timeout);
            }
            call.value::<_, ()>(&()).await.unwrap_err()
        };
        assert_eq!(after_a_wait("inproc://layers-waits", by_method).await, whole);
        #[cfg(feature = "macros")]
        {
            let typed = async |client: Client| {
                let mut call = HangClient::new(client).hang();
                if let Some(timeout) = named {
                    call = call.timeout(timeout);
                }
                call.await.unwrap_err()
            };
            assert_eq!(after_a_wait("inproc://layers-waits", typed).await, whole);
        }
    }
}

#[cfg(feature = "macros")]
#[flexbond_rpc::service]
trait Hang {
    async fn hang(&self) -> Result<(), Failure>;
}
