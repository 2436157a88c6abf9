//! Which of two calls is the answer, and how long the second may wait for room.

use tower::ServiceExt;

use super::super::scripted::{Scripted, Step, failed, lost, request};
use super::*;
use crate::failure::FailureKind;

/// What became of a call, after how many milliseconds, and what the service was asked.
struct Ended {
    answer: Result<(), CallError>,
    millis: u128,
    made: Vec<Option<Duration>>,
}

/// Makes a call whose second begins after 10 ms.
async fn hedged(timeout: Option<Duration>, steps: impl IntoIterator<Item = Step>) -> Ended {
    hedged_by(&Hedge::after(Duration::from_millis(10)), timeout, steps).await
}

async fn hedged_by(hedge: &Hedge, timeout: Option<Duration>, steps: impl IntoIterator<Item = Step>) -> Ended {
    let scripted = Scripted::new(steps);
    let mut service = hedge.layer(scripted.clone());
    let begun = Instant::now();
    service.ready().await.unwrap();
    let calling = tokio::time::timeout(Duration::from_secs(3600), service.call(request(true, timeout)));
    let answer = calling.await.expect("an end within the hour");
    Ended {
        answer: answer.map(drop),
        millis: begun.elapsed().as_millis(),
        made: scripted.made(),
    }
}

const SECOND: Option<Duration> = Some(Duration::from_secs(1));

#[tokio::test(start_paused = true)]
async fn the_first_answers_while_the_second_waits_for_room() {
    for timeout in [None, SECOND] {
        let hedged = hedged(timeout, [Step::answers(Ok(())).after(100)]).await;
        assert_eq!(hedged.answer, Ok(()));
        assert_eq!((hedged.millis, hedged.made.len()), (100, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_that_never_has_room_does_not_outlive_the_calls_time() {
    for (timeout, end) in [(SECOND, 1000), (None, 30_010)] {
        let hedged = hedged(timeout, [Step::answers(Err(lost(true))).after(100)]).await;
        assert_eq!(hedged.answer, Err(lost(true)));
        // Timers are of whole milliseconds.
        assert!((end..=end + 2).contains(&hedged.millis), "{}", hedged.millis);
        assert_eq!(hedged.made.len(), 1);
    }
    // The first may take longer than the second may wait.
    let hedged = hedged(None, [Step::answers(Ok(())).after(60_000)]).await;
    assert_eq!((hedged.answer, hedged.millis), (Ok(()), 60_000));
}

#[tokio::test(start_paused = true)]
async fn a_second_has_the_time_that_is_left_and_is_not_begun_without() {
    let slow = || Step::answers(Ok(())).after(2000);
    let quick = Step::answers(Ok(())).after(5).room_after(90);
    let made = hedged(SECOND, [slow(), quick]).await.made;
    let left = made[1].expect("a timeout");
    let expected = Duration::from_millis(900);
    assert!(
        left <= expected && left + Duration::from_millis(5) > expected,
        "{left:?}"
    );

    // What would be too late is not begun, and spends nothing of the budget.
    let budget = TpsBudget::new(Duration::from_secs(60), 0, 0.5);
    let hedge = Hedge::after(Duration::from_millis(10)).budget(budget);
    let too_short = Some(Duration::from_millis(10));
    let mut made = Vec::new();
    for timeout in [SECOND, too_short, SECOND] {
        made.push(hedged_by(&hedge, timeout, [slow(), slow()]).await.made.len());
    }
    assert_eq!(made, [1, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn without_a_budget_there_is_no_second() {
    let hedge =
        Hedge::after(Duration::from_millis(10)).budget(TpsBudget::new(Duration::from_secs(60), 0, 0.5));
    let slow = || Step::answers(Ok(())).after(100);
    let mut made = Vec::new();
    for _ in 0..4 {
        made.push(hedged_by(&hedge, SECOND, [slow(), slow()]).await.made.len());
    }
    assert_eq!(made, [1, 2, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_what_was_not_run_leaves_the_answer_to_the_other() {
    for error in [
        failed(FailureKind::UnknownMethod),
        failed(FailureKind::BadArguments),
        failed(FailureKind::Overloaded),
        lost(false),
        lost(true),
        CallError::DeadlineExceeded {
            timeout: Duration::ZERO,
            unconnected: Some("there is no connection".to_owned()),
        },
        CallError::Closed,
    ] {
        let refused = || Step::answers(Err(error.clone())).after(20);
        let good = || Step::answers(Ok(())).after(100);
        let second_fails = hedged(SECOND, [good(), refused()]).await;
        assert_eq!(
            (second_fails.answer, second_fails.millis),
            (Ok(()), 100),
            "{error}"
        );
        let first_fails = hedged(SECOND, [refused(), good()]).await;
        assert_eq!(first_fails.answer, Ok(()), "{error}");
    }
    // Nor is there a second whose service is broken.
    let broken = Step::broken(CallError::Layer("broken".to_owned()));
    let hedged = hedged(SECOND, [Step::answers(Ok(())).after(100), broken]).await;
    assert_eq!((hedged.answer, hedged.millis), (Ok(()), 100));
}

#[tokio::test(start_paused = true)]
async fn what_the_handler_answers_is_the_answer() {
    for kind in [FailureKind::Failed, FailureKind::Panicked] {
        let slow = Step::answers(Ok(())).after(100);
        let hedged = hedged(SECOND, [slow, Step::answers(Err(failed(kind))).after(20)]).await;
        assert_eq!(hedged.answer, Err(failed(kind)));
        assert!(hedged.millis < 40, "{}", hedged.millis);
    }
}

#[tokio::test(start_paused = true)]
async fn when_both_fail_the_error_says_whether_either_may_have_run() {
    let overloaded = || failed(FailureKind::Overloaded);
    let unknown = || failed(FailureKind::UnknownMethod);
    for (first, second, expected) in [
        // The later one, unless it hides that the other may have run.
        (lost(true), overloaded(), lost(true)),
        (overloaded(), lost(true), lost(true)),
        (lost(false), overloaded(), overloaded()),
        (unknown(), lost(false), lost(false)),
        (lost(true), unknown(), lost(true)),
        (
            unknown(),
            failed(FailureKind::Failed),
            failed(FailureKind::Failed),
        ),
        (
            lost(true),
            failed(FailureKind::Cancelled),
            failed(FailureKind::Cancelled),
        ),
    ] {
        let fails = |error: &CallError, millis| Step::answers(Err(error.clone())).after(millis);
        let in_turn = hedged(SECOND, [fails(&first, 50), fails(&second, 100)]).await;
        assert_eq!(in_turn.answer, Err(expected.clone()), "{first}, {second}");
        // The second is the first to end.
        let other = hedged(SECOND, [fails(&second, 200), fails(&first, 50)]).await;
        assert_eq!(other.answer, Err(expected), "{first}, {second}");
    }
    // The time that it tells is that of the call, not what was left of it for the second.
    let over = |timeout| CallError::DeadlineExceeded {
        timeout,
        unconnected: None,
    };
    let late = Step::answers(Err(over(Duration::from_millis(9)))).after(100);
    let ended = hedged(SECOND, [Step::answers(Err(lost(false))).after(50), late]).await;
    assert_eq!(ended.answer, Err(over(Duration::from_secs(1))));
    // A first one that may have run, and a second for which there is never room.
    let hedged = hedged(SECOND, [Step::answers(Err(lost(true))).after(50)]).await;
    assert!(hedged.answer.unwrap_err().may_have_run());
}

#[tokio::test(start_paused = true)]
async fn a_final_error_of_the_first_does_not_wait_for_the_seconds_room() {
    for error in [
        failed(FailureKind::UnknownMethod),
        failed(FailureKind::BadArguments),
        failed(FailureKind::Failed),
        CallError::Closed,
    ] {
        let first = Step::answers(Err(error.clone())).after(20);
        let second = Step::answers(Ok(())).room_after(500);
        let ended = hedged(SECOND, [first, second]).await;
        assert_eq!((ended.answer, ended.made.len()), (Err(error), 1));
        assert!(ended.millis < 40, "{}", ended.millis);
    }
    // One that another attempt may mend does.
    for error in [failed(FailureKind::Overloaded), lost(false), lost(true)] {
        let first = Step::answers(Err(error.clone())).after(20);
        let second = Step::answers(Ok(())).room_after(500);
        let ended = hedged(SECOND, [first, second]).await;
        assert_eq!((ended.answer, ended.made.len()), (Ok(()), 2), "{error}");
    }
}
