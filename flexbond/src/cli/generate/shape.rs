//! The extents of an image on the command line.

use crate::stream::Layout;

/// Extents, fastest dimension first: `2070x2167` has 2070 columns and 2167 rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape(Vec<usize>);

impl Shape {
    /// That of an EIGER 1M.
    pub(super) fn detector() -> Self {
        Shape(vec![1030, 1065])
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let extents: Option<Vec<usize>> = text
            .split('x')
            .map(|extent| extent.parse::<usize>().ok().filter(|&extent| extent > 0))
            .collect();
        match extents {
            Some(extents) if extents.len() <= Layout::MAX_DIMENSIONS => Ok(Shape(extents)),
            _ => Err("not a shape; write COLUMNSxROWS as in 2070x2167".to_owned()),
        }
    }

    /// As detectors and bsread write it.
    pub(super) fn fastest_first(&self) -> &[usize] {
        &self.0
    }

    /// As numpy has it.
    pub(super) fn slowest_first(&self) -> Vec<usize> {
        self.0.iter().rev().copied().collect()
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let extents: Vec<String> = self.0.iter().map(usize::to_string).collect();
        f.write_str(&extents.join("x"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_first() {
        let shape = Shape::parse("2070x2167").unwrap();
        assert_eq!(shape.fastest_first(), [2070, 2167]);
        assert_eq!(shape.slowest_first(), [2167, 2070]);
        assert_eq!(shape.to_string(), "2070x2167");
        assert_eq!(Shape::parse("7").unwrap().slowest_first(), [7]);
        for text in [
            "",
            "x",
            "10x",
            "0x4",
            "-1x4",
            "2070,2167",
            "1x99999999999999999999",
        ] {
            assert!(Shape::parse(text).is_err(), "{text}");
        }
        assert!(Shape::parse(&["1"; 65].join("x")).is_err());
    }
}
