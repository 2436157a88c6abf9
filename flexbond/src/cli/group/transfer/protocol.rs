//! What senders and receivers of files say to each other.
//!
//! To the broadcast group the sender sends a [`Manifest`], then for each file a [`Control::File`], its bytes from there
//! on as a stream (nothing, if everybody has all), and [`Control::End`] or [`Control::Abort`]; then
//! [`Control::Finished`]. A receiver says what it [has](Answer::Has) after the manifest, and what it
//! [got](Answer::Got) at the end, to the session; and every now and then, when that takes long, that it
//! [gets on](Answer::Busy). Each message but the bytes of files begins with the version.
//!
//! Nothing that comes is larger in memory than a small multiple of what it may be in bytes: lists that are longer than
//! they may be are not read.

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use super::path::{PathError, RelativePath};

/// The version of all this.
const VERSION: u16 = 1;
/// Files and folders in a manifest, at most.
pub(super) const MOST_ENTRIES: usize = 1 << 20;
/// Receivers, at most.
pub(super) const MOST_RECEIVERS: usize = 1024;
/// Bytes of a manifest, at most.
pub(super) const LONGEST: usize = 64 << 20;
/// Bytes of every other message, at most, but for [claims](Manifest::longest_claims). What is known of a file for as many
/// claims as there may be receivers fits, and so does the longest report.
pub(super) const LONGEST_CONTROL: usize = 64 << 10;
/// Bytes of a claim, at most.
const LONGEST_CLAIM: usize = 5 + 10 + 32;
/// Faults that are told in detail, at most.
const MOST_FAULTS: usize = 100;
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
struct PlainEntry<'a> {
    path: &'a [u8],
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
        #[serde(deserialize_with = "at_most::<MOST_RECEIVERS, _, _>")]
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
    Has(#[serde(deserialize_with = "at_most::<MOST_ENTRIES, _, _>")] Vec<Claim>),
    /// What it has in the end.
    Got(Report),
    /// It cannot take part.
    Refused(String),
    /// It checks what it has, or writes what has come, and has done so much of that: a number that grows.
    Busy { done: u64 },
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
    #[serde(deserialize_with = "at_most::<MOST_FAULTS, _, _>")]
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
        let bytes = encode(&self.entries.iter().map(PlainEntry::from).collect::<Vec<_>>());
        match bytes.len() {
            0..=LONGEST => Ok(bytes),
            _ => Err(ProtocolError::TooLong(LONGEST)),
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, ProtocolError> {
        let (Listed(entries), rest) = decode_first(bytes)?;
        let manifest = Manifest { entries: entries? };
        if !rest.is_empty() {
            return Err(ProtocolError::Malformed);
        }
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

    /// Bytes of the longest answer that says what somebody has of all this.
    pub(super) fn longest_claims(&self) -> usize {
        LONGEST_CONTROL + self.files().count() * LONGEST_CLAIM
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
pub(super) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, ProtocolError> {
    match decode_first(bytes)? {
        (message, []) => Ok(message),
        _ => Err(ProtocolError::Malformed),
    }
}

/// As [`decode`], with what stands behind the message.
fn decode_first<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), ProtocolError> {
    let (version, rest) = postcard::take_from_bytes::<u16>(bytes).map_err(|_| ProtocolError::Malformed)?;
    if version != VERSION {
        return Err(ProtocolError::Version(version));
    }
    postcard::take_from_bytes(rest).map_err(|_| ProtocolError::Malformed)
}

/// The entries of a manifest, or what is wrong with the first that cannot be taken; those behind it are not read.
struct Listed(Result<Vec<Entry>, ProtocolError>);

impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Listed;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of files and folders")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Listed, A::Error> {
                match list.size_hint() {
                    Some(0..=MOST_ENTRIES) => {}
                    Some(_) => return Ok(Listed(Err(ProtocolError::TooMany))),
                    // More than there are bytes.
                    None => return Err(A::Error::custom("too few elements")),
                }
                let mut entries = Vec::new();
                while let Some(plain) = list.next_element::<PlainEntry<'de>>()? {
                    match Entry::try_from(plain) {
                        Ok(entry) => entries.push(entry),
                        Err(error) => return Ok(Listed(Err(error))),
                    }
                }
                Ok(Listed(Ok(entries)))
            }
        }

        deserializer.deserialize_seq(Entries)
    }
}

impl<'a> From<&'a Entry> for PlainEntry<'a> {
    fn from(entry: &'a Entry) -> Self {
        PlainEntry {
            path: entry.path.as_bytes(),
            kind: entry.kind,
            mode: entry.mode,
            modified: entry.modified,
        }
    }
}

impl TryFrom<PlainEntry<'_>> for Entry {
    type Error = ProtocolError;

    fn try_from(plain: PlainEntry<'_>) -> Result<Self, ProtocolError> {
        let path = RelativePath::parse(plain.path.to_vec()).map_err(|reason| ProtocolError::Path {
            path: shortened(&String::from_utf8_lossy(plain.path)),
            reason,
        })?;
        Ok(Entry {
            path,
            kind: plain.kind,
            mode: plain.mode & 0o777,
            modified: (plain.modified.0, plain.modified.1.min(999_999_999)),
        })
    }
}

/// Reads a list of `MOST` elements at most; nothing of a longer one.
fn at_most<'de, const MOST: usize, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct List<const MOST: usize, T>(PhantomData<T>);

    impl<'de, const MOST: usize, T: Deserialize<'de>> Visitor<'de> for List<MOST, T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of {MOST} elements at most")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            // It is known unless it exceeds the bytes that there are.
            if list.size_hint().is_none_or(|count| count > MOST) {
                return Err(A::Error::custom("too many elements"));
            }
            let mut elements = Vec::new();
            while let Some(element) = list.next_element()? {
                elements.push(element);
            }
            Ok(elements)
        }
    }

    deserializer.deserialize_seq(List::<MOST, T>(PhantomData))
}

/// A text about a fault that is not longer than it may be.
pub(super) fn shortened(text: &str) -> String {
    let end = (0..=LONGEST_TEXT.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or(0)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(path: &str) -> PlainEntry<'_> {
        PlainEntry {
            path: path.as_bytes(),
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
    fn lists_that_are_too_long_are_not_read() {
        let fault = || (1, "why".to_owned());
        for (count, good) in [(MOST_FAULTS, true), (MOST_FAULTS + 1, false)] {
            let report = Report {
                failed: 1,
                faults: vec![fault(); count],
            };
            let got = decode::<Answer>(&encode(&Answer::Got(report)));
            assert_eq!(got.is_ok(), good, "{count} faults");
        }
        for (count, good) in [(MOST_RECEIVERS, true), (MOST_RECEIVERS + 1, false)] {
            let file = Control::File {
                file: u32::MAX,
                from: u64::MAX,
                known: vec![(u64::MAX, [7; 32]); count],
            };
            let sent = encode(&file);
            assert_eq!(decode::<Control>(&sent).is_ok(), good, "{count} digests");
            assert!(sent.len() <= LONGEST_CONTROL, "{}", sent.len());
        }
        // Counts of bytes that are there, and counts that nothing stands behind.
        let count = |count: usize| postcard::to_allocvec(&count).unwrap();
        let bytes = vec![0; 5 * MOST_ENTRIES];
        let many = count(MOST_ENTRIES + 1);
        let list = [&encode(&())[..], &many, &bytes].concat();
        assert_eq!(Manifest::decode(&list), Err(ProtocolError::TooMany));
        let claims = [&encode(&())[..], &[0], &many, &bytes].concat();
        assert_eq!(decode::<Answer>(&claims), Err(ProtocolError::Malformed));
        for many in [many, count(MOST_ENTRIES), count(usize::MAX)] {
            let list = [encode(&()), many].concat();
            assert_eq!(Manifest::decode(&list), Err(ProtocolError::Malformed));
        }
    }

    #[test]
    fn the_longest_answers_fit_their_limits() {
        let mut report = Report::default();
        for _ in 0..2 * MOST_FAULTS {
            report.add(u32::MAX, &"ü".repeat(300));
        }
        report.failed = u32::MAX;
        assert!(encode(&Answer::Got(report)).len() <= LONGEST_CONTROL);
        let claim = Claim {
            file: u32::MAX,
            length: u64::MAX,
            digest: [7; 32],
        };
        let names: Vec<_> = (0..5000).map(|number| number.to_string()).collect();
        let entries: Vec<_> = names.iter().map(|name| plain(name)).collect();
        let manifest = Manifest::decode(&encode(&entries)).unwrap();
        assert!(encode(&Answer::Has(vec![claim; 5000])).len() <= manifest.longest_claims());
    }

    #[test]
    fn texts_are_shortened_between_characters() {
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
