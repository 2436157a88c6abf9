//! Values of a configuration that are checked where they stand, so that an error names their line.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use flexbond_session::Endpoint;
use serde::{Deserialize, Deserializer};

/// Endpoints, one or a list.
pub(super) fn endpoints<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Endpoint>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "an endpoint, or a list of them")]
    enum Listed {
        One(String),
        Several(Vec<String>),
    }

    let texts = match Listed::deserialize(deserializer)? {
        Listed::One(text) => vec![text],
        Listed::Several(texts) => texts,
    };
    texts.iter().map(|text| parsed(text)).collect()
}

pub(super) fn endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Endpoint>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| parsed(&text)).transpose()
}

/// Names, none of them twice.
pub(super) fn once<'de, D, T>(deserializer: D) -> Result<BTreeSet<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Ord + Clone + fmt::Display,
{
    let mut names = BTreeSet::new();
    for name in Vec::<T>::deserialize(deserializer)? {
        if !names.insert(name.clone()) {
            let text = format_args!("{name} is named twice; remove one");
            return Err(serde::de::Error::custom(text));
        }
    }
    Ok(names)
}

/// A public key of CURVE, as text.
pub(super) fn public_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    #[cfg(feature = "curve")]
    if let Some(text) = &text {
        parsed::<flexbond_session::socket::PublicKey, _>(text)?;
    }
    Ok(text)
}

/// Names of certificates, as text.
pub(super) fn certificates<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "the name of a certificate, or a list of them")]
    enum Listed {
        One(String),
        Several(Vec<String>),
    }

    let texts = match Listed::deserialize(deserializer)? {
        Listed::One(text) => vec![text],
        Listed::Several(texts) => texts,
    };
    #[cfg(feature = "tls")]
    for text in &texts {
        parsed::<flexbond_session::socket::CertificateName, _>(text)?;
    }
    Ok(texts)
}

/// The text that all writings of one key have in common.
pub(super) fn same_key(text: &str) -> String {
    #[cfg(feature = "curve")]
    if let Ok(key) = text.parse::<flexbond_session::socket::PublicKey>() {
        return key.to_string();
    }
    text.to_owned()
}

/// The text that all writings of one certificate's name have in common.
pub(super) fn same_certificate(text: &str) -> String {
    #[cfg(feature = "tls")]
    if let Ok(name) = text.parse::<flexbond_session::socket::CertificateName>() {
        return name.folded().to_string();
    }
    text.to_owned()
}

fn parsed<T: FromStr<Err: fmt::Display>, E: serde::de::Error>(text: &str) -> Result<T, E> {
    text.parse()
        .map_err(|error: T::Err| E::custom(format_args!("{text:?}: {error}")))
}
