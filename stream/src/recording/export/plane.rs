//! One array of a message, packed or not.

use crate::bsread::Reading;
use crate::compression::Codec;
use crate::detector::DetectorImage;
use crate::stream2::{Algorithm, ByteString, MultiDimArray, Order};
use crate::{Array, Arrays, Encoding, Layout};

/// One array of a message.
pub(super) struct Plane<'a> {
    source: Source<'a>,
    packed: Option<(Layout, &'a [u8])>,
}

enum Source<'a> {
    Buffer(&'a Arrays, usize),
    Image(&'a DetectorImage),
    Channel(&'a MultiDimArray),
    Reading(Reading<'a>),
}

impl<'a> Plane<'a> {
    /// A buffer of an `array-1.0` message; `None` when it is empty.
    pub(super) fn of_buffer(arrays: &'a Arrays, index: usize) -> Option<Self> {
        let bytes = arrays.buffers().get(index)?.as_slice();
        if bytes.is_empty() && arrays.layout().size() > 0 {
            return None;
        }
        Some(Plane {
            source: Source::Buffer(arrays, index),
            packed: arrays
                .encoding()
                .and_then(|encoding| packed(encoding, arrays.layout(), bytes)),
        })
    }

    pub(super) fn of_image(image: &'a DetectorImage) -> Self {
        Plane {
            source: Source::Image(image),
            packed: packed(image.encoding(), image.layout(), image.data()),
        }
    }

    pub(super) fn of_channel(channel: &'a MultiDimArray) -> Self {
        Plane {
            source: Source::Channel(channel),
            packed: packed_channel(channel),
        }
    }

    /// `None` when there is no value for this pulse.
    pub(super) fn of_reading(reading: Reading<'a>) -> Option<Self> {
        (!reading.is_none()).then_some(Plane {
            source: Source::Reading(reading),
            packed: None,
        })
    }

    /// Layout and bytes of an array that is packed as HDF5's filter 32008 has it, and can be unpacked: another one would
    /// make a file of which not even the rest can be read at once.
    pub(super) fn packed(&self) -> Option<(&Layout, &'a [u8])> {
        let (layout, bytes) = self.packed.as_ref()?;
        Codec::check_bitshuffle_lz4(bytes, layout.element().size(), layout.size()).ok()?;
        Some((layout, bytes))
    }

    /// The array, unpacked; `None` when it is not what its header says.
    pub(super) fn load(&self) -> Option<Array> {
        match &self.source {
            Source::Buffer(arrays, index) => arrays.to_array(*index).ok().flatten(),
            Source::Image(image) => image.to_array().ok(),
            Source::Channel(channel) => channel.to_arrays().ok()?.to_array(0).ok().flatten(),
            Source::Reading(reading) => reading.to_array().ok().flatten(),
        }
    }
}

/// An array packed as HDF5's filter 32008 has it.
pub(super) fn pack(array: &Array) -> Vec<u8> {
    Codec::BitshuffleLz4.compress(array.data(), array.layout().element().size())
}

fn packed<'a>(encoding: Encoding, layout: &Layout, bytes: &'a [u8]) -> Option<(Layout, &'a [u8])> {
    let bits = layout.element().size().checked_mul(8)?;
    // 0: those of the array, whatever they are.
    let shuffled = encoding.bitshuffle().map(usize::from);
    let fits = encoding.lz4() && (shuffled == Some(bits) || shuffled == Some(0));
    fits.then(|| (layout.clone(), bytes))
}

fn packed_channel(channel: &MultiDimArray) -> Option<(Layout, &[u8])> {
    let ByteString::Compressed(compressed) = channel.stored() else {
        return None;
    };
    let number = channel.number_type();
    let layout = Layout::new(number.element()?, number.endianness(), channel.shape()).ok()?;
    let fits = *compressed.algorithm() == Algorithm::BitshuffleLz4
        && compressed.element_size() == Some(layout.element().size() as u64)
        && channel.order() == Order::RowMajor;
    fits.then(|| (layout, compressed.bytes().as_ref()))
}
