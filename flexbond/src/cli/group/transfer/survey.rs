//! What a receiver has already of what is offered.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};

use blake3::Hasher;

use super::PIECE;
use super::folder::Folder;
use super::protocol::{Claim, Digest, Entry, Manifest};

/// What there is of a file.
pub(super) enum Have {
    /// A file of the right name and size.
    Whole(Digest),
    /// The part of one that was not complete, and its digest so far.
    Part { length: u64, hasher: Box<Hasher> },
}

impl Have {
    /// How much there is, and its digest.
    pub(super) fn claim(&self, size: u64) -> (u64, Digest) {
        match self {
            Have::Whole(digest) => (size, *digest),
            Have::Part { length, hasher } => (*length, *hasher.finalize().as_bytes()),
        }
    }
}

/// Looks at all that is there, and reads it. Gives others their turn every now and then.
pub(super) async fn survey(folder: &Folder, manifest: &Manifest) -> (HashMap<u32, Have>, Vec<Claim>) {
    let mut found = HashMap::new();
    let mut claims = Vec::new();
    for (file, entry, size) in manifest.files() {
        // What cannot be read counts for nothing; writing to it says why.
        if let Ok(Some(have)) = look(folder, entry, size).await {
            let (length, digest) = have.claim(size);
            claims.push(Claim { file, length, digest });
            found.insert(file, have);
        }
    }
    (found, claims)
}

async fn look(folder: &Folder, entry: &Entry, size: u64) -> io::Result<Option<Have>> {
    if let Ok(Some(mut file)) = folder.existing(&entry.path)
        && file.metadata()?.len() == size
    {
        let (_, hasher) = digest(&mut file, size).await?;
        return Ok(Some(Have::Whole(*hasher.finalize().as_bytes())));
    }
    let Some(mut file) = folder.unfinished(&entry.path)? else {
        return Ok(None);
    };
    match file.metadata()?.len() {
        0 => Ok(None),
        length if length > size => Ok(None),
        length => {
            let (length, hasher) = digest(&mut file, length).await?;
            Ok(Some(Have::Part {
                length,
                hasher: Box::new(hasher),
            }))
        }
    }
}

/// The digest of so many bytes, or of what there is.
async fn digest(file: &mut File, length: u64) -> io::Result<(u64, Hasher)> {
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
            }
        }
        tokio::task::yield_now().await;
    }
    Ok((at, hasher))
}
