//! What becomes of calls, answer by answer.

use std::time::Duration;

use super::super::slot::Patience;
use super::*;
use crate::envelope::Codec;
use crate::failure::FailureKind;

const LIMIT: Duration = Duration::from_secs(30);

fn calls() -> Calls {
    Calls::new(16, 1000)
}

fn unary() -> slot::Kind {
    slot::Kind {
        patience: Patience::Each(LIMIT),
        window: None,
        uploads: false,
        is_one_way: false,
    }
}

fn stream(window: u32) -> slot::Kind {
    slot::Kind {
        window: Some(window),
        ..unary()
    }
}

fn upload() -> slot::Kind {
    slot::Kind {
        uploads: true,
        ..unary()
    }
}

fn begin(calls: &mut Calls, now: Instant, kind: slot::Kind) -> u64 {
    let call = calls.insert(now, kind, &mut Place::None);
    calls.sent(now, call, &mut Vec::new());
    call
}

fn answer(calls: &mut Calls, now: Instant, envelope: Envelope) -> Server {
    calls.answer(now, envelope, &mut Vec::new())
}

fn expire(calls: &mut Calls, now: Instant) -> Vec<u64> {
    calls.expire(now, || "nobody there".to_owned(), &mut Vec::new())
}

fn poll_answer(calls: &mut Calls, call: u64) -> Poll<Result<Beginning, CallError>> {
    let cx = &mut Context::from_waker(Waker::noop());
    calls.poll_answer(cx, call, &mut Vec::new())
}

fn error(calls: &mut Calls, call: u64) -> CallError {
    match poll_answer(calls, call) {
        Poll::Ready(Err(error)) => error,
        other => panic!("no error: {other:?}"),
    }
}

fn poll_item(calls: &mut Calls, now: Instant, call: u64) -> Poll<Result<Next, CallError>> {
    let cx = &mut Context::from_waker(Waker::noop());
    calls.poll_item(now, cx, call, &mut Vec::new())
}

/// Reads an item; returns the leave that is given with it.
fn read(calls: &mut Calls, now: Instant, call: u64) -> u32 {
    match poll_item(calls, now, call) {
        Poll::Ready(Ok(Next::Item(_, more))) => more,
        other => panic!("no item: {other:?}"),
    }
}

fn leave(calls: &mut Calls, call: u64) -> Option<bool> {
    calls.poll_leave(&mut Context::from_waker(Waker::noop()), call)
}

fn failed(call: u64, kind: FailureKind) -> Envelope {
    Failure::new(kind, "so it is").to_envelope(call, Codec::Json)
}

#[test]
fn what_is_found_here_stops_the_server_and_what_it_ended_does_not() {
    let now = Instant::now();
    let mut calls = calls();
    let large = vec![0; 1001];

    let call = begin(&mut calls, now, stream(2));
    let item = Envelope::stream_item(call, 0, large.clone());
    assert_eq!(answer(&mut calls, now, item), Server::MustStop);
    assert!(matches!(error(&mut calls, call), CallError::TooLarge { .. }));

    let call = begin(&mut calls, now, unary());
    let response = Envelope::response(call, large);
    assert_eq!(answer(&mut calls, now, response), Server::Knows);
    assert!(matches!(error(&mut calls, call), CallError::TooLarge { .. }));

    let call = begin(&mut calls, now, stream(2));
    let item = Envelope::stream_item(call, 5, "");
    assert_eq!(answer(&mut calls, now, item), Server::MustStop);
    let expected = CallError::Incomplete { received: 0, sent: 5 };
    assert_eq!(error(&mut calls, call), expected);

    let call = begin(&mut calls, now, stream(1));
    let items = [0, 1].map(|n| Envelope::stream_item(call, n, ""));
    let servers = items.map(|item| answer(&mut calls, now, item));
    assert_eq!(servers, [Server::Knows, Server::MustStop]);
    read(&mut calls, now, call);
    let flooded = poll_item(&mut calls, now, call);
    assert!(
        matches!(flooded, Poll::Ready(Err(CallError::Flooded { number: 1 }))),
        "{flooded:?}"
    );

    let call = begin(&mut calls, now, unary());
    let item = Envelope::stream_item(call, 0, "");
    assert_eq!(answer(&mut calls, now, item.clone()), Server::MustStop);
    assert_eq!(answer(&mut calls, now, item), Server::Knows, "told once");
    assert_eq!(error(&mut calls, call), CallError::Shape { stream: true });

    let call = begin(&mut calls, now, stream(2));
    assert_eq!(
        answer(&mut calls, now, Envelope::stream_end(call, 9)),
        Server::Knows
    );
    assert!(matches!(error(&mut calls, call), CallError::Incomplete { .. }));

    for (kind, server) in [
        (Some(Kind::StreamItem), Server::MustStop),
        (Some(Kind::Response), Server::Knows),
        (None, Server::MustStop),
    ] {
        let call = begin(&mut calls, now, stream(2));
        let malformed = DecodeError::Truncated;
        assert_eq!(calls.malformed(call, kind, malformed, &mut Vec::new()), server);
        let error = error(&mut calls, call);
        assert!(error.may_have_run(), "{error}");
    }
    assert_eq!(calls.len(), 0);
}

#[test]
fn an_answer_in_the_midst_of_a_stream_is_an_error_and_alone_it_is_a_stream_of_one() {
    let now = Instant::now();
    let mut calls = calls();
    let call = begin(&mut calls, now, stream(2));
    let _ = answer(&mut calls, now, Envelope::stream_item(call, 0, ""));
    let _ = answer(&mut calls, now, Envelope::response(call, "all"));
    read(&mut calls, now, call);
    let end = poll_item(&mut calls, now, call);
    assert!(
        matches!(end, Poll::Ready(Err(CallError::Shape { stream: false }))),
        "{end:?}"
    );

    let call = begin(&mut calls, now, stream(2));
    let _ = answer(&mut calls, now, Envelope::response(call, "all"));
    read(&mut calls, now, call);
    assert!(matches!(
        poll_item(&mut calls, now, call),
        Poll::Ready(Ok(Next::End))
    ));
}

#[test]
fn the_clock_stands_still_while_the_caller_has_nothing_to_send() {
    let begun = Instant::now();
    let mut calls = calls();
    let call = begin(&mut calls, begun, upload());
    let later = begun + LIMIT / 2;
    let _ = answer(&mut calls, later, Envelope::credit(call, 1));
    // For an hour the caller has no item, although the server would take one.
    let much_later = begun + 100 * LIMIT;
    assert!(expire(&mut calls, much_later).is_empty());
    assert_eq!(leave(&mut calls, call), Some(true));
    // From here on leave is due, and not much later.
    calls.uploaded(much_later, call);
    assert_eq!(leave(&mut calls, call), Some(false));
    assert_eq!(calls.poll_timeout(), Some(much_later + LIMIT));
    assert_eq!(expire(&mut calls, much_later + LIMIT), [call]);
    assert!(matches!(
        error(&mut calls, call),
        CallError::DeadlineExceeded {
            unconnected: None,
            ..
        }
    ));

    let call = begin(&mut calls, begun, upload());
    let _ = answer(&mut calls, begun, Envelope::credit(call, 9));
    assert!(expire(&mut calls, much_later).is_empty());
    // After the last item the answer is due.
    calls.upload_ended(much_later, call);
    assert_eq!(expire(&mut calls, much_later + LIMIT), [call]);
}

#[test]
fn the_clock_stands_still_while_the_reader_does_not_read_and_goes_on_when_it_has() {
    let now = Instant::now();
    let mut calls = calls();
    let call = begin(&mut calls, now, stream(4));
    let _ = answer(&mut calls, now, Envelope::stream_item(call, 0, ""));
    let later = now + 10 * LIMIT;
    assert!(expire(&mut calls, later).is_empty());
    assert_eq!(calls.poll_timeout(), None);
    read(&mut calls, later, call);
    assert_eq!(calls.poll_timeout(), Some(later + LIMIT));
    assert_eq!(expire(&mut calls, later + LIMIT), [call]);
}

#[test]
fn a_call_of_which_the_server_owes_nothing_yet_has_its_whole_time_once_it_is_sent() {
    let now = Instant::now();
    let mut calls = calls();
    let call = calls.insert(now, stream(4), &mut Place::None);
    let later = now + LIMIT * 9 / 10;
    calls.sent(later, call, &mut Vec::new());
    assert!(expire(&mut calls, now + LIMIT).is_empty());
    assert_eq!(expire(&mut calls, later + LIMIT), [call]);
}

#[test]
fn no_leave_is_given_when_the_end_of_a_stream_is_there() {
    let now = Instant::now();
    let mut calls = calls();
    for is_ended in [false, true] {
        let call = begin(&mut calls, now, stream(4));
        for n in 0..4 {
            let _ = answer(&mut calls, now, Envelope::stream_item(call, n, ""));
        }
        if is_ended {
            let _ = answer(&mut calls, now, Envelope::stream_end(call, 4));
        }
        let given = [(); 4].map(|()| read(&mut calls, now, call));
        assert_eq!(given, if is_ended { [0; 4] } else { [0, 2, 0, 2] });
        let end = poll_item(&mut calls, now, call);
        assert_eq!(end.is_ready(), is_ended);
    }
}

#[test]
fn a_one_way_call_is_over_when_it_is_sent() {
    let now = Instant::now();
    let mut calls = calls();
    let one_way = slot::Kind {
        is_one_way: true,
        ..unary()
    };
    let call = calls.insert(now, one_way, &mut Place::None);
    assert!(poll_answer(&mut calls, call).is_pending());
    let mut wakers = Vec::new();
    calls.sent(now, call, &mut wakers);
    assert_eq!(wakers.len(), 1, "who waits is told, without the lock");
    assert!(!calls.is_any_running());
    // What happens to the connection then is not its business.
    calls.fail_all(|_| Some(CallError::Closed), &mut Vec::new());
    assert!(matches!(poll_answer(&mut calls, call), Poll::Ready(Ok(_))));
}

#[test]
fn failures_say_what_they_mean_whatever_came_before() {
    let now = Instant::now();
    let mut calls = calls();
    for (kind, may_have_run) in [
        (FailureKind::Overloaded, false),
        (FailureKind::Unavailable, false),
        (FailureKind::UnknownMethod, false),
        (FailureKind::BadArguments, false),
        (FailureKind::Failed, true),
        (FailureKind::Cancelled, true),
    ] {
        let call = begin(&mut calls, now, unary());
        assert_eq!(answer(&mut calls, now, failed(call, kind)), Server::Knows);
        assert_eq!(error(&mut calls, call).may_have_run(), may_have_run, "{kind}");
    }
}

#[test]
fn a_place_is_free_again_when_a_call_is_over() {
    let now = Instant::now();
    let mut calls = Calls::new(1, 1000);
    let call = begin(&mut calls, now, unary());
    let mut place = Place::None;
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(calls.room.poll(cx, &mut place).is_pending());
    let _ = answer(&mut calls, now, Envelope::response(call, ""));
    assert!(calls.room.poll(cx, &mut place).is_pending(), "not yet told");
    let mut wakers = Vec::new();
    assert!(calls.poll_answer(cx, call, &mut wakers).is_ready());
    assert_eq!(wakers.len(), 1);
    assert!(calls.room.poll(cx, &mut place).is_ready());
}
