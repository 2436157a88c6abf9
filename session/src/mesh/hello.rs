//! The first bytes of every connection of a mesh: what it is for, and in which version.

/// What the two ends of a connection say first, either end once: 16 bytes, little endian, and a rest.
///
/// | bytes | what |
/// | --- | --- |
/// | 0..8 | `FBMESH`, carriage return, line feed |
/// | 8..10 | version |
/// | 10 | purpose |
/// | 11 | zero |
/// | 12..16 | length of the rest |
///
/// What a rest holds beyond what this version knows is read and not looked at, so that a later one can add to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) purpose: Purpose,
    /// Bytes that follow.
    pub(super) rest: usize,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Purpose {
    /// Between a rank and the server.
    Control = 1,
    /// From a rank to another; the rest is a [`Caller`].
    Data = 2,
    /// The answer to that: the connection stands.
    Admitted = 3,
    /// From a rank to another; the rest is a [`Caller`]. Nothing follows and nothing is answered: it is there to find out
    /// whether the path is.
    Watch = 4,
}

/// Why it is no hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HelloError {
    /// It is not this protocol.
    Foreign,
    /// It is, in another version.
    Version(u16),
}

pub(super) const VERSION: u16 = 1;
const MAGIC: [u8; 8] = *b"FBMESH\r\n";

impl Hello {
    pub(super) const LEN: usize = 16;
    /// The longest rest.
    pub(super) const MAX_REST: usize = 4096;

    pub(super) fn encode(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10] = self.purpose as u8;
        bytes[12..].copy_from_slice(&(self.rest as u32).to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; Self::LEN]) -> Result<Self, HelloError> {
        let [magic @ .., v0, v1, purpose, reserved, l0, l1, l2, l3] = *bytes;
        if magic != MAGIC {
            return Err(HelloError::Foreign);
        }
        let version = u16::from_le_bytes([v0, v1]);
        if version != VERSION {
            return Err(HelloError::Version(version));
        }
        let purpose = match purpose {
            1 => Purpose::Control,
            2 => Purpose::Data,
            3 => Purpose::Admitted,
            4 => Purpose::Watch,
            _ => return Err(HelloError::Foreign),
        };
        let rest = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if reserved != 0 || rest > Self::MAX_REST {
            return Err(HelloError::Foreign);
        }
        Ok(Hello { purpose, rest })
    }
}

/// Who connects, in which session, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) session: u64,
    pub(super) from: u32,
    pub(super) to: u32,
}

impl Caller {
    pub(super) const LEN: usize = 16;

    /// The hello and its rest.
    pub(super) fn encode(self, purpose: Purpose) -> [u8; Hello::LEN + Self::LEN] {
        let mut bytes = [0; Hello::LEN + Self::LEN];
        let hello = Hello {
            purpose,
            rest: Self::LEN,
        };
        bytes[..Hello::LEN].copy_from_slice(&hello.encode());
        bytes[16..24].copy_from_slice(&self.session.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.from.to_le_bytes());
        bytes[28..].copy_from_slice(&self.to.to_le_bytes());
        bytes
    }

    /// From the rest of a hello.
    pub(super) fn decode(rest: &[u8]) -> Option<Self> {
        let (session, rest) = rest.split_first_chunk()?;
        let (from, rest) = rest.split_first_chunk()?;
        let (to, _) = rest.split_first_chunk()?;
        Some(Caller {
            session: u64::from_le_bytes(*session),
            from: u32::from_le_bytes(*from),
            to: u32::from_le_bytes(*to),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hello_is_read_back() {
        for purpose in [Purpose::Control, Purpose::Data, Purpose::Admitted, Purpose::Watch] {
            for rest in [0, 16, Hello::MAX_REST] {
                let hello = Hello { purpose, rest };
                assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
            }
        }
    }

    #[test]
    fn another_version_is_told_from_another_protocol() {
        let hello = Hello {
            purpose: Purpose::Control,
            rest: 0,
        };
        let mut bytes = hello.encode();
        bytes[8] = 9;
        assert_eq!(Hello::decode(&bytes), Err(HelloError::Version(9)));
        bytes[0] = b'G';
        assert_eq!(Hello::decode(&bytes), Err(HelloError::Foreign));
    }

    proptest! {
        #[test]
        fn a_caller_is_read_back(session: u64, from: u32, to: u32, more: Vec<u8>) {
            let caller = Caller { session, from, to };
            let mut bytes = caller.encode(Purpose::Data)[Hello::LEN..].to_vec();
            bytes.extend(more);
            prop_assert_eq!(Caller::decode(&bytes), Some(caller));
            prop_assert_eq!(Caller::decode(&bytes[..15]), None);
        }

        #[test]
        fn arbitrary_bytes_are_a_hello_or_an_error(bytes: [u8; Hello::LEN], good in 0..=Hello::LEN) {
            let hello = Hello { purpose: Purpose::Data, rest: 16 };
            let mut mixed = bytes;
            mixed[..good].copy_from_slice(&hello.encode()[..good]);
            for bytes in [bytes, mixed] {
                if let Ok(hello) = Hello::decode(&bytes) {
                    prop_assert_eq!(hello.encode(), bytes);
                }
            }
        }
    }
}
