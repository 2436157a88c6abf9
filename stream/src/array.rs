//! One array: received or decompressed bytes, with the layout that makes numbers of them.

use std::borrow::Cow;

use bytes::Bytes;
use flexbond_transport::Frame;

use crate::{ArrayError, Element, ElementType, Endianness, Layout};

/// One array that holds its bytes: shared with the message where it travelled uncompressed, its own where it had to be
/// decompressed.
///
/// ```
/// use flexbond_stream::Array;
///
/// let array = Array::from_elements(&[2, 3], vec![1_u16, 2, 3, 4, 5, 6])?;
/// assert_eq!(array.layout().element().name(), "uint16");
/// assert_eq!(array.view().to_slice::<u16>().unwrap().as_ref(), [1, 2, 3, 4, 5, 6]);
/// # Ok::<(), flexbond_stream::ArrayError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array {
    layout: Layout,
    data: Frame,
}

impl Array {
    /// The largest array that is decompressed where nothing else is asked for, in bytes (1 GiB, as much as a message
    /// may have by default).
    pub const DEFAULT_LIMIT: usize = 1 << 30;

    /// An array over `data`.
    ///
    /// # Errors
    /// [`ArrayError::Length`] when the layout asks for another number of bytes.
    pub fn new(layout: Layout, data: impl Into<Frame>) -> Result<Self, ArrayError> {
        let data = data.into();
        if data.len() != layout.size() {
            return Err(ArrayError::Length {
                index: 0,
                expected: layout.size(),
                actual: data.len(),
            });
        }
        Ok(Array { layout, data })
    }

    /// An array of this machine's numbers, slowest dimension first. Their memory is handed over, not copied.
    ///
    /// # Errors
    /// [`ArrayError::Length`] when the shape asks for another number of elements.
    pub fn from_elements<T: Element>(shape: &[usize], elements: Vec<T>) -> Result<Self, ArrayError> {
        Array::new(
            Layout::new(T::TYPE, Endianness::NATIVE, shape)?,
            bytes_of(elements),
        )
    }

    /// Element type, shape and byte order.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The bytes of all elements in C order.
    #[must_use]
    pub fn data(&self) -> &Frame {
        &self.data
    }

    /// The bytes of all elements in C order, without a copy.
    #[must_use]
    pub fn into_data(self) -> Frame {
        self.data
    }

    /// The array as numbers.
    #[must_use]
    pub fn view(&self) -> ArrayView<'_> {
        ArrayView {
            layout: &self.layout,
            bytes: &self.data,
        }
    }

    /// The same numbers with their bytes in that order: shared where they are in it already, otherwise a copy.
    #[must_use]
    pub fn to_endianness(&self, endianness: Endianness) -> Self {
        let element = self.layout.element();
        // Complex numbers are two numbers.
        let unit = match element {
            ElementType::Complex64 | ElementType::Complex128 => element.size() / 2,
            _ => element.size(),
        };
        let layout = self.layout.clone().with_endianness(endianness);
        if self.layout.endianness() == endianness || unit == 1 {
            let data = self.data.clone();
            return Array { layout, data };
        }
        let mut data = self.data.to_vec();
        data.chunks_exact_mut(unit).for_each(<[u8]>::reverse);
        Array {
            layout,
            data: Frame::from(data),
        }
    }

    /// An array of `array`'s numbers; their memory is handed over when it is in C order and one piece.
    ///
    /// # Errors
    /// [`ArrayError::TooManyDimensions`].
    #[cfg(feature = "ndarray")]
    pub fn from_ndarray<T: Element, D: ndarray::Dimension>(
        array: ndarray::Array<T, D>,
    ) -> Result<Self, ArrayError> {
        let shape = array.shape().to_vec();
        let len = array.len();
        let elements = if array.is_standard_layout() {
            let (elements, offset) = array.into_raw_vec_and_offset();
            match offset.unwrap_or(0) {
                0 if elements.len() == len => elements,
                offset => elements[offset..offset + len].to_vec(),
            }
        } else {
            array.iter().copied().collect()
        };
        Array::from_elements(&shape, elements)
    }
}

/// One array over received bytes.
#[derive(Clone, Copy, Debug)]
pub struct ArrayView<'a> {
    layout: &'a Layout,
    bytes: &'a [u8],
}

impl<'a> ArrayView<'a> {
    /// `bytes` must have the layout's size.
    pub(crate) fn new(layout: &'a Layout, bytes: &'a [u8]) -> Self {
        ArrayView { layout, bytes }
    }

    /// Element type, shape and byte order.
    #[must_use]
    pub fn layout(&self) -> &'a Layout {
        self.layout
    }

    /// All elements in C order, as they travelled.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() / self.layout.element().size()
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The elements themselves, without a copy; `None` when the type is not `T`, the bytes are not in this
    /// machine's order, or the buffer is not aligned for `T` (see [`to_slice`](Self::to_slice)). `bool` is read as `u8`,
    /// 0 or 1.
    #[must_use]
    pub fn as_slice<T: Element>(&self) -> Option<&'a [T]> {
        let native = self.layout.endianness() == Endianness::NATIVE || self.layout.element().size() == 1;
        if !self.holds::<T>() || !native {
            return None;
        }
        bytemuck::try_cast_slice(self.bytes).ok()
    }

    /// The elements: borrowed where [`as_slice`](Self::as_slice) can, otherwise copied and put in order.
    /// `None` when the type is not `T`.
    #[must_use]
    pub fn to_slice<T: Element>(&self) -> Option<Cow<'a, [T]>> {
        match self.as_slice() {
            Some(slice) => Some(Cow::Borrowed(slice)),
            None => self.elements().map(|elements| Cow::Owned(elements.collect())),
        }
    }

    /// The elements one after the other, whatever their alignment and byte order. `None` when the type is not `T`.
    #[must_use]
    pub fn elements<T: Element>(&self) -> Option<impl ExactSizeIterator<Item = T> + use<'a, T>> {
        let endianness = self.layout.endianness();
        self.holds::<T>().then(|| {
            self.bytes
                .chunks_exact(size_of::<T>())
                .map(move |bytes| T::read(bytes, endianness))
        })
    }

    /// Whether the elements can be read as `T`.
    fn holds<T: Element>(&self) -> bool {
        match self.layout.element() {
            // Not every byte is a `bool` of Rust, and a peer may send any.
            ElementType::Bool => T::TYPE == ElementType::UInt8,
            element => element == T::TYPE,
        }
    }

    /// The array for numerical code, shape included: borrowed where [`as_slice`](Self::as_slice) can, otherwise a copy
    /// in this machine's order. `None` when the type is not `T`, or the array has no elements and a shape that `ndarray`
    /// cannot hold.
    ///
    /// ```
    /// use flexbond_stream::Array;
    ///
    /// let array = Array::from_elements(&[20, 30], (0..600).map(f64::from).collect())?;
    /// let matrix = array.view().to_ndarray::<f64>().unwrap();
    /// assert!(matrix.is_view());
    /// assert_eq!((matrix.shape(), matrix[[1, 2]]), (&[20, 30][..], 32.0));
    /// # Ok::<(), flexbond_stream::ArrayError>(())
    /// ```
    #[cfg(feature = "ndarray")]
    #[must_use]
    pub fn to_ndarray<T: Element>(&self) -> Option<ndarray::CowArray<'a, T, ndarray::IxDyn>> {
        let shape = ndarray::IxDyn(self.layout.shape());
        match self.to_slice()? {
            Cow::Borrowed(elements) => Some(ndarray::ArrayView::from_shape(shape, elements).ok()?.into()),
            Cow::Owned(elements) => Some(ndarray::Array::from_shape_vec(shape, elements).ok()?.into()),
        }
    }
}

/// Hands the memory of a vector of numbers over as message bytes, without a copy.
///
/// ```
/// let samples = vec![1.5_f64; 1024];
/// let address = samples.as_ptr().cast::<u8>();
/// let bytes = flexbond_stream::bytes_of(samples);
/// assert_eq!((bytes.as_ptr(), bytes.len()), (address, 8192));
/// ```
#[must_use]
pub fn bytes_of<T: Element>(elements: Vec<T>) -> Bytes {
    struct Owner<T>(Vec<T>);

    impl<T: Element> AsRef<[u8]> for Owner<T> {
        fn as_ref(&self) -> &[u8] {
            bytemuck::cast_slice(&self.0)
        }
    }

    Bytes::from_owner(Owner(elements))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_byte_orders_and_any_alignment_read_the_same() {
        let values = [1.5_f64, -2.0, 1e300];
        for (endianness, bytes) in [
            (Endianness::Little, values.map(f64::to_le_bytes).concat()),
            (Endianness::Big, values.map(f64::to_be_bytes).concat()),
        ] {
            for offset in 0..8 {
                let mut padded = vec![0; offset];
                padded.extend_from_slice(&bytes);
                padded.resize(200, 0);
                let buffer = Frame::from(Bytes::from(padded).slice(offset..offset + bytes.len()));
                let layout = Layout::new(ElementType::Float64, endianness, &[3]).unwrap();
                let array = Array::new(layout, buffer).unwrap();
                let view = array.view();
                assert_eq!(view.to_slice::<f64>().unwrap().as_ref(), values);
                assert_eq!(view.elements::<f64>().unwrap().len(), 3);
                assert!(view.to_slice::<f32>().is_none());
            }
        }
    }

    #[test]
    fn truth_values_are_read_as_bytes() {
        let layout = Layout::new(ElementType::Bool, Endianness::Big, &[3]).unwrap();
        let array = Array::new(layout, vec![1, 0, 1]).unwrap();
        assert_eq!(array.view().as_slice::<u8>(), Some(&[1, 0, 1][..]));
        assert_eq!(array.view().elements::<u8>().unwrap().sum::<u8>(), 2);
        assert!(array.view().to_slice::<i8>().is_none());
        #[cfg(feature = "ndarray")]
        assert!(array.view().to_ndarray::<u8>().unwrap().is_view());
    }

    #[test]
    fn another_number_of_bytes_is_refused() {
        let layout = Layout::new(ElementType::UInt16, Endianness::Big, &[2]).unwrap();
        assert!(Array::new(layout.clone(), vec![0; 3]).is_err());
        assert!(Array::from_elements(&[3], vec![1_u8, 2]).is_err());
        let array = Array::new(layout, vec![1, 0, 0, 1]).unwrap();
        assert_eq!(array.view().to_slice::<u16>().unwrap().as_ref(), [256, 1]);
        assert_eq!(array.into_data(), vec![1, 0, 0, 1]);
    }

    #[test]
    fn turning_the_bytes_around_keeps_the_numbers() {
        let other = match Endianness::NATIVE {
            Endianness::Little => Endianness::Big,
            Endianness::Big => Endianness::Little,
        };
        let array = Array::from_elements(&[2, 2], vec![1.5_f64, -2.0, 0.0, 1e9]).unwrap();
        let turned = array.to_endianness(other);
        assert_ne!(turned.data(), array.data());
        assert_eq!(turned.view().to_slice::<f64>(), array.view().to_slice::<f64>());
        assert_eq!(turned.to_endianness(Endianness::NATIVE), array);

        let complex = Layout::new(ElementType::Complex64, Endianness::Little, &[1]).unwrap();
        let complex = Array::new(complex, vec![1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        assert_eq!(
            complex.to_endianness(Endianness::Big).into_data(),
            vec![4, 3, 2, 1, 8, 7, 6, 5],
            "each of the two numbers for itself"
        );
        let numbers = Array::from_elements(&[2], vec![[1.5_f64, 2.0], [-0.5, 0.0]]).unwrap();
        assert_eq!(numbers.layout().element(), ElementType::Complex128);
        assert_eq!(
            numbers.to_endianness(other).view().to_slice::<[f64; 2]>(),
            numbers.view().to_slice()
        );
    }

    #[cfg(feature = "ndarray")]
    #[test]
    fn ndarray_borrows_where_it_can_and_copies_where_it_must() {
        let native = Array::from_elements(&[2, 2, 16], (0..64).collect::<Vec<u32>>()).unwrap();
        let view = native.view().to_ndarray::<u32>().unwrap();
        assert!(view.is_view());
        assert_eq!((view.shape(), view[[1, 0, 3]]), (&[2, 2, 16][..], 35));

        let swapped: Vec<u8> = (0..64_u32)
            .flat_map(|n| {
                if Endianness::NATIVE == Endianness::Little {
                    n.to_be_bytes()
                } else {
                    n.to_le_bytes()
                }
            })
            .collect();
        let other = match Endianness::NATIVE {
            Endianness::Little => Endianness::Big,
            Endianness::Big => Endianness::Little,
        };
        let layout = Layout::new(ElementType::UInt32, other, &[2, 2, 16]).unwrap();
        let array = Array::new(layout, swapped).unwrap();
        let copy = array.view().to_ndarray::<u32>().unwrap();
        assert!(!copy.is_view());
        assert_eq!(copy, view);

        let mut odd = vec![0_u8; 1];
        odd.extend_from_slice(native.data());
        let odd = Frame::from(Bytes::from(odd).slice(1..));
        let unaligned = Array::new(native.layout().clone(), odd).unwrap();
        assert_eq!(unaligned.view().to_ndarray::<u32>().unwrap(), view);

        assert!(native.view().to_ndarray::<f32>().is_none(), "another type");
        let empty = Layout::new(
            ElementType::UInt8,
            Endianness::Little,
            &[usize::MAX, usize::MAX, 0],
        )
        .unwrap();
        assert!(
            Array::new(empty, Frame::new())
                .unwrap()
                .view()
                .to_ndarray::<u8>()
                .is_none()
        );
    }

    #[cfg(feature = "ndarray")]
    #[test]
    fn arrays_are_made_of_ndarray() {
        let matrix = ndarray::Array::from_shape_fn((3, 40), |(row, column)| (row * 100 + column) as i32);
        let address = matrix.as_ptr().cast::<u8>();
        let array = Array::from_ndarray(matrix.clone()).unwrap();
        assert_eq!(
            array.view().to_ndarray::<i32>().unwrap(),
            matrix.view().into_dyn()
        );
        let moved = Array::from_ndarray(matrix.clone()).unwrap();
        assert_eq!(moved, array);
        assert_eq!(
            Array::from_ndarray(matrix.clone()).unwrap().layout().shape(),
            [3, 40]
        );
        let transposed = Array::from_ndarray(matrix.clone().reversed_axes()).unwrap();
        assert_eq!(transposed.layout().shape(), [40, 3]);
        assert_eq!(
            transposed.view().to_ndarray::<i32>().unwrap(),
            matrix.t().into_dyn()
        );
        let mut part = matrix.clone();
        part.slice_axis_inplace(ndarray::Axis(0), (1..).into());
        assert_eq!(
            Array::from_ndarray(part)
                .unwrap()
                .view()
                .to_slice::<i32>()
                .unwrap()[0],
            100
        );
        let same = Array::from_ndarray(matrix).unwrap();
        assert_eq!(same.data().as_ptr(), address, "memory is handed over");
    }
}
