//! The README's examples and introduction, rebuilt from the code.

use anyhow::{Context, Result, bail};

const EXAMPLE_START: &str = "// [readme]";
const EXAMPLE_END: &str = "// [/readme]";
const INTRO_START: &str = "<!-- intro -->";
const INTRO_END: &str = "<!-- /intro -->";

/// `readme` with its introduction and its Rust blocks replaced by what the code says; `read` gives example files.
pub(super) fn rewritten(
    readme: &str,
    intro: &str,
    mut read: impl FnMut(&str) -> Result<String>,
) -> Result<String> {
    let mut out = String::with_capacity(readme.len());
    let mut example: Option<String> = None;
    let mut found_intro = false;
    let mut lines = readme.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        push(&mut out, line);
        let trimmed = line.trim();
        if trimmed == INTRO_START {
            found_intro = true;
            out.push_str(intro);
            lines
                .find(|(_, line)| line.trim() == INTRO_END)
                .with_context(|| format!("README.md:{}: no `{INTRO_END}` follows", index + 1))?;
            push(&mut out, INTRO_END);
        } else if let Some(path) = example_comment(trimmed) {
            example = Some(path.to_owned());
        } else if let Some(language) = trimmed.strip_prefix("```") {
            let is_rust = language.split(',').any(|word| word.trim() == "rust");
            match (is_rust, example.take()) {
                (true, Some(path)) => out.push_str(&marked_part(&read(&path)?).context(path)?),
                (true, None) => bail!(
                    "README.md:{}: a Rust block without `<!-- example: flexbond/examples/NAME.rs -->` before it",
                    index + 1
                ),
                (false, Some(path)) => bail!(
                    "README.md:{}: {path} is announced, but no Rust block follows",
                    index + 1
                ),
                (false, None) => {}
            }
            for (_, inner) in lines.by_ref() {
                let closes = inner.trim() == "```";
                if closes || !is_rust {
                    push(&mut out, inner);
                }
                if closes {
                    break;
                }
            }
        } else if !trimmed.is_empty()
            && let Some(path) = example.take()
        {
            bail!(
                "README.md:{}: {path} is announced, but no Rust block follows",
                index + 1
            );
        }
    }
    if !found_intro {
        bail!("README.md has no `{INTRO_START}`");
    }
    Ok(out)
}

fn push(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

fn example_comment(line: &str) -> Option<&str> {
    Some(line.strip_prefix("<!-- example:")?.strip_suffix("-->")?.trim())
}

/// The introduction in the facade's crate docs, without the comment signs.
pub(super) fn facade_intro(source: &str) -> Result<String> {
    let docs = source
        .lines()
        .filter_map(|line| line.strip_prefix("//!"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line));
    between(docs, INTRO_START, INTRO_END)
}

/// The part of an example file that the README shows, without the indentation that all its lines share.
pub(super) fn marked_part(source: &str) -> Result<String> {
    let part = between(source.lines(), EXAMPLE_START, EXAMPLE_END)?;
    let indent = part
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| line.len() - line.trim_start_matches(' ').len())
        .min()
        .unwrap_or(0);
    let mut dedented = String::with_capacity(part.len());
    for line in part.lines() {
        push(&mut dedented, line.get(indent..).unwrap_or(""));
    }
    Ok(dedented)
}

fn between<'a>(lines: impl Iterator<Item = &'a str>, start: &str, end: &str) -> Result<String> {
    let mut lines = lines.skip_while(|line| line.trim() != start);
    lines
        .next()
        .with_context(|| format!("there is no line `{start}`"))?;
    let mut part = String::new();
    for line in lines {
        if line.trim() == end {
            return Ok(part);
        }
        push(&mut part, line);
    }
    bail!("no line `{end}` follows `{start}`")
}

/// The first line, counted from one, in which two texts differ.
pub(super) fn first_difference(before: &str, after: &str) -> usize {
    let same = before
        .lines()
        .zip(after.lines())
        .take_while(|(a, b)| a == b)
        .count();
    same + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "//! An example.\nfn main() {\n    // [readme]\n    let a = 1;\n\n    if a > 0 {\n        b();\n    }\n    // [/readme]\n}\n";

    fn readme(intro: &str, block: &str) -> String {
        format!(
            "# T\n<!-- intro -->\n{intro}<!-- /intro -->\n\n<!-- example: e.rs -->\n```rust\n{block}```\n\n```sh\nls\n```\n"
        )
    }

    fn rewrite(text: &str) -> Result<String> {
        rewritten(text, "What it is.\n", |path| {
            assert_eq!(path, "e.rs");
            Ok(EXAMPLE.to_owned())
        })
    }

    #[test]
    fn a_readme_is_brought_in_step_once() {
        let expected = readme("What it is.\n", "let a = 1;\n\nif a > 0 {\n    b();\n}\n");
        assert_eq!(rewrite(&readme("old\n\nold\n", "old();\n")).unwrap(), expected);
        assert_eq!(rewrite(&expected).unwrap(), expected);
    }

    #[test]
    fn a_block_that_is_no_example_is_refused() {
        let text = "<!-- intro -->\n<!-- /intro -->\n```rust\nlet x;\n```\n";
        assert!(rewrite(text).unwrap_err().to_string().contains("README.md:3:"));
        let text = "<!-- intro -->\n<!-- /intro -->\n<!-- example: e.rs -->\nprose\n```rust\n```\n";
        assert!(rewrite(text).unwrap_err().to_string().contains("README.md:4:"));
    }

    #[test]
    fn missing_markers_are_named() {
        assert!(
            rewrite("# T\n")
                .unwrap_err()
                .to_string()
                .contains("<!-- intro -->")
        );
        assert!(
            rewrite("<!-- intro -->\n")
                .unwrap_err()
                .to_string()
                .contains("<!-- /intro -->")
        );
        assert!(marked_part("fn main() {}").is_err());
        assert!(marked_part("// [readme]\n").is_err());
    }

    #[test]
    fn the_introduction_comes_from_the_crate_docs() {
        let source = "//! T\n//! <!-- intro -->\n//! One\n//!\n//!   two\n//! <!-- /intro -->\nmod a;\n";
        assert_eq!(facade_intro(source).unwrap(), "One\n\n  two\n");
    }

    #[test]
    fn the_first_difference_is_counted_from_one() {
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), 2);
        assert_eq!(first_difference("a\n", "a\nc\n"), 2);
    }
}
