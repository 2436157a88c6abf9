//! Decompression of frames: one thread, one part, the same memory for each frame.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::processes::answer;
use super::{BITSHUFFLE, HDF5PLUGIN, PEER};
use crate::bench::OURS;
use crate::bench::build::Programs;
use crate::bench::case::{Better, Heading, Metric, Outcome, metric};
use crate::bench::record::Report;
use crate::bench::turns::Turns;

/// Loads the C code of a package and drives it as ours is.
const SCRIPT: &str = include_str!("../../../peers/decoders/decode.py");
/// Rows and columns: 4 M pixels.
const SIDE: usize = 2048;
const METRICS: [Metric; 1] = [metric("", "MB/s of pixels", Better::Higher, |outcome| {
    outcome.number("megabytes")
})];

/// One kind of frame.
#[derive(Clone, Debug)]
pub(super) struct DecodeCase {
    pub(super) heading: Heading,
    /// As the peer calls it.
    kind: &'static str,
    /// Bytes of a pixel.
    element: usize,
    /// How long one run takes.
    seconds: f64,
}

/// What is decompressed.
#[derive(Debug)]
struct Files {
    pixels: PathBuf,
    part: PathBuf,
}

/// Who decompresses.
enum Plan<'a> {
    Ours(&'a Path),
    Python(&'a Path, &'static str),
}

pub(super) fn cases(quick: bool) -> Vec<DecodeCase> {
    let mut cases = Vec::new();
    for element in [2, 4] {
        for kind in ["counts", "zeros", "noise"] {
            cases.push(DecodeCase {
                heading: Heading {
                    group: "streams",
                    name: format!("decode bslz4, u{} {kind}", 8 * element),
                    transport: "memory",
                    size: SIDE * SIDE * element,
                },
                kind,
                element,
                seconds: if quick { 0.2 } else { 1.0 },
            });
        }
    }
    cases
}

pub(super) fn rules(quick: bool, runs: usize) -> String {
    let seconds = if quick { 0.2 } else { 1.0 };
    format!(
        "decode: one frame of {SIDE} x {SIDE} pixels (counts: photons with reflections and gaps between modules), \
         compressed by flexbond, decompressed from and into the same memory by one thread for {seconds} s, {runs} runs; \
         all were seen to restore the pixels"
    )
}

impl DecodeCase {
    pub(super) fn hold(&self, programs: &Programs, runs: usize, folder: &Path, report: &mut Report) -> bool {
        // It was named when it could not be built, and nobody has a frame without it.
        let Some(peer) = programs.get(PEER) else {
            return false;
        };
        let (files, part) = match self.frame(peer, folder) {
            Ok(made) => made,
            Err(error) => {
                report.miss(
                    &self.heading,
                    OURS,
                    &format!("the frame cannot be made: {error:#}"),
                );
                return false;
            }
        };
        let mut turns = Turns::new(&self.heading, &METRICS);
        let about = "one thread; how long the part is that is decompressed";
        let setting = format!("part of {part} B");
        turns.enter(OURS, &setting, about, Plan::Ours(peer));
        for name in [BITSHUFFLE, HDF5PLUGIN] {
            if let Some(python) = programs.get(name) {
                turns.enter(
                    name,
                    &setting,
                    "bshuf_decompress_lz4 of the package's own library, called directly, OMP_NUM_THREADS=1",
                    Plan::Python(python, name),
                );
            }
        }
        let is_measured = turns.take(runs, report, |plan| self.once(plan, &files));
        for file in [files.pixels, files.part] {
            // What stays is overwritten the next time.
            let _ = fs::remove_file(file);
        }
        is_measured
    }

    /// Makes the frame, and says how long its part is.
    fn frame(&self, peer: &Path, folder: &Path) -> Result<(Files, u64)> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let files = Files {
            pixels: folder.join("frame.pixels"),
            part: folder.join("frame.part"),
        };
        let mut command = Command::new(peer);
        command.args(["frame", &format!("kind={}", self.kind), &format!("side={SIDE}")]);
        let (made, _) = answer(self.words(&mut command, &files))?;
        let part = made["part_bytes"].as_u64().context("no length of the part")?;
        Ok((files, part))
    }

    fn words<'a>(&self, command: &'a mut Command, files: &Files) -> &'a mut Command {
        command.args([
            format!("element={}", self.element),
            format!("pixels={}", files.pixels.display()),
            format!("part={}", files.part.display()),
        ])
    }

    fn once(&self, plan: &Plan<'_>, files: &Files) -> Result<Outcome> {
        let (measured, _) = match plan {
            Plan::Ours(peer) => {
                let mut command = Command::new(peer);
                command.args(["decode", &format!("seconds={}", self.seconds)]);
                answer(self.words(&mut command, files))?
            }
            Plan::Python(python, name) => {
                let mut command = Command::new(python);
                command.args(["-c", SCRIPT, name, &self.element.to_string()]);
                command.args([&files.pixels, &files.part]);
                answer(command.arg(self.seconds.to_string()))?
            }
        };
        self.outcome(measured)
    }

    fn outcome(&self, mut measured: Value) -> Result<Outcome> {
        let number = |key: &str| measured[key].as_f64().with_context(|| format!("no {key}"));
        let rate = number("frames")? / number("seconds")?;
        measured["megabytes"] = (rate * self.heading.size as f64 / 1e6).into();
        Ok(Outcome {
            measured,
            other: Value::Null,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rates_are_those_of_pixels_not_of_parts() {
        let case = &cases(true)[0];
        let outcome = case.outcome(json!({ "frames": 50, "seconds": 0.5 })).unwrap();
        let megabytes = outcome.number("megabytes").unwrap();
        assert!((megabytes - 838.8608).abs() < 1e-9, "{megabytes}");
        assert!(case.outcome(json!({ "frames": 50 })).is_err());
    }
}
