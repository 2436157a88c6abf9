//! Rust source without its comments and literals, so that a rule about code is not fooled by prose.

/// `text` with every comment, string and character literal blanked out by spaces; line breaks stay where they are.
pub(super) fn without_prose(text: &str) -> String {
    let mut scanner = Scanner {
        rest: text,
        code: String::with_capacity(text.len()),
        last: ' ',
    };
    while !scanner.rest.is_empty() {
        scanner.step();
    }
    scanner.code
}

struct Scanner<'a> {
    rest: &'a str,
    code: String,
    // The last character of code, to tell `r"…"` from an identifier that ends in r.
    last: char,
}

impl Scanner<'_> {
    fn step(&mut self) {
        let rest = self.rest;
        if rest.starts_with("//") {
            self.blank(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.blank(block_comment(rest));
        } else if let Some(len) = self.raw_string() {
            self.blank(len);
        } else if rest.starts_with('"') {
            self.blank(quoted(rest, '"'));
        } else if rest.starts_with('\'') && is_char_literal(rest) {
            self.blank(quoted(rest, '\''));
        } else if let Some(c) = rest.chars().next() {
            self.code.push(c);
            self.last = c;
            self.rest = &rest[c.len_utf8()..];
        }
    }

    fn blank(&mut self, len: usize) {
        let (gone, rest) = self.rest.split_at(len);
        self.code
            .extend(gone.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        self.last = ' ';
        self.rest = rest;
    }

    /// The length of the raw string that starts here, if one does.
    fn raw_string(&self) -> Option<usize> {
        if self.last.is_alphanumeric() || self.last == '_' {
            return None;
        }
        let start = ["r", "br", "cr"].into_iter().find(|start| {
            let after = self.rest.strip_prefix(start);
            after.is_some_and(|after| after.trim_start_matches('#').starts_with('"'))
        })?;
        let after = &self.rest[start.len()..];
        let hashes = after.len() - after.trim_start_matches('#').len();
        let open = start.len() + hashes + 1;
        let close = format!("\"{}", "#".repeat(hashes));
        Some(
            self.rest[open..]
                .find(&close)
                .map_or(self.rest.len(), |at| open + at + close.len()),
        )
    }
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(found) = text[at..].find(['/', '*']) {
        at += found;
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// The length of the literal that starts with `quote`, both quotes included.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Tells `'a'` and `'\n'` from a lifetime.
fn is_char_literal(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    match chars.next() {
        Some('\\') => true,
        Some(_) => chars.next() == Some('\''),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_vanish_and_lines_stay() {
        let text = "a // x\n/* y\n/* z */ */ b \"s\\\"t\" c '\"' d r#\"u\"v\"# e b'\\'' f\n'g' &'h h";
        let code = without_prose(text);
        assert_eq!(code.lines().count(), text.lines().count());
        let words: Vec<&str> = code.split_whitespace().collect();
        assert_eq!(words, ["a", "b", "c", "d", "e", "b", "f", "&'h", "h"]);
    }

    #[test]
    fn an_identifier_that_ends_in_r_starts_no_raw_string() {
        assert_eq!(without_prose("for\"x\"").trim(), "for");
        assert_eq!(without_prose("r#type").trim(), "r#type");
    }

    #[test]
    fn unfinished_text_ends() {
        for text in ["\"", "'", "/*", "r#\"", "'\\", "/* *"] {
            let _ = without_prose(text);
        }
    }
}
