//! Arbitrary texts as keys and certificates: what is one is written as something that is read as the same. Bytes that are no
//! text can be the key of a group.
#![no_main]

use flexbond_wire::group::PresharedKey;
use flexbond_wire::zmtp::curve::{Certificate, PublicKey, SecretKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // As the program reads a file with a key.
    let Ok(text) = std::str::from_utf8(data) else {
        let _ = PresharedKey::new(data);
        return;
    };
    if let Ok(key) = text.parse::<PublicKey>() {
        assert_eq!(key.to_string().parse(), Ok(key));
    }
    if let Ok(key) = text.parse::<SecretKey>() {
        assert_eq!(key.expose_z85().parse(), Ok(key));
    }
    if let Ok(certificate) = text.parse::<Certificate>()
        && let Some(keys) = &certificate.keys
    {
        assert_eq!(certificate.public, *keys.public());
        assert_eq!(Certificate::secret_text(keys).parse(), Ok(certificate.clone()));
        let public: Certificate = Certificate::public_text(keys).parse().expect("just written");
        assert_eq!((public.public, public.keys), (certificate.public, None));
    }
    let _ = text.parse::<PresharedKey>();
});
