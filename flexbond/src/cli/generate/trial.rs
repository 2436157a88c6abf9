//! Series for the tests of both versions of the detectors' stream.

use super::camera::{Camera, Compression};
use super::picture::pictures;
use super::source::{Place, Source};
use crate::stream::detector::HeaderDetail;
use crate::stream::{Array, Decoder, ElementType};

/// The number of the series.
pub(super) const SERIES: u64 = 4;

/// Cameras with two pictures of 30 rows and 40 columns, in every compression and with every detail of the header; beside
/// each its pictures and that detail.
pub(super) fn cameras(elements: &[ElementType]) -> Vec<(Camera, Vec<Array>, HeaderDetail)> {
    let mut cameras = Vec::new();
    for (compression, detail) in [
        (Compression::None, HeaderDetail::None),
        (Compression::Lz4, HeaderDetail::Basic),
        (Compression::Bslz4, HeaderDetail::All),
    ] {
        for &element in elements {
            let pictures = pictures(element, &[30, 40], 5, 2).unwrap();
            let camera = Camera::new(pictures.clone(), compression, detail, Some(100.0));
            cameras.push((camera, pictures, detail));
        }
    }
    cameras
}

/// The first images of the series.
pub(super) fn places() -> impl Iterator<Item = Place> {
    (0..3).map(|frame| Place {
        series: SERIES,
        frame,
        number: frame,
    })
}

/// Ends the series, which has to be understood.
pub(super) fn end(source: &mut impl Source, decoder: &mut Decoder) {
    let end = decoder.decode(&source.end(SERIES).unwrap()).unwrap();
    assert!(end.header.ends_series());
}
