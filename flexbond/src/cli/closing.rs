//! Leaving a stream that messages were sent to.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use super::argument::Linger;
use super::failure::note;
use super::interrupt::Interrupt;
use crate::stream::Stream;

/// So long the end may take before it is explained to who has asked for it, and to others.
const SILENCE: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(5);

/// Waits for what was not taken yet; a second signal ends that. Returns how many messages are left. Says why the end does
/// not come.
pub(crate) async fn close(stream: Stream, linger: Linger, interrupt: &mut Interrupt) -> u64 {
    let mut closed = pin!(stream.disconnect());
    let impatient = async {
        let asked = async {
            interrupt.wait().await;
            tokio::time::sleep(SILENCE).await;
        };
        // It does not matter which of them it was.
        let _ = tokio::time::timeout(LONG, asked).await;
    };
    tokio::select! {
        closed = &mut closed => return closed.undelivered,
        () = impatient => {}
    }
    let limit = limit(linger);
    let how = match interrupt.is_set() {
        true => "Ctrl-C again ends",
        false => "a second Ctrl-C ends",
    };
    note(&format!(
        "waiting for messages that are not delivered yet, {limit}; {how} at once"
    ));
    closed.await.undelivered
}

/// Says why the end does not come, to who has asked for it, unless that was said until then.
pub(crate) async fn explain(is_said: &Cell<bool>, limit: &str, interrupt_ends: &str) -> Infallible {
    tokio::time::sleep(SILENCE).await;
    if !is_said.get() {
        note(&format!(
            "waiting for messages that are not delivered yet, {limit}; {interrupt_ends} at once"
        ));
    }
    std::future::pending().await
}

/// How long it may take.
pub(crate) fn limit(linger: Linger) -> String {
    match linger.0 {
        None => "for ever".to_owned(),
        Some(linger) => format!("at most {} s", linger.as_secs_f64()),
    }
}

/// Which signal ends the wait, and leaves what is not delivered.
pub(crate) fn interrupt_ends(interrupt: &Interrupt) -> &'static str {
    match interrupt.is_set() {
        true => "Ctrl-C again ends",
        false => "Ctrl-C ends",
    }
}

/// Why messages are left.
pub(crate) fn reason(is_hurried: bool) -> &'static str {
    match is_hurried {
        false => "no receiver came, or one went away or did not take them in time",
        true => "nobody waits for a receiver any longer",
    }
}
