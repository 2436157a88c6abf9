//! From files and folders that are named to the list of what is sent.

use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::path::{RelativePath, is_part};
use super::protocol::{Entry, Kind, MOST_ENTRIES, Manifest, ProtocolError};
use super::stamp::Identity;
use crate::cli::Failure;

/// What is sent, and where it is.
#[derive(Debug, Default)]
pub(super) struct Offer {
    pub(super) manifest: Manifest,
    /// Where each entry of the manifest is.
    pub(super) places: Vec<Place>,
    /// What is in the folders and not sent, and why.
    pub(super) left_out: Vec<String>,
}

/// Where something is that is sent.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    /// Which file was there when it was listed.
    pub(super) identity: Identity,
    /// Whether somebody has named it, who means what it leads to if it is a link.
    pub(super) named: bool,
}

impl Offer {
    /// Looks at all files, and into all folders.
    pub(super) fn scan(paths: &[PathBuf]) -> Result<Self, Failure> {
        let mut offer = Offer::default();
        for path in paths {
            // Whoever names a link means what it leads to; links that are found on the way are left out.
            let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
            let name = path.file_name().map(|name| name.as_bytes().to_vec());
            match name {
                // `.` and `..` have no name to be sent under, but what is in them has.
                None => offer.look_into(path, &[])?,
                Some(name) => offer.add(path, &name, &metadata, true)?,
            }
        }
        offer
            .manifest
            .check_names()
            .map_err(|error| Failure::usage(error.to_string()))?;
        Ok(offer)
    }

    fn add(&mut self, place: &Path, path: &[u8], metadata: &Metadata, named: bool) -> Result<(), Failure> {
        let kind = match metadata {
            _ if metadata.is_dir() => Kind::Folder,
            _ if metadata.is_file() => Kind::File { size: metadata.len() },
            _ if named => {
                let place = place.display();
                return Err(Failure::usage(format!("{place} is neither a file nor a folder")));
            }
            _ => {
                let why = match metadata.is_symlink() {
                    true => "a symbolic link",
                    false => "neither a file nor a folder",
                };
                self.left_out.push(format!("{} ({why})", place.display()));
                return Ok(());
            }
        };
        if self.places.len() >= MOST_ENTRIES {
            return Err(Failure::usage(ProtocolError::TooMany.to_string()));
        }
        let relative = RelativePath::parse(path.to_vec())
            .map_err(|reason| Failure::usage(format!("cannot send {}: {reason}", place.display())))?;
        self.manifest.entries.push(Entry {
            path: relative,
            kind,
            mode: metadata.mode() & 0o777,
            // Nanoseconds are fewer than 2^30.
            modified: (metadata.mtime(), metadata.mtime_nsec() as u32),
        });
        self.places.push(Place {
            path: place.to_owned(),
            identity: Identity::of(metadata),
            named,
        });
        match kind {
            Kind::Folder => self.look_into(place, path),
            Kind::File { .. } => Ok(()),
        }
    }

    /// Adds what is in a folder, in the order of the names. Paths are of bounded length, and so is the depth.
    fn look_into(&mut self, folder: &Path, path: &[u8]) -> Result<(), Failure> {
        let failure = |error: std::io::Error| unreadable(folder, &error);
        let mut found = fs::read_dir(folder)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(failure)?;
        found.sort_unstable_by_key(fs::DirEntry::file_name);
        for entry in found {
            let name = entry.file_name();
            if is_part(&name) {
                self.left_out
                    .push(format!("{} (an unfinished file)", entry.path().display()));
                continue;
            }
            let separator: &[u8] = if path.is_empty() { b"" } else { b"/" };
            let path = [path, separator, name.as_bytes()].concat();
            let place = entry.path();
            let metadata = entry.metadata().map_err(|error| unreadable(&place, &error))?;
            self.add(&place, &path, &metadata, false)?;
        }
        Ok(())
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn folders_are_listed_with_all_that_can_travel() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().join("top");
        fs::create_dir_all(top.join("b/empty")).unwrap();
        fs::write(top.join("b/ü"), "12345").unwrap();
        fs::write(top.join("a"), "").unwrap();
        fs::write(top.join(".old.flexbond-part"), "half").unwrap();
        symlink("/etc/passwd", top.join("link")).unwrap();
        let paths = |offer: &Offer| -> Vec<String> {
            let entries = offer.manifest.entries.iter();
            entries.map(|entry| entry.path.to_string()).collect()
        };
        let offer = Offer::scan(std::slice::from_ref(&top)).unwrap();
        assert_eq!(paths(&offer), ["top", "top/a", "top/b", "top/b/empty", "top/b/ü"]);
        assert_eq!((offer.manifest.bytes(), offer.left_out.len()), (5, 2));
        // A folder without a name is its contents.
        let offer = Offer::scan(&[top.join("b/..")]).unwrap();
        assert_eq!(paths(&offer), ["a", "b", "b/empty", "b/ü"]);
        assert!(Offer::scan(&[top.join("a"), folder.path().join("top/b/../a")]).is_err());
        assert!(Offer::scan(&[top.join("nothing")]).is_err());
    }
}
