//! What is sent when, and what becomes of calls as connections come and go.

use super::super::slot::{Kind, Patience};
use super::*;
use crate::envelope::{Header, Method};

fn shared(name: &str) -> Arc<Shared> {
    let endpoint = format!("inproc://{name}").parse().expect("an endpoint");
    let runtime = Handle::try_current().unwrap_or_else(|_| {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").handle().clone()
    });
    Shared::new(endpoint, Options::default(), runtime)
}

fn kind(patience: Patience) -> Kind {
    Kind {
        patience,
        window: None,
        uploads: false,
        is_one_way: false,
    }
}

fn begin(shared: &Shared, now: Instant, patience: Patience, size: usize) -> u64 {
    shared.with(|state, wakers| {
        let call = state.calls.insert(now, kind(patience), &mut Place::None);
        let mut envelope = Envelope::request(call, Method::new("any").unwrap(), "arguments");
        if let Patience::Whole(limit) = patience {
            envelope.header.deadline = Some(limit);
        }
        state.send(now, call, size, envelope.encode().unwrap(), wakers);
        call
    })
}

fn error(shared: &Shared, call: u64) -> CallError {
    let cx = &mut Context::from_waker(Waker::noop());
    let answer = shared.with(|state, wakers| state.calls.poll_answer(cx, call, wakers));
    match answer {
        Poll::Ready(Err(error)) => error,
        other => panic!("no error: {other:?}"),
    }
}

#[test]
fn a_call_that_was_not_sent_in_time_is_never_sent() {
    let shared = shared("late");
    let now = Instant::now();
    let call = begin(&shared, now, Patience::Whole(Duration::from_secs(1)), 9);
    assert!(shared.state.lock().calls.is_open(call));
    shared.with(|state, wakers| state.look_at_the_clock(now + Duration::from_secs(2), wakers));
    let state = shared.state.lock();
    assert!(state.control.is_empty(), "the server knows nothing of it");
    // Its caller has not looked yet, but will hear that it was not sent.
    assert!(!state.calls.is_open(call));
    drop(state);
    assert!(!error(&shared, call).may_have_run());
}

#[test]
fn calls_that_are_given_up_without_a_connection_do_not_pile_up() {
    let shared = shared("nobody");
    let now = Instant::now();
    let mut kept = Vec::new();
    for n in 0..10_000 {
        let call = begin(&shared, now, Patience::Endless, 9);
        match n % 1000 {
            0 => kept.push(call),
            _ => shared.cancel(call),
        }
    }
    let state = shared.state.lock();
    assert!(state.waiting.len() < 200, "{}", state.waiting.len());
    assert!(
        kept.iter()
            .all(|call| state.waiting.iter().any(|waiting| waiting.call == *call))
    );
}

#[test]
fn calls_that_end_without_a_connection_keep_no_bytes() {
    let shared = shared("heavy");
    let now = Instant::now();
    let bytes = || {
        let state = shared.state.lock();
        state
            .waiting
            .iter()
            .map(|waiting| waiting.message.size())
            .sum::<usize>()
    };
    let kept = begin(&shared, now, Patience::Endless, 9);
    let of_one = bytes();
    assert!(of_one > 0);
    let cancelled = [(); 3].map(|()| begin(&shared, now, Patience::Endless, 9));
    assert_eq!(bytes(), 4 * of_one);
    // In no order, and one of them twice.
    for n in [1, 0, 2, 2] {
        shared.cancel(cancelled[n]);
    }
    assert_eq!(bytes(), of_one);
    begin(&shared, now, Patience::Whole(Duration::from_secs(1)), 9);
    shared.with(|state, wakers| state.look_at_the_clock(now + Duration::from_secs(2), wakers));
    assert_eq!(bytes(), of_one);
    assert!(shared.state.lock().calls.is_open(kept));
    let link = Link::Down {
        reason: "it went".to_owned(),
    };
    shared.with(|state, wakers| state.lose(&shared.endpoint, link, false, wakers));
    assert_eq!(bytes(), 0);
}

#[test]
fn a_call_that_waited_says_how_much_time_is_left() {
    let shared = shared("waits");
    let now = Instant::now();
    let limit = Duration::from_secs(10);
    begin(&shared, now, Patience::Whole(limit), 9);
    begin(&shared, now, Patience::Each(limit), 9);
    let mut state = shared.state.lock();
    for (waited, left) in [(0, 10), (4, 6)] {
        let waited = now + Duration::from_secs(waited);
        let deadline = Some(now + limit);
        let written = state.waiting.iter_mut().map(|waiting| {
            waiting.write_again(waited, deadline);
            let header = waiting.message[0].first_chunk::<{ Header::LEN }>().unwrap();
            Header::decode(header).unwrap().deadline
        });
        let written: Vec<_> = written.collect();
        assert_eq!(written, [Some(Duration::from_secs(left)), None]);
    }
}

#[tokio::test]
async fn calls_that_waited_and_are_too_large_for_the_server_end_when_it_is_there() {
    let shared = shared("small");
    let now = Instant::now();
    let [small, large] = [10, 11].map(|size| begin(&shared, now, Patience::Endless, size));
    let limits = Limits {
        request: 10,
        ..Limits::default()
    };
    shared.with(|state, wakers| state.connected(Dealer::new(), limits, wakers));
    assert!(shared.state.lock().calls.is_open(small));
    let expected = CallError::TooLarge {
        size: 11,
        limit: 10,
        answer: false,
    };
    assert_eq!(error(&shared, large), expected);
    assert_eq!(shared.state.lock().waiting.len(), 1);
}

#[cfg(feature = "inproc")]
#[tokio::test]
async fn while_the_server_drains_what_concerns_its_calls_goes_and_new_calls_wait() {
    let shared = shared("drains");
    let now = Instant::now();
    let other = Dealer::new();
    let endpoint = other.bind("inproc://drains-socket").await.unwrap();
    let dealer = Dealer::new();
    dealer.connect(&endpoint).unwrap();
    shared.with(|state, wakers| state.connected(dealer, Limits::default(), wakers));
    let running = begin(&shared, now, Patience::Endless, 9);
    shared.with(|state, wakers| state.drain(&shared.endpoint, true, wakers));
    let held = begin(&shared, now, Patience::Endless, 9);
    shared.with(|state, _| state.tell(&Envelope::credit(running, 3)));
    for expected in [running, running] {
        let received = tokio::time::timeout(Duration::from_secs(10), other.recv());
        let envelope = Envelope::decode(received.await.unwrap().unwrap()).unwrap();
        assert_eq!(envelope.header.call, expected);
    }
    assert!(!shared.state.lock().is_drained());
    shared.cancel(running);
    let received = tokio::time::timeout(Duration::from_secs(10), other.recv());
    let envelope = Envelope::decode(received.await.unwrap().unwrap()).unwrap();
    assert_eq!(envelope.header.kind, crate::envelope::Kind::Cancel);
    let state = shared.state.lock();
    assert!(state.is_drained());
    assert!(state.calls.is_open(held));
    assert_eq!(state.waiting.len(), 1);
}

#[test]
fn what_was_sent_may_have_run_when_the_client_is_closed_and_the_rest_has_not() {
    for is_stopped in [false, true] {
        let shared = shared("closed");
        let now = Instant::now();
        let [sent, waiting] = [(); 2].map(|()| begin(&shared, now, Patience::Endless, 9));
        shared.with(|state, wakers| state.calls.sent(now, sent, wakers));
        if is_stopped {
            let reason = "nobody listens".to_owned();
            shared.state.lock().link = Link::Stopped { reason };
        }
        shared.close();
        let error_of_sent = error(&shared, sent);
        assert!(
            matches!(error_of_sent, CallError::Disconnected { sent: true, .. }),
            "{error_of_sent}"
        );
        let error = error(&shared, waiting);
        assert!(!error.may_have_run());
        assert_eq!(error != CallError::Closed, is_stopped, "{error}");
    }
}

#[test]
fn an_upload_waits_while_there_is_no_room_for_what_is_said() {
    struct Task;
    impl std::task::Wake for Task {
        fn wake(self: Arc<Self>) {}
    }
    let shared = shared("stalls");
    let now = Instant::now();
    let task = Waker::from(Arc::new(Task));
    let cx = &mut Context::from_waker(&task);
    let mut state = shared.state.lock();
    let uploads = Kind {
        uploads: true,
        ..kind(Patience::Endless)
    };
    let call = state.calls.insert(now, uploads, &mut Place::None);
    let wakers = &mut Vec::new();
    state.calls.sent(now, call, wakers);
    let _ = state.calls.answer(now, Envelope::credit(call, u32::MAX), wakers);
    assert_eq!(state.poll_leave(now, cx, call), Some(true));
    state.control.push_back(Message::from("an item"));
    for _ in 0..3 {
        assert_eq!(state.poll_leave(now, cx, call), Some(false));
    }
    assert_eq!(state.stalled.len(), 1);
}

#[test]
fn the_task_is_told_of_a_deadline_that_is_sooner_than_it_knows() {
    let shared = shared("sooner");
    let now = Instant::now();
    let is_told = || {
        let mut told = std::pin::pin!(shared.work.notified());
        let cx = &mut Context::from_waker(Waker::noop());
        told.as_mut().poll(cx).is_ready()
    };
    begin(&shared, now, Patience::Whole(Duration::from_secs(9)), 9);
    assert!(is_told());
    begin(&shared, now, Patience::Whole(Duration::from_secs(10)), 9);
    assert!(!is_told());
    begin(&shared, now, Patience::Whole(Duration::from_secs(8)), 9);
    assert!(is_told());
    // It looks, and knows of the first that is left.
    shared.with(|state, wakers| state.look_at_the_clock(now, wakers));
    assert!(!is_told());
}

#[tokio::test]
async fn who_does_not_wait_hears_at_once_that_the_server_drains() {
    let shared = shared("hasty");
    let now = Instant::now();
    let [sent, waiting] = [(); 2].map(|()| begin(&shared, now, Patience::Endless, 9));
    shared.with(|state, wakers| {
        state.connected(Dealer::new(), Limits::default(), wakers);
        state.calls.sent(now, sent, wakers);
        state.drain(&shared.endpoint, false, wakers);
    });
    assert!(!error(&shared, waiting).may_have_run());
    assert!(shared.state.lock().calls.is_open(sent));
}
