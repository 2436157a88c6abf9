//! The names of a recording's files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// `run.fbr` becomes `run.000007.fbr`.
pub(super) fn numbered(path: &Path, number: u64) -> PathBuf {
    match path.extension() {
        Some(extension) => {
            let mut name = std::ffi::OsString::from(format!("{number:06}."));
            name.push(extension);
            path.with_extension(name)
        }
        None => path.with_extension(format!("{number:06}")),
    }
}

/// The numbered files of the rotated recording that was written to `path`, in order of their numbers: of `run.fbr`,
/// `run.000000.fbr` and so on. None when it was not rotated, or there is none.
///
/// # Errors
/// Those of reading the folder.
pub fn all_numbered(path: &Path) -> io::Result<Vec<PathBuf>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder.unwrap_or(Path::new(".")))? {
        let name = entry?.file_name();
        let Some(rest) = stem
            .as_ref()
            .and_then(|stem| name.to_str()?.strip_prefix(stem.as_str()))
        else {
            continue;
        };
        let digits: String = rest.chars().skip(1).take_while(char::is_ascii_digit).collect();
        let Ok(number) = digits.parse() else {
            continue;
        };
        let file = numbered(path, number);
        if file.file_name() == Some(&name) {
            files.push((number, file));
        }
    }
    files.sort();
    Ok(files.into_iter().map(|(_, file)| file).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_before_the_extension_and_order_is_by_number() {
        assert_eq!(numbered(Path::new("a/run.fbr"), 7), Path::new("a/run.000007.fbr"));
        assert_eq!(numbered(Path::new("run"), 1_234_567), Path::new("run.1234567"));

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.fbr");
        for number in [2, 1_000_000, 0, 999_999] {
            fs::write(numbered(&path, number), "").unwrap();
        }
        for other in [
            "run.fbr",
            "run.1.fbr",
            "run.000001.txt",
            "other.000001.fbr",
            "run.000001.fbr.bak",
        ] {
            fs::write(folder.path().join(other), "").unwrap();
        }
        let expected = [0, 2, 999_999, 1_000_000].map(|number| numbered(&path, number));
        assert_eq!(all_numbered(&path).unwrap(), expected);
    }
}
