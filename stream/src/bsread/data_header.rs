//! The list of channels, and the cache of lists that were parsed.

use std::collections::HashMap;
use std::sync::Arc;

use flexbond_transport::Frame;
use serde_json::{Map, Value as Json};

use crate::checksum::md5_hex;
use crate::{Endianness, Header, LoadError};

use super::arrangement::Arrangement;
use super::channel::{Channel, Compression};
use super::{BsreadError, reading};

/// The channels of a message (`bsr_d-1.1`), parsed once and shared by all messages that have the same.
#[derive(Clone, Debug)]
pub struct DataHeader {
    header: Header,
    channels: Vec<Channel>,
    // The first channel of each name.
    places: HashMap<String, usize>,
    compression: Compression,
    // As it travels.
    part: Frame,
    // Bytes of it before it was compressed.
    plain_len: usize,
    hash: String,
    // What a sender says that hashes before it compresses; equal to `hash` where nothing is compressed.
    plain_hash: String,
}

impl DataHeader {
    /// The `htype` of a data header.
    pub const HTYPE: &str = "bsr_d-1.1";

    /// A data header to be sent, not compressed.
    #[must_use]
    pub fn new(channels: Vec<Channel>) -> Self {
        DataHeader::compressed(channels, Compression::None)
    }

    /// A data header to be sent, compressed: worth it from some hundred channels on.
    #[must_use]
    pub fn compressed(channels: Vec<Channel>, compression: Compression) -> Self {
        let list: Vec<Json> = channels
            .iter()
            .map(|channel| Json::Object(channel.fields().clone()))
            .collect();
        let header = Header::new(Self::HTYPE).with("channels", list);
        let plain = header.to_frame();
        let part = compression.compress(plain.clone(), 1, Endianness::Little);
        DataHeader {
            places: places(&channels),
            hash: md5_hex(&part),
            plain_hash: md5_hex(&plain),
            plain_len: plain.len(),
            header,
            channels,
            compression,
            part,
        }
    }

    /// Reads the data header of a message of `parts` parts, which must be those of its channels.
    fn read(part: &Frame, compression: Compression, parts: usize, loose: bool) -> Result<Self, BsreadError> {
        let plain = match compression.codec() {
            None => part.clone(),
            Some(_) => reading::unpack_text(part, compression, Header::MAX_SIZE).map_err(too_long)?,
        };
        let header = Header::parse(&plain)?;
        if !header.htype().starts_with("bsr_d-") {
            return Err(BsreadError::Htype(header.htype().to_owned()));
        }
        let channels = header
            .get("channels")
            .and_then(Json::as_array)
            .ok_or(BsreadError::NoChannels)?;
        // Before each of them is taken apart.
        Arrangement::expect(channels.len(), parts, loose)?;
        let encoding = header.get("encoding");
        let channels: Option<Vec<Channel>> = channels
            .iter()
            .map(|channel| {
                let mut fields = Map::clone(channel.as_object()?);
                // Version 1.0 says it once for all of them.
                if let (Some(encoding), None | Some(Json::Null)) = (encoding, fields.get("encoding")) {
                    fields.insert("encoding".to_owned(), encoding.clone());
                }
                Channel::from_fields(fields)
            })
            .collect();
        let channels = channels.ok_or(BsreadError::NoChannels)?;
        Ok(DataHeader {
            places: places(&channels),
            hash: md5_hex(part),
            plain_hash: md5_hex(&plain),
            plain_len: plain.len(),
            header,
            channels,
            compression,
            // It outlives the message by far: it must not hold on to the buffer that the message came in.
            part: part.detach(),
        })
    }

    /// All fields of the data header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The channels in the order of their parts.
    #[must_use]
    pub fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// The place of a channel in [`channels`](Self::channels); the first where several have the name.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    /// How the data header itself travels (`dh_compression`).
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// The data header as it travels.
    #[must_use]
    pub fn part(&self) -> &Frame {
        &self.part
    }

    /// MD5 of the data header as it travels, in hexadecimal digits.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Whether this is the data header that a main header with this `hash` means. Senders differ in whether they hash
    /// before or after compressing.
    #[must_use]
    pub fn has_hash(&self, hash: &str) -> bool {
        // Senders that write it as a number leave zeros at its beginning away.
        let digits = hash.trim_start_matches('0');
        [&self.hash, &self.plain_hash]
            .into_iter()
            .any(|own| own.trim_start_matches('0').eq_ignore_ascii_case(digits))
    }
}

fn places(channels: &[Channel]) -> HashMap<String, usize> {
    let mut places = HashMap::with_capacity(channels.len());
    for (place, channel) in channels.iter().enumerate() {
        places.entry(channel.name().to_owned()).or_insert(place);
    }
    places
}

fn too_long(error: LoadError) -> BsreadError {
    match error {
        LoadError::Decompress(error) => BsreadError::Decompress(error),
        LoadError::TooLarge { size, .. } => BsreadError::Header(crate::HeaderError::TooLong { size }),
        LoadError::Length { actual, .. } | LoadError::Size { actual, .. } => {
            BsreadError::Header(crate::HeaderError::TooLong { size: actual })
        }
    }
}

/// The data headers that came last, the most recent first: one for a stream with one source.
#[derive(Debug, Default)]
pub(crate) struct HeaderCache {
    recent: Vec<Entry>,
    parsed: u64,
    mismatches: u64,
}

#[derive(Debug)]
struct Entry {
    data_header: Arc<DataHeader>,
    /// What the main header said when it was parsed; it may be no MD5 at all.
    announced: Option<String>,
}

impl HeaderCache {
    /// Streams that were merged from more sources than this parse headers anew.
    const CAPACITY: usize = 8;
    /// Bytes of all data headers but the last one together, not compressed: what they become takes some times as much.
    const CAPACITY_BYTES: usize = 4 << 20;
    /// Characters of a hash that is kept; MD5 has 32.
    const LONGEST_HASH: usize = 256;

    /// The data header that `parts` begin with, parsed only where its bytes have not come before, and where the values
    /// of its channels stand. The cache changes only where the parts are those of the channels.
    pub(super) fn get(
        &mut self,
        parts: &[Frame],
        compression: Compression,
        hash: Option<&str>,
        loose: bool,
    ) -> Result<(Arc<DataHeader>, Arrangement), BsreadError> {
        let part = parts.first().ok_or(BsreadError::NoDataHeader)?;
        let known = |entry: &Entry| match (part.is_empty(), hash) {
            // Left out, because it is what it was.
            (true, Some(hash)) => {
                entry.data_header.has_hash(hash) || entry.announced.as_deref() == Some(hash)
            }
            (true, None) => false,
            (false, _) => entry.data_header.compression == compression && entry.data_header.part == *part,
        };
        let arrange = |data_header: &DataHeader| Arrangement::of(data_header.channels.len(), parts, loose);
        let arrangement = match self.recent.iter().position(known) {
            Some(at) => {
                let arrangement = arrange(&self.recent[at].data_header)?;
                // The most recent first; the others keep their order.
                self.recent[..=at].rotate_right(1);
                arrangement
            }
            None if part.is_empty() => return Err(BsreadError::NoDataHeader),
            None => {
                let data_header = DataHeader::read(part, compression, 1 + parts.len(), loose)?;
                let arrangement = arrange(&data_header)?;
                self.parsed += 1;
                self.insert(Entry {
                    data_header: Arc::new(data_header),
                    announced: hash
                        .filter(|hash| hash.len() <= Self::LONGEST_HASH)
                        .map(str::to_owned),
                });
                arrangement
            }
        };
        let data_header = Arc::clone(&self.recent[0].data_header);
        if hash.is_some_and(|hash| !data_header.has_hash(hash)) {
            self.mismatches += 1;
        }
        Ok((data_header, arrangement))
    }

    fn insert(&mut self, entry: Entry) {
        self.recent.insert(0, entry);
        self.recent.truncate(Self::CAPACITY);
        let mut bytes = 0;
        let kept = self.recent.iter().skip(1).take_while(|entry| {
            bytes += entry.data_header.plain_len;
            bytes <= Self::CAPACITY_BYTES
        });
        let kept = 1 + kept.count();
        self.recent.truncate(kept);
    }

    /// How often a data header was parsed.
    pub(crate) fn parsed(&self) -> u64 {
        self.parsed
    }

    /// Messages whose `hash` is not that of their data header.
    pub(crate) fn mismatches(&self) -> u64 {
        self.mismatches
    }
}
