//! What senders and receivers of files say to each other. The program's own crate is not built for this: it would take
//! longer than all others together.
#![no_main]
#![allow(dead_code)]

use libfuzzer_sys::fuzz_target;

#[path = "../../../flexbond/src/cli/group/transfer/path.rs"]
mod path;
#[path = "../../../flexbond/src/cli/group/transfer/protocol.rs"]
mod protocol;

use protocol::{Answer, Control, Manifest};

fuzz_target!(|data: &[u8]| {
    if let Ok(manifest) = Manifest::decode(data) {
        for entry in &manifest.entries {
            let path = entry.path.as_bytes();
            assert!(!path.is_empty() && path[0] != b'/');
            assert!(
                path.split(|byte| *byte == b'/')
                    .all(|name| !matches!(name, b"" | b"." | b".."))
            );
        }
        let _ = (
            manifest.bytes(),
            manifest.longest_claims(),
            manifest.file(0).is_some(),
        );
        let written = manifest.encode().expect("it was read");
        assert_eq!(Manifest::decode(&written), Ok(manifest));
    }
    if let Ok(control) = protocol::decode::<Control>(data) {
        assert_eq!(protocol::decode(&protocol::encode(&control)), Ok(control));
    }
    if let Ok(answer) = protocol::decode::<Answer>(data) {
        assert_eq!(protocol::decode(&protocol::encode(&answer)), Ok(answer));
    }
});
