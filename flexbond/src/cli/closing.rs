//! Leaving a stream that messages were sent to.

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
    let limit = match linger.0 {
        None => "for ever".to_owned(),
        Some(linger) => format!("at most {} s", linger.as_secs_f64()),
    };
    let how = match interrupt.is_set() {
        true => "Ctrl-C again ends",
        false => "a second Ctrl-C ends",
    };
    note(&format!(
        "waiting for messages that are not delivered yet, {limit}; {how} at once"
    ));
    closed.await.undelivered
}
