//! How a program ends: its exit code, and one line that says what went wrong and what to do.

use std::error::Error;
use std::process::ExitCode;

use super::printable::printable;
use super::stderr;

/// How a program ended. The numbers are documented in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All was done.
    Done,
    /// Something failed.
    Failed,
    /// The arguments or the input cannot be used.
    Usage,
    /// Nothing moved for as long as was allowed.
    TimedOut,
    /// Ended by this signal.
    Signal(u8),
    /// As a program ended that this one had started.
    Child(u8),
}

impl Exit {
    /// The number that the shell sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::TimedOut => 3,
            // The shell's convention for a program that a signal ended.
            Exit::Signal(number) => 128 + number,
            Exit::Child(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

/// Why a program stopped.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// Something failed.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Failure {
            exit: Exit::Failed,
            message: message.into(),
            hint: None,
        }
    }

    /// The arguments or the input cannot be used.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Failure {
            exit: Exit::Usage,
            ..Failure::new(message)
        }
    }

    /// Nothing moved for as long as was allowed.
    pub(crate) fn timed_out(message: impl Into<String>) -> Self {
        Failure {
            exit: Exit::TimedOut,
            ..Failure::new(message)
        }
    }

    /// A program that this one had started failed, with this code.
    pub(crate) fn child(code: u8, message: impl Into<String>) -> Self {
        Failure {
            exit: Exit::Child(code),
            ..Failure::new(message)
        }
    }

    /// Adds what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// Writes the line to standard error.
    pub(crate) fn report(&self, program: &str) {
        stderr::line(&self.line(program));
    }

    /// Parts of the message may be others' words.
    fn line(&self, program: &str) -> String {
        let message = printable(&self.message);
        match &self.hint {
            Some(hint) => format!("{program}: error: {message} ({})", printable(hint)),
            None => format!("{program}: error: {message}"),
        }
    }
}

/// Writes a line to standard error about something that is no failure of the whole. Parts of it may be others' words.
pub(crate) fn note(text: &str) {
    stderr::line(&format!("flexbond: {}", printable(text)));
}

/// The text of an error with those causes that it does not mention itself.
pub(crate) fn explain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_that_steers_no_terminal() {
        let failure = Failure::new("not admitted: go\u{1b}[2J\naway").hint("try\u{1b}[1m again");
        assert_eq!(
            failure.line("flexbond"),
            "flexbond: error: not admitted: go\\u{1b}[2J\\naway (try\\u{1b}[1m again)"
        );
    }
}
