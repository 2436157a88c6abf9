//! The key of a session, from a file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use crate::cli::Failure;
use crate::cli::keygen::check_private;
use crate::group::PresharedKey;

/// Bytes in a file with a key, at most: what is larger is another file.
const LONGEST: u64 = 64 << 10;

/// Reads a key. White space at the ends of a text is no part of it; what is no text counts as it is. One that others could
/// have written is refused.
pub(super) fn read(path: &Path) -> Result<PresharedKey, Failure> {
    let place = path.display();
    let cannot = |error: io::Error| Failure::new(format!("cannot read the key in {place}: {error}"));
    let file = File::open(path).map_err(cannot)?;
    check_private(&file, path)?;
    // As large as it may become: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 64));
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(cannot)?;
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
    use std::os::unix::fs::PermissionsExt;

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

    #[test]
    fn a_key_that_others_could_have_written_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, [b'k'; 32]).unwrap();
        for (mode, good) in [(0o600, true), (0o644, true), (0o620, false), (0o602, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&path).is_ok(), good, "{mode:o}");
        }
    }
}
