//! What can be seen of a configuration without beginning: whether those that it names can come, and whether the store can be
//! where it is to be.

#[cfg(feature = "federation-redb")]
use std::fs::{self, File, OpenOptions};
#[cfg(feature = "federation-redb")]
use std::io::{self, Read};
use std::path::Path;

use flexbond_session::Endpoint;
use flexbond_transport::IpcAddress;

use super::config::ServerConfig;
use super::error::ServerConfigError;
use super::server::access;

/// What a file of redb begins with.
#[cfg(feature = "federation-redb")]
const MAGIC: &[u8; 9] = b"redb\x1A\x0A\xA9\x0D\x0A";

impl ServerConfig {
    /// Whether the parties and jobs that it names can come together: a member that is none of the parties, or that may not
    /// join the job, would be waited for in vain, and so would a job that nobody may begin.
    ///
    /// A server begins all the same, for a party that is taken out of `parties` must be out at once.
    ///
    /// # Errors
    /// [`ServerConfigError::Entry`], for the first that cannot come.
    pub fn check_members(&self) -> Result<(), ServerConfigError> {
        if let Some(parties) = &access(self).parties {
            for (job, entry) in &self.jobs {
                for member in &entry.members {
                    let reason = match parties.get(member) {
                        None => format!(
                            "{member} is neither in `parties` nor with one of `servers`, and cannot come; add it there, \
                             or take it out here"
                        ),
                        Some(jobs) if !jobs.is_empty() && !jobs.contains(job) => format!(
                            "{member} cannot come: `parties.{member}.jobs` does not have this job; add it there, or \
                             take the party out here"
                        ),
                        Some(_) => continue,
                    };
                    return fault(format!("jobs.{job}.members"), reason);
                }
            }
        }
        for (party, listed) in &self.parties {
            for job in &listed.jobs {
                let reason = match self.jobs.get(job) {
                    None if !self.open_jobs => format!(
                        "nobody may begin the job {job}: it is not in `jobs`, and `open_jobs` is false; add it to `jobs`"
                    ),
                    Some(entry) if !entry.members.contains(party) => {
                        format!(
                            "`jobs.{job}.members` does not have {party}; add it there, or take the job out here"
                        )
                    }
                    _ => continue,
                };
                return fault(format!("parties.{party}.jobs"), reason);
            }
        }
        Ok(())
    }
}

/// Whether the store can be opened, or made, as far as that can be seen. Nothing is changed.
#[cfg(feature = "federation-redb")]
pub(super) fn check_store(path: &Path) -> Result<(), ServerConfigError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => check_file(path),
        Ok(_) => wrong(path, "is no file; give the name of one"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => check_folder(path),
        Err(error) => wrong(path, &format!("cannot be looked at: {error}")),
    }
}

#[cfg(feature = "federation-redb")]
fn check_file(path: &Path) -> Result<(), ServerConfigError> {
    let opened = OpenOptions::new().read(true).write(true).open(path);
    let mut start = Vec::new();
    let read = opened.and_then(|file: File| file.take(MAGIC.len() as u64).read_to_end(&mut start));
    match read {
        // An empty file is one that was made, and no more.
        Ok(_) if start.is_empty() || start == MAGIC => Ok(()),
        Ok(_) => wrong(path, "is no store of a message server; give another name"),
        Err(error) => wrong(path, &format!("cannot be read and written by this user: {error}")),
    }
}

#[cfg(feature = "federation-redb")]
fn check_folder(path: &Path) -> Result<(), ServerConfigError> {
    if path.file_name().is_none() {
        return wrong(path, "is a folder; give the name of a file");
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    if !folder.is_dir() {
        let reason = format!("cannot be made: there is no folder {}; make it", folder.display());
        return wrong(path, &reason);
    }
    may_write(folder).or_else(|error| {
        let folder = folder.display();
        let reason = format!("cannot be made: this user cannot write into the folder {folder}: {error}");
        wrong(path, &reason)
    })
}

#[cfg(all(feature = "federation-redb", unix))]
fn may_write(folder: &Path) -> io::Result<()> {
    use rustix::fs::{Access, access};

    access(folder, Access::WRITE_OK | Access::EXEC_OK)?;
    makes_files(folder)
}

/// Folders of some file systems, such as /proc, may be written into and take no files.
#[cfg(all(feature = "federation-redb", target_os = "linux"))]
fn makes_files(folder: &Path) -> io::Result<()> {
    use rustix::fs::{Mode, OFlags, open};

    // One without a name: nothing is left behind.
    let made = open(
        folder,
        OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::RUSR | Mode::WUSR,
    );
    match made {
        // Not all that take files know such ones.
        Err(error) if error == rustix::io::Errno::OPNOTSUPP || error == rustix::io::Errno::ISDIR => {
            makes_named_files(folder)
        }
        made => Ok(made.map(drop)?),
    }
}

#[cfg(all(feature = "federation-redb", unix, not(target_os = "linux")))]
fn makes_files(folder: &Path) -> io::Result<()> {
    makes_named_files(folder)
}

#[cfg(all(feature = "federation-redb", unix))]
fn makes_named_files(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".flexbond-{:016x}", fastrand::u64(..)));
    File::options().write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)
}

/// Whether there can be a socket file where the configuration has one, as far as that can be seen. Nothing is changed.
pub(super) fn check_listening(config: &ServerConfig) -> Result<(), ServerConfigError> {
    for endpoint in &config.listen {
        if let Endpoint::Ipc(IpcAddress::Path { path, .. }) = endpoint {
            let folder = Path::new(path)
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            if !folder.is_dir() {
                let reason = format!("{endpoint}: there is no folder {}; make it", folder.display());
                return fault("listen", reason);
            }
        }
    }
    Ok(())
}

#[cfg(all(feature = "federation-redb", not(unix)))]
fn may_write(folder: &Path) -> io::Result<()> {
    fs::metadata(folder).map(drop)
}

#[cfg(feature = "federation-redb")]
fn wrong(path: &Path, reason: &str) -> Result<(), ServerConfigError> {
    fault("store", format!("{} {reason}", path.display()))
}

fn fault(key: impl Into<String>, reason: impl Into<String>) -> Result<(), ServerConfigError> {
    Err(ServerConfigError::Entry {
        key: key.into(),
        reason: reason.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> String {
        let config = ServerConfig::from_toml(text).unwrap();
        config.validate().unwrap();
        match config.check_members() {
            Ok(()) => "good".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn members_that_cannot_come_are_named() {
        for (text, said) in [
            ("[jobs.j]\nmembers = [\"a\", \"b\"]", "good"),
            (
                "[jobs.j]\nmembers = [\"a\", \"x\"]\n[parties.a]",
                "`jobs.j.members`: x is neither in `parties`",
            ),
            (
                "[jobs.j]\nmembers = [\"a\", \"b\"]\n[parties.a]\n[servers.n]\nparties = [\"b\"]",
                "good",
            ),
            (
                "[jobs.j]\nmembers = [\"a\"]\n[parties.a]\njobs = [\"k\"]",
                "`jobs.j.members`: a cannot come: `parties.a.jobs` does not have",
            ),
            (
                "open_jobs = false\n[parties.a]\njobs = [\"k\"]",
                "`parties.a.jobs`: nobody may begin the job k",
            ),
            (
                "[jobs.j]\nmembers = [\"b\"]\n[parties.a]\njobs = [\"j\"]\n[parties.b]",
                "`parties.a.jobs`: `jobs.j.members` does not have a",
            ),
            ("[jobs.j]\nmembers = [\"a\"]\n[parties.a]\njobs = [\"j\"]", "good"),
        ] {
            let reason = reason(text);
            assert!(reason.contains(said), "{text}: {reason}");
        }
    }

    #[test]
    fn a_socket_file_has_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let listens = |name: &str| {
            let endpoint = format!("ipc://{}/{name}", folder.path().display());
            let mut config = ServerConfig::new();
            config.listen = vec![endpoint.parse().unwrap()];
            check_listening(&config)
        };
        listens("socket").unwrap();
        let error = listens("none/socket").unwrap_err().to_string();
        assert!(
            error.starts_with("`listen`: ipc://") && error.contains("there is no folder"),
            "{error}"
        );
    }

    #[cfg(feature = "federation-redb")]
    #[test]
    fn a_store_is_looked_for_where_it_is_to_be() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("empty"), "").unwrap();
        fs::write(at("text"), "some text").unwrap();
        drop(redb::Database::create(at("store")).unwrap());
        for name in ["new.redb", "empty", "store"] {
            check_store(&at(name)).unwrap();
        }
        makes_named_files(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "nothing is made");
        for (name, said) in [
            ("", "is no file"),
            ("text", "is no store of a message server"),
            ("none/new.redb", "there is no folder"),
            ("text/new.redb", "cannot be looked at"),
            #[cfg(target_os = "linux")]
            ("/proc/new.redb", "cannot write into the folder /proc"),
        ] {
            let error = check_store(&at(name)).unwrap_err().to_string();
            assert!(
                error.starts_with("`store`: ") && error.contains(said),
                "{name}: {error}"
            );
        }
    }
}
