//! Arrays of numbers as arguments and answers: their memory travels as it is, beside the body.
//!
//! In a body an array is the structure `{"dtype": "<f8", "shape": [2, 3], "data": {"$buffer": 0}}`: the type of its
//! elements as numpy spells it, its shape with the slowest dimension first, and the number of the buffer that has the
//! elements, in C order. In Python that is
//! `np.frombuffer(buffers[array["data"]["$buffer"]], array["dtype"]).reshape(array["shape"])`, and the other way
//! `{"dtype": a.dtype.str, "shape": a.shape, "data": {"$buffer": 0}}` with `np.ascontiguousarray(a)` as the buffer.
//!
//! In JSON and MessagePack, lists of numbers (and lists of such lists, all as long as each other) are taken for arrays,
//! too, and a number for one without dimensions.

mod any;
#[cfg(feature = "ndarray")]
mod arrays;
mod dtype;
mod element;
mod error;
mod list;
mod typed;
mod wire;

pub use any::AnyTensor;
pub use dtype::Dtype;
pub use element::Element;
pub use error::TensorError;
pub use typed::Tensor;
