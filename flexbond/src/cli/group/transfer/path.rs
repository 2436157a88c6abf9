//! Paths as they travel: relative, of plain names, and nothing that leads out of a folder.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use thiserror::Error;

/// Bytes in a path, at most.
const LONGEST: usize = 4096;
/// Bytes in a name, at most.
const LONGEST_NAME: usize = 255;
/// How the names of parts end.
const PART: &str = ".flexbond-part";

/// A relative path of at least one name. No name is empty, `.`, `..` or that of a part; none has a slash or a zero.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RelativePath(Vec<u8>);

/// Why a path does not travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum PathError {
    #[error("it is empty, or has an empty name in it")]
    Empty,
    #[error("it is absolute")]
    Absolute,
    #[error("it has `.` or `..` in it")]
    Dots,
    #[error("it has a zero byte in it")]
    Zero,
    #[error("it is too long")]
    TooLong,
    #[error("it has a name that is kept for unfinished files")]
    Part,
}

impl RelativePath {
    /// Takes a path from whoever sent it.
    pub(super) fn parse(bytes: Vec<u8>) -> Result<Self, PathError> {
        if bytes.len() > LONGEST {
            return Err(PathError::TooLong);
        }
        if bytes.first() == Some(&b'/') {
            return Err(PathError::Absolute);
        }
        if bytes.contains(&0) {
            return Err(PathError::Zero);
        }
        for name in bytes.split(|byte| *byte == b'/') {
            match name {
                b"" => return Err(PathError::Empty),
                b"." | b".." => return Err(PathError::Dots),
                _ if name.len() > LONGEST_NAME => return Err(PathError::TooLong),
                _ if is_part(OsStr::from_bytes(name)) => return Err(PathError::Part),
                _ => {}
            }
        }
        Ok(RelativePath(bytes))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The folders on the way, from the outermost.
    pub(super) fn folders(&self) -> impl Iterator<Item = &OsStr> {
        let end = self.last_slash().unwrap_or(0);
        self.0[..end]
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty())
            .map(OsStr::from_bytes)
    }

    /// The last name.
    pub(super) fn name(&self) -> &OsStr {
        let begin = self.last_slash().map_or(0, |at| at + 1);
        OsStr::from_bytes(&self.0[begin..])
    }

    /// The name that it has until it is complete.
    pub(super) fn part_name(&self) -> Vec<u8> {
        let name = self.name().as_bytes();
        let whole = [b".", name, PART.as_bytes()].concat();
        if whole.len() <= LONGEST_NAME {
            return whole;
        }
        let short = blake3::hash(name).to_hex();
        [b".", short.as_bytes(), PART.as_bytes()].concat()
    }

    fn last_slash(&self) -> Option<usize> {
        self.0.iter().rposition(|byte| *byte == b'/')
    }
}

/// For people: nothing in it may steer a terminal.
impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.0);
        let plain = |c: char| !c.is_control();
        match text.chars().all(plain) {
            true => f.write_str(&text),
            false => write!(f, "{}", text.escape_debug()),
        }
    }
}

impl fmt::Debug for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&OsStr::from_bytes(&self.0), f)
    }
}

/// Whether this is the name of an unfinished file.
pub(super) fn is_part(name: &OsStr) -> bool {
    name.as_bytes().first() == Some(&b'.') && name.as_bytes().ends_with(PART.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_out_of_a_folder_is_refused() {
        let long = "x".repeat(256);
        let longer = "x/".repeat(2048) + "xx";
        for (text, error) in [
            ("", PathError::Empty),
            ("a//b", PathError::Empty),
            ("a/", PathError::Empty),
            ("/etc/passwd", PathError::Absolute),
            ("/", PathError::Absolute),
            ("..", PathError::Dots),
            ("../a", PathError::Dots),
            ("a/../../b", PathError::Dots),
            ("a/..", PathError::Dots),
            ("./a", PathError::Dots),
            ("a/./b", PathError::Dots),
            ("a\0b", PathError::Zero),
            ("a/.b.flexbond-part", PathError::Part),
            (".b.flexbond-part/a", PathError::Part),
            (&long, PathError::TooLong),
            (&longer, PathError::TooLong),
        ] {
            assert_eq!(RelativePath::parse(text.into()), Err(error), "{text}");
        }
    }

    #[test]
    fn plain_paths_have_folders_and_a_name() {
        for (text, folders, name) in [
            ("a", vec![], "a"),
            ("..a/...", vec!["..a"], "..."),
            ("ä b/c/日本.txt", vec!["ä b", "c"], "日本.txt"),
        ] {
            let path = RelativePath::parse(text.into()).unwrap();
            assert_eq!(path.folders().collect::<Vec<_>>(), folders);
            assert_eq!(path.name(), name);
            assert_eq!(path.to_string(), text);
        }
        assert_eq!(
            RelativePath::parse(b"a\x1b[2J\xff".to_vec()).unwrap().to_string(),
            "a\\u{1b}[2J\u{fffd}"
        );
    }

    #[test]
    fn the_name_of_a_part_fits_and_is_known_as_one() {
        for length in [1, 200, 240, 255] {
            let path = RelativePath::parse(vec![b'n'; length]).unwrap();
            let part = path.part_name();
            assert!(part.len() <= LONGEST_NAME, "{length}");
            assert!(is_part(OsStr::from_bytes(&part)), "{length}");
        }
        assert_eq!(
            RelativePath::parse(b"d/n".to_vec()).unwrap().part_name(),
            b".n.flexbond-part"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_path_that_is_taken_leads_out(bytes: Vec<u8>) {
            if let Ok(path) = RelativePath::parse(bytes) {
                for name in path.folders().chain([path.name()]) {
                    proptest::prop_assert!(!name.is_empty() && name != "." && name != "..");
                    proptest::prop_assert!(!name.as_bytes().contains(&b'/'));
                }
            }
        }
    }
}
