//! Pictures as a detector takes them: photons that are counted, reflections, gaps between modules.

use crate::stream::{Array, ElementType};

use super::super::Failure;

/// Columns and rows of a module, and of the gap behind it: those of EIGER detectors.
const MODULE: (usize, usize) = (1030, 514);
const GAP: (usize, usize) = (10, 37);
/// Rings of equal background around the middle.
const RINGS: usize = 16;
/// What a pixel in a gap has, before it becomes the largest value of its type.
const NO_PIXEL: u32 = u32::MAX;
/// Pixels for each reflection.
const PIXELS_PER_REFLECTION: usize = 20_000;

/// So many different pictures; the same for the same seed.
///
/// The background falls off from the middle, each pixel has counts of the Poisson distribution, and reflections stand
/// out of it. Pixels in the gaps between modules have the largest value of an unsigned type, and -1 of another one.
pub(super) fn pictures(
    element: ElementType,
    shape: &[usize],
    seed: u64,
    count: usize,
) -> Result<Vec<Array>, Failure> {
    let pixels = shape.iter().product::<usize>();
    let columns = shape.last().copied().unwrap_or(1).max(1);
    let mut rng = fastrand::Rng::with_seed(seed);
    let rings = rings();
    (0..count)
        .map(|_| {
            let mut counts = background(columns, pixels / columns, &rings, &mut rng);
            reflections(&mut counts, columns, &mut rng);
            array(element, shape, &counts)
        })
        .collect()
}

/// Whether there is no pixel at a place, but a gap between modules.
pub(super) fn is_gap(column: usize, row: usize) -> bool {
    column % (MODULE.0 + GAP.0) >= MODULE.0 || row % (MODULE.1 + GAP.1) >= MODULE.1
}

/// For each ring the counts of 256 equally probable pixels.
fn rings() -> Vec<[u8; 256]> {
    (0..RINGS)
        .map(|ring| {
            let mean = 0.05 + 4.0 * (-(ring as f64) / 4.0).exp();
            let mut quantiles = [0; 256];
            let (mut count, mut probability) = (0_u8, (-mean).exp());
            let mut sum = probability;
            for (index, quantile) in quantiles.iter_mut().enumerate() {
                while sum < (index as f64 + 0.5) / 256.0 && count < u8::MAX {
                    count += 1;
                    probability *= mean / f64::from(count);
                    sum += probability;
                }
                *quantile = count;
            }
            quantiles
        })
        .collect()
}

fn background(columns: usize, rows: usize, rings: &[[u8; 256]], rng: &mut fastrand::Rng) -> Vec<u32> {
    let square = |place: usize, middle: usize| (place.abs_diff(middle) as f64).powi(2);
    let (middle_column, middle_row) = (columns / 2, rows / 2);
    let scale = RINGS as f64 / (square(0, middle_column) + square(0, middle_row) + 1.0);
    let mut counts = Vec::with_capacity(columns * rows);
    let mut random = [0; 8];
    for row in 0..rows {
        let from_row = square(row, middle_row);
        for column in 0..columns {
            // One random number for eight pixels.
            if column % 8 == 0 {
                random = rng.u64(..).to_le_bytes();
            }
            if is_gap(column, row) {
                counts.push(NO_PIXEL);
                continue;
            }
            let ring = ((square(column, middle_column) + from_row) * scale) as usize;
            let quantiles = &rings[ring.min(RINGS - 1)];
            counts.push(quantiles[usize::from(random[column % 8])].into());
        }
    }
    counts
}

/// Bright spots of three by three pixels.
fn reflections(counts: &mut [u32], columns: usize, rng: &mut fastrand::Rng) {
    let rows = counts.len() / columns;
    if columns < 3 || rows < 3 {
        return;
    }
    for _ in 0..=counts.len() / PIXELS_PER_REFLECTION {
        let height = 20_u32 << rng.u32(0..9);
        let (left, top) = (rng.usize(0..columns - 2), rng.usize(0..rows - 2));
        for (place, share) in [1, 3, 1, 3, 8, 3, 1, 3, 1].into_iter().enumerate() {
            let pixel = &mut counts[(top + place / 3) * columns + left + place % 3];
            if *pixel != NO_PIXEL {
                *pixel += height * share / 8;
            }
        }
    }
}

fn array(element: ElementType, shape: &[usize], counts: &[u32]) -> Result<Array, Failure> {
    macro_rules! unsigned {
        ($number:ty) => {
            // No count becomes what stands for no pixel.
            Array::from_elements(
                shape,
                counts
                    .iter()
                    .map(|&count| match count {
                        NO_PIXEL => <$number>::MAX,
                        count => u128::from(count).min(<$number>::MAX as u128 - 1) as $number,
                    })
                    .collect::<Vec<$number>>(),
            )
        };
    }
    macro_rules! signed {
        ($number:ty) => {
            Array::from_elements(
                shape,
                counts
                    .iter()
                    .map(|&count| match count {
                        NO_PIXEL => -1,
                        count => u128::from(count).min(<$number>::MAX as u128) as $number,
                    })
                    .collect::<Vec<$number>>(),
            )
        };
    }
    let float = |count: u32| if count == NO_PIXEL { -1.0 } else { f64::from(count) };
    let array = match element {
        ElementType::UInt8 => unsigned!(u8),
        ElementType::UInt16 => unsigned!(u16),
        ElementType::UInt32 => unsigned!(u32),
        ElementType::UInt64 => unsigned!(u64),
        ElementType::Int8 => signed!(i8),
        ElementType::Int16 => signed!(i16),
        ElementType::Int32 => signed!(i32),
        ElementType::Int64 => signed!(i64),
        // Counts are small enough for either.
        ElementType::Float32 => {
            Array::from_elements(shape, counts.iter().map(|&count| float(count) as f32).collect())
        }
        ElementType::Float64 => {
            Array::from_elements(shape, counts.iter().map(|&count| float(count)).collect())
        }
        _ => return Err(Failure::usage(format!("counts cannot be {element}"))),
    };
    array.map_err(|error| Failure::usage(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_realistic_and_the_same_for_the_same_seed() {
        let shape = [600, 1100];
        let make = |seed| pictures(ElementType::UInt16, &shape, seed, 2).unwrap();
        let made = make(1);
        assert_eq!(made, make(1));
        assert_ne!(made, make(2));
        assert_ne!(made[0], made[1]);
        let view = made[0].view();
        let counts = view.to_slice::<u16>().unwrap();
        let gaps = counts.iter().filter(|&&count| count == u16::MAX).count();
        // 10 columns between the two modules in a row, 37 rows between those one above the other.
        assert_eq!(gaps, 10 * 600 + 37 * 1100 - 10 * 37);
        let pixels = counts.iter().filter(|&&count| count != u16::MAX);
        let sum: u64 = pixels.map(|&count| u64::from(count)).sum();
        let mean = sum as f64 / (600 * 1100 - gaps) as f64;
        assert!((0.3..5.0).contains(&mean), "{mean}");
        assert!(
            counts.iter().any(|&count| (20..u16::MAX).contains(&count)),
            "no reflection"
        );
    }

    #[test]
    fn every_type_of_number_can_count() {
        for element in ElementType::all() {
            let made = pictures(element, &[2, 3, 5], 1, 1);
            let is_number = !matches!(
                element,
                ElementType::Bool | ElementType::Float16 | ElementType::Complex64 | ElementType::Complex128
            );
            assert_eq!(made.is_ok(), is_number, "{element}");
            if let Ok(made) = made {
                assert_eq!(
                    (made[0].layout().element(), made[0].layout().shape()),
                    (element, &[2, 3, 5][..])
                );
            }
        }
        assert_eq!(pictures(ElementType::UInt8, &[1], 1, 3).unwrap().len(), 3);
    }
}
