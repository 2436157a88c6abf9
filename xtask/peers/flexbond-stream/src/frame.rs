//! Frames to decompress: the same ones whenever they are made.

use std::fs;
use std::path::PathBuf;

use flexbond_stream::compression::Codec;
use peer_harness::{Result, Words, print};
use serde_json::json;

/// Modules of a detector have so many rows and columns, and then a gap.
const MODULE: usize = 512;
const GAP: usize = 8;
/// Bright spots.
const REFLECTIONS: usize = 800;
/// What a spot is from its centre on.
const SPOT: [f64; 4] = [3000.0, 900.0, 120.0, 15.0];

/// Makes a frame and its part.
pub(super) fn run(mut words: Words) -> Result<()> {
    let kind: String = words.get("kind", "counts".to_owned())?;
    let element: usize = words.get("element", 2)?;
    let side: usize = words.get("side", 2048)?;
    let pixels: PathBuf = words.take("pixels")?.ok_or("pixels= is missing")?;
    let part: PathBuf = words.take("part")?.ok_or("part= is missing")?;
    words.finish()?;
    if element != 2 && element != 4 {
        return Err("element is 2 or 4".into());
    }
    let mut random = Random(0x5eed);
    let values: Vec<u32> = match kind.as_str() {
        "counts" => counts(side, &mut random),
        "zeros" => vec![0; side * side],
        "noise" => (0..side * side).map(|_| random.next() as u32).collect(),
        other => return Err(format!("unknown kind `{other}`").into()),
    };
    let data: Vec<u8> = match element {
        2 => values
            .iter()
            .flat_map(|value| (*value as u16).to_le_bytes())
            .collect(),
        _ => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    };
    let packed = Codec::BitshuffleLz4.compress(&data, element);
    fs::write(pixels, &data)?;
    fs::write(part, &packed)?;
    print(&json!({ "pixel_bytes": data.len(), "part_bytes": packed.len() }));
    Ok(())
}

/// Photons as a detector of several modules counts them: a background that falls from the centre, reflections, and gaps
/// whose pixels have the largest value.
fn counts(side: usize, random: &mut Random) -> Vec<u32> {
    let centre = side as f64 / 2.0;
    let mut expected: Vec<f64> = (0..side * side)
        .map(|at| {
            let (x, y) = ((at % side) as f64 - centre, (at / side) as f64 - centre);
            let radius = x.hypot(y) / centre;
            0.1 + 4.0 * (-radius * radius * 4.0).exp()
        })
        .collect();
    for _ in 0..REFLECTIONS {
        let (x, y) = (random.below(side), random.below(side));
        let strength = random.share();
        for row in y.saturating_sub(3)..(y + 4).min(side) {
            for column in x.saturating_sub(3)..(x + 4).min(side) {
                let distance = row.abs_diff(y).max(column.abs_diff(x));
                expected[row * side + column] += SPOT[distance] * strength;
            }
        }
    }
    let is_gap = |place: usize| place % (MODULE + GAP) >= MODULE;
    expected
        .iter()
        .enumerate()
        .map(|(at, mean)| match is_gap(at % side) || is_gap(at / side) {
            true => u32::MAX,
            false => random.poisson(*mean),
        })
        .collect()
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// From 0 to below 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, end: usize) -> usize {
        (self.share() * end as f64) as usize
    }

    /// A number of photons: Knuth's products for small means, and for larger ones the normal distribution that they
    /// come near to.
    fn poisson(&mut self, mean: f64) -> u32 {
        if mean > 30.0 {
            let normal =
                (-2.0 * (1.0 - self.share()).ln()).sqrt() * (std::f64::consts::TAU * self.share()).cos();
            return (mean + mean.sqrt() * normal).round().max(0.0) as u32;
        }
        let limit = (-mean).exp();
        let (mut product, mut count) = (self.share(), 0);
        while product > limit {
            product *= self.share();
            count += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_their_mean_at_any_strength() {
        for mean in [0.1, 4.0, 200.0] {
            let mut random = Random(1);
            let sum: u64 = (0..20_000).map(|_| u64::from(random.poisson(mean))).sum();
            let found = sum as f64 / 20_000.0;
            assert!((found / mean - 1.0).abs() < 0.1, "{found} instead of {mean}");
        }
    }

    #[test]
    fn a_frame_is_the_same_each_time_and_has_gaps() {
        let frame = counts(600, &mut Random(7));
        assert_eq!(frame, counts(600, &mut Random(7)));
        assert_eq!(frame[515], u32::MAX);
        assert_ne!(frame[511], u32::MAX);
    }
}
