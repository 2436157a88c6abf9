//! Traces of one machine: absolute paths that exist nowhere else.

use super::Finding;

// In pieces, so that this file does not find itself.
const FOLDERS: [&str; 4] = [
    concat!("/wo", "rk/"),
    concat!("/fa", "rm/"),
    concat!("/tmp/bash", "_jobs"),
    concat!("/ro", "ot/"),
];

pub(super) fn check(file: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(folder) = FOLDERS.into_iter().find(|folder| names(line, folder)) {
            findings.push(Finding::new(
                file,
                index + 1,
                format!("a path of one machine: `{folder}`"),
                "use a path relative to the repository, or a temporary folder made by the test",
            ));
        }
    }
    findings
}

/// Whether `line` has `folder` as the start of an absolute path, and not as a part of a longer one.
fn names(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !(c.is_alphanumeric() || "_-.~}>".contains(c)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_paths_are_found() {
        for folder in FOLDERS {
            for line in [
                format!("cd {folder}x"),
                format!("\"{folder}x\""),
                format!("ipc://{folder}x"),
            ] {
                let findings = check("a.sh", &format!("first\n{line}\n"));
                assert_eq!(findings.len(), 1, "{line}");
                assert_eq!(findings[0].line, 2);
            }
        }
    }

    #[test]
    fn parts_of_other_paths_are_not() {
        for folder in FOLDERS {
            for line in [
                format!("target{folder}x"),
                format!("${{DIR}}{folder}x"),
                format!("..{folder}"),
            ] {
                assert_eq!(check("a.sh", &line), [], "{line}");
            }
        }
    }
}
