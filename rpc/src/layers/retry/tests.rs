//! What is made again, when, how often, and how it is told.

use std::sync::atomic::{AtomicU32, Ordering};

use super::super::scripted::{Scripted, Step, failed, lost, request};
use super::*;
use crate::request::Items;

/// What became of a call, after how long, and what the service was asked.
struct Ended {
    answer: Result<(), CallError>,
    took: Duration,
    made: Vec<Option<Duration>>,
}

impl Ended {
    /// Timers are of whole milliseconds.
    fn took_about(&self, millis: u64) -> bool {
        (millis..=millis + 5).contains(&(self.took.as_millis() as u64))
    }
}

async fn retried(retry: &Retry, request: Request, steps: impl IntoIterator<Item = Step>) -> Ended {
    let scripted = Scripted::new(steps);
    let mut service = retry.layer(scripted.clone());
    let begun = Instant::now();
    tower::ServiceExt::ready(&mut service).await.unwrap();
    let calling = tokio::time::timeout(Duration::from_secs(3600), service.call(request));
    let answer = calling.await.expect("an end within the hour");
    Ended {
        answer: answer.map(drop),
        took: begun.elapsed(),
        made: scripted.made(),
    }
}

fn fails(error: CallError) -> Step {
    Step::answers(Err(error))
}

fn good() -> Step {
    Step::answers(Ok(()))
}

const SECOND: Option<Duration> = Some(Duration::from_secs(1));

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
        for (is_idempotent, again) in [(false, plain), (true, idempotent)] {
            let steps = [fails(error.clone()), good()];
            let ended = retried(&Retry::new(), request(is_idempotent, None), steps).await;
            assert_eq!(
                ended.made.len(),
                1 + usize::from(again),
                "{error} {is_idempotent}"
            );
            assert_eq!(ended.answer.err(), (!again).then_some(error.clone()));
        }
    }
    let mut upload = request(true, None);
    upload.items = Some(Items::new(futures_util::stream::empty()));
    let ended = retried(&Retry::new(), upload, [fails(lost(false)), good()]).await;
    assert_eq!((ended.answer, ended.made.len()), (Err(lost(false)), 1));
}

#[tokio::test(start_paused = true)]
async fn what_layers_have_boxed_is_taken_back() {
    type Make = fn() -> BoxError;
    let errors: [(Make, u32, &str); 3] = [
        (|| lost(false).into(), 3, "connection to tcp://there lost"),
        (
            || tower::load_shed::error::Overloaded::new().into(),
            3,
            "overloaded",
        ),
        (|| "nobody knows".into(), 1, "nobody knows"),
    ];
    for (make, attempts, told) in errors {
        let asked = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&asked);
        let service = tower::service_fn(move |_: Request| {
            counted.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Err::<Response, _>(make()))
        });
        let mut service = Retry::new().attempts(3).layer(service);
        let error = service.call(request(false, None)).await.unwrap_err();
        assert_eq!(asked.load(Ordering::SeqCst), attempts);
        assert!(error.to_string().starts_with(told), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_and_there_is_an_end_of_attempts() {
    let (first, longest) = (Duration::from_millis(10), Duration::from_millis(35));
    let retry = Retry::new().attempts(6).backoff(first, longest);
    let mut again = Again::new(retry.clone(), Deadline::of(&request(true, None)));
    for (least, most) in [(10, 20), (17, 35), (17, 35), (17, 35), (17, 35)] {
        let begun = Instant::now();
        let at = again.pause(&lost(true), true).expect("another attempt");
        let pause = at - begun;
        assert!(pause >= Duration::from_millis(least), "{pause:?}");
        assert!(pause <= Duration::from_millis(most), "{pause:?}");
    }
    assert!(again.pause(&lost(true), true).is_none());
    let ended = retried(&retry, request(true, None), (0..9).map(|_| fails(lost(true)))).await;
    assert_eq!((ended.answer, ended.made.len()), (Err(lost(true)), 6));
}

#[tokio::test(start_paused = true)]
async fn a_retry_has_the_time_that_is_left_and_is_not_made_without() {
    let shortest = Duration::from_millis(1);
    let retry = Retry::new().attempts(100).backoff(shortest, shortest);
    let timeout = Some(Duration::from_millis(2500));
    let steps = (0..9).map(|_| fails(lost(true)).after(1000));
    let ended = retried(&retry, request(true, timeout), steps).await;
    assert!(ended.took_about(3000), "{:?}", ended.took);
    assert_eq!(ended.made[0], timeout);
    for (written, left) in std::iter::zip(&ended.made[1..], [1500, 500]) {
        let (written, left) = (written.expect("a timeout"), Duration::from_millis(left));
        assert!(
            written <= left && written + Duration::from_millis(5) > left,
            "{written:?}"
        );
    }
    assert_eq!(ended.made.len(), 3);
    // So has one that waits for room.
    let ended = retried(
        &retry,
        request(true, timeout),
        [fails(lost(true)).after(1000), good().room_after(1000)],
    )
    .await;
    let left = ended.made[1].expect("a timeout");
    assert!(
        left <= Duration::from_millis(500) && left > Duration::from_millis(490),
        "{left:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_retry_whose_pause_is_longer_than_the_time_that_is_left_is_not_made() {
    let pause = Duration::from_secs(10);
    let retry = Retry::new().backoff(pause, pause);
    let ended = retried(&retry, request(true, SECOND), [fails(lost(true)), good()]).await;
    assert!(ended.took_about(0), "{:?}", ended.took);
    assert_eq!((ended.answer, ended.made.len()), (Err(lost(true)), 1));
}

#[tokio::test(start_paused = true)]
async fn those_whom_one_event_has_met_do_not_come_back_at_once_however_long_their_pauses_are() {
    let longest = Duration::from_secs(8);
    for first in [Duration::from_secs(1), longest] {
        let retry = Retry::new().backoff(first, longest).attempts(10);
        let at = (0..64).map(|_| {
            let mut again = Again::new(retry.clone(), Deadline::of(&request(true, None)));
            for _ in 0..4 {
                again.pause(&lost(true), true).expect("another attempt");
            }
            again.pause(&lost(true), true).expect("another attempt")
        });
        let at: std::collections::BTreeSet<_> = at.collect();
        // That two of them meet by chance is not what this is about.
        assert!(at.len() > 60, "{}", at.len());
        let (first, last) = (at.first().unwrap(), at.last().unwrap());
        assert!(*last - *first > longest / 4, "{:?}", *last - *first);
    }
    // However many there were.
    assert!(Retry::new().pause(u32::MAX) <= Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn the_time_that_an_error_tells_is_that_of_the_call() {
    let over = |millis| CallError::DeadlineExceeded {
        timeout: Duration::from_millis(millis),
        unconnected: None,
    };
    for (timeout, told) in [(SECOND, over(1000)), (None, over(7))] {
        let steps = [fails(lost(false)), fails(over(7))];
        let ended = retried(&Retry::new(), request(false, timeout), steps).await;
        assert_eq!(ended.answer, Err(told));
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_never_has_room_does_not_outlive_the_calls_time() {
    let overloaded = || failed(FailureKind::Overloaded);
    for (timeout, end) in [(SECOND, 1000), (None, 30_000)] {
        for (errors, expected) in [
            (vec![lost(true)], lost(true)),
            (vec![overloaded()], overloaded()),
            // It does not hide that an attempt before may have run.
            (vec![lost(true), overloaded()], lost(true)),
            (vec![overloaded(), lost(true)], lost(true)),
        ] {
            let retry = Retry::new().backoff(Duration::from_millis(1), Duration::from_millis(1));
            let ended = retried(&retry, request(true, timeout), errors.into_iter().map(fails)).await;
            assert_eq!(ended.answer, Err(expected));
            assert!(ended.took_about(end), "{:?}", ended.took);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_broken_is_not_asked_again() {
    let broken = || CallError::Closed;
    for (error, expected) in [(lost(true), lost(true)), (lost(false), broken())] {
        let steps = [fails(error), Step::broken(broken()), good()];
        let ended = retried(&Retry::new(), request(true, SECOND), steps).await;
        assert_eq!((ended.answer, ended.made.len()), (Err(expected), 1));
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_budget_nothing_is_made_again_and_success_earns_some() {
    let retry = Retry::new().budget(TpsBudget::new(Duration::from_secs(1), 2, 0.5));
    let attempts = async |steps: [Step; 2]| {
        let ended = retried(&retry.clone().attempts(2), request(true, None), steps).await;
        ended.made.len()
    };
    let bad = || attempts([fails(lost(true)), fails(lost(true))]);
    assert_eq!([bad().await, bad().await, bad().await], [2, 2, 1]);
    for _ in 0..2 {
        assert_eq!(attempts([good(), good()]).await, 1);
    }
    assert_eq!([bad().await, bad().await], [2, 1]);
}

#[tokio::test(start_paused = true)]
async fn the_end_does_not_hide_that_an_attempt_may_have_run() {
    let over = |unconnected: Option<&str>| CallError::DeadlineExceeded {
        timeout: Duration::from_millis(1),
        unconnected: unconnected.map(str::to_owned),
    };
    for (errors, expected) in [
        (vec![lost(true), lost(false)], lost(true)),
        (
            vec![lost(true), failed(FailureKind::Cancelled)],
            failed(FailureKind::Cancelled),
        ),
        (vec![failed(FailureKind::Overloaded), lost(false)], lost(false)),
        (
            vec![lost(true), lost(false), failed(FailureKind::Overloaded)],
            lost(true),
        ),
        (vec![lost(true), over(Some("no connection"))], lost(true)),
        (vec![lost(false), over(None)], over(None)),
    ] {
        let retry = Retry::new().attempts(errors.len() as u32);
        let ended = retried(&retry, request(true, None), errors.into_iter().map(fails)).await;
        assert_eq!(ended.answer, Err(expected));
    }
}
