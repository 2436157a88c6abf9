//! Text that others have chosen, such as names of files and reasons for a refusal, made fit for a terminal.

use std::borrow::Cow;

/// The text as it is, or escaped where something in it would steer a terminal or turn the order of letters around.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    match text.chars().any(steers) {
        false => Cow::Borrowed(text),
        true => Cow::Owned(text.escape_debug().to_string()),
    }
}

fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// JSON whose texts steer no terminal. Such characters are in texts only, where they can be written as numbers.
pub(crate) fn unsteered(json: &str) -> String {
    let steers = |c: char| {
        (c.is_control() && !c.is_ascii())
            || matches!(c, '\u{7f}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !json.contains(steers) {
        return json.to_owned();
    }
    json.chars().fold(String::new(), |mut text, c| {
        match steers(c) {
            true => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => text.push(c),
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_a_terminal() {
        for (text, shown) in [
            ("", ""),
            ("naïve \"日本\" 🙂.txt", "naïve \"日本\" 🙂.txt"),
            ("a\u{1b}[2J", "a\\u{1b}[2J"),
            ("line\nline", "line\\nline"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("gpj\u{202e}.exe", "gpj\\u{202e}.exe"),
        ] {
            assert_eq!(printable(text), shown);
            assert_eq!(printable(&printable(text)), shown, "once is enough");
        }
    }
}
