//! Decompression of one part, again and again.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use flexbond_stream::compression::Codec;
use peer_harness::{Result, Words, print};
use serde_json::json;

/// Decompresses for a while, on one thread.
pub(super) fn run(mut words: Words) -> Result<()> {
    let element: usize = words.get("element", 2)?;
    let seconds: f64 = words.get("seconds", 1.0)?;
    let pixels: PathBuf = words.take("pixels")?.ok_or("pixels= is missing")?;
    let part: PathBuf = words.take("part")?.ok_or("part= is missing")?;
    words.finish()?;
    let (pixels, part) = (fs::read(pixels)?, fs::read(part)?);
    // The same memory for every frame, as it is for the others.
    let mut out = vec![0; pixels.len()];
    Codec::BitshuffleLz4.decompress_into(&part, element, &mut out)?;
    if out != pixels {
        return Err("the pixels are wrong".into());
    }
    let (begin, mut frames) = (Instant::now(), 0_u32);
    while begin.elapsed().as_secs_f64() < seconds {
        Codec::BitshuffleLz4.decompress_into(std::hint::black_box(&part), element, &mut out)?;
        std::hint::black_box(&out);
        frames += 1;
    }
    print(&json!({ "frames": frames, "seconds": begin.elapsed().as_secs_f64() }));
    Ok(())
}
