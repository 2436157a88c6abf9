//! Why nobody is at the other end of a stream: told once each, for who waits for messages that cannot come.

use std::collections::HashMap;

use super::failure::explain;
use crate::group::{JoinError, RejectReason};
use crate::session::socket::{Event, Monitor};
use crate::stream::Stream;

/// Reasons that are told for each stream; who knocks at an open port may be anybody.
const TOLD: usize = 8;

/// Tells why nobody is at the other end of streams, each reason once.
#[derive(Debug, Default)]
pub(crate) struct Contacts(HashMap<String, Contact>);

/// What is known of the other ends of one stream.
#[derive(Debug, Default)]
struct Contact {
    events: Option<Monitor>,
    /// Why there is none, since there was one.
    trouble: Option<String>,
    /// Whether this end tries to reach another by itself.
    tries: bool,
    told: Vec<String>,
}

impl Contacts {
    /// Begins to listen to what happens to streams; otherwise the first look at one does.
    pub(crate) fn watch<'a>(&mut self, streams: impl IntoIterator<Item = &'a Stream>) {
        for stream in streams {
            self.contact(stream);
        }
    }

    /// A reason that was not told yet.
    pub(crate) fn poll(&mut self, stream: &Stream) -> Option<String> {
        let contact = self.contact(stream);
        contact.look(stream.refusal().as_deref());
        let trouble = contact.trouble.clone()?;
        if contact.told.contains(&trouble) || contact.told.len() == TOLD {
            return None;
        }
        contact.told.push(trouble.clone());
        let tries = if contact.tries { "; trying again" } else { "" };
        Some(with(&stream.endpoint().to_string(), &trouble) + tries)
    }

    /// Why nobody is at the other end now, as far as it is known.
    pub(crate) fn trouble(&mut self, stream: &Stream) -> Option<String> {
        let contact = self.contact(stream);
        contact.look(stream.refusal().as_deref());
        contact.trouble.clone()
    }

    fn contact(&mut self, stream: &Stream) -> &mut Contact {
        let contact = self.0.entry(stream.endpoint().to_string());
        contact.or_insert_with(|| Contact {
            events: stream.monitor(),
            ..Contact::default()
        })
    }
}

impl Contact {
    fn look(&mut self, refusal: Option<&JoinError>) {
        while let Some(event) = self.events.as_mut().and_then(Monitor::try_recv) {
            match event {
                Event::Ready { .. } => self.trouble = None,
                Event::ConnectFailed { error, .. } => {
                    self.trouble = Some(error);
                    self.tries = true;
                }
                Event::HandshakeFailed { error, .. } => {
                    let hint = if error.contains("cannot talk to") {
                        "; see --mode"
                    } else {
                        ""
                    };
                    self.trouble = Some(format!("{error}{hint}"));
                    self.tries = false;
                }
                _ => {}
            }
        }
        if self.events.is_none() {
            self.trouble = refusal.and_then(said);
            self.tries = !matches!(refusal, Some(JoinError::Rejected { .. }));
        }
    }
}

fn with(address: &str, trouble: &str) -> String {
    match trouble.contains(address) {
        true => trouble.to_owned(),
        false => format!("{address}: {trouble}"),
    }
}

/// Why a stream is not in where others are.
fn said(refusal: &JoinError) -> Option<String> {
    match refusal {
        // One that ends may begin again.
        JoinError::Rejected {
            why: RejectReason::Closing | RejectReason::Spent,
            ..
        } => None,
        JoinError::NoAnswer { endpoint, .. } => Some(format!("nobody answers at {endpoint}")),
        JoinError::Rejected { .. } | JoinError::Start(_) => Some(explain(refusal)),
        _ => None,
    }
}
