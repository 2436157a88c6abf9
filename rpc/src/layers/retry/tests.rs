//! What is made again, when, and how often.

use super::*;
use crate::envelope::{Codec, Method};
use crate::failure::Failure;
use crate::request::Items;

fn request(idempotent: bool) -> Request {
    let arguments = Codec::Postcard.encode(&()).unwrap();
    let mut request = Request::new(Method::new("any").unwrap(), Codec::Postcard, arguments);
    request.idempotent = idempotent;
    request
}

fn lost(sent: bool) -> CallError {
    CallError::Disconnected {
        endpoint: "tcp://there".to_owned(),
        reason: "it went".to_owned(),
        sent,
    }
}

fn failed(kind: FailureKind) -> CallError {
    Failure::new(kind, "so it is").into()
}

/// The pause before the next attempt of a call that failed so.
fn pause(retry: &mut Retry, request: &mut Request, error: CallError) -> Option<Sleep> {
    Policy::<_, _, CallError>::retry(retry, request, &mut Err(error))
}

#[tokio::test(start_paused = true)]
async fn only_what_is_sound_and_may_help_is_made_again() {
    for (error, plain, idempotent) in [
        (lost(false), true, true),
        (lost(true), false, true),
        (failed(FailureKind::Overloaded), true, true),
        (failed(FailureKind::Unavailable), true, true),
        (failed(FailureKind::Cancelled), false, true),
        (failed(FailureKind::Failed), false, false),
        (failed(FailureKind::UnknownMethod), false, false),
        (failed(FailureKind::BadArguments), false, false),
        (failed(FailureKind::Panicked), false, false),
        (CallError::OneWayItems, false, false),
        (CallError::Layer("unknown".to_owned()), false, false),
    ] {
        for (is_idempotent, expected) in [(false, plain), (true, idempotent)] {
            let mut retry = Retry::new();
            let again = pause(&mut retry, &mut request(is_idempotent), error.clone());
            assert_eq!(again.is_some(), expected, "{error} {is_idempotent}");
            let mut boxed: Result<Response, BoxError> = Err(error.clone().into());
            let again = Retry::new().retry(&mut request(is_idempotent), &mut boxed);
            assert_eq!(again.is_some(), expected, "{error} {is_idempotent}, boxed");
        }
    }
    let mut uploads = request(true);
    uploads.items = Some(Items::new(futures_util::stream::empty()));
    let copy = Policy::<_, _, CallError>::clone_request(&mut Retry::new(), &uploads);
    assert!(copy.is_none());
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_and_there_is_an_end_of_attempts() {
    let (first, longest) = (Duration::from_millis(10), Duration::from_millis(35));
    let mut retry = Retry::new().attempts(6).backoff(first, longest);
    let mut request = request(true);
    for base in [10, 20, 35, 35, 35] {
        let begun = Instant::now();
        let pause = pause(&mut retry, &mut request, lost(true)).expect("another attempt");
        let pause = pause.deadline() - begun;
        assert!(pause >= Duration::from_millis(base), "{pause:?}");
        assert!(pause <= Duration::from_millis(2 * base).min(longest), "{pause:?}");
    }
    assert!(pause(&mut retry, &mut request, lost(true)).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_retry_has_the_time_that_is_left_and_is_not_made_without() {
    let second = Duration::from_secs(1);
    let mut retry = Retry::new().attempts(100).backoff(second, second);
    let mut request = request(true);
    request.timeout = Some(Duration::from_millis(2500));
    let mut copy = Policy::<_, _, CallError>::clone_request(&mut retry, &request).unwrap();
    for left in [1500, 500] {
        pause(&mut retry, &mut copy, lost(true))
            .expect("another attempt")
            .await;
        let left = Duration::from_millis(left);
        let written = copy.timeout.expect("a timeout");
        // Sleeps are whole milliseconds.
        assert!(
            written <= left && written + Duration::from_millis(5) > left,
            "{written:?}"
        );
        copy = Policy::<_, _, CallError>::clone_request(&mut retry, &copy).unwrap();
    }
    assert!(pause(&mut retry, &mut copy, lost(true)).is_none());
}

#[tokio::test(start_paused = true)]
async fn without_a_budget_nothing_is_made_again_and_success_earns_some() {
    let retry = Retry::new().budget(TpsBudget::new(Duration::from_secs(1), 2, 0.5));
    let again = || pause(&mut retry.clone(), &mut request(true), lost(true)).is_some();
    assert_eq!([(); 3].map(|()| again()), [true, true, false]);
    for _ in 0..2 {
        let mut good: Result<Response, CallError> = Ok(Response::default());
        assert!(retry.clone().retry(&mut request(true), &mut good).is_none());
    }
    assert_eq!([(); 2].map(|()| again()), [true, false]);
}

#[tokio::test(start_paused = true)]
async fn the_end_does_not_hide_that_an_attempt_may_have_run() {
    for (first, last, expected) in [
        (lost(true), lost(false), lost(true)),
        (
            lost(true),
            failed(FailureKind::Cancelled),
            failed(FailureKind::Cancelled),
        ),
        (failed(FailureKind::Overloaded), lost(false), lost(false)),
    ] {
        let mut retry = Retry::new().attempts(2);
        let mut request = request(true);
        assert!(pause(&mut retry, &mut request, first.clone()).is_some());
        let mut result = Err(last.clone());
        assert!(retry.clone().retry(&mut request, &mut result).is_none());
        assert_eq!(result.unwrap_err(), expected);
        let mut boxed: Result<Response, BoxError> = Err(last.into());
        assert!(retry.retry(&mut request, &mut boxed).is_none());
        assert_eq!(CallError::from_boxed(boxed.unwrap_err()), expected);
    }
}
