//! Why there is no answer: what the server says, and what to do about it.

use serde_json::Value;

use crate::cli::failure::{Failure, explain};
use crate::rpc::{self, CallError, FailureKind};

const STOPPED: &str = "the server was told to stop; --timeout SECONDS waits longer";

/// The line to end with in the midst of a stream.
pub(super) fn failure_of_stream(error: &CallError) -> Failure {
    match error {
        CallError::DeadlineExceeded { timeout, .. } => {
            Failure::timed_out(format!("no item more within {timeout:?}")).hint(STOPPED)
        }
        error => failure(error),
    }
}

/// The line to end with.
pub(super) fn failure(error: &CallError) -> Failure {
    let text = explain(error);
    match error {
        CallError::Failure(failure) => answered(failure),
        CallError::DeadlineExceeded {
            unconnected: None, ..
        } => Failure::timed_out(text).hint(STOPPED),
        CallError::DeadlineExceeded {
            unconnected: Some(reason),
            ..
        }
        | CallError::Unconnected { reason, .. } => Failure::timed_out(text).hint(unconnected(reason)),
        CallError::Disconnected { .. } => Failure::timed_out(text),
        CallError::Shape { stream: true } => Failure::new(text).hint("add --stream"),
        CallError::Method(_) | CallError::Arguments(_) | CallError::Encode(_) => Failure::usage(text),
        CallError::TooLarge { answer: false, .. } => {
            Failure::new(text).hint("the server says how much it takes; nothing was sent")
        }
        _ => Failure::new(text),
    }
}

/// What to do where there is no connection for this reason.
fn unconnected(reason: &str) -> &'static str {
    // As the client says it; a reason it has from the operating system has no such word.
    match reason.contains("handshake") {
        true => "somebody is there: is it a server of calls, and one that asks for neither password nor key?",
        false => "is the server running, and at this endpoint? --connect-timeout SECONDS waits longer",
    }
}

/// What the server answered: kind, code, message, details.
fn answered(failure: &rpc::Failure) -> Failure {
    let kind = failure.kind();
    let mut text = match kind {
        FailureKind::Failed => format!("failed (code {}): {}", failure.code(), failure.message()),
        _ => failure.to_string(),
    };
    match failure.details::<Value>() {
        Ok(Some(details)) => text.push_str(&format!("; details: {details}")),
        Ok(None) => {}
        Err(_) => text.push_str("; its details are no JSON"),
    }
    let line = match kind {
        FailureKind::DeadlineExceeded => Failure::timed_out(text),
        _ => Failure::new(text),
    };
    match kind {
        FailureKind::UnknownMethod => line.hint("--list shows the methods that there are"),
        FailureKind::Panicked => line.hint("a fault of the server's function; the server goes on"),
        FailureKind::Overloaded => line.hint("nothing ran; try again later"),
        FailureKind::Unavailable => line.hint("nothing ran; the server is about to end"),
        FailureKind::DeadlineExceeded => line.hint("--timeout SECONDS waits longer"),
        FailureKind::Unauthenticated => {
            line.hint("say who you are, for instance with -H authorization='Bearer ...'")
        }
        _ => line,
    }
}
