//! `array-1.0`: one header, then C-order buffers of one type and shape, compressed or not.

use flexbond_transport::Frame;
use serde_json::Value;

use crate::{Array, ArrayError, ArrayView, Encoding, Header, Layout, LoadError, dtype};

/// The arrays of an `array-1.0` message: zero or more buffers that share one element type, shape and byte order.
///
/// Buffers are the received bytes themselves; nothing is copied, or decompressed, until a caller asks for it.
#[derive(Clone, Debug)]
pub struct Arrays {
    layout: Layout,
    // Present when the buffers are compressed.
    encoding: Option<Encoding>,
    buffers: Vec<Frame>,
}

impl Arrays {
    /// Arrays over `buffers`, not compressed. An empty buffer means "no data" and fits every layout.
    ///
    /// # Errors
    /// [`ArrayError::Length`] for the first buffer whose length is not the layout's.
    pub fn new(layout: Layout, buffers: Vec<Frame>) -> Result<Self, ArrayError> {
        for (index, buffer) in buffers.iter().enumerate() {
            if !buffer.is_empty() && buffer.len() != layout.size() {
                return Err(ArrayError::Length {
                    index,
                    expected: layout.size(),
                    actual: buffer.len(),
                });
            }
        }
        Ok(Arrays {
            layout,
            encoding: None,
            buffers,
        })
    }

    /// Arrays over buffers that are compressed already. They are looked into when they are
    /// [loaded](Self::to_array), not here.
    ///
    /// # Errors
    /// [`ArrayError::Length`] when `encoding` is one without compression and a buffer has not the layout's length.
    pub fn encoded(layout: Layout, encoding: Encoding, buffers: Vec<Frame>) -> Result<Self, ArrayError> {
        let arrays = Arrays {
            layout,
            encoding: Some(encoding),
            buffers,
        };
        match encoding.is_compressed() {
            true => Ok(arrays),
            false => Arrays::new(arrays.layout, arrays.buffers),
        }
    }

    /// The same arrays, compressed in the way of `encoding`, [fitted](Encoding::for_layout) to their layout. Buffers
    /// without data stay so, and buffers that are compressed stay as they are.
    ///
    /// ```
    /// use flexbond_stream::{Array, Arrays, Header, StreamMessage};
    ///
    /// let image = Array::from_elements(&[512, 512], vec![7_u16; 512 * 512])?;
    /// let arrays = Arrays::from(image.clone()).compress("bs16-lz4<".parse()?);
    /// assert!(arrays.buffers()[0].len() < 10_000);
    ///
    /// let message = StreamMessage::arrays(Header::new("array-1.0"), arrays);
    /// assert_eq!(message.header.encoding(), Some("bs16-lz4<"));
    /// let arrays = message.as_arrays().unwrap();
    /// assert_eq!(arrays.to_array(0)?, Some(image));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn compress(self, encoding: Encoding) -> Self {
        if self.is_compressed() || !encoding.is_compressed() {
            return self;
        }
        let encoding = encoding.for_layout(&self.layout);
        let element_size = self.layout.element().size();
        let pack = |buffer: &Frame| match buffer.is_empty() {
            true => Frame::new(),
            false => encoding.encode(buffer, element_size),
        };
        Arrays {
            encoding: Some(encoding),
            buffers: self.buffers.iter().map(pack).collect(),
            layout: self.layout,
        }
    }

    /// What an `array-1.0` message describes; `Ok(None)` when its `encoding` is not known here.
    pub(crate) fn from_message(
        header: &Header,
        buffers: impl FnOnce() -> Vec<Frame>,
    ) -> Result<Option<Self>, ArrayError> {
        // Something else than a text is no encoding that is known here.
        if !matches!(
            header.get("encoding"),
            None | Some(Value::Null | Value::String(_))
        ) {
            return Ok(None);
        }
        let Ok(encoding) = header.encoding().unwrap_or_default().parse::<Encoding>() else {
            return Ok(None);
        };
        // The header's own word on the order of bytes comes first, where it is there.
        let layout = Layout::from_header_or(header, encoding.endianness())?;
        let buffers = buffers();
        let layout = match encoding.is_compressed() {
            true => layout,
            false => narrower(header, &layout, &buffers).unwrap_or(layout),
        };
        Arrays::encoded(layout, encoding, buffers).map(Some)
    }

    /// Writes `type`, `shape`, `endianness`, and `encoding` where there is one, into a header.
    pub(crate) fn describe(&self, header: &mut Header) {
        self.layout.describe(header);
        match &self.encoding {
            Some(encoding) => header.set("encoding", encoding.to_string()),
            None if header.encoding().is_some() => header.set("encoding", Value::Null),
            None => {}
        }
    }

    /// Element type, shape and byte order of every buffer.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// How the buffers are compressed; `None` when they are not.
    #[must_use]
    pub fn encoding(&self) -> Option<Encoding> {
        self.encoding
    }

    /// Whether the buffers are compressed: then they can be [loaded](Self::to_array), and there is no [view](Self::get)
    /// of them.
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.encoding.is_some()
    }

    /// How many buffers there are, those without data included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffers.len()
    }

    /// Whether there is no buffer at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffers.is_empty()
    }

    /// The buffers as they travel.
    #[must_use]
    pub fn buffers(&self) -> &[Frame] {
        &self.buffers
    }

    /// The array at `index` over the bytes as they travel; `None` past the end, for an empty buffer of a layout that is
    /// not empty, and where buffers are [compressed](Self::is_compressed).
    #[must_use]
    pub fn get(&self, index: usize) -> Option<ArrayView<'_>> {
        let bytes = self.buffers.get(index)?.as_slice();
        (self.encoding.is_none() && bytes.len() == self.layout.size())
            .then(|| ArrayView::new(&self.layout, bytes))
    }

    /// Each array in order as [`get`](Self::get) has it.
    pub fn iter(&self) -> impl Iterator<Item = Option<ArrayView<'_>>> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// The array at `index`, decompressed where it has to be, otherwise sharing the received bytes; `Ok(None)` past the
    /// end and for an empty buffer of a layout that is not empty. At most [`Array::DEFAULT_LIMIT`] bytes.
    ///
    /// # Errors
    /// [`LoadError`]: too large, or not what the header says.
    pub fn to_array(&self, index: usize) -> Result<Option<Array>, LoadError> {
        self.to_array_within(index, Array::DEFAULT_LIMIT)
    }

    /// As [`to_array`](Self::to_array) with another limit, in bytes of the decompressed array.
    ///
    /// # Errors
    /// [`LoadError`]: too large, or not what the header says.
    pub fn to_array_within(&self, index: usize, limit: usize) -> Result<Option<Array>, LoadError> {
        let Some(buffer) = self.buffers.get(index) else {
            return Ok(None);
        };
        if buffer.is_empty() && self.layout.size() > 0 {
            return Ok(None);
        }
        let encoding = self.encoding.unwrap_or_default();
        encoding.load(buffer, &self.layout, limit).map(Some)
    }
}

/// The layout that C's meaning of the type's name makes, where the length of the buffers says that this is meant.
fn narrower(header: &Header, layout: &Layout, buffers: &[Frame]) -> Option<Layout> {
    let element = dtype::of_c(header.text("type")?)?;
    let narrower = Layout::new(element, layout.endianness(), layout.shape()).ok()?;
    let mut filled = buffers.iter().filter(|buffer| !buffer.is_empty()).peekable();
    filled.peek()?;
    filled
        .all(|buffer| buffer.len() == narrower.size())
        .then_some(narrower)
}

/// One array, not compressed.
impl From<Array> for Arrays {
    fn from(array: Array) -> Self {
        Arrays {
            layout: array.layout().clone(),
            encoding: None,
            buffers: vec![array.into_data()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ElementType, Endianness};

    fn layout(element: ElementType, shape: &[usize]) -> Layout {
        Layout::new(element, Endianness::Little, shape).unwrap()
    }

    #[test]
    fn every_buffer_must_have_the_length_of_the_layout() {
        let buffers = vec![Frame::from(vec![0; 24]), Frame::new(), Frame::from(vec![0; 23])];
        assert_eq!(
            Arrays::new(layout(ElementType::Float32, &[2, 3]), buffers).unwrap_err(),
            ArrayError::Length {
                index: 2,
                expected: 24,
                actual: 23
            }
        );
    }

    #[test]
    fn an_empty_buffer_is_no_data_unless_the_layout_is_empty() {
        let buffers = vec![Frame::from(vec![0, 1]), Frame::new()];
        let arrays = Arrays::new(layout(ElementType::UInt8, &[2]), buffers).unwrap();
        assert_eq!(arrays.len(), 2);
        assert_eq!(arrays.get(0).unwrap().as_slice::<u8>(), Some(&[0_u8, 1][..]));
        assert!(arrays.get(1).is_none() && arrays.get(2).is_none());
        assert!(arrays.to_array(1).unwrap().is_none() && arrays.to_array(2).unwrap().is_none());

        let empty = Arrays::new(layout(ElementType::UInt8, &[0, 5]), vec![Frame::new()]).unwrap();
        assert!(empty.get(0).unwrap().is_empty());
        assert!(empty.to_array(0).unwrap().unwrap().view().is_empty());
    }

    #[test]
    fn uncompressed_arrays_are_loaded_without_a_copy() {
        let image = Array::from_elements(&[100], vec![3_u32; 100]).unwrap();
        let arrays = Arrays::from(image.clone());
        let loaded = arrays.to_array(0).unwrap().unwrap();
        assert_eq!(loaded.data().as_ptr(), image.data().as_ptr());
        assert!(matches!(
            arrays.to_array_within(0, 399),
            Err(LoadError::TooLarge {
                size: 400,
                limit: 399
            })
        ));
    }

    #[test]
    fn compressed_arrays_are_loaded_in_every_encoding_and_never_viewed() {
        let image = Array::from_elements(&[30, 41], (0..1230_u16).collect()).unwrap();
        for encoding in ["lz4<", "bs16-lz4<", "bs16<", "bs16lz4<", "bs8-lz4", "lz4"] {
            let encoding: Encoding = encoding.parse().unwrap();
            let mut arrays = Arrays::from(image.clone());
            arrays.buffers.push(Frame::new());
            let arrays = arrays.compress(encoding);
            assert!(arrays.is_compressed() && arrays.get(0).is_none());
            assert_eq!(arrays.to_array(0).unwrap().as_ref(), Some(&image), "{encoding}");
            assert_eq!(arrays.to_array(1).unwrap(), None, "{encoding}");
            assert!(matches!(
                arrays.to_array_within(0, 2459),
                Err(LoadError::TooLarge { size: 2460, .. })
            ));
        }
    }

    #[test]
    fn the_length_says_whether_a_name_is_numpys_or_that_of_c() {
        let header = Header::new("array-1.0")
            .with("type", "float")
            .with("shape", vec![2]);
        let element = |buffers: &[usize]| {
            let buffers = buffers.iter().map(|&size| Frame::from(vec![0; size])).collect();
            let arrays = Arrays::from_message(&header, || buffers);
            arrays.map(|arrays| arrays.unwrap().layout().element())
        };
        assert_eq!(element(&[8, 0, 8]), Ok(ElementType::Float32));
        assert_eq!(element(&[16]), Ok(ElementType::Float64));
        assert_eq!(element(&[0]), Ok(ElementType::Float64));
        let wrong = |index, actual| ArrayError::Length {
            index,
            expected: 16,
            actual,
        };
        assert_eq!(element(&[8, 16]), Err(wrong(0, 8)));
        assert_eq!(element(&[12]), Err(wrong(0, 12)));
    }

    #[test]
    fn the_suffix_of_the_encoding_says_the_order_where_the_header_does_not() {
        let header = Header::new("array-1.0")
            .with("type", "uint16")
            .with("shape", vec![2])
            .with("encoding", ">");
        let load = |header: &Header| {
            let arrays = Arrays::from_message(header, || vec![Frame::from(vec![1, 0, 2, 0])]).unwrap();
            let array = arrays.unwrap().to_array(0).unwrap().unwrap();
            array.view().to_slice::<u16>().unwrap().into_owned()
        };
        assert_eq!(load(&header), [256, 512]);
        assert_eq!(load(&header.clone().with("endianness", "little")), [1, 2]);
        assert_eq!(load(&header.clone().with("encoding", "<")), [1, 2]);
        assert_eq!(
            load(&header.clone().with("endianness", "<")),
            [1, 2],
            "as numpy says it"
        );
        assert_eq!(load(&header.with("type", "<u2")), [1, 2], "as numpy spells it");
    }
}
