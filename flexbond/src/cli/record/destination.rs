//! The file that an export makes: written beside its place, and put there when it is whole.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::cli::Failure;

/// The place of a file. Dropping it removes what was written and not put there.
#[derive(Debug)]
pub(super) struct Destination {
    place: PathBuf,
    beside: PathBuf,
    replaces: bool,
}

impl Destination {
    /// A file in `place`; one that is there already stays as it is until [`put`](Self::put), and is replaced only with
    /// `force`.
    pub(super) fn new(place: &Path, force: bool) -> Result<Self, Failure> {
        // Of a link itself, which is replaced as a file is.
        let there = fs::symlink_metadata(place).ok();
        if let Some(there) = &there {
            if !force {
                return Err(exists(place));
            }
            if !there.is_file() && !there.is_symlink() {
                return Err(Failure::usage(format!(
                    "{} is no file, and is not overwritten",
                    place.display()
                )));
            }
        }
        // In the same folder: only there can it be renamed in one step.
        let name = format!(".flexbond-export-{:016x}.part", fastrand::u64(..));
        Ok(Destination {
            place: place.to_owned(),
            beside: place.with_file_name(name),
            replaces: there.is_some(),
        })
    }

    /// Where to write; nothing is there yet.
    pub(super) fn beside(&self) -> &Path {
        &self.beside
    }

    /// Whether there was a file before.
    pub(super) fn replaces(&self) -> bool {
        self.replaces
    }

    /// Puts what was written in its place.
    pub(super) fn put(self) -> Result<(), Failure> {
        let put = match self.replaces {
            true => self.replace(),
            false => self.place_new(),
        };
        put.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists(&self.place),
            _ => Failure::new(format!("{} cannot be written: {error}", self.place.display())),
        })
    }

    fn replace(&self) -> io::Result<()> {
        // On the disk before the old one is gone from it.
        File::open(&self.beside)?.sync_all()?;
        fs::rename(&self.beside, &self.place)
    }

    /// Somebody else may have made a file there meanwhile: a link does not replace it, as renaming would.
    fn place_new(&self) -> io::Result<()> {
        match fs::hard_link(&self.beside, &self.place) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                // There are file systems without links.
                if fs::symlink_metadata(&self.place).is_ok() {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                fs::rename(&self.beside, &self.place)
            }
            linked => linked,
        }
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        // It is not there when it was never written, or renamed.
        let _ = fs::remove_file(&self.beside);
    }
}

fn exists(place: &Path) -> Failure {
    Failure::new(format!("{} exists", place.display())).hint("--force overwrites it; or choose another name")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap();
        names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_file_is_replaced_in_one_step_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("out.npy");
        let written = |force| {
            let destination = Destination::new(&place, force).unwrap();
            fs::write(destination.beside(), format!("force {force}")).unwrap();
            destination
        };
        drop(written(false));
        assert!(names(folder.path()).is_empty());
        written(false).put().unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"force false");
        assert!(Destination::new(&place, false).is_err());
        drop(written(true));
        assert_eq!(fs::read(&place).unwrap(), b"force false");
        written(true).put().unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"force true");
        assert_eq!(names(folder.path()), ["out.npy"]);
    }

    #[test]
    fn what_came_there_meanwhile_stays() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("out.npy");
        let destination = Destination::new(&place, true).unwrap();
        fs::write(destination.beside(), "mine").unwrap();
        fs::write(&place, "theirs").unwrap();
        assert!(destination.put().is_err());
        assert_eq!(fs::read(&place).unwrap(), b"theirs");
        assert_eq!(names(folder.path()), ["out.npy"]);
        assert!(Destination::new(folder.path(), true).is_err(), "a folder");
    }
}
