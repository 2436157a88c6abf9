//! Arbitrary texts as keys and certificates: what is one is written as something that is read as the same.
#![no_main]

use flexbond_wire::group::PresharedKey;
use flexbond_wire::zmtp::curve::{Certificate, PublicKey, SecretKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
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
