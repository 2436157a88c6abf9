//! Names of parties, jobs, channels and tags, and the roles that parties have.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{Error as _, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// The longest name in bytes.
pub const MAX_NAME: usize = 255;

/// A name that cannot be one. Nothing has changed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// Names have at least one character.
    #[error("the {what} is empty")]
    Empty {
        /// What the name is for.
        what: &'static str,
    },
    /// Names have at most [`MAX_NAME`] bytes.
    #[error("the {what} has {len} bytes, which is more than {MAX_NAME}")]
    TooLong {
        /// What the name is for.
        what: &'static str,
        /// Its length in bytes.
        len: usize,
    },
    /// Names are shown in lines of text: no line ends, no other control characters.
    #[error("the {what} `{}` has a control character", name.escape_debug())]
    Control {
        /// What the name is for.
        what: &'static str,
        /// The name.
        name: String,
    },
}

fn check(what: &'static str, name: &str) -> Result<(), NameError> {
    match name {
        "" => Err(NameError::Empty { what }),
        _ if name.len() > MAX_NAME => Err(NameError::TooLong {
            what,
            len: name.len(),
        }),
        _ if name.chars().any(char::is_control) => Err(NameError::Control {
            what,
            name: name.to_owned(),
        }),
        _ => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// 1 to 255 bytes of UTF-8 without control characters. A clone shares the text.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks a name.
            ///
            /// # Errors
            /// [`NameError`] says what is wrong with it.
            pub fn new(name: impl AsRef<str>) -> Result<Self, NameError> {
                let name = name.as_ref();
                check($what, name)?;
                Ok($name(Arc::from(name)))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, NameError> {
                $name::new(name)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = text(deserializer, $what)?;
                $name::new(&name).map_err(D::Error::custom)
            }
        }
    };
}

name! {
    /// Who somebody is in a federation, in all jobs: `bank-a`, or `10000`.
    PartyId, "party id"
}
name! {
    /// One run of a federated program. Messages of two jobs never meet.
    JobId, "job id"
}
name! {
    /// What a channel is called by the parties at its ends.
    ChannelName, "channel name"
}
name! {
    /// What a program calls a message by, instead of taking it in its turn.
    Tag, "tag"
}

/// Text, or in a file also a whole number: ids are often written so.
fn text<'de, D: Deserializer<'de>>(deserializer: D, what: &'static str) -> Result<String, D::Error> {
    struct Text(&'static str);

    impl Visitor<'_> for Text {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a {} (text or a whole number)", self.0)
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }

        fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<String, E> {
            Ok(number.to_string())
        }

        fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<String, E> {
            let number =
                u64::try_from(number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))?;
            Ok(number.to_string())
        }
    }

    if deserializer.is_human_readable() {
        deserializer.deserialize_any(Text(what))
    } else {
        deserializer.deserialize_str(Text(what))
    }
}

/// What a party does in a federated job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Has data and, as a rule, begins the job.
    Guest,
    /// Has data.
    Host,
    /// Has no data, and does what no party with data may do.
    Arbiter,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Guest => "guest",
            Role::Host => "host",
            Role::Arbiter => "arbiter",
        })
    }
}

/// A party of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id, the same at all parties.
    pub id: PartyId,
    /// What it does in the job.
    pub role: Role,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_wherever_they_come_from() {
        assert_eq!(PartyId::new("").unwrap_err().to_string(), "the party id is empty");
        let long = "x".repeat(256);
        assert!(matches!(
            Tag::new(&long),
            Err(NameError::TooLong { len: 256, .. })
        ));
        assert!(Tag::new(&long[1..]).is_ok());
        let two_lines = JobId::new("a\nb").unwrap_err().to_string();
        assert_eq!(two_lines, r"the job id `a\nb` has a control character");
        let encoded = postcard::to_allocvec("a\nb").unwrap();
        assert!(postcard::from_bytes::<PartyId>(&encoded).is_err());
    }

    #[test]
    fn a_file_may_have_numbers_for_names() {
        assert_eq!(serde_json::from_str::<PartyId>("10000").unwrap(), "10000");
        assert_eq!(serde_json::from_str::<PartyId>("\"a\"").unwrap(), "a");
        let error = serde_json::from_str::<PartyId>("-1").unwrap_err().to_string();
        assert!(error.contains("a party id (text or a whole number)"), "{error}");
    }
}
