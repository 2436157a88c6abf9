//! What kind of messages the arguments ask for, and whether they fit together.

use super::bsread::Pulses;
use super::camera::{Camera, Compression};
use super::plain::Plain;
use super::shape::Shape;
use super::source::Source;
use super::version1::{self, Version1};
use super::version2::Version2;
use super::{Detail, Generate, Htype, picture};
use crate::cli::Failure;
use crate::stream::detector::HeaderDetail;
use crate::stream::{Array, ElementType, Encoding, Endianness, Layout, StreamMessage};

/// What is compressed fits into one block of LZ4.
const MAX_PICTURE: usize = 1 << 30;
/// Different pictures, at most and unless they are large.
const PICTURES: usize = 4;
/// Bytes of all different pictures together, where there is more than one.
const PICTURES_SIZE: usize = 256 << 20;

impl Generate {
    /// What makes the messages.
    ///
    /// # Errors
    /// A usage failure for arguments that do not fit together.
    pub(super) fn source(&self) -> Result<Box<dyn Source>, Failure> {
        let compression = self.compression.unwrap_or(match self.htype.is_detector() {
            true => Compression::Bslz4,
            false => Compression::None,
        });
        Ok(match self.htype {
            Htype::Raw | Htype::Array => Box::new(self.plain(compression)?),
            Htype::Version1 => Box::new(Version1::new(self.camera(compression)?)?),
            Htype::Version2 => Box::new(Version2::new(self.camera(compression)?)?),
            Htype::Bsread => {
                self.has_no_size()?;
                let pictures = match &self.shape {
                    Some(shape) => self.pictures(shape)?,
                    None => Vec::new(),
                };
                let camera = self.shape.as_ref().map(|shape| (shape, &pictures[..]));
                Box::new(Pulses::new(self.channels.into(), camera, compression, self.seed)?)
            }
        })
    }

    fn plain(&self, compression: Compression) -> Result<Plain, Failure> {
        let htype = match self.htype {
            Htype::Array => StreamMessage::ARRAY,
            _ if compression != Compression::None => {
                return Err(Failure::usage("raw-1.0 has no compression").hint("--htype array-1.0 has"));
            }
            _ => StreamMessage::RAW,
        };
        let encoding = match compression {
            Compression::None => Encoding::default(),
            compression => version1::encoding(compression)?,
        };
        match &self.shape {
            Some(shape) => Ok(Plain::new(&self.pictures(shape)?, htype, encoding)),
            None => {
                let size = self.size_bytes.or(self.size).unwrap_or(1 << 20);
                if encoding.is_compressed() && size > MAX_PICTURE {
                    return Err(Failure::usage("more than 1 GiB is not compressed"));
                }
                Plain::ramp(size, htype, encoding)
            }
        }
    }

    fn camera(&self, compression: Compression) -> Result<Camera, Failure> {
        self.has_no_size()?;
        let shape = self.shape.clone().unwrap_or_else(Shape::detector);
        if shape.fastest_first().len() != 2 {
            return Err(Failure::usage(format!(
                "detectors have columns and rows, not {shape}"
            )));
        }
        let counted = [ElementType::UInt8, ElementType::UInt16, ElementType::UInt32];
        if !counted.contains(&self.element) {
            let element = self.element;
            return Err(Failure::usage(format!(
                "detectors count in uint8, uint16 or uint32, not {element}"
            )));
        }
        let detail = match self.header_detail {
            Detail::None => HeaderDetail::None,
            Detail::Basic => HeaderDetail::Basic,
            Detail::All => HeaderDetail::All,
        };
        Ok(Camera::new(
            self.pictures(&shape)?,
            compression,
            detail,
            self.rate,
        ))
    }

    fn has_no_size(&self) -> Result<(), Failure> {
        match self.size.or(self.size_bytes) {
            Some(_) => Err(Failure::usage("the size of this format is that of its pictures")
                .hint("--shape 2070x2167 and --type uint16 say it")),
            None => Ok(()),
        }
    }

    /// Different pictures, fewer where they are large.
    fn pictures(&self, shape: &Shape) -> Result<Vec<Array>, Failure> {
        let extents = shape.slowest_first();
        let layout = Layout::new(self.element, Endianness::NATIVE, &extents)
            .map_err(|error| Failure::usage(error.to_string()))?;
        if layout.size() > MAX_PICTURE {
            return Err(Failure::usage(format!(
                "a picture of {shape} has more than 1 GiB"
            )));
        }
        let count = (PICTURES_SIZE / layout.size()).clamp(1, PICTURES);
        picture::pictures(self.element, &extents, self.seed, count)
    }
}
