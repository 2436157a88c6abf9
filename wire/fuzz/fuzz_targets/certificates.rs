//! Files of certificates and keys for TLS, the names in certificates and as people write them, and their fingerprints.
//! AWS-LC and rustls are not built for this: these sources need neither.
#![no_main]
#![allow(dead_code)]

use fingerprint::Fingerprint;
use flexbond_transport::{PeerIdentity, PeerName};
use libfuzzer_sys::fuzz_target;
use rustls::pki_types::CertificateDer;

#[path = "../../../transport/src/tls/fingerprint.rs"]
mod fingerprint;
#[path = "../../../transport/src/tls/identity.rs"]
mod identity;
#[path = "../../../session/src/socket/security/certificate/name.rs"]
mod name;
#[path = "../../../transport/src/tls/pem.rs"]
mod pem;
#[path = "../../../transport/src/tls/role.rs"]
mod role;

/// The errors of what is read of files; that of the crate has those of rustls beside them.
#[derive(Debug)]
enum TlsSettingsError {
    Unreadable {
        path: std::path::PathBuf,
        source: std::io::Error,
    },
    KeyExposed {
        path: std::path::PathBuf,
        mode: u32,
    },
    NotFound {
        wanted: &'static str,
        origin: String,
    },
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    match choice % 4 {
        0 => {
            let chain = pem::certificates(data, "a text");
            assert!(chain.as_ref().is_ok_and(|chain| !chain.is_empty()) || chain.is_err());
            if let Ok(chain) = chain {
                assert!(identity::of_chain(&chain, false).is_some());
            }
        }
        1 => drop(pem::key(data, "a text")),
        2 => {
            let chain = [CertificateDer::from(data)];
            let identity = identity::of_chain(&chain, false).expect("there is one");
            // An issuer that cannot be read may be limited, and then common names count for nothing.
            let issued = [chain[0].clone(), CertificateDer::from(data)];
            let issued = identity::of_chain(&issued, true).expect("there is one");
            assert!(issued.common_name().is_none() && issued.names() == identity.names());
            // The common name counts where there are no other names.
            assert!(identity.common_name().is_none() || identity.names().is_empty());
        }
        _ => {
            let Ok(text) = std::str::from_utf8(data) else {
                return;
            };
            if let Ok(fingerprint) = text.parse::<Fingerprint>() {
                assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
            }
            if let Ok(name) = text.parse::<name::CertificateName>() {
                assert_eq!(name.to_string().parse(), Ok(name.clone()));
                let folded = name.folded();
                assert!(folded.is_possible() && folded.clone().folded() == folded);
            }
        }
    }
});
