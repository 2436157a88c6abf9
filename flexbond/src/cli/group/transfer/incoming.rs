//! A file that is being received: what has come is written, what was there is skipped, and the whole is checked.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use blake3::Hasher;

use super::folder::Folder;
use super::protocol::{Digest, Entry};
use super::survey::Have;

/// A file that is being received.
///
/// A fault is remembered, and what comes after it passes by: others still want it.
pub(super) struct Incoming<'a> {
    folder: &'a Folder,
    entry: &'a Entry,
    size: u64,
    /// Which byte comes next.
    at: u64,
    target: Result<Target, String>,
}

enum Target {
    /// The file is complete, and this is its digest.
    Whole(Digest),
    /// What there is of it, how much that is, and its digest so far.
    Part(File, u64, Box<Hasher>),
}

impl<'a> Incoming<'a> {
    /// Begins with the byte `from`; `known` is what the first bytes of the file have for digests.
    pub(super) fn begin(
        folder: &'a Folder,
        entry: &'a Entry,
        size: u64,
        from: u64,
        known: &[(u64, Digest)],
        have: Option<Have>,
    ) -> Self {
        let have = have.filter(|have| known.contains(&have.claim(size)));
        let target = match have {
            Some(Have::Whole(digest)) => Ok(Target::Whole(digest)),
            Some(Have::Part { length, hasher }) => open(folder, entry, length, hasher),
            None => open(folder, entry, 0, Box::default()),
        };
        let target = target.map_err(|error| error.to_string());
        let target = match &target {
            Ok(Target::Part(_, have, _)) if from > *have => {
                Err("the sender has left out what is missing here".to_owned())
            }
            _ if from > size => Err("the sender begins after the end".to_owned()),
            _ => target,
        };
        Incoming {
            folder,
            entry,
            size,
            at: from,
            target,
        }
    }

    /// Which byte comes next.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Takes the next bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        let at = self.at;
        self.at = self.at.saturating_add(bytes.len() as u64);
        if self.at > self.size {
            self.target = Err("more has come than the file has".to_owned());
            return;
        }
        if let Ok(Target::Part(file, have, hasher)) = &mut self.target {
            // It begins at `have` or before: that was looked at, and each write ends at `at` or after.
            let skip = usize::try_from(*have - at.min(*have)).unwrap_or(usize::MAX);
            let news = bytes.get(skip..).unwrap_or_default();
            match file.write_all(news) {
                Ok(()) => {
                    hasher.update(news);
                    *have += news.len() as u64;
                }
                Err(error) => self.target = Err(error.to_string()),
            }
        }
    }

    /// The sender has sent all of it, which has this digest. The error says why the file is not there now.
    pub(super) fn end(self, digest: Digest) -> Result<(), String> {
        match self.target? {
            Target::Whole(ours) if ours == digest => {
                self.folder.refresh(self.entry).map_err(|error| error.to_string())
            }
            // It has changed at the sender's since; there is nothing to go on from.
            Target::Whole(_) => Err("the file here is not the one that was sent".to_owned()),
            Target::Part(_, have, _) if have < self.size => Err("less has come than the file has".to_owned()),
            Target::Part(file, _, hasher) => {
                if *hasher.finalize().as_bytes() == digest {
                    let named = self.folder.complete(&file, self.entry);
                    return named.map_err(|error| error.to_string());
                }
                // What is wrong in it cannot be known.
                let gone = self.folder.discard(&self.entry.path);
                gone.map_err(|error| error.to_string())?;
                Err("the checksum is wrong".to_owned())
            }
        }
    }
}

fn open(folder: &Folder, entry: &Entry, length: u64, hasher: Box<Hasher>) -> io::Result<Target> {
    let mut file = folder.begin(&entry.path)?;
    if file.metadata()?.len() < length {
        return Err(io::Error::other("it has become shorter meanwhile"));
    }
    file.set_len(length)?;
    file.seek(SeekFrom::Start(length))?;
    Ok(Target::Part(file, length, hasher))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::path::RelativePath;
    use super::super::protocol::{Kind, Manifest};
    use super::super::survey::survey;
    use super::*;

    const BYTES: &[u8] = b"twelve bytes";

    fn manifest() -> Manifest {
        Manifest {
            entries: vec![Entry {
                path: RelativePath::parse(b"name".to_vec()).unwrap(),
                kind: Kind::File { size: 12 },
                mode: 0o600,
                modified: (7, 0),
            }],
        }
    }

    fn digest(bytes: &[u8]) -> Digest {
        *blake3::hash(bytes).as_bytes()
    }

    /// Receives the file from a byte on, into a folder as it is.
    async fn receive(place: &Path, from: usize, sent: &[u8]) -> Result<(), String> {
        let folder = Folder::open(place).unwrap();
        let manifest = manifest();
        let (mut found, claims) = survey(&folder, &manifest).await;
        let known: Vec<_> = claims
            .iter()
            .map(|claim| (claim.length, digest(&BYTES[..claim.length as usize])))
            .collect();
        let entry = &manifest.entries[0];
        let mut incoming = Incoming::begin(&folder, entry, 12, from as u64, &known, found.remove(&0));
        for piece in sent.chunks(5) {
            incoming.write(piece);
        }
        incoming.end(digest(BYTES))
    }

    #[tokio::test]
    async fn what_is_there_is_gone_on_from() {
        for (there, from) in [(0, 0), (4, 0), (4, 3), (4, 4), (12, 12), (12, 2)] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(".name.flexbond-part"), &BYTES[..there]).unwrap();
            assert_eq!(
                receive(folder.path(), from, &BYTES[from..]).await,
                Ok(()),
                "{there} {from}"
            );
            assert_eq!(fs::read(folder.path().join("name")).unwrap(), BYTES);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
            // Once more, into a folder that has all.
            assert_eq!(receive(folder.path(), 12, b"").await, Ok(()));
            assert_eq!(receive(folder.path(), 7, &BYTES[7..]).await, Ok(()));
        }
    }

    #[tokio::test]
    async fn what_is_wrong_there_is_not_gone_on_from() {
        for (name, bytes) in [
            (".name.flexbond-part", &b"twelfe"[..]),
            (".name.flexbond-part", b"longer than it is"),
            ("name", b"twelfe bytes"),
            ("name", b"short"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(name), bytes).unwrap();
            assert_eq!(receive(folder.path(), 0, BYTES).await, Ok(()), "{name}");
            assert_eq!(fs::read(folder.path().join("name")).unwrap(), BYTES);
            fs::write(folder.path().join("name"), bytes).unwrap();
            let left_out = receive(folder.path(), 1, &BYTES[1..]).await;
            assert!(left_out.unwrap_err().contains("left out"));
        }
    }

    #[tokio::test]
    async fn what_comes_wrong_is_found_out() {
        let folder = tempfile::tempdir().unwrap();
        for (sent, why) in [
            (&b"twelfe bytes"[..], "checksum"),
            (b"twelve", "less"),
            (b"twelve bytes and more", "more"),
        ] {
            let error = receive(folder.path(), 0, sent).await.unwrap_err();
            assert!(error.contains(why), "{error}");
            assert!(!folder.path().join("name").exists());
        }
    }
}
