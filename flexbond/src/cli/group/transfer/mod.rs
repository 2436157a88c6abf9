//! `flexbond group send` and `flexbond group recv`: files to any number of receivers at once.

mod assembly;
mod bar;
mod folder;
mod incoming;
mod path;
mod protocol;
mod receivers;
mod recv;
mod scan;
mod send;
mod source;
mod stamp;
mod survey;

use std::time::Duration;

use super::quantity;

pub(super) use recv::Recv;
pub(super) use send::Send;

/// Bytes of a file that are read and sent at once.
const PIECE: usize = 1 << 20;

/// `12 files, 1,234,567 bytes in 0.3 s, 4.12 MB/s`; what was there already does not count as moved.
fn summary(files: usize, bytes: u64, moved: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let rate = quantity::bytes(moved as f64 / seconds.max(1e-9));
    let there = match moved == bytes {
        true => String::new(),
        false => format!(" ({} of them moved)", quantity::grouped(moved)),
    };
    format!(
        "{} file{}, {} bytes{there} in {seconds:.1} s, {rate}/s",
        quantity::grouped(files as u64),
        if files == 1 { "" } else { "s" },
        quantity::grouped(bytes),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_says_what_moved() {
        let time = Duration::from_millis(500);
        assert_eq!(
            summary(1, 2_000_000, 2_000_000, time),
            "1 file, 2,000,000 bytes in 0.5 s, 4.00 MB/s"
        );
        assert_eq!(
            summary(2, 2_000_000, 1_000, time),
            "2 files, 2,000,000 bytes (1,000 of them moved) in 0.5 s, 2.00 kB/s"
        );
    }
}
