//! What a rank and the server tell each other, and how it looks in bytes.

use std::time::Duration;

use super::error::Refusal;

/// From a rank to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// The first one.
    Join(Application),
    /// I live.
    Beat,
    /// I am done with this epoch.
    Advance { epoch: u32 },
    /// My connection to this rank broke.
    Suspect { epoch: u32, id: u32 },
    /// This rank is to connect to me.
    Knock { id: u32 },
    /// I go in good order.
    Leave,
}

/// What a rank wants, and where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Application {
    pub(super) size: Option<u32>,
    pub(super) rank: Option<u32>,
    pub(super) name: String,
    pub(super) endpoint: String,
}

/// From the server to a rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// The answer to `Join`, or else `Refused`.
    Welcome {
        session: u64,
        id: u32,
        heartbeat: Duration,
        dead_after: Duration,
    },
    Refused(Refusal),
    /// I live.
    Beat,
    /// A new epoch; a member's place is its rank.
    Epoch {
        number: u32,
        members: Vec<Entry>,
    },
    /// These ranks of the epoch are dead, and so is the epoch.
    Failed {
        epoch: u32,
        ranks: Vec<u32>,
    },
    /// It has gone in good order.
    Left {
        id: u32,
    },
    /// Connect to this rank.
    Knock {
        id: u32,
    },
    /// The answer to `Leave`.
    Goodbye,
    /// You were given up.
    Expelled,
}

/// A member of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: u32,
    pub(super) name: String,
    pub(super) endpoint: String,
}

/// The most ranks of a session.
pub(super) const MAX_RANKS: usize = 1024;
/// The longest name of a rank, in bytes.
pub(super) const MAX_NAME: usize = 255;
const MAX_ENDPOINT: usize = flexbond_transport::Endpoint::MAX_LEN;

/// The longest request and the longest notice, in bytes after the length.
pub(super) const MAX_REQUEST: usize = 2048;
pub(super) const MAX_NOTICE: usize = 16 + MAX_RANKS * (4 + 2 + MAX_NAME + 2 + MAX_ENDPOINT);

/// The bytes are none of the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Something that travels on a control connection: a length of four bytes, then a kind of one byte, then fields.
pub(super) trait Message: Sized {
    const MAX_LEN: usize;
    fn put(&self, fields: &mut Writer<'_>);
    fn take(fields: &mut Reader<'_>) -> Result<Self, Malformed>;

    fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend([0; 4]);
        self.put(&mut Writer(out));
        let length = (out.len() - start - 4) as u32;
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// From what follows the length. More bytes than it knows are left alone.
    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::take(&mut Reader(bytes))
    }
}

impl Message for Request {
    const MAX_LEN: usize = MAX_REQUEST;

    fn put(&self, fields: &mut Writer<'_>) {
        match self {
            Request::Join(application) => {
                fields.u8(1);
                fields.option(application.size);
                fields.option(application.rank);
                fields.text(&application.name);
                fields.text(&application.endpoint);
            }
            Request::Beat => fields.u8(2),
            Request::Advance { epoch } => {
                fields.u8(3);
                fields.u32(*epoch);
            }
            Request::Suspect { epoch, id } => {
                fields.u8(4);
                fields.u32(*epoch);
                fields.u32(*id);
            }
            Request::Knock { id } => {
                fields.u8(5);
                fields.u32(*id);
            }
            Request::Leave => fields.u8(6),
        }
    }

    fn take(fields: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match fields.u8()? {
            1 => Request::Join(Application {
                size: fields.option()?,
                rank: fields.option()?,
                name: fields.text(MAX_NAME)?,
                endpoint: fields.text(MAX_ENDPOINT)?,
            }),
            2 => Request::Beat,
            3 => Request::Advance { epoch: fields.u32()? },
            4 => Request::Suspect {
                epoch: fields.u32()?,
                id: fields.u32()?,
            },
            5 => Request::Knock { id: fields.u32()? },
            6 => Request::Leave,
            _ => return Err(Malformed),
        })
    }
}

impl Message for Notice {
    const MAX_LEN: usize = MAX_NOTICE;

    fn put(&self, fields: &mut Writer<'_>) {
        match self {
            Notice::Welcome {
                session,
                id,
                heartbeat,
                dead_after,
            } => {
                fields.u8(1);
                fields.u64(*session);
                fields.u32(*id);
                fields.duration(*heartbeat);
                fields.duration(*dead_after);
            }
            Notice::Refused(refusal) => {
                fields.u8(2);
                let (kind, first, second) = match *refusal {
                    Refusal::RankTaken { rank } => (1, rank, 0),
                    Refusal::RankOutOfRange { rank, size } => (2, rank, size),
                    Refusal::SizeMismatch { wanted, expected } => (3, wanted, expected),
                    Refusal::Full { limit } => (4, limit, 0),
                    Refusal::Malformed => (5, 0, 0),
                    Refusal::OtherScheme => (6, 0, 0),
                    Refusal::Other => (0, 0, 0),
                };
                fields.u8(kind);
                fields.u32(first);
                fields.u32(second);
            }
            Notice::Beat => fields.u8(3),
            Notice::Epoch { number, members } => {
                fields.u8(4);
                fields.u32(*number);
                fields.u32(members.len() as u32);
                for member in members {
                    fields.u32(member.id);
                    fields.text(&member.name);
                    fields.text(&member.endpoint);
                }
            }
            Notice::Failed { epoch, ranks } => {
                fields.u8(5);
                fields.u32(*epoch);
                fields.u32(ranks.len() as u32);
                ranks.iter().for_each(|rank| fields.u32(*rank));
            }
            Notice::Left { id } => {
                fields.u8(6);
                fields.u32(*id);
            }
            Notice::Knock { id } => {
                fields.u8(7);
                fields.u32(*id);
            }
            Notice::Goodbye => fields.u8(8),
            Notice::Expelled => fields.u8(9),
        }
    }

    fn take(fields: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match fields.u8()? {
            1 => Notice::Welcome {
                session: fields.u64()?,
                id: fields.u32()?,
                heartbeat: fields.duration()?,
                dead_after: fields.duration()?,
            },
            2 => {
                let (kind, first, second) = (fields.u8()?, fields.u32()?, fields.u32()?);
                Notice::Refused(match kind {
                    1 => Refusal::RankTaken { rank: first },
                    2 => Refusal::RankOutOfRange {
                        rank: first,
                        size: second,
                    },
                    3 => Refusal::SizeMismatch {
                        wanted: first,
                        expected: second,
                    },
                    4 => Refusal::Full { limit: first },
                    5 => Refusal::Malformed,
                    6 => Refusal::OtherScheme,
                    // A later server may have more reasons.
                    _ => Refusal::Other,
                })
            }
            3 => Notice::Beat,
            4 => {
                let number = fields.u32()?;
                let members = fields.list(|fields| {
                    Ok(Entry {
                        id: fields.u32()?,
                        name: fields.text(MAX_NAME)?,
                        endpoint: fields.text(MAX_ENDPOINT)?,
                    })
                })?;
                Notice::Epoch { number, members }
            }
            5 => Notice::Failed {
                epoch: fields.u32()?,
                ranks: fields.list(Reader::u32)?,
            },
            6 => Notice::Left { id: fields.u32()? },
            7 => Notice::Knock { id: fields.u32()? },
            8 => Notice::Goodbye,
            9 => Notice::Expelled,
            _ => return Err(Malformed),
        })
    }
}

/// Appends fields.
pub(super) struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    fn u32(&mut self, value: u32) {
        self.0.extend(value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.0.extend(value.to_le_bytes());
    }

    fn option(&mut self, value: Option<u32>) {
        self.u8(u8::from(value.is_some()));
        self.u32(value.unwrap_or_default());
    }

    /// In microseconds.
    fn duration(&mut self, value: Duration) {
        self.u64(u64::try_from(value.as_micros()).unwrap_or(u64::MAX));
    }

    /// At most 65,535 bytes of it, up to a whole character.
    fn text(&mut self, value: &str) {
        let value = &value[..value.floor_char_boundary(usize::from(u16::MAX))];
        self.0.extend((value.len() as u16).to_le_bytes());
        self.0.extend(value.as_bytes());
    }
}

/// Takes fields off.
pub(super) struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*array)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    fn option(&mut self) -> Result<Option<u32>, Malformed> {
        let (is_some, value) = (self.u8()?, self.u32()?);
        Ok((is_some != 0).then_some(value))
    }

    fn duration(&mut self) -> Result<Duration, Malformed> {
        self.u64().map(Duration::from_micros)
    }

    fn text(&mut self, max: usize) -> Result<String, Malformed> {
        let length = usize::from(u16::from_le_bytes(self.array()?));
        if length > max {
            return Err(Malformed);
        }
        let (text, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).map_err(|_| Malformed)
    }

    /// At most [`MAX_RANKS`] items; no memory is taken for those that are only announced.
    fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = self.u32()? as usize;
        if count > MAX_RANKS {
            return Err(Malformed);
        }
        (0..count).map(|_| item(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(max: usize) -> impl Strategy<Value = String> {
        proptest::collection::vec(any::<char>(), 0..max / 4).prop_map(String::from_iter)
    }

    fn request() -> impl Strategy<Value = Request> {
        let join = (
            any::<Option<u32>>(),
            any::<Option<u32>>(),
            text(MAX_NAME),
            text(MAX_ENDPOINT),
        );
        prop_oneof![
            join.prop_map(|(size, rank, name, endpoint)| {
                Request::Join(Application {
                    size,
                    rank,
                    name,
                    endpoint,
                })
            }),
            Just(Request::Beat),
            any::<u32>().prop_map(|epoch| Request::Advance { epoch }),
            any::<(u32, u32)>().prop_map(|(epoch, id)| Request::Suspect { epoch, id }),
            any::<u32>().prop_map(|id| Request::Knock { id }),
            Just(Request::Leave),
        ]
    }

    fn notice() -> impl Strategy<Value = Notice> {
        let entry = (any::<u32>(), text(40), text(80));
        let entry = entry.prop_map(|(id, name, endpoint)| Entry { id, name, endpoint });
        let members = proptest::collection::vec(entry, 0..20);
        let ranks = proptest::collection::vec(any::<u32>(), 0..20);
        prop_oneof![
            any::<(u64, u32, u32, u32)>().prop_map(|(session, id, heartbeat, dead_after)| {
                Notice::Welcome {
                    session,
                    id,
                    heartbeat: Duration::from_micros(heartbeat.into()),
                    dead_after: Duration::from_micros(dead_after.into()),
                }
            }),
            any::<(u32, u32)>().prop_map(|(wanted, expected)| {
                Notice::Refused(Refusal::SizeMismatch { wanted, expected })
            }),
            any::<(u32, u32)>()
                .prop_map(|(rank, size)| Notice::Refused(Refusal::RankOutOfRange { rank, size })),
            any::<u32>().prop_map(|rank| Notice::Refused(Refusal::RankTaken { rank })),
            any::<u32>().prop_map(|limit| Notice::Refused(Refusal::Full { limit })),
            Just(Notice::Refused(Refusal::Malformed)),
            Just(Notice::Refused(Refusal::OtherScheme)),
            Just(Notice::Refused(Refusal::Other)),
            Just(Notice::Beat),
            (any::<u32>(), members).prop_map(|(number, members)| Notice::Epoch { number, members }),
            (any::<u32>(), ranks).prop_map(|(epoch, ranks)| Notice::Failed { epoch, ranks }),
            any::<u32>().prop_map(|id| Notice::Left { id }),
            any::<u32>().prop_map(|id| Notice::Knock { id }),
            Just(Notice::Goodbye),
            Just(Notice::Expelled),
        ]
    }

    fn round_trip<T: Message + PartialEq + std::fmt::Debug>(message: &T) {
        let mut bytes = vec![7];
        message.encode(&mut bytes);
        let length = u32::from_le_bytes(*bytes[1..].first_chunk().unwrap()) as usize;
        assert_eq!(length, bytes.len() - 5);
        assert!(length <= T::MAX_LEN);
        assert_eq!(T::decode(&bytes[5..]).as_ref(), Ok(message));
        for end in 5..bytes.len() {
            assert_eq!(T::decode(&bytes[5..end]), Err(Malformed), "cut at {end}");
        }
        bytes.extend([1, 2, 3]);
        assert_eq!(
            T::decode(&bytes[5..]).as_ref(),
            Ok(message),
            "a later version adds"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn requests_are_read_back(request in request()) {
            round_trip(&request);
        }

        #[test]
        fn notices_are_read_back(notice in notice()) {
            round_trip(&notice);
        }

        #[test]
        fn arbitrary_bytes_are_a_message_or_an_error(kind in 0..12_u8, mut bytes: Vec<u8>) {
            bytes.insert(0, kind);
            let _ = Request::decode(&bytes);
            let _ = Notice::decode(&bytes);
        }
    }

    #[test]
    fn announced_lists_take_no_memory() {
        let mut bytes = vec![4, 1, 0, 0, 0];
        bytes.extend(u32::MAX.to_le_bytes());
        assert_eq!(Notice::decode(&bytes), Err(Malformed));
    }
}
