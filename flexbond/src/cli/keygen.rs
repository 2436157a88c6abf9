//! `flexbond keygen`: keys for the mechanism CURVE, in files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::console;
use super::failure::{Exit, Failure, note};
use super::output::Stop;
use crate::session::socket::{Certificate, generate_keys};

/// Make a key pair for CURVE: FILE.key for everybody, FILE.key_secret for you alone.
///
/// The files are those of czmq and of pyzmq's zmq.auth. The public key is printed, too. Files that exist are not
/// replaced.
#[derive(clap::Args)]
pub(crate) struct Keygen {
    /// Where: `server` makes server.key and server.key_secret
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Bytes in a certificate, at most: what is larger is another file.
const LONGEST: u64 = 64 << 10;

impl Keygen {
    pub(crate) fn run(&self) -> Result<Exit, Failure> {
        let keys = generate_keys()
            .map_err(|error| Failure::new(format!("the system has no random numbers: {error}")))?;
        let ends_in_name = !self.file.as_os_str().as_bytes().ends_with(b"/");
        if self.file.file_name().is_none() || !ends_in_name {
            let place = self.file.display();
            return Err(
                Failure::usage(format!("{place} is a folder, and no name for files"))
                    .hint(format!("{place} and a name, such as server")),
            );
        }
        let stem = match self.file.extension() {
            Some(extension) if extension == "key" || extension == "key_secret" => {
                self.file.with_extension("")
            }
            _ => self.file.clone(),
        };
        let [public, secret] = ["key", "key_secret"].map(|extension| with_suffix(&stem, extension));
        create(&secret, 0o600, Certificate::secret_text(&keys).as_bytes())?;
        if let Err(failure) = create(&public, 0o644, Certificate::public_text(&keys).as_bytes()) {
            // A secret without its public half would stand in the way next time.
            let _ = fs::remove_file(&secret);
            return Err(failure);
        }
        match console::print(&format!("{}\n", keys.public())) {
            Ok(()) | Err(Stop::ReaderGone) => Ok(Exit::Done),
            Err(Stop::Failure(failure)) => Err(failure),
        }
    }
}

fn with_suffix(stem: &Path, extension: &str) -> PathBuf {
    let mut name = stem.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

/// Writes a file that is not there yet; of one that could not be written whole, nothing stays.
fn create(path: &Path, mode: u32, text: &[u8]) -> Result<(), Failure> {
    let explain = |error: io::Error| {
        let failure = Failure::new(format!("cannot write {}: {error}", path.display()));
        match error.kind() {
            io::ErrorKind::AlreadyExists => failure.hint("choose another name, or move it away"),
            _ => failure,
        }
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(explain)?;
    file.write_all(text)
        .and_then(|()| file.sync_all())
        .map_err(|error| {
            let _ = fs::remove_file(path);
            explain(error)
        })
}

/// Reads a file with a secret key, and says if others than its owner could, too. One that others could have written is
/// refused: the key in it may be theirs.
pub(super) fn read_secret(path: &Path) -> Result<Certificate, Failure> {
    let place = path.display();
    let cannot = |error: io::Error| Failure::new(format!("cannot read the key in {place}: {error}"));
    let file = File::open(path).map_err(cannot)?;
    check_private(&file, path)?;
    // As large as it may become: growing would leave copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 64));
    file.take(LONGEST + 1).read_to_end(&mut text).map_err(cannot)?;
    if text.len() as u64 > LONGEST {
        return Err(Failure::usage(format!("{place} is too large for a key")));
    }
    // Comments and names may be in any encoding; keys, and all that is looked for, are ASCII.
    text.iter_mut()
        .filter(|byte| !byte.is_ascii())
        .for_each(|byte| *byte = b'?');
    let text = std::str::from_utf8(&text).unwrap_or_default();
    text.parse()
        .map_err(|error| Failure::usage(format!("the key in {place} cannot be used: {error}")))
}

/// The same of a file that is read elsewhere: whether it can be is said there.
pub(super) fn check_private_at(path: &Path) -> Result<(), Failure> {
    File::open(path).map_or(Ok(()), |file| check_private(&file, path))
}

/// Says if others than its owner could read a file with a secret key, and refuses one that they could have written. What is
/// no regular file, a pipe for instance, is as private as who made it has it.
pub(super) fn check_private(file: &File, path: &Path) -> Result<(), Failure> {
    let place = path.display();
    let metadata = file
        .metadata()
        .map_err(|error| Failure::new(format!("cannot read the key in {place}: {error}")))?;
    if !metadata.is_file() {
        return Ok(());
    }
    let mode = metadata.permissions().mode();
    if mode & 0o022 != 0 {
        return Err(Failure::usage(format!(
            "others can write the secret key in {place} (mode {:o})",
            mode & 0o777
        ))
        .hint(format!("if it is still yours: chmod 600 {place}")));
    }
    if mode & 0o077 != 0 {
        // pyzmq makes them so: refused, most keys that exist could not be used.
        note(&format!(
            "others can read the secret key in {place} (mode {:o}): chmod 600 {place}",
            mode & 0o777
        ));
    }
    Ok(())
}
