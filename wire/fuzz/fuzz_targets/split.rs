//! Arbitrary texts as filters and configurations of a split: what is one is written as something that is read as the same.
#![no_main]

use flexbond_stream::Header;
use flexbond_stream::split::{Filter, SplitConfig};
use flexbond_wire_fuzz::Script;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut script = Script(data);
    let header = Header::parse(script.bytes());
    let Ok(text) = std::str::from_utf8(script.0) else {
        return;
    };
    if let Ok(filter) = text.parse::<Filter>() {
        let again: Filter = filter.to_string().parse().expect("it was written");
        assert_eq!(again, filter);
        if let Ok(header) = &header {
            assert_eq!(again.matches(header), filter.matches(header));
        }
    }
    if let Ok(config) = text.parse::<SplitConfig>() {
        let _ = config.validate();
        let written = serde_json::to_string(&config).expect("texts and numbers");
        assert_eq!(written.parse::<SplitConfig>().ok(), Some(config));
    }
});
