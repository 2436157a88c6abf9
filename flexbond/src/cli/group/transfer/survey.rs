//! What a receiver has already of what is offered.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};

use blake3::Hasher;

use super::PIECE;
use super::folder::Folder;
use super::protocol::{Claim, Digest, Entry, Manifest};
use super::stamp::Stamp;

/// What there is of a file.
pub(super) enum Have {
    /// A file of the right name and size.
    Whole { digest: Digest, stamp: Stamp },
    /// The part of one that was not complete, and its digest so far.
    Part {
        length: u64,
        hasher: Box<Hasher>,
        stamp: Stamp,
    },
}

impl Have {
    /// How much there is, and its digest.
    pub(super) fn claim(&self, size: u64) -> (u64, Digest) {
        match self {
            Have::Whole { digest, .. } => (size, *digest),
            Have::Part { length, hasher, .. } => (*length, *hasher.finalize().as_bytes()),
        }
    }
}

/// Looks at all that is there, and reads it. Gives others their turn every now and then, and tells of how many bytes and
/// files more it has got on.
///
/// Nothing is locked meanwhile: of what others change later, the stamp tells.
pub(super) async fn survey(
    folder: &Folder,
    manifest: &Manifest,
    mut get_on: impl FnMut(u64),
) -> (HashMap<u32, Have>, Vec<Claim>) {
    let mut found = HashMap::new();
    let mut claims = Vec::new();
    for (file, entry, size) in manifest.files() {
        // What cannot be read counts for nothing; writing to it says why.
        if let Ok(Some(have)) = look(folder, entry, size, &mut get_on).await {
            let (length, digest) = have.claim(size);
            claims.push(Claim { file, length, digest });
            found.insert(file, have);
        }
        get_on(1);
    }
    (found, claims)
}

async fn look(
    folder: &Folder,
    entry: &Entry,
    size: u64,
    get_on: &mut impl FnMut(u64),
) -> io::Result<Option<Have>> {
    if let Ok(Some(mut file)) = folder.existing(&entry.path)
        && file.metadata()?.len() == size
    {
        let read = read(&mut file, size, get_on).await?;
        return Ok(read.map(|(hasher, stamp)| Have::Whole {
            digest: *hasher.finalize().as_bytes(),
            stamp,
        }));
    }
    let Some(mut file) = folder.unfinished(&entry.path)? else {
        return Ok(None);
    };
    let length = file.metadata()?.len();
    if length == 0 || length > size {
        return Ok(None);
    }
    let read = read(&mut file, length, get_on).await?;
    Ok(read.map(|(hasher, stamp)| Have::Part {
        length,
        hasher: Box::new(hasher),
        stamp,
    }))
}

/// The digest of a file of so many bytes; `None` if somebody changes it meanwhile.
async fn read(
    file: &mut File,
    length: u64,
    get_on: &mut impl FnMut(u64),
) -> io::Result<Option<(Hasher, Stamp)>> {
    let stamp = Stamp::settled(file).await?;
    let (read, hasher) = digest(file, length, get_on).await?;
    let same = read == length && Stamp::of(file)? == stamp;
    Ok(same.then_some((hasher, stamp)))
}

/// The digest of the first bytes, so many or what there is.
pub(super) async fn digest(
    file: &mut File,
    length: u64,
    get_on: &mut impl FnMut(u64),
) -> io::Result<(u64, Hasher)> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; PIECE.min(usize::try_from(length).unwrap_or(PIECE))];
    let mut at = 0;
    while at < length {
        let most = buffer
            .len()
            .min(usize::try_from(length - at).unwrap_or(usize::MAX));
        match file.read(&mut buffer[..most])? {
            0 => break,
            count => {
                hasher.update(&buffer[..count]);
                at += count as u64;
                get_on(count as u64);
            }
        }
        tokio::task::yield_now().await;
    }
    Ok((at, hasher))
}
