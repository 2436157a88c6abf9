//! Arrays of the `ndarray` crate.

use ndarray::{Array, ArrayD, ArrayView, ArrayViewD, Dimension, IxDyn};

use super::{Element, Tensor, TensorError};

impl<T: Element> Tensor<T> {
    /// The array, without a copy.
    ///
    /// ```
    /// use flexbond_rpc::Tensor;
    ///
    /// let image = Tensor::new(&[2, 3], vec![1_u8, 2, 3, 4, 5, 6])?;
    /// assert_eq!(image.to_ndarray()[[1, 0]], 4);
    /// # Ok::<(), flexbond_rpc::tensor::TensorError>(())
    /// ```
    #[must_use]
    pub fn to_ndarray(&self) -> ArrayViewD<'_, T> {
        match ArrayView::from_shape(IxDyn(self.shape()), self.as_slice()) {
            Ok(view) => view,
            // Checked when the tensor was made.
            Err(error) => unreachable!("a tensor has as many elements as its shape asks for: {error}"),
        }
    }

    /// An array of `array`'s numbers. Their memory is handed over if it is in C order and nothing is cut off of it;
    /// otherwise they are copied.
    ///
    /// # Errors
    /// [`TensorError::TooManyDimensions`].
    pub fn from_ndarray<D: Dimension>(array: Array<T, D>) -> Result<Self, TensorError> {
        let shape = array.shape().to_vec();
        let len = array.len();
        let elements = match array.is_standard_layout() {
            true => match array.into_raw_vec_and_offset() {
                (elements, None | Some(0)) if elements.len() == len => elements,
                (elements, offset) => {
                    let begin = offset.unwrap_or_default();
                    elements[begin..begin + len].to_vec()
                }
            },
            false => array.iter().copied().collect(),
        };
        Tensor::new(&shape, elements)
    }
}

/// The elements are copied, but for single bytes that nobody else holds.
impl<T: Element> From<Tensor<T>> for ArrayD<T> {
    fn from(tensor: Tensor<T>) -> Self {
        let shape = IxDyn(tensor.shape());
        match Array::from_shape_vec(shape, tensor.into_vec()) {
            Ok(array) => array,
            Err(error) => unreachable!("a tensor has as many elements as its shape asks for: {error}"),
        }
    }
}
