//! From what a program writes, in whatever pieces, to lines with something before each.

/// A line that is longer is cut.
const LONGEST: usize = 64 << 10;

/// Cuts what comes into lines.
pub(super) struct Lines {
    prefix: Vec<u8>,
    rest: Vec<u8>,
}

impl Lines {
    pub(super) fn new(prefix: String) -> Self {
        Lines {
            prefix: prefix.into_bytes(),
            rest: Vec::new(),
        }
    }

    /// The lines that are complete with what has come now.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.line(&bytes[..end], &mut out);
            bytes = &bytes[end + 1..];
        }
        while self.rest.len() + bytes.len() > LONGEST {
            let (now, later) = bytes.split_at(LONGEST - self.rest.len());
            self.line(now, &mut out);
            bytes = later;
        }
        self.rest.extend_from_slice(bytes);
        out
    }

    /// What came after the last complete line.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.rest.is_empty() {
            self.line(&[], &mut out);
        }
        out
    }

    fn line(&mut self, end: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.prefix);
        out.append(&mut self.rest);
        out.extend_from_slice(end);
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_in_whatever_pieces_they_come() {
        let text = b"one\n\ntwo \xff\nend";
        for cut in 0..=text.len() {
            let mut lines = Lines::new("[3] ".to_owned());
            let mut out = lines.push(&text[..cut]);
            out.extend(lines.push(&text[cut..]));
            out.extend(lines.finish());
            assert_eq!(out, b"[3] one\n[3] \n[3] two \xff\n[3] end\n", "cut at {cut}");
        }
        assert!(Lines::new(String::new()).finish().is_empty());
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let mut lines = Lines::new(">".to_owned());
        let mut out = Vec::new();
        for _ in 0..5 {
            out.extend(lines.push(&vec![b'x'; LONGEST / 2 + 1]));
            assert!(lines.rest.len() <= LONGEST);
        }
        out.extend(lines.finish());
        assert_eq!(
            out.iter().filter(|byte| **byte == b'x').count(),
            5 * (LONGEST / 2 + 1)
        );
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 3);
    }
}
