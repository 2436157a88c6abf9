//! What senders and receivers of files say to each other.
//!
//! To the broadcast group the sender sends a [`Manifest`], then for each file a [`Control::File`], its bytes from there
//! on as a stream (nothing, if everybody has all), and [`Control::End`] or [`Control::Abort`]; then
//! [`Control::Finished`]. A receiver says what it [has](Answer::Has) after the manifest, and what it
//! [got](Answer::Got) at the end, to the session. Each message but the bytes of files begins with the version.

use std::collections::HashSet;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::path::{PathError, RelativePath};
use crate::group::Part;

/// The version of all this.
const VERSION: u16 = 1;
/// Files and folders in a manifest, at most.
pub(super) const MOST_ENTRIES: usize = 1 << 20;
/// Bytes of a manifest or an answer, at most.
pub(super) const LONGEST: usize = 64 << 20;
/// Bytes of every other message, at most.
pub(super) const LONGEST_CONTROL: usize = 1 << 20;
/// Faults that are told in detail, at most.
pub(super) const MOST_FAULTS: usize = 100;
/// Bytes of a text about a fault, at most.
const LONGEST_TEXT: usize = 512;

/// BLAKE3.
pub(super) type Digest = [u8; 32];

/// A file or a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: RelativePath,
    pub(super) kind: Kind,
    /// The permission bits.
    pub(super) mode: u32,
    /// Seconds since 1970, and nanoseconds.
    pub(super) modified: (i64, u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    Folder,
    File {
        /// Bytes.
        size: u64,
    },
}

/// All files and folders; a file is known by its place here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) entries: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct PlainEntry {
    path: Vec<u8>,
    kind: Kind,
    mode: u32,
    modified: (i64, u32),
}

/// What the sender says between the bytes of files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Control {
    /// A file begins.
    File {
        file: u32,
        /// The first byte that is sent.
        from: u64,
        /// What the file's first bytes have for a digest, for each length that was claimed.
        known: Vec<(u64, Digest)>,
    },
    /// The bytes of the file were all, and this is the digest of the whole.
    End { digest: Digest },
    /// The bytes of the file were not all.
    Abort { reason: String },
    /// There will be nothing of this file.
    Missing { file: u32, reason: String },
    /// There are no more files.
    Finished,
}

/// What a receiver says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    /// What it has already.
    Has(Vec<Claim>),
    /// What it has in the end.
    Got(Report),
    /// It cannot take part.
    Refused(String),
}

/// A receiver has the first bytes of a file, or takes something for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    pub(super) file: u32,
    pub(super) length: u64,
    pub(super) digest: Digest,
}

/// What a receiver has in the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    /// Files and folders that it has not, or not as they should be.
    pub(super) failed: u32,
    /// The first of them, and why.
    pub(super) faults: Vec<(u32, String)>,
}

impl Report {
    pub(super) fn add(&mut self, entry: u32, why: &str) {
        self.failed = self.failed.saturating_add(1);
        if self.faults.len() < MOST_FAULTS {
            self.faults.push((entry, shortened(why)));
        }
    }
}

/// What cannot be understood, or is not to be believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum ProtocolError {
    #[error("the other side speaks version {0} of file transfers, this one {VERSION}: use the same flexbond")]
    Version(u16),
    #[error("what the other side says cannot be understood")]
    Malformed,
    #[error("what the other side says is longer than the {0} bytes that are allowed")]
    TooLong(usize),
    #[error("the list of files has more than {MOST_ENTRIES} entries")]
    TooMany,
    #[error("the list of files has a path that is refused, {path:?}: {reason}")]
    Path { path: String, reason: PathError },
    #[error("the list of files names {0} twice")]
    Twice(RelativePath),
    #[error("the other side does not keep to the order of things: {0}")]
    Order(&'static str),
}

impl Manifest {
    pub(super) fn encode(&self) -> Result<Vec<u8>, ProtocolError> {
        if self.entries.len() > MOST_ENTRIES {
            return Err(ProtocolError::TooMany);
        }
        let plain = |entry: &Entry| PlainEntry {
            path: entry.path.as_bytes().to_vec(),
            kind: entry.kind,
            mode: entry.mode,
            modified: entry.modified,
        };
        let bytes = encode(&self.entries.iter().map(plain).collect::<Vec<_>>());
        match bytes.len() {
            0..=LONGEST => Ok(bytes),
            _ => Err(ProtocolError::TooLong(LONGEST)),
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, ProtocolError> {
        let plain: Vec<PlainEntry> = decode(bytes)?;
        if plain.len() > MOST_ENTRIES {
            return Err(ProtocolError::TooMany);
        }
        let mut entries = Vec::with_capacity(plain.len());
        for entry in plain {
            let path = RelativePath::parse(entry.path.clone()).map_err(|reason| ProtocolError::Path {
                path: String::from_utf8_lossy(&entry.path).into_owned(),
                reason,
            })?;
            entries.push(Entry {
                path,
                kind: entry.kind,
                mode: entry.mode & 0o777,
                modified: (entry.modified.0, entry.modified.1.min(999_999_999)),
            });
        }
        let manifest = Manifest { entries };
        manifest.check_names()?;
        Ok(manifest)
    }

    /// Whether every path is there once.
    pub(super) fn check_names(&self) -> Result<(), ProtocolError> {
        let mut seen = HashSet::with_capacity(self.entries.len());
        match self.entries.iter().find(|entry| !seen.insert(&entry.path)) {
            Some(entry) => Err(ProtocolError::Twice(entry.path.clone())),
            None => Ok(()),
        }
    }

    /// The files, each with its number and size.
    pub(super) fn files(&self) -> impl Iterator<Item = (u32, &Entry, u64)> {
        // There are far fewer than 2^32 entries.
        self.entries
            .iter()
            .zip(0_u32..)
            .filter_map(|(entry, number)| match entry.kind {
                Kind::File { size } => Some((number, entry, size)),
                Kind::Folder => None,
            })
    }

    /// A file by its number.
    pub(super) fn file(&self, number: u32) -> Option<(&Entry, u64)> {
        let entry = self.entries.get(number as usize)?;
        match entry.kind {
            Kind::File { size } => Some((entry, size)),
            Kind::Folder => None,
        }
    }

    /// Bytes in all files.
    pub(super) fn bytes(&self) -> u64 {
        self.files()
            .fold(0, |sum: u64, (_, _, size)| sum.saturating_add(size))
    }
}

/// A message with the version before it.
pub(super) fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    // Writing into memory cannot fail, and all sequences here know their length.
    postcard::to_allocvec(&(VERSION, message)).unwrap_or_default()
}

/// A message that has the version before it.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ProtocolError> {
    let (version, rest) = postcard::take_from_bytes::<u16>(bytes).map_err(|_| ProtocolError::Malformed)?;
    if version != VERSION {
        return Err(ProtocolError::Version(version));
    }
    match postcard::take_from_bytes(rest) {
        Ok((message, [])) => Ok(message),
        _ => Err(ProtocolError::Malformed),
    }
}

/// A text about a fault that is not longer than it may be.
pub(super) fn shortened(text: &str) -> String {
    let end = (0..=LONGEST_TEXT.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or(0)].to_owned()
}

/// Puts the parts of a message together.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    bytes: Vec<u8>,
}

impl Assembly {
    /// The message, if it is complete with this part.
    pub(super) fn push(
        &mut self,
        part: Part,
        body: &[u8],
        limit: usize,
    ) -> Result<Option<Vec<u8>>, ProtocolError> {
        if matches!(part, Part::Whole | Part::First) {
            self.bytes.clear();
        }
        if body.len() > limit - self.bytes.len().min(limit) {
            return Err(ProtocolError::TooLong(limit));
        }
        self.bytes.extend_from_slice(body);
        match part {
            Part::Whole | Part::Last => Ok(Some(std::mem::take(&mut self.bytes))),
            Part::First | Part::More => Ok(None),
            Part::Cut => {
                self.bytes = Vec::new();
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(path: &str) -> PlainEntry {
        PlainEntry {
            path: path.into(),
            kind: Kind::File { size: 7 },
            mode: 0o104_755,
            modified: (-1, u32::MAX),
        }
    }

    #[test]
    fn a_manifest_arrives_as_it_was_sent_but_with_permission_bits_only() {
        let sent = encode(&vec![plain("a/ü"), plain("b")]);
        let manifest = Manifest::decode(&sent).unwrap();
        assert_eq!(manifest.bytes(), 14);
        assert_eq!(manifest.entries[0].mode, 0o755);
        assert_eq!(manifest.entries[0].modified, (-1, 999_999_999));
        assert_eq!(Manifest::decode(&manifest.encode().unwrap()), Ok(manifest));
    }

    #[test]
    fn wrong_paths_in_a_manifest_are_refused() {
        for path in [
            "/etc/passwd",
            "../x",
            "a/../../x",
            "",
            "a//b",
            "a\0",
            ".x.flexbond-part",
        ] {
            let sent = encode(&vec![plain("good"), plain(path)]);
            let refused = Manifest::decode(&sent);
            assert!(
                matches!(refused, Err(ProtocolError::Path { .. })),
                "{path}: {refused:?}"
            );
        }
        let twice = Manifest::decode(&encode(&vec![plain("a"), plain("b"), plain("a")]));
        assert!(matches!(twice, Err(ProtocolError::Twice(_))), "{twice:?}");
    }

    #[test]
    fn other_versions_and_other_bytes_are_refused() {
        let other = postcard::to_allocvec(&(VERSION + 1, Control::Finished)).unwrap();
        assert_eq!(
            decode::<Control>(&other),
            Err(ProtocolError::Version(VERSION + 1))
        );
        let whole = encode(&Answer::Has(vec![Claim {
            file: 1,
            length: 2,
            digest: [3; 32],
        }]));
        for end in 0..whole.len() {
            assert_eq!(
                decode::<Answer>(&whole[..end]),
                Err(ProtocolError::Malformed),
                "{end}"
            );
        }
        let more = [&whole[..], &[0]].concat();
        assert_eq!(decode::<Answer>(&more), Err(ProtocolError::Malformed));
    }

    #[test]
    fn parts_become_messages_up_to_a_limit() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.push(Part::First, b"ab", 4), Ok(None));
        assert_eq!(assembly.push(Part::More, b"c", 4), Ok(None));
        assert_eq!(assembly.push(Part::Last, b"d", 4), Ok(Some(b"abcd".to_vec())));
        assert_eq!(assembly.push(Part::Whole, b"x", 4), Ok(Some(b"x".to_vec())));
        assert_eq!(assembly.push(Part::First, b"abc", 4), Ok(None));
        assert_eq!(
            assembly.push(Part::More, b"de", 4),
            Err(ProtocolError::TooLong(4))
        );
        assert_eq!(shortened(&"ü".repeat(300)).len(), 512);
        assert_eq!(shortened(&format!("x{}", "ü".repeat(300))).len(), 511);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let bytes = [&[1][..], &bytes].concat();
            let _ = Manifest::decode(&bytes);
            let _ = decode::<Control>(&bytes);
            let _ = decode::<Answer>(&bytes);
        }
    }
}
