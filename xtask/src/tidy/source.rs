//! Rules about single Rust files.

use super::Finding;
use super::code::without_prose;

/// The most lines of a source file, its tests not counted.
const MAX_LINES: usize = 600;

// Leftovers; in pieces, so that a search for them finds none here.
const LEFTOVERS: [(&str, &str); 4] = [
    (concat!("to", "do!("), "write the code"),
    (
        concat!("unimpl", "emented!("),
        "write the code, or return an error",
    ),
    (concat!("db", "g!("), "remove it, or use tracing"),
    (
        concat!("#[ig", "nore"),
        "make the test run everywhere, or remove it",
    ),
];

pub(super) fn check(file: &str, text: &str) -> Vec<Finding> {
    let code = without_prose(text);
    let mut findings = Vec::new();
    first_line(file, text, &mut findings);
    length(file, &code, &mut findings);
    leftovers(file, &code, &mut findings);
    safety(file, text, &code, &mut findings);
    if file.ends_with("src/lib.rs") {
        facade(file, &code, &mut findings);
    }
    findings
}

fn first_line(file: &str, text: &str, findings: &mut Vec<Finding>) {
    let first = text.lines().next().unwrap_or_default();
    if first.strip_prefix("//!").is_none_or(|doc| doc.trim().is_empty()) {
        findings.push(Finding::new(
            file,
            1,
            "the first line is not a module comment",
            "begin the file with `//!` and what it is for",
        ));
    }
}

fn length(file: &str, code: &str, findings: &mut Vec<Finding>) {
    if !file.contains("/src/") || file.ends_with("/tests.rs") || file.contains("/tests/") {
        return;
    }
    let lines: Vec<&str> = code.lines().collect();
    let tests = lines.windows(2).position(|pair| {
        pair[0].trim() == "#[cfg(test)]" && pair[1].trim().starts_with("mod ") && pair[1].contains('{')
    });
    let counted = tests.unwrap_or(lines.len());
    if counted > MAX_LINES {
        findings.push(Finding::new(
            file,
            MAX_LINES + 1,
            format!("{counted} lines without the tests, more than {MAX_LINES}"),
            "split it by the things that it holds",
        ));
    }
}

fn leftovers(file: &str, code: &str, findings: &mut Vec<Finding>) {
    for (index, line) in code.lines().enumerate() {
        for (leftover, advice) in LEFTOVERS {
            if line.contains(leftover) {
                findings.push(Finding::new(
                    file,
                    index + 1,
                    format!("`{leftover}` was left behind"),
                    advice,
                ));
            }
        }
    }
}

fn safety(file: &str, text: &str, code: &str, findings: &mut Vec<Finding>) {
    let lines: Vec<&str> = text.lines().collect();
    for (index, line) in code.lines().enumerate() {
        if !opens_unsafe(line) {
            continue;
        }
        // The comment stands on the lines above (attributes may be between), or on the line itself.
        let above = lines[..index]
            .iter()
            .rev()
            .map(|line| line.trim())
            .take_while(|line| line.starts_with("//") || line.starts_with("#["));
        if !std::iter::once(lines[index])
            .chain(above)
            .any(|line| line.contains("SAFETY:"))
        {
            findings.push(Finding::new(
                file,
                index + 1,
                "unsafe code without its reason",
                "say in a `// SAFETY:` comment above why it is sound",
            ));
        }
    }
}

/// Whether a line of code has an unsafe block or an unsafe implementation.
fn opens_unsafe(line: &str) -> bool {
    line.match_indices("unsafe").any(|(at, word)| {
        let starts = !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let after = line[at + word.len()..].trim_start();
        starts && (after.starts_with('{') || after.starts_with("impl"))
    })
}

/// A crate's root is a table of contents. The compiler wants procedural macros there as well.
fn facade(file: &str, code: &str, findings: &mut Vec<Finding>) {
    let mut rest = code;
    let mut is_macro = false;
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return;
        }
        let line = code[..code.len() - rest.len()].matches('\n').count() + 1;
        let len = if rest.starts_with('#') {
            attribute(rest)
        } else {
            item(rest)
        };
        let text = &rest[..len];
        if text.starts_with("#[proc_macro") {
            is_macro = true;
        } else if !text.starts_with('#') && !std::mem::take(&mut is_macro) && !belongs(text) {
            let shown = text.lines().next().unwrap_or_default().trim();
            findings.push(Finding::new(
                file,
                line,
                format!("`{shown}` in a crate's root"),
                "keep docs, attributes, `mod` and `pub use` there, and move code into a module",
            ));
        }
        rest = &rest[len..];
    }
}

/// Whether an item may stand in a crate's root: `mod x;`, `pub mod x;`, `pub use …;`.
fn belongs(item: &str) -> bool {
    let is_public = item.starts_with("pub");
    let bare = item
        .strip_prefix("pub(crate)")
        .or_else(|| item.strip_prefix("pub"))
        .unwrap_or(item)
        .trim_start();
    if bare.starts_with("mod ") {
        return bare.ends_with(';');
    }
    is_public && bare.starts_with("use ")
}

/// The length of the attribute at the start of `code`.
fn attribute(code: &str) -> usize {
    balanced(code, '[', ']').unwrap_or(code.len())
}

/// The length of the item at the start of `code`: up to its semicolon, or to the end of its block.
fn item(code: &str) -> usize {
    let semicolon = code.find(';').map(|at| at + 1);
    let block = code.find('{');
    match (semicolon, block) {
        (Some(end), Some(open)) if open < end => {
            let closed = balanced(code, '{', '}').unwrap_or(code.len());
            // `use a::{b};` goes on after its block.
            if code[closed..].trim_start().starts_with(';') {
                closed + code[closed..].find(';').map_or(0, |at| at + 1)
            } else {
                closed
            }
        }
        (Some(end), _) => end,
        (None, Some(_)) => balanced(code, '{', '}').unwrap_or(code.len()),
        (None, None) => code.len(),
    }
}

fn balanced(code: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                return Some(at + c.len_utf8());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, text: &str) -> Vec<(usize, String)> {
        check(file, text)
            .into_iter()
            .map(|finding| (finding.line, finding.what))
            .collect()
    }

    #[test]
    fn a_file_without_a_module_comment_is_found() {
        assert_eq!(found("a/src/x.rs", "//! What x is.\nfn f() {}\n"), []);
        for text in ["fn f() {}\n", "//!\n", "// no\n", ""] {
            assert_eq!(found("a/tests/x.rs", text)[0].0, 1, "{text:?}");
        }
    }

    #[test]
    fn only_code_lines_count() {
        let code = format!("//! X.\n{}", "fn f() {}\n".repeat(599));
        assert_eq!(found("a/src/x.rs", &code), []);
        let with_tests = format!(
            "{code}#[cfg(test)]\nmod tests {{\n{}}}\n",
            "fn f() {}\n".repeat(500)
        );
        assert_eq!(found("a/src/x.rs", &with_tests), []);
        let long = format!("{code}fn f() {{}}\n");
        assert_eq!(
            found("a/src/x.rs", &long),
            [(601, "601 lines without the tests, more than 600".to_owned())]
        );
        assert_eq!(found("a/tests/x.rs", &long), []);
    }

    #[test]
    fn leftovers_are_found_in_code_only() {
        for (leftover, _) in LEFTOVERS {
            let text = format!("//! X.\n// {leftover}\nlet s = \"{leftover}\";\n");
            assert_eq!(found("a/src/x.rs", &text), [], "{leftover}");
            let text = format!("//! X.\n\n    {leftover}\n");
            assert_eq!(
                found("a/src/x.rs", &text),
                [(3, format!("`{leftover}` was left behind"))]
            );
        }
    }

    #[test]
    fn unsafe_code_needs_its_reason() {
        let bare = "//! X.\nfn f() {\n    unsafe { g() }\n}\nunsafe impl Send for X {}\n";
        assert_eq!(
            found("a/src/x.rs", bare).iter().map(|f| f.0).collect::<Vec<_>>(),
            [3, 5]
        );
        let reasoned = "//! X.\nfn f() {\n    // SAFETY: g is fine\n    // with it.\n    unsafe { g() }\n}\n\
                        // SAFETY: plain data\n#[cfg(unix)]\nunsafe impl Send for X {}\n#![forbid(unsafe_code)]\n";
        assert_eq!(found("a/src/x.rs", reasoned), []);
    }

    #[test]
    fn a_root_of_docs_modules_and_exports_passes() {
        let text = "//! A crate.\n//! ```\n//! fn main() {}\n//! ```\n#![cfg_attr(docsrs, feature(doc_cfg))]\n\
                    #[macro_use]\nmod macros;\npub mod pipe;\n#[cfg(feature = \"tcp\")]\nmod tcp;\n\
                    pub use a::{b, c::{d}};\npub(crate) use x::y;\npub use z;\n";
        assert_eq!(found("a/src/lib.rs", text), []);
    }

    #[test]
    fn procedural_macros_are_in_the_root() {
        let text = "//! A crate.\nmod a;\n#[proc_macro_attribute]\npub fn f(x: X) -> X {\n    a::f(x)\n}\nfn g() {}\n";
        let lines: Vec<usize> = found("a/src/lib.rs", text).into_iter().map(|f| f.0).collect();
        assert_eq!(lines, [7]);
    }

    #[test]
    fn code_in_a_root_is_found() {
        let text = "//! A crate.\nmod a;\nuse std::fmt;\npub fn f() {\n    g();\n}\npub mod inline {\n}\nconst X: u8 = 1;\n";
        let lines: Vec<usize> = found("a/src/lib.rs", text).into_iter().map(|f| f.0).collect();
        assert_eq!(lines, [3, 4, 7, 9]);
        assert_eq!(found("a/src/other.rs", text), []);
    }
}
