//! What streams and subjects of a job are called.
//!
//! Names of parties, jobs and channels may have any characters, tokens of subjects may not: whatever is no ASCII letter,
//! digit, `-` or `_` is written as `=` and two hexadecimal digits for each byte.

use super::options::is_plain;
use crate::federation::core::{FlowKey, Kind};
use crate::federation::name::{ChannelName, JobId, PartyId};

/// The longest name of a stream, which the server makes a folder of.
const MAX_STREAM: usize = 200;

/// The names of one job.
#[derive(Clone, Debug)]
pub(super) struct Subjects {
    base: String,
    stream: String,
}

/// What a subject is for.
#[derive(Debug, PartialEq)]
pub(super) enum Place {
    /// Messages from a party to this one.
    Data { from: PartyId, key: FlowKey },
    /// How far a party has received what this one has sent.
    Done { to: PartyId, key: FlowKey },
    /// A party's claim.
    Party(PartyId),
    /// The end of the job.
    Abort,
}

impl Subjects {
    /// None when the names are too long for streams.
    pub(super) fn new(prefix: &str, job: &JobId) -> Option<Self> {
        let job = token(job.as_str());
        let stream = format!("{prefix}-{job}");
        (stream.len() + "-state".len() <= MAX_STREAM).then(|| Subjects {
            base: format!("{prefix}.{job}"),
            stream,
        })
    }

    /// The stream of messages.
    pub(super) fn data_stream(&self) -> String {
        format!("{}-data", self.stream)
    }

    /// The stream of what is remembered of parties and channels.
    pub(super) fn state_stream(&self) -> String {
        format!("{}-state", self.stream)
    }

    pub(super) fn all_data(&self) -> String {
        format!("{}.data.>", self.base)
    }

    pub(super) fn all_state(&self) -> String {
        format!("{}.state.>", self.base)
    }

    pub(super) fn data_to(&self, to: &PartyId) -> String {
        format!("{}.data.{}.>", self.base, token(to.as_str()))
    }

    pub(super) fn data(&self, from: &PartyId, to: &PartyId, key: &FlowKey) -> String {
        let (from, to) = (token(from.as_str()), token(to.as_str()));
        format!("{}.data.{to}.{from}.{}", self.base, flow(key))
    }

    pub(super) fn done_from(&self, from: &PartyId) -> String {
        format!("{}.state.done.{}.>", self.base, token(from.as_str()))
    }

    pub(super) fn done(&self, from: &PartyId, to: &PartyId, key: &FlowKey) -> String {
        let (from, to) = (token(from.as_str()), token(to.as_str()));
        format!("{}.state.done.{from}.{to}.{}", self.base, flow(key))
    }

    pub(super) fn parties(&self) -> String {
        format!("{}.state.job.>", self.base)
    }

    pub(super) fn party(&self, party: &PartyId) -> String {
        format!("{}.state.job.party.{}", self.base, token(party.as_str()))
    }

    pub(super) fn abort(&self) -> String {
        format!("{}.state.job.abort", self.base)
    }

    /// From whom to whom, and in which channel, the messages of a subject are.
    pub(super) fn ends(&self, subject: &str) -> Option<(PartyId, PartyId, FlowKey)> {
        let Place::Data { from, key } = self.place(subject)? else {
            return None;
        };
        let to = subject.strip_prefix(&self.base)?.split('.').nth(2)?;
        Some((from, PartyId::new(text(to)?).ok()?, key))
    }

    /// What a subject of this job is for; none for one that nobody here has made.
    pub(super) fn place(&self, subject: &str) -> Option<Place> {
        let rest = subject.strip_prefix(&self.base)?.strip_prefix('.')?;
        let tokens: Vec<&str> = rest.split('.').collect();
        match tokens[..] {
            ["data", _, from, kind, name] => Some(Place::Data {
                from: PartyId::new(text(from)?).ok()?,
                key: key(kind, name)?,
            }),
            ["state", "done", _, to, kind, name] => Some(Place::Done {
                to: PartyId::new(text(to)?).ok()?,
                key: key(kind, name)?,
            }),
            ["state", "job", "party", party] => Some(Place::Party(PartyId::new(text(party)?).ok()?)),
            ["state", "job", "abort"] => Some(Place::Abort),
            _ => None,
        }
    }
}

fn flow(key: &FlowKey) -> String {
    let kind = match key.kind {
        Kind::Variable => "variable",
        Kind::Broadcast => "broadcast",
    };
    format!("{kind}.{}", token(key.name.as_str()))
}

fn key(kind: &str, name: &str) -> Option<FlowKey> {
    let kind = match kind {
        "variable" => Kind::Variable,
        "broadcast" => Kind::Broadcast,
        _ => return None,
    };
    let name = ChannelName::new(text(name)?).ok()?;
    Some(FlowKey { kind, name })
}

fn token(name: &str) -> String {
    let mut token = String::with_capacity(name.len());
    for byte in name.bytes() {
        if is_plain(byte) {
            token.push(char::from(byte));
        } else {
            token.push_str(&format!("={byte:02X}"));
        }
    }
    token
}

/// The name that a token stands for: only what [`token`] writes is read.
fn text(written: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(written.len());
    let mut rest = written.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'=' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    let name = String::from_utf8(bytes).ok()?;
    (token(&name) == written).then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(names in prop::collection::vec("[^\\p{Cc}]{1,60}", 3), is_broadcast: bool) {
            let subjects = Subjects::new("p", &JobId::new("a job.*").unwrap()).unwrap();
            let [from, to] = [0, 1].map(|index: usize| PartyId::new(&names[index]).unwrap());
            let kind = if is_broadcast { Kind::Broadcast } else { Kind::Variable };
            let key = FlowKey { kind, name: ChannelName::new(&names[2]).unwrap() };
            let subject = subjects.data(&from, &to, &key);
            prop_assert!(subject.bytes().all(|byte| is_plain(byte) || byte == b'.' || byte == b'='));
            prop_assert_eq!(subjects.place(&subject), Some(Place::Data { from: from.clone(), key: key.clone() }));
            prop_assert_eq!(
                subjects.place(&subjects.done(&from, &to, &key)),
                Some(Place::Done { to: to.clone(), key })
            );
            prop_assert_eq!(subjects.place(&subjects.party(&to)), Some(Place::Party(to)));
        }

        #[test]
        fn any_subject_is_read_or_not(subject in "(p\\.j\\.)?[a-z=.0-9A-F]{0,40}") {
            let _ = Subjects::new("p", &JobId::new("j").unwrap()).unwrap().place(&subject);
        }
    }

    #[test]
    fn jobs_whose_names_begin_alike_are_apart() {
        let [a, b] = ["j", "j.data"].map(|job| Subjects::new("p", &JobId::new(job).unwrap()).unwrap());
        assert_eq!(a.place(&b.abort()), None);
        assert_eq!(b.abort(), "p.j=2Edata.state.job.abort");
        assert!(Subjects::new("p", &JobId::new("ü".repeat(100)).unwrap()).is_none());
    }
}
