//! Arrays in bodies: what is written is read back, in every codec, and nothing that can be sent does harm.

use bytes::Bytes;
use flexbond_rpc::envelope::Codec;
use flexbond_rpc::tensor::{AnyTensor, Dtype, Element, Tensor, TensorError};
use flexbond_rpc::{Buffer, CodecError, Encoded};
use flexbond_session::Frame;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

const CODECS: [Codec; 3] = [Codec::Postcard, Codec::Json, Codec::MessagePack];
const NAMED: [Codec; 2] = [Codec::Json, Codec::MessagePack];

/// The same bytes at an address that is `offset` from a multiple of eight.
fn moved(data: &[u8], offset: usize) -> Frame {
    let mut room = vec![0_u64; data.len().div_ceil(8) + 2];
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut room);
    bytes[offset..offset + data.len()].copy_from_slice(data);
    struct Owner(Vec<u64>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            bytemuck::cast_slice(&self.0)
        }
    }
    Frame::from(Bytes::from_owner(Owner(room)).slice(offset..offset + data.len()))
}

fn json<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, CodecError> {
    Codec::Json.decode(text.as_bytes(), Vec::new())
}

fn goes_there_and_back<T: Element + std::fmt::Debug>(shape: &[usize], elements: Vec<T>) {
    let tensor = Tensor::new(shape, elements).unwrap();
    for codec in CODECS {
        let Encoded { body, buffers } = codec.encode(&(1_u8, &tensor)).unwrap();
        assert_eq!(buffers.len(), 1);
        for offset in 0..8 {
            let sent = moved(&buffers[0], offset);
            let (_, back): (u8, Tensor<T>) = codec.decode(&body, vec![sent.clone()]).unwrap();
            assert_eq!(back, tensor, "{codec:?} {offset}");
            if offset % align_of::<T>() == 0 && sent.len() > Frame::INLINE {
                assert_eq!(back.as_ptr().cast::<u8>(), sent.as_ptr(), "{codec:?} {offset}");
            }
            let (_, any): (u8, AnyTensor) = codec.decode(&body, vec![sent]).unwrap();
            assert_eq!((any.dtype(), any.shape()), (T::DTYPE, shape));
            assert_eq!(any.as_slice::<T>(), Some(tensor.as_slice()));
            assert!(!any.is_inline());
        }
    }
    assert_eq!(tensor.clone().into_vec(), tensor.as_slice());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn arrays_of_every_type_go_there_and_back(
        rows in 0_usize..5,
        columns in 0_usize..40,
        seed in any::<[u64; 4]>(),
    ) {
        let n = rows * columns;
        let number = |index: usize| seed[index % 4].rotate_left(index as u32);
        goes_there_and_back::<u8>(&[rows, columns], (0..n).map(|index| number(index) as u8).collect());
        goes_there_and_back::<i16>(&[n], (0..n).map(|index| number(index) as i16).collect());
        goes_there_and_back::<u32>(&[1, columns, 1, rows], (0..n).map(|index| number(index) as u32).collect());
        goes_there_and_back::<i64>(&[columns, rows], (0..n).map(|index| number(index) as i64).collect());
        goes_there_and_back::<f32>(&[n, 1], (0..n).map(|index| number(index) as f32).collect());
        goes_there_and_back::<f64>(&[rows, columns], (0..n).map(|index| number(index) as f64).collect());
        goes_there_and_back::<[f64; 2]>(&[n], (0..n).map(|index| [number(index) as f64, -1.0]).collect());
    }

    #[test]
    fn whatever_is_sent_is_an_array_or_an_error(
        dtype in prop_oneof![Just("<f8".to_owned()), Just(">c16".to_owned()), Just("|u1".to_owned()), ".{0,6}"],
        shape in prop::collection::vec(prop_oneof![0_u64..9, any::<u64>()], 0..40),
        data in prop::collection::vec(any::<u8>(), 0..200),
        buffer in 0_u32..3,
    ) {
        #[derive(Serialize)]
        struct Claimed {
            dtype: String,
            shape: Vec<u64>,
            data: std::collections::BTreeMap<&'static str, u32>,
        }
        let claimed = Claimed { dtype, shape, data: [("$buffer", buffer)].into() };
        for codec in NAMED {
            let body = codec.encode(&claimed).unwrap().body;
            let read: Result<AnyTensor, _> = codec.decode(&body, vec![moved(&data, 3)]);
            if let Ok(array) = read {
                prop_assert_eq!(array.data().len(), data.len());
                prop_assert_eq!(array.shape().iter().product::<usize>(), array.len());
                let echo = codec.encode(&array.clone().inline(true)).unwrap();
                prop_assert!(echo.body.len() < 8192);
            }
        }
    }

    #[test]
    fn bytes_of_any_kind_never_panic(body in prop::collection::vec(any::<u8>(), 0..100)) {
        for codec in CODECS {
            let _ = codec.decode::<AnyTensor>(&body, vec![Frame::from(vec![0; 8])]);
            let _ = codec.decode::<Tensor<u16>>(&body, vec![Frame::from(vec![0; 8])]);
        }
    }
}

#[test]
fn other_orders_of_bytes_are_turned_round() {
    let data = [1.5_f64, -2.0].map(f64::to_be_bytes).concat();
    for offset in 0..8 {
        let body = br#"{"shape": [2], "dtype": ">f8", "data": {"$buffer": 0}}"#;
        let read: Tensor<f64> = Codec::Json.decode(body, vec![moved(&data, offset)]).unwrap();
        assert_eq!(read.as_slice(), [1.5, -2.0]);
    }
    let body = br#"{"dtype": ">c8", "shape": [], "data": {"$buffer": 0}}"#;
    let data = [1.0_f32, -0.5].map(f32::to_be_bytes).concat();
    let read: Tensor<[f32; 2]> = Codec::Json.decode(body, vec![Frame::from(data)]).unwrap();
    assert_eq!(
        read.as_slice(),
        [[1.0, -0.5]],
        "each of the two numbers for itself"
    );
    assert_eq!(read.shape(), [0_usize; 0]);
}

#[test]
fn lists_of_numbers_are_arrays() {
    let any: AnyTensor = json("[[1, 2, 3], [4, 5, 6]]").unwrap();
    assert_eq!((any.dtype(), any.shape()), (Dtype::Int64, &[2, 3][..]));
    assert!(any.is_inline());
    let any: AnyTensor = json("[1, 2.5, 3]").unwrap();
    assert_eq!(any.as_slice::<f64>(), Some(&[1.0, 2.5, 3.0][..]));
    let any: AnyTensor = json("[true, false]").unwrap();
    assert_eq!(
        (any.dtype(), any.as_slice::<u8>()),
        (Dtype::Bool, Some(&[1, 0][..]))
    );
    let any: AnyTensor = json("7").unwrap();
    assert_eq!((any.shape(), any.as_slice::<i64>()), (&[][..], Some(&[7][..])));
    for (text, shape) in [("[]", &[0][..]), ("[[],[]]", &[2, 0]), ("[[[]]]", &[1, 1, 0])] {
        let any: AnyTensor = json(text).unwrap();
        assert_eq!(any.shape(), shape, "{text}");
        assert_eq!(&Codec::Json.encode(&any).unwrap().body[..], text.as_bytes());
    }
    let bytes: Tensor<u8> = json("[[0, 255]]").unwrap();
    assert_eq!((bytes.shape(), bytes.as_slice()), (&[1, 2][..], &[0, 255][..]));
    let floats: Tensor<f32> = json("[1, 0.5]").unwrap();
    assert_eq!(floats.as_slice(), [1.0, 0.5]);
    for codec in NAMED {
        let list = codec.encode(&vec![vec![1_u16, 2], vec![3, 40_000]]).unwrap().body;
        let read: Tensor<u16> = codec.decode(&list, Vec::new()).unwrap();
        assert_eq!((read.shape(), read[3]), (&[2, 2][..], 40_000));
    }
}

#[test]
fn what_is_no_array_is_refused_with_its_place() {
    #[derive(Debug, Deserialize)]
    struct Operands {
        #[expect(dead_code, reason = "only read")]
        b: Tensor<u8>,
    }
    for (text, what) in [
        (r#"{"b": [[1], [1, 2]]}"#, "not as long as each other"),
        (r#"{"b": [1, [2]]}"#, "not as long as each other"),
        (r#"{"b": [[], 2]}"#, "not as long as each other"),
        (r#"{"b": [[], [[]]]}"#, "not as long as each other"),
        (r#"{"b": [256]}"#, "numbers that the elements can be"),
        (r#"{"b": [1.5]}"#, "numbers that the elements can be"),
        (r#"{"b": ["one"]}"#, "a number or a list of numbers"),
        (r#"{"b": "one"}"#, "an array"),
        (r#"{"b": {"dtype": "|u1", "shape": [1]}}"#, "missing field `data`"),
        (
            r#"{"b": {"dtype": "O", "shape": [1], "data": {"$buffer": 0}}}"#,
            "unknown dtype \"O\"",
        ),
        (
            r#"{"b": {"dtype": "<f4", "shape": [1], "data": {"$buffer": 0}}}"#,
            "an array of float32 where one of uint8 is wanted",
        ),
        (
            r#"{"b": {"dtype": "|u1", "shape": [5], "data": {"$buffer": 0}}}"#,
            "shape [5] of uint8 takes 5 bytes, and there are 4",
        ),
        (
            r#"{"b": {"dtype": "|u1", "shape": [4294967296, 4294967296, 0], "data": {"$buffer": 0}}}"#,
            "larger than any memory",
        ),
        (
            r#"{"b": {"dtype": "|u1", "shape": [4], "data": {"$buffer": 1}}}"#,
            "there are no more behind the body",
        ),
        (
            &format!(r#"{{"b": {}{}}}"#, "[".repeat(40), "]".repeat(40)),
            "more than 32 deep",
        ),
    ] {
        let error = Codec::Json
            .decode::<Operands>(text.as_bytes(), vec![Frame::from(vec![0; 4])])
            .unwrap_err()
            .to_string();
        assert!(error.contains("at b") && error.contains(what), "{text}: {error}");
    }
    let many = vec![1; AnyTensor::MAX_DIMENSIONS + 1];
    assert_eq!(
        Tensor::new(&many, vec![0_u8]),
        Err(TensorError::TooManyDimensions { dimensions: 33 })
    );
}

#[test]
fn an_answer_looks_like_what_was_asked() {
    for codec in NAMED {
        let list = codec.encode(&[1.5, 2.0]).unwrap().body;
        let any: AnyTensor = codec.decode(&list, Vec::new()).unwrap();
        let written = codec.encode(&any).unwrap();
        assert_eq!((written.body, written.buffers.len()), (list, 0), "{codec:?}");
        // What no list can hold goes as it is.
        let infinite = AnyTensor::from(f64::INFINITY);
        let written = codec.encode(&infinite).unwrap();
        assert_eq!(written.buffers.len(), 1);
        let back: AnyTensor = codec.decode(&written.body, written.buffers).unwrap();
        assert_eq!(back, infinite);
    }
    let truths: AnyTensor = json("[[true],[false]]").unwrap();
    assert_eq!(
        &Codec::Json.encode(&truths).unwrap().body[..],
        b"[[true],[false]]"
    );
    // Postcard cannot tell a list from a structure, and has structures only.
    let number = Codec::Postcard.encode(&AnyTensor::from(7_i64)).unwrap();
    assert_eq!(number.buffers.len(), 1);
    let empty = AnyTensor::new(Dtype::UInt8, &[1 << 40, 0], Bytes::new())
        .unwrap()
        .inline(true);
    assert!(Codec::Json.encode(&empty).unwrap().body.len() < 100);
}

#[test]
fn numbers_of_all_types_are_read_as_floats_or_integers() {
    let array = AnyTensor::from_elements(&[2], vec![1_u16, 65_535]).unwrap();
    assert_eq!(array.to_integers().as_deref(), Some(&[1, 65_535][..]));
    assert_eq!(array.to_floats().as_deref(), Some(&[1.0, 65_535.0][..]));
    let array = AnyTensor::from_elements(&[1], vec![u64::MAX]).unwrap();
    assert_eq!(array.to_integers(), None);
    let array = AnyTensor::from_elements(&[1], vec![0.5_f32]).unwrap();
    assert_eq!(array.to_integers(), None);
    assert_eq!(array.to_floats().as_deref(), Some(&[0.5][..]));
    assert!(AnyTensor::from([1.0_f32, 2.0]).to_floats().is_none());
    assert!(array.clone().into_tensor::<f64>().is_err());
    assert_eq!(array.into_tensor::<f32>().unwrap().shape(), [1]);
}

#[cfg(feature = "ndarray")]
#[test]
fn ndarrays_are_handed_over() {
    let matrix = ndarray::Array::from_shape_fn((3, 40), |(row, column)| (row * 100 + column) as i32);
    let address = matrix.as_ptr();
    let tensor = Tensor::from_ndarray(matrix.clone()).unwrap();
    assert_eq!(tensor.to_ndarray(), matrix.view().into_dyn());
    let transposed = Tensor::from_ndarray(matrix.clone().reversed_axes()).unwrap();
    assert_eq!(transposed.to_ndarray(), matrix.t().into_dyn());
    let mut part = matrix.clone();
    part.slice_axis_inplace(ndarray::Axis(0), (1..).into());
    let part = Tensor::from_ndarray(part).unwrap();
    assert_eq!((part.shape(), part[0]), (&[2, 40][..], 100));
    assert_eq!(ndarray::ArrayD::from(part)[[1, 39]], 239);
    let moved = Tensor::from_ndarray(matrix).unwrap();
    assert_eq!(moved.as_ptr(), address, "memory is handed over");
    for shape in [vec![], vec![0], vec![2, 0, 3]] {
        let empty = ndarray::ArrayD::<u8>::zeros(shape);
        let tensor = Tensor::from_ndarray(empty.clone()).unwrap();
        assert_eq!(tensor.to_ndarray(), empty.view());
        assert_eq!(ndarray::ArrayD::from(tensor), empty);
    }
}

#[test]
fn small_buffers_are_buffers_too() {
    for len in [0, 1, Frame::INLINE, Frame::INLINE + 1] {
        let sent = Buffer::from(vec![7_u8; len]);
        for codec in CODECS {
            let Encoded { body, buffers } = codec.encode(&sent).unwrap();
            let back: Buffer = codec.decode(&body, buffers).unwrap();
            assert_eq!(back, sent, "{codec:?} {len}");
        }
    }
}

/// A fuzzer found one that came back as its neighbour.
#[test]
fn numbers_in_json_arrive_as_they_were_sent() {
    let sent = Tensor::new(&[2], vec![4.666_666_666_666_666e44, f64::MIN_POSITIVE]).unwrap();
    let encoded = Codec::Json.encode(&sent.clone().into_any().inline(true)).unwrap();
    let read: Tensor<f64> = Codec::Json.decode(&encoded.body, encoded.buffers).unwrap();
    assert_eq!(read, sent);
}
