//! Arbitrary texts as endpoints: what is one is written as it is read again.
#![no_main]

use flexbond_transport::Endpoint;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(endpoint) = text.parse::<Endpoint>() else {
        return;
    };
    assert!(text.len() <= Endpoint::MAX_LEN);
    let written = endpoint.to_string();
    assert!(written.starts_with(endpoint.scheme()));
    assert_eq!(written.parse::<Endpoint>().as_ref(), Ok(&endpoint), "{written}");
});
