//! The key of a session, from a file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use zeroize::Zeroizing;

use crate::cli::Failure;
use crate::group::PresharedKey;

/// Bytes in a file with a key, at most: what is larger is another file.
const LONGEST: u64 = 64 << 10;

/// Reads a key. White space at the ends of a text is no part of it; what is no text counts as it is.
pub(super) fn read(path: &Path) -> Result<PresharedKey, Failure> {
    let place = path.display();
    // As large as it may become: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 64));
    File::open(path)
        .and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes))
        .map_err(|error| Failure::new(format!("cannot read the key in {place}: {error}")))?;
    if bytes.len() as u64 > LONGEST {
        return Err(Failure::usage(format!("{place} is too large for a key")));
    }
    let key = match std::str::from_utf8(&bytes) {
        Ok(text) => text.parse(),
        Err(_) => PresharedKey::new(&bytes),
    };
    key.map_err(|error| {
        Failure::usage(format!("the key in {place} cannot be used: {error}"))
            .hint("make one with: head -c 32 /dev/urandom | base64")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_from_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for (bytes, good) in [
            (vec![b'k'; 16], true),
            (vec![0xff; 32], true),
            (b"  fifteen bytes.\n".to_vec(), false),
            (vec![b'k'; LONGEST as usize], true),
            (vec![b'k'; LONGEST as usize + 1], false),
        ] {
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(read(&path).is_ok(), good, "{} bytes", bytes.len());
        }
        assert!(read(&folder.path().join("none")).is_err());
    }
}
