//! The two ways to merge, as one source of messages.

use crate::stream::merge::{
    AlignCount, AlignOptions, Aligned, AlignedMerge, Merge, MergeError, MergeOptions,
};
use crate::stream::{ReceiveError, Stream, StreamMessage};
use crate::transport::Message;

/// Streams that are merged in turn, or by the numbers of their messages.
pub(super) enum Merging {
    InTurn(Merge),
    Aligned(AlignedMerge),
}

/// Messages that belong together.
pub(super) struct Merged {
    pub(super) messages: Vec<Message>,
    pub(super) fit: Fit,
}

/// Whether messages are where they belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// In turn, of a complete number, or without one.
    Good,
    /// Messages of other sources with the same number are missing.
    Incomplete,
    /// The number was sent before.
    Late,
}

impl Merged {
    fn nothing() -> Self {
        Merged {
            messages: Vec::new(),
            fit: Fit::Good,
        }
    }
}

impl Merging {
    pub(super) fn in_turn(streams: Vec<Stream>, options: MergeOptions) -> Self {
        Merging::InTurn(Merge::with_options(streams, options))
    }

    pub(super) fn aligned(streams: Vec<Stream>, options: AlignOptions) -> Self {
        Merging::Aligned(AlignedMerge::with_options(streams, options))
    }

    /// Waits for what comes next. Cancel safe.
    pub(super) async fn receive(&mut self) -> Result<Merged, MergeError> {
        match self {
            Merging::InTurn(merge) => merge.receive().await.map(|merged| good(merged.message)),
            Merging::Aligned(merge) => merge.receive().await.map(merged),
        }
    }

    /// What has come already, whoever is missing; for the end. Bit by bit, so that it may be nothing at times.
    pub(super) fn remaining(&mut self) -> Option<Merged> {
        match self {
            Merging::InTurn(merge) => {
                merge
                    .streams_mut()
                    .iter_mut()
                    .find_map(|stream| match stream.try_receive() {
                        Ok(message) => Some(good(message)),
                        Err(ReceiveError::Malformed { .. }) => Some(Merged::nothing()),
                        Err(_) => None,
                    })
            }
            Merging::Aligned(merge) => match merge.try_receive() {
                Ok(aligned) => Some(merged(aligned)),
                Err(MergeError::WouldBlock) => {
                    merge.give_up();
                    Some(Merged::nothing())
                }
                Err(MergeError::Stream { .. }) => Some(Merged::nothing()),
                Err(_) => None,
            },
        }
    }

    pub(super) fn streams(&self) -> &[Stream] {
        match self {
            Merging::InTurn(merge) => merge.streams(),
            Merging::Aligned(merge) => merge.streams(),
        }
    }

    pub(super) fn streams_mut(&mut self) -> &mut [Stream] {
        match self {
            Merging::InTurn(merge) => merge.streams_mut(),
            Merging::Aligned(merge) => merge.streams_mut(),
        }
    }

    /// What became of the messages of each source; of none where they are not aligned.
    pub(super) fn counts(&self) -> impl Iterator<Item = AlignCount> {
        let counts = match self {
            Merging::InTurn(_) => None,
            Merging::Aligned(merge) => Some(merge.counts()),
        };
        counts.into_iter().flatten()
    }
}

fn good(message: StreamMessage) -> Merged {
    Merged {
        messages: vec![message.into()],
        fit: Fit::Good,
    }
}

fn merged(aligned: Aligned) -> Merged {
    match aligned {
        Aligned::Set(set) => {
            let fit = match set.is_complete() {
                true => Fit::Good,
                false => Fit::Incomplete,
            };
            let messages = set.items.into_iter().flatten();
            Merged {
                messages: messages.map(StreamMessage::into).collect(),
                fit,
            }
        }
        Aligned::Late { message, .. } => Merged {
            fit: Fit::Late,
            ..good(message)
        },
        Aligned::Unnumbered { message, .. } => good(message),
        // The library may come to tell more, which is no message.
        _ => Merged::nothing(),
    }
}
