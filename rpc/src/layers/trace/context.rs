//! The place of a call in its trace, and how it is written.

use std::fmt;
use std::future::Future;
use std::str::FromStr;

use thiserror::Error;

use crate::envelope::Metadata;

const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";

tokio::task_local! {
    static CURRENT: Trace;
}

/// A place in a trace: the trace's id, the id of the span that this is, and what else travels with them.
///
/// Its text is a `traceparent`:
///
/// ```
/// use flexbond_rpc::layers::Trace;
///
/// let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let trace: Trace = text.parse()?;
/// assert_eq!(trace.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
/// assert_eq!(trace.to_string(), text);
/// assert_eq!(trace.child().trace_id(), trace.trace_id());
/// assert_ne!(trace.child().span_id(), trace.span_id());
/// # Ok::<(), flexbond_rpc::layers::trace::TraceError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    trace: u128,
    span: u64,
    flags: u8,
    state: Option<Box<str>>,
}

/// Why a text is not a `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TraceError {
    /// It is not made of a version, two ids and flags.
    #[error("not of the form 00-<32 hexadecimal digits>-<16>-<2>, in lower case")]
    Form,
    /// There is no such version.
    #[error("there is no version ff")]
    Version,
    /// An id is zero, which means that there is none.
    #[error("an id is zero")]
    Zero,
}

impl Trace {
    /// The flags that are known: sampled, and that the id is random.
    const FLAGS: u8 = 3;
    /// Of these: somebody may have recorded it.
    const SAMPLED: u8 = 1;
    /// A `tracestate` is cut to its first entries that have so many bytes together.
    const STATE_LEN: usize = 512;

    /// The first place of a new trace, whose id is random.
    #[must_use]
    pub fn start() -> Self {
        Trace {
            trace: fastrand::u128(1..),
            span: fastrand::u64(1..),
            flags: Self::FLAGS,
            state: None,
        }
    }

    /// Another place in the same trace: that of something which this one asks for.
    #[must_use]
    pub fn child(&self) -> Self {
        Trace {
            span: fastrand::u64(1..),
            ..self.clone()
        }
    }

    /// Where the code that asks stands: inside of a handler behind [`ServerTrace`](super::ServerTrace), or of
    /// [`scope`](Self::scope).
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Trace::clone).ok()
    }

    /// Runs `future` here: calls that it makes behind [`ClientTrace`](super::ClientTrace) belong to this trace. Tasks
    /// that it spawns do not know of it.
    pub fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        CURRENT.scope(self.clone(), future)
    }

    /// The same for what is done at once.
    pub(super) fn sync_scope<R>(&self, work: impl FnOnce() -> R) -> R {
        CURRENT.sync_scope(self.clone(), work)
    }

    /// The trace's id, 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }

    /// The span's id, 16 hexadecimal digits.
    #[must_use]
    pub fn span_id(&self) -> String {
        format!("{:016x}", self.span)
    }

    /// Whether who began the trace may have recorded it.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & Self::SAMPLED != 0
    }

    /// What the systems that trace say to each other, if anything: a `tracestate`.
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// The place that metadata tells of, if it does. Of a `tracestate` that is none, the rest is taken.
    #[must_use]
    pub fn from_metadata(metadata: &Metadata) -> Option<Self> {
        let mut trace: Trace = metadata.get_str(PARENT)?.parse().ok()?;
        trace.state = metadata.get_str(STATE).and_then(state);
        Some(trace)
    }

    /// Writes it into metadata, in place of what there was. False if there is no room: a call goes without, then.
    pub fn write_to(&self, metadata: &mut Metadata) -> bool {
        metadata.remove(STATE);
        if metadata.insert(PARENT, self.to_string()).is_err() {
            metadata.remove(PARENT);
            return false;
        }
        if let Some(state) = &self.state {
            // Without room for it the rest is of use, too.
            let _ = metadata.insert(STATE, state.to_string());
        }
        true
    }
}

/// A `tracestate` that may be handed on: its first entries, as many as fit.
fn state(text: &str) -> Option<Box<str>> {
    if !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return None;
    }
    let mut text = text.trim();
    while text.len() > Trace::STATE_LEN {
        text = text[..text.rfind(',')?].trim_end();
    }
    (!text.is_empty()).then(|| text.into())
}

impl FromStr for Trace {
    type Err = TraceError;

    fn from_str(text: &str) -> Result<Self, TraceError> {
        let hex = |part: &str, len: usize| {
            let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            match part.len() == len && part.bytes().all(is_hex) {
                true => u128::from_str_radix(part, 16).map_err(|_| TraceError::Form),
                false => Err(TraceError::Form),
            }
        };
        let mut parts = text.split('-');
        let mut next = |len| hex(parts.next().unwrap_or_default(), len);
        let (version, trace, span, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
        match version {
            0 if parts.next().is_some() => return Err(TraceError::Form),
            0xff => return Err(TraceError::Version),
            // A later version says more behind that.
            _ => {}
        }
        if trace == 0 || span == 0 {
            return Err(TraceError::Zero);
        }
        Ok(Trace {
            trace,
            // As many digits as it has fit.
            span: span as u64,
            flags: flags as u8 & Self::FLAGS,
            state: None,
        })
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: &str = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";

    #[test]
    fn what_is_no_traceparent_is_none() {
        let parse = |text: &str| text.parse::<Trace>();
        for (text, error) in [
            (String::new(), TraceError::Form),
            (format!("00-{IDS}"), TraceError::Form),
            (format!("00-{IDS}-1"), TraceError::Form),
            (format!("00-{IDS}-01-"), TraceError::Form),
            (format!("00-{IDS}-01-more"), TraceError::Form),
            (format!("00-{}-01", IDS.to_uppercase()), TraceError::Form),
            (format!("0-{IDS}-01"), TraceError::Form),
            (format!("00-+{}-01", &IDS[1..]), TraceError::Form),
            (format!("ff-{IDS}-01"), TraceError::Version),
            (format!("00-{:032x}-00f067aa0ba902b7-01", 0), TraceError::Zero),
            (
                format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{:016x}-01", 0),
                TraceError::Zero,
            ),
        ] {
            assert_eq!(parse(&text), Err(error), "{text}");
        }
        let later = parse(&format!("cc-{IDS}-ff-what is more")).unwrap();
        assert_eq!(later.to_string(), format!("00-{IDS}-03"));
        assert!(!parse(&format!("00-{IDS}-02")).unwrap().is_sampled());
    }

    #[test]
    fn a_new_trace_has_ids_and_a_child_shares_one() {
        let trace = Trace::start();
        assert_eq!(trace.to_string().parse::<Trace>().unwrap(), trace);
        assert!(trace.is_sampled());
        let child = trace.child();
        assert_eq!(child.trace_id(), trace.trace_id());
        assert_ne!(child.span_id(), trace.span_id());
        assert_ne!(Trace::start().trace_id(), trace.trace_id());
    }

    #[test]
    fn a_state_is_handed_on_as_far_as_it_is_one() {
        assert_eq!(state("a=1,b=2").as_deref(), Some("a=1,b=2"));
        assert_eq!(state(" a=1 ").as_deref(), Some("a=1"));
        assert_eq!(state(""), None);
        assert_eq!(state("a=\u{e9}"), None);
        let long = vec!["vendor=12345"; 100].join(",");
        let cut = state(&long).unwrap();
        assert!(cut.len() <= 512 && cut.len() > 490 && long.starts_with(&*cut));
        assert!(cut.ends_with("12345"));
        assert_eq!(state(&"x".repeat(513)), None);
    }

    #[test]
    fn metadata_carries_it_and_what_was_there_goes() {
        let mut metadata = Metadata::new();
        metadata.insert("other", "1").unwrap();
        metadata.insert("tracestate", "of=another").unwrap();
        let mut trace = Trace::start();
        assert!(trace.write_to(&mut metadata));
        assert_eq!(Trace::from_metadata(&metadata), Some(trace.clone()));
        trace.state = state("a=1");
        assert!(trace.write_to(&mut metadata));
        assert_eq!(Trace::from_metadata(&metadata), Some(trace.clone()));
        assert_eq!(metadata.len(), 3);
        let mut full = Metadata::new();
        for n in 0..Metadata::MAX_ENTRIES {
            full.insert(&format!("name-{n}"), "").unwrap();
        }
        assert!(!trace.write_to(&mut full));
        assert_eq!(Trace::from_metadata(&full), None);
        assert_eq!(full.len(), Metadata::MAX_ENTRIES);
        metadata.insert("traceparent", "nonsense").unwrap();
        assert_eq!(Trace::from_metadata(&metadata), None);
    }
}
