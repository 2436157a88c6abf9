//! A file that is being received: what has come is written, what was there is skipped, and the whole is checked.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use blake3::Hasher;

use super::folder::Folder;
use super::protocol::{Digest, Entry};
use super::stamp::Stamp;
use super::survey::{Have, digest};

/// So many bytes at most wait in this machine's memory to be written to the disk, so that the last of them do not take as
/// long as a sender has patience.
const UNSYNCED: u64 = 64 << 20;

/// A file that is being received.
///
/// A fault is remembered, and what comes after it passes by: others still want it.
pub(super) struct Incoming<'a> {
    folder: &'a Folder,
    entry: &'a Entry,
    size: u64,
    /// Which byte comes next.
    at: u64,
    /// How much was written since it was last made certain that it is on the disk.
    unsynced: u64,
    target: Result<Target, String>,
}

enum Target {
    /// The file is complete, this is its digest, and when it was what it is.
    Whole(Digest, Stamp),
    /// What there is of it, how much that is, and its digest so far.
    Part(File, u64, Box<Hasher>),
}

impl<'a> Incoming<'a> {
    /// Begins with the byte `from`; `known` is what the first bytes of the file have for digests.
    pub(super) async fn begin(
        folder: &'a Folder,
        entry: &'a Entry,
        size: u64,
        from: u64,
        known: &[(u64, Digest)],
        have: Option<Have>,
    ) -> Self {
        let have = have.filter(|have| known.contains(&have.claim(size)));
        Incoming {
            folder,
            entry,
            size,
            at: from,
            unsynced: 0,
            target: target(folder, entry, size, from, have).await,
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
            hasher.update(news);
            *have += news.len() as u64;
            self.unsynced += news.len() as u64;
            let mut written = file.write_all(news);
            if self.unsynced >= UNSYNCED {
                self.unsynced = 0;
                written = written.and_then(|()| file.sync_data());
            }
            if let Err(error) = written {
                self.target = Err(error.to_string());
            }
        }
    }

    /// The sender has sent all of it, which has this digest. The error says why the file is not there now.
    pub(super) async fn end(self, digest: Digest) -> Result<(), String> {
        match self.target? {
            Target::Whole(ours, stamp) if ours == digest => {
                let refreshed = refresh(self.folder, self.entry, self.size, digest, stamp).await;
                refreshed.map_err(|error| error.to_string())
            }
            // It has changed at the sender's since; there is nothing to go on from.
            Target::Whole(..) => Err("the file here is not the one that was sent".to_owned()),
            Target::Part(_, have, _) if have < self.size => Err("less has come than the file has".to_owned()),
            Target::Part(file, _, hasher) => {
                if *hasher.finalize().as_bytes() == digest {
                    let named = self.folder.complete(&file, self.entry);
                    return named.map_err(|error| error.to_string());
                }
                // What is wrong in it cannot be known. It is not locked any more then.
                drop(file);
                let gone = self.folder.discard(&self.entry.path);
                gone.map_err(|error| error.to_string())?;
                Err("the checksum is wrong".to_owned())
            }
        }
    }
}

/// What is written to, or left as it is. Nothing is changed before it is certain that what is missing will come.
async fn target(
    folder: &Folder,
    entry: &Entry,
    size: u64,
    from: u64,
    have: Option<Have>,
) -> Result<Target, String> {
    if from > size {
        return Err("the sender begins after the end".to_owned());
    }
    let length = have.as_ref().map_or(0, |have| have.claim(size).0);
    if from > length {
        return Err("the sender has left out what is missing here".to_owned());
    }
    let opened = match have {
        Some(Have::Whole { digest, stamp }) => Ok(Target::Whole(digest, stamp)),
        Some(Have::Part {
            length,
            hasher,
            stamp,
        }) => go_on(folder, entry, from, length, hasher, stamp).await,
        None => folder
            .begin(&entry.path)
            .and_then(|file| write_from(file, 0, Box::default())),
    };
    opened.map_err(|error| error.to_string())
}

/// Goes on where a part ends, or begins again where it is not any more what it was.
async fn go_on(
    folder: &Folder,
    entry: &Entry,
    from: u64,
    length: u64,
    hasher: Box<Hasher>,
    stamp: Stamp,
) -> io::Result<Target> {
    // From here on it is locked.
    let mut file = folder.begin(&entry.path)?;
    let is_same = Stamp::of(&file)? == stamp || {
        let (_, again) = digest(&mut file, length, &mut |_| {}).await?;
        again.finalize() == hasher.finalize()
    };
    match is_same {
        true => write_from(file, length, hasher),
        false if from == 0 => write_from(file, 0, Box::default()),
        false => Err(io::Error::other("somebody has changed what was here of it")),
    }
}

fn write_from(mut file: File, length: u64, hasher: Box<Hasher>) -> io::Result<Target> {
    file.set_len(length)?;
    file.seek(SeekFrom::Start(length))?;
    Ok(Target::Part(file, length, hasher))
}

/// Makes a file that was complete look as it should, if it is still what it was.
async fn refresh(folder: &Folder, entry: &Entry, size: u64, known: Digest, stamp: Stamp) -> io::Result<()> {
    let file = folder.existing(&entry.path)?;
    let mut file = file.ok_or_else(|| io::Error::other("somebody has taken away the file that was here"))?;
    let is_same = Stamp::of(&file)? == stamp || {
        let (_, again) = digest(&mut file, size, &mut |_| {}).await?;
        *again.finalize().as_bytes() == known && file.metadata()?.len() == size
    };
    match is_same {
        true => folder.refresh(&file, entry),
        false => Err(io::Error::other("somebody has changed the file that was here")),
    }
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

    fn hash(bytes: &[u8]) -> Digest {
        *blake3::hash(bytes).as_bytes()
    }

    /// Receives the file from a byte on, into a folder as it is.
    async fn receive(place: &Path, from: usize, sent: &[u8]) -> Result<(), String> {
        receive_after(place, from, sent, || {}).await
    }

    /// As [`receive`]; something happens after it was looked what is there.
    async fn receive_after(
        place: &Path,
        from: usize,
        sent: &[u8],
        happens: impl FnOnce(),
    ) -> Result<(), String> {
        let folder = Folder::open(place).unwrap();
        let manifest = manifest();
        let (mut found, claims) = survey(&folder, &manifest, |_| {}).await;
        let known: Vec<_> = claims
            .iter()
            .map(|claim| (claim.length, hash(&BYTES[..claim.length as usize])))
            .collect();
        happens();
        let entry = &manifest.entries[0];
        let have = found.remove(&0);
        let mut incoming = Incoming::begin(&folder, entry, 12, from as u64, &known, have).await;
        for piece in sent.chunks(5) {
            incoming.write(piece);
        }
        incoming.end(hash(BYTES)).await
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

    const PART: &str = ".name.flexbond-part";

    #[tokio::test]
    async fn what_somebody_changes_meanwhile_is_looked_at_again() {
        for (name, there) in [(PART, 7), ("name", 12)] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(name);
            let start = || fs::write(&path, &BYTES[..there]).unwrap();
            let write = |bytes: &[u8]| {
                let modified = fs::metadata(&path).unwrap().modified().unwrap();
                fs::write(&path, bytes).unwrap();
                let file = File::options().write(true).open(&path).unwrap();
                file.set_modified(modified).unwrap();
            };
            let sent = &BYTES[there..];
            // Other bytes, as many, with the same time.
            start();
            let other = || write(&b"TWELVE BYTES"[..there]);
            let error = receive_after(folder.path(), there, sent, other)
                .await
                .unwrap_err();
            assert!(error.contains("somebody has changed"), "{error}");
            assert!(there == 12 || !folder.path().join("name").exists());
            // The same bytes again, in the same file and in another one.
            for again in [false, true] {
                start();
                let same = || {
                    if again {
                        fs::remove_file(&path).unwrap();
                        fs::write(&path, "").unwrap();
                    }
                    write(&BYTES[..there]);
                };
                assert_eq!(receive_after(folder.path(), there, sent, same).await, Ok(()));
                assert_eq!(fs::read(folder.path().join("name")).unwrap(), BYTES);
                fs::remove_file(folder.path().join("name")).unwrap();
            }
            // It is gone.
            start();
            let gone = || fs::remove_file(&path).unwrap();
            assert!(receive_after(folder.path(), there, sent, gone).await.is_err());
        }
    }

    #[tokio::test]
    async fn all_is_taken_where_all_comes_whatever_somebody_changes_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(PART);
        fs::write(&path, &BYTES[..7]).unwrap();
        let other = || fs::write(&path, "TWELVE!").unwrap();
        assert_eq!(receive_after(folder.path(), 0, BYTES, other).await, Ok(()));
        assert_eq!(fs::read(folder.path().join("name")).unwrap(), BYTES);
    }

    #[tokio::test]
    async fn what_is_kept_stays_where_the_sender_leaves_something_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(PART);
        for (there, from) in [(&b"twelve"[..], 7), (b"twelfe", 3), (b"twelve", 13)] {
            fs::write(&path, there).unwrap();
            assert!(receive(folder.path(), from, b"").await.is_err());
            assert_eq!(fs::read(&path).unwrap(), there);
        }
    }
}
