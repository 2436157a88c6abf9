//! A file that is sent: read once from where it has to begin, and a checksum of all of it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;

use blake3::Hasher;
use bytes::Bytes;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::PIECE;
use super::protocol::{Claim, Digest, Entry};
use super::scan::Place;
use super::stamp::Identity;

/// A file that is sent.
pub(super) struct Source {
    file: File,
    size: u64,
    modified: (i64, i64),
    at: u64,
    hasher: Hasher,
    /// The state of the hasher at places from which there may be a beginning.
    marks: Vec<(u64, Hasher)>,
}

impl Source {
    /// Opens a file that is still as it was when it was listed. The error says why it cannot be sent.
    pub(super) fn open(place: &Place, entry: &Entry, size: u64) -> Result<Self, String> {
        let changed = || "it has changed since it was listed".to_owned();
        // Whatever has taken its place meanwhile: it is not followed, and not waited for.
        let mut flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        if !place.named {
            flags |= OFlags::NOFOLLOW;
        }
        let file = match rustix::fs::open(&place.path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::LOOP) => return Err(changed()),
            Err(error) => return Err(std::io::Error::from(error).to_string()),
        };
        let metadata = file.metadata().map_err(|error| error.to_string())?;
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        let listed = (entry.modified.0, i64::from(entry.modified.1));
        let is_same = metadata.is_file() && Identity::of(&metadata) == place.identity;
        if !is_same || metadata.len() != size || modified != listed {
            return Err(changed());
        }
        Ok(Source {
            file,
            size,
            modified,
            at: 0,
            hasher: Hasher::new(),
            marks: Vec::new(),
        })
    }

    /// What the first bytes have for a digest, for each length, which are sorted.
    ///
    /// Gives others their turn every now and then.
    pub(super) async fn digests(&mut self, lengths: &[u64]) -> Result<Vec<(u64, Digest)>, String> {
        let mut digests = Vec::new();
        for length in lengths {
            while self.at < *length {
                self.read(length - self.at)?;
                tokio::task::yield_now().await;
            }
            digests.push((*length, *self.hasher.finalize().as_bytes()));
            self.marks.push((*length, self.hasher.clone()));
        }
        Ok(digests)
    }

    /// Goes to a place where a digest was asked for, or to the beginning.
    pub(super) fn go_to(&mut self, from: u64) -> Result<(), String> {
        let mark = self.marks.iter().find(|(length, _)| *length == from);
        (self.at, self.hasher) = match mark {
            Some((length, hasher)) => (*length, hasher.clone()),
            None => (0, Hasher::new()),
        };
        self.marks = Vec::new();
        self.file
            .seek(SeekFrom::Start(self.at))
            .map_err(|error| error.to_string())?;
        Ok(())
    }

    /// The next bytes; `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, String> {
        match self.size - self.at {
            0 => Ok(None),
            rest => self.read(rest).map(|bytes| Some(bytes.into())),
        }
    }

    /// The digest of the whole file, which must not have changed meanwhile.
    pub(super) fn finish(self) -> Result<Digest, String> {
        let metadata = self.file.metadata().map_err(|error| error.to_string())?;
        if metadata.len() != self.size || (metadata.mtime(), metadata.mtime_nsec()) != self.modified {
            return Err("it has changed while it was sent".to_owned());
        }
        Ok(*self.hasher.finalize().as_bytes())
    }

    fn read(&mut self, most: u64) -> Result<Vec<u8>, String> {
        let length = most.min(PIECE as u64);
        let mut bytes = Vec::with_capacity(length as usize);
        (&self.file)
            .take(length)
            .read_to_end(&mut bytes)
            .map_err(|error| error.to_string())?;
        if (bytes.len() as u64) < length {
            return Err("it has become shorter while it was sent".to_owned());
        }
        self.hasher.update(&bytes);
        self.at += length;
        Ok(bytes)
    }
}

/// The first byte that somebody lacks. `claims` has one item for each receiver.
pub(super) fn first_missing<'a>(
    claims: impl Iterator<Item = Option<&'a Claim>>,
    known: &[(u64, Digest)],
) -> u64 {
    let verified = |claim: Option<&Claim>| match claim {
        Some(claim) if known.contains(&(claim.length, claim.digest)) => claim.length,
        _ => 0,
    };
    claims.map(verified).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::super::scan::Offer;
    use super::*;

    fn source(folder: &Path, bytes: &[u8]) -> (PathBuf, Result<Source, String>) {
        let path = folder.join("file");
        fs::write(&path, bytes).unwrap();
        let offer = Offer::scan(std::slice::from_ref(&path)).unwrap();
        let opened = Source::open(&offer.places[0], &offer.manifest.entries[0], bytes.len() as u64);
        (path, opened)
    }

    #[tokio::test]
    async fn a_file_is_sent_from_where_it_has_to_begin() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..3 * PIECE + 5).map(|index| (index % 251) as u8).collect();
        for from in [0, 7, PIECE as u64, 3 * PIECE as u64 + 5] {
            let (_, source) = source(folder.path(), &bytes);
            let mut source = source.unwrap();
            let known = source
                .digests(&[7, PIECE as u64, bytes.len() as u64])
                .await
                .unwrap();
            assert_eq!(known[0], (7, *blake3::hash(&bytes[..7]).as_bytes()));
            source.go_to(from).unwrap();
            let mut sent = Vec::new();
            while let Some(piece) = source.next().unwrap() {
                assert!(piece.len() <= PIECE);
                sent.extend_from_slice(&piece);
            }
            assert!(sent == bytes[from as usize..], "from {from}");
            assert_eq!(source.finish().unwrap(), *blake3::hash(&bytes).as_bytes());
        }
    }

    #[test]
    fn a_file_that_changes_is_found_out() {
        let folder = tempfile::tempdir().unwrap();
        let (path, opened) = source(folder.path(), &[1; 100]);
        let mut opened = opened.unwrap();
        fs::write(&path, [1; 50]).unwrap();
        assert!(opened.next().unwrap_err().contains("shorter"));
        let (path, opened) = source(folder.path(), &[1; 100]);
        let mut opened = opened.unwrap();
        fs::write(&path, [1; 150]).unwrap();
        assert_eq!(opened.next().unwrap().unwrap().len(), 100);
        assert_eq!(opened.next().unwrap(), None);
        assert!(opened.finish().unwrap_err().contains("changed"));
    }

    #[test]
    fn the_least_that_is_really_there_counts() {
        let claim = |length, byte| Claim {
            file: 0,
            length,
            digest: [byte; 32],
        };
        let known = [(5, [1; 32]), (9, [2; 32])];
        let (five, nine, wrong) = (claim(5, 1), claim(9, 2), claim(9, 3));
        let first = |claims: &[Option<&Claim>]| first_missing(claims.iter().copied(), &known);
        assert_eq!(first(&[Some(&nine)]), 9);
        assert_eq!(first(&[Some(&nine), Some(&five)]), 5);
        assert_eq!(first(&[Some(&nine), Some(&wrong)]), 0);
        assert_eq!(first(&[Some(&nine), None]), 0);
    }
}
