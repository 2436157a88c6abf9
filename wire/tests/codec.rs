//! The payload codecs.
#![cfg(any(feature = "postcard", feature = "json"))]

use flexbond_wire::codec::Codec;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Sample {
    id: u64,
    name: String,
    values: Vec<i32>,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Kind {
    Plain,
    Tagged { tag: Option<String> },
}

fn sample() -> impl Strategy<Value = Sample> {
    let kind = prop_oneof![
        Just(Kind::Plain),
        any::<Option<String>>().prop_map(|tag| Kind::Tagged { tag })
    ];
    (any::<u64>(), any::<String>(), any::<Vec<i32>>(), kind).prop_map(|(id, name, values, kind)| Sample {
        id,
        name,
        values,
        kind,
    })
}

fn round_trip<C: Codec>(codec: &C, value: &Sample) {
    let frame = codec.encode(value).expect("can be written");
    assert_eq!(&codec.decode::<Sample>(&frame).expect("just written"), value);
    for cut in 0..frame.len().min(64) {
        assert!(
            codec.decode::<Sample>(&frame[..cut]).is_err(),
            "{} cut at {cut}",
            codec.name()
        );
    }
    let longer = [&frame[..], b"x"].concat();
    assert!(
        codec.decode::<Sample>(&longer).is_err(),
        "{} with a rest",
        codec.name()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn values_survive(value in sample()) {
        #[cfg(feature = "postcard")]
        round_trip(&flexbond_wire::codec::Postcard, &value);
        #[cfg(feature = "json")]
        round_trip(&flexbond_wire::codec::Json, &value);
    }

    #[test]
    fn noise_is_an_error_at_worst(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        #[cfg(feature = "postcard")]
        let _ = flexbond_wire::codec::Postcard.decode::<Sample>(&bytes);
        #[cfg(feature = "json")]
        let _ = flexbond_wire::codec::Json.decode::<Sample>(&bytes);
    }
}
