//! Where received messages go: the screen, a folder, or a recording file.

use std::io;
use std::time::Duration;

use serde_json::json;

use super::describe::{Item, describe};
use super::show::{self, Detail};
use super::warmth::Warmth;
use crate::cli::failure::explain;
use crate::cli::gauge::Tally;
use crate::cli::metrics::Exposition;
use crate::cli::output::{Output, unwritten};
use crate::cli::{Failure, quantity};
use crate::stream::Decoder;
use crate::stream::recording::{FolderWriteError, FolderWriter, RecordError, Recorder, WriteError};
use crate::transport::{Frame, Message};

/// Takes messages.
pub(super) enum Sink {
    Screen(Box<Screen>),
    Folder(FolderWriter),
    File {
        recorder: Recorder,
        /// The messages that the file had before.
        before: u64,
        /// Where the source can wait.
        warmth: Option<Warmth>,
    },
}

/// Messages on standard output.
pub(super) struct Screen {
    pub(super) output: Output,
    pub(super) decoder: Decoder,
    pub(super) json: bool,
    pub(super) detail: Detail,
    /// Of each message so many parts at most; the header is one.
    pub(super) parts: Option<u32>,
    /// Messages that were not understood.
    pub(super) malformed: u64,
    /// Messages whose arrays are packed in a way that is not known here.
    pub(super) undecodable: u64,
    /// Messages that have data which cannot be read.
    pub(super) unreadable: u64,
}

/// Why no more messages are taken.
pub(super) enum Refusal {
    /// Nobody reads standard output any more: a clean end.
    ReaderGone,
    Failed(Failure),
}

/// What was kept.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) messages: u64,
    pub(super) files: Option<u64>,
    /// Left out because the disk could not keep up.
    pub(super) dropped: u64,
    /// How often receiving waited for the disk.
    pub(super) waited: u64,
    /// Left out because they do not fit the format.
    pub(super) refused: u64,
}

impl Kept {
    /// Messages that are nowhere, of those that were `received`: there was an error.
    pub(super) fn lost(&self, received: u64) -> u64 {
        received.saturating_sub(self.messages + self.dropped + self.refused)
    }

    pub(super) fn to_json(&self, received: u64) -> serde_json::Value {
        json!({
            "recorded": self.messages,
            "files": self.files,
            "dropped": self.dropped,
            "waited": self.waited,
            "refused": self.refused,
            "lost": self.lost(received),
        })
    }
}

impl Sink {
    pub(super) fn file(recorder: Recorder, warmth: Option<Warmth>) -> Self {
        let before = recorder.stats().messages;
        Sink::File {
            recorder,
            before,
            warmth,
        }
    }

    /// Takes the message `number`.
    pub(super) async fn take(&mut self, number: u64, message: Message, tally: &Tally) -> Result<(), Refusal> {
        match self {
            Sink::Screen(screen) => screen.show(number, &message).await,
            Sink::Folder(folder) => folder.write(&message).map(drop).map_err(|error| {
                let failure = Failure::new(explain(&error));
                Refusal::Failed(match &error {
                    FolderWriteError::Write { source, .. } => failure.hint(hint(source)),
                    _ => failure,
                })
            }),
            Sink::File { recorder, warmth, .. } => {
                if let Some(warmth) = warmth {
                    warmth.give_way(recorder, message.size()).await;
                }
                let recorded = recorder.record(message).await;
                // A look at the queue for every message would cost more than the message.
                if number.is_multiple_of(64) {
                    let stats = recorder.stats();
                    tally.say(Some(format!(
                        "{} wait for the disk, {} dropped",
                        quantity::bytes(stats.queued_bytes as f64),
                        quantity::grouped(stats.dropped)
                    )));
                }
                // This message is in no file, and was not counted as one that was taken.
                recorded.map_err(|error| Refusal::Failed(stopped(&error, 1)))
            }
        }
    }

    /// Adds what was kept so far.
    pub(super) fn expose(&self, exposition: &mut Exposition) {
        let counts = match self {
            Sink::Screen(_) => return,
            Sink::Folder(folder) => vec![(
                "flexbond_recorded_messages",
                "Messages that were written.",
                folder.messages(),
            )],
            Sink::File { recorder, before, .. } => {
                let stats = recorder.stats();
                exposition.gauge(
                    "flexbond_recording_waiting_bytes",
                    "Bytes of messages that wait for the disk.",
                    &[],
                    stats.queued_bytes as f64,
                );
                vec![
                    (
                        "flexbond_recorded_messages",
                        "Messages that were written.",
                        stats.messages.saturating_sub(*before),
                    ),
                    (
                        "flexbond_recording_dropped_messages",
                        "Messages left out because the disk could not keep up.",
                        stats.dropped,
                    ),
                    (
                        "flexbond_recording_waits",
                        "Times that receiving waited for the disk.",
                        stats.waited,
                    ),
                    (
                        "flexbond_recording_refused_messages",
                        "Messages left out because they do not fit the format.",
                        stats.refused,
                    ),
                ]
            }
        };
        for (name, help, value) in counts {
            exposition.counter(name, help, &[], value);
        }
    }

    /// Ends, with everything that was taken in its place; what was kept is known also where that fails. What a screen shows
    /// is waited for at most for `patience`.
    pub(super) async fn finish(self, patience: Option<Duration>) -> (Kept, Result<(), Failure>) {
        match self {
            Sink::Screen(mut screen) => (Kept::default(), screen.output.conclude(patience).await),
            Sink::Folder(folder) => {
                let kept = Kept {
                    messages: folder.messages(),
                    ..Kept::default()
                };
                (kept, Ok(()))
            }
            Sink::File { recorder, before, .. } => {
                let stats = recorder.stats();
                let closed = recorder.close().await;
                let (messages, files) = match &closed {
                    Ok(summary) => (summary.messages, summary.files),
                    Err(error) => (kept(error).unwrap_or(stats.messages), stats.files),
                };
                let kept = Kept {
                    messages: messages.saturating_sub(before),
                    files: Some(files),
                    dropped: stats.dropped,
                    waited: stats.waited,
                    refused: stats.refused,
                };
                (kept, closed.map(drop).map_err(|error| stopped(&error, 0)))
            }
        }
    }
}

/// The messages in all files of a recording that was stopped.
fn kept(error: &RecordError) -> Option<u64> {
    match error {
        RecordError::Stopped(cause) => match **cause {
            WriteError::Stopped { kept, .. } => Some(kept),
            _ => None,
        },
        _ => None,
    }
}

/// What to do about an error of the disk.
fn hint(error: &io::Error) -> &'static str {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    match error.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => {
            "make room, or record elsewhere; what is kept can be replayed"
        }
        _ => "what is kept can be replayed",
    }
}

/// `refused` is how many messages were not taken any more.
fn stopped(error: &RecordError, refused: u64) -> Failure {
    let RecordError::Stopped(cause) = error else {
        return Failure::new(explain(error));
    };
    let WriteError::Stopped {
        path,
        kept,
        lost,
        closed,
        source,
    } = &**cause
    else {
        return Failure::new(explain(error));
    };
    let are = |count: u64| if count == 1 { "is" } else { "are" };
    let lost = lost + refused;
    let text = format!(
        "{} was stopped, {kept} message{} {} kept and {lost} {} lost{}: {source}",
        path.display(),
        if *kept == 1 { "" } else { "s" },
        are(*kept),
        are(lost),
        match closed {
            true => "",
            false => "; there was no room to close the file, it is read as after a crash",
        },
    );
    Failure::new(text).hint(hint(source))
}

impl Screen {
    async fn show(&mut self, number: u64, message: &Message) -> Result<(), Refusal> {
        let mut description = describe(&mut self.decoder, message);
        self.malformed += u64::from(description.error.is_some());
        self.undecodable += u64::from(description.unknown.is_some());
        self.unreadable += u64::from(description.items.iter().any(Item::is_unreadable));
        if let Some(parts) = self.parts {
            let items = usize::try_from(parts).unwrap_or(usize::MAX).saturating_sub(1);
            description.items.truncate(items);
        }
        let text = if self.json {
            show::json(number, message, &description, self.detail.verbose).to_string()
        } else {
            show::text(number, message, &description, self.detail)
        };
        self.output.text(&text);
        self.output.flush().await.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Refusal::ReaderGone,
            _ => Refusal::Failed(unwritten(&error)),
        })
    }
}

/// The first `most` parts of a message.
pub(super) fn shortened(message: Message, most: Option<u32>) -> Message {
    match most.map(|most| usize::try_from(most).unwrap_or(usize::MAX)) {
        Some(most) if most < message.len() => {
            let mut frames: Vec<Frame> = message.into_frames();
            frames.truncate(most);
            Message::from(frames)
        }
        _ => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_shortened_whole() {
        let message = Message::from(["a", "b", "c"]);
        assert_eq!(shortened(message.clone(), None), message);
        assert_eq!(shortened(message.clone(), Some(3)), message);
        assert_eq!(shortened(message, Some(1)), Message::from("a"));
    }
}
