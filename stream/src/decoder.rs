//! Understands the messages of one stream, one after the other: formats that are built in, and those of the user.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use flexbond_transport::{Frame, Message};

use crate::bsread::{HeaderCache, Pulse};
use crate::detector::{DetectorEnd, DetectorHeader, DetectorImage, SeriesEvent, SeriesTracker};
use crate::handler::AnyHandler;
use crate::{
    Arrays, Body, DecodeError, Handled, Handler, HandlerError, Header, HeaderError, StreamMessage, stream2,
};

/// Understands the messages of one stream by their `htype`, and those of Dectris stream V2, which have none, by their
/// first bytes.
///
/// It keeps what one message says for those that follow: the channels of bsread messages, and which series a detector is
/// in. A message that is malformed changes none of it. There is no input or output in it; a
/// [`Stream`](crate::Stream) has one inside.
///
/// Two streams that were merged should each have their own.
#[derive(Default)]
pub struct Decoder {
    handlers: HashMap<String, Box<dyn AnyHandler>>,
    data_headers: HeaderCache,
    series: SeriesTracker,
    events: VecDeque<SeriesEvent>,
    dropped_events: u64,
}

/// What a decoder has counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecoderCounters {
    /// bsread data headers that were parsed: those that differed from the ones before.
    pub data_headers: u64,
    /// bsread messages whose `hash` is not that of their data header. They are delivered.
    pub hash_mismatches: u64,
    /// Events of series that were dropped because nobody [took](Decoder::poll_series_event) them.
    pub dropped_events: u64,
}

impl Decoder {
    /// Events of series that wait to be taken at most; then the oldest is dropped, and counted.
    pub const MAX_EVENTS: usize = 64;

    /// The built-in formats, and nothing known yet.
    #[must_use]
    pub fn new() -> Self {
        Decoder::default()
    }

    /// Has `handler` understand messages of type `htype`, in place of what did so before: a handler registered earlier,
    /// or the built-in format of that name. The types of Dectris' stream V2 are those of its
    /// [summaries](stream2::Message::header), such as `stream2-image`.
    pub fn register(&mut self, htype: impl Into<String>, handler: impl Handler) {
        self.handlers.insert(htype.into(), Box::new(handler));
    }

    /// Takes the handler of `htype` away; a built-in format of that name is understood again. Says whether there was one.
    pub fn unregister(&mut self, htype: &str) -> bool {
        self.handlers.remove(htype).is_some()
    }

    /// Understands a message. Parts are shared, not copied.
    ///
    /// # Errors
    /// [`DecodeError`] when the message is malformed; the decoder is as it was before.
    pub fn decode(&mut self, message: &Message) -> Result<StreamMessage, DecodeError> {
        if let Some(part) = stream2::only_part(message.frames())? {
            let message = stream2::Message::decode(part.clone())?;
            let header = message.header();
            let body = match self.handlers.get_mut(header.htype()) {
                Some(handler) => Body::Custom(handler.handle(&header, vec![part.clone()])?.without_header()),
                None => Body::Stream2(Box::new(message)),
            };
            return Ok(self.follow(StreamMessage { header, body }));
        }
        let (header, parts) = split(message)?;
        let body = match self.handlers.get_mut(header.htype()) {
            Some(handler) => Body::Custom(handler.handle(&header, parts.to_vec())?),
            None => self.built_in(&header, parts)?,
        };
        Ok(self.follow(StreamMessage { header, body }))
    }

    /// Notes what a good message says of the series that it is in.
    fn follow(&mut self, message: StreamMessage) -> StreamMessage {
        for event in self.series.handle_message(&message) {
            if self.events.len() == Self::MAX_EVENTS {
                self.events.pop_front();
                self.dropped_events += 1;
            }
            self.events.push_back(event);
        }
        message
    }

    /// Has `handler` understand a message, whatever its `htype`, one of Dectris' stream V2 too. The decoder learns nothing
    /// from it.
    ///
    /// # Errors
    /// [`DecodeError::Header`] when there is no header, [`DecodeError::Stream2`] when the part begins like one of stream V2
    /// and is not one, [`DecodeError::Handler`] with what the handler returns.
    pub fn decode_with<H: Handler>(
        &self,
        message: &Message,
        handler: &mut H,
    ) -> Result<Handled<H::Value>, DecodeError> {
        let (header, parts) = match stream2::only_part(message.frames())? {
            Some(part) => {
                let summary = stream2::Message::decode(part.clone())?.header();
                (summary, message.frames())
            }
            None => split(message)?,
        };
        match handler.decode(&header, parts) {
            Ok(value) => Ok(Handled {
                header,
                value,
                message: message.clone(),
            }),
            Err(error) => Err(HandlerError::new(header.htype(), error).into()),
        }
    }

    /// What should be known about the series of a detector, oldest first.
    pub fn poll_series_event(&mut self) -> Option<SeriesEvent> {
        self.events.pop_front()
    }

    /// Which series a detector is in.
    #[must_use]
    pub fn series(&self) -> &SeriesTracker {
        &self.series
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> DecoderCounters {
        DecoderCounters {
            data_headers: self.data_headers.parsed(),
            hash_mismatches: self.data_headers.mismatches(),
            dropped_events: self.dropped_events,
        }
    }

    fn built_in(&mut self, header: &Header, parts: &[Frame]) -> Result<Body, DecodeError> {
        // Shares the parts; the bytes are where they were.
        let parts = || parts.to_vec();
        Ok(match header.htype() {
            StreamMessage::RAW => Body::Raw(parts()),
            StreamMessage::ARRAY => match Arrays::from_message(header, parts)? {
                Some(arrays) => Body::Arrays(arrays),
                None => Body::Unknown(parts()),
            },
            DetectorHeader::HTYPE => Body::DetectorHeader(Box::new(DetectorHeader::read(header, parts())?)),
            DetectorImage::HTYPE => match DetectorImage::read(header, parts())? {
                Some(image) => Body::DetectorImage(Box::new(image)),
                None => Body::Unknown(parts()),
            },
            DetectorEnd::HTYPE => Body::DetectorEnd(DetectorEnd::read(header, parts())?),
            Pulse::HTYPE | Pulse::HTYPE_1_0 => {
                Body::Bsread(Pulse::read(header, parts(), &mut self.data_headers)?)
            }
            _ => Body::Unknown(parts()),
        })
    }
}

fn split(message: &Message) -> Result<(Header, &[Frame]), HeaderError> {
    let (first, parts) = message.frames().split_first().ok_or(HeaderError::Missing)?;
    Ok((Header::from_frame(first)?, parts))
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("handlers", &self.handlers.keys())
            .field("series", &self.series)
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}
