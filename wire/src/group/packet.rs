//! A whole datagram: header, body and trailer.

use bytes::BytesMut;

use super::error::at_most;
use super::reader::Reader;
use super::sink::{Count, Fill, Sink};
use super::{
    Abort, Accept, Arrive, CHECKSUM_LEN, ChannelJoin, ChannelLeave, ChannelReply, Data, DecodeError,
    EncodeError, FlowSync, Goodbye, Header, Heartbeat, Join, Kind, MAX_DATAGRAM, Parity, Reject, Release,
    Retry, Status, TAG_LEN, View, ViewAck, checksum,
};
#[cfg(feature = "group-crypto")]
use super::{Audience, Envelope, SenderKey};

/// What a datagram says. Texts, lists and payloads are borrowed: from the caller when encoding, from the datagram when
/// decoding.
///
/// The kinds are those of version 1 of the format. Another kind would be another version, so a `match` on all of them
/// is what is meant.
///
/// ```
/// use bytes::BytesMut;
/// use flexbond_wire::group::{Data, DecodeError, Header, Packet};
///
/// let header = Header { session: 7, sender: 3, epoch: 2, number: 41 };
/// let data = Data {
///     channel: 1,
///     point_to_point: false,
///     answer: false,
///     repair: false,
///     seq: 1000,
///     payload: b"a segment",
/// };
/// let mut datagram = BytesMut::new();
/// let len = Packet::Data(data).encode(&header, &mut datagram).unwrap();
/// assert_eq!(len, Data::overhead(false) + 9);
/// assert_eq!(Packet::decode(&datagram), Ok((header, Packet::Data(data))));
///
/// datagram[40] ^= 1;
/// assert_eq!(Packet::decode(&datagram), Err(DecodeError::Checksum));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Somebody wants to become a member.
    Join(Join<'a>),
    /// The coordinator wants to see first that the address is real.
    Retry(Retry),
    /// The coordinator does not admit the joiner.
    Reject(Reject<'a>),
    /// The coordinator admits the joiner.
    Accept(Accept),
    /// A member goes.
    Leave,
    /// The end of a membership or of the session, and why.
    Goodbye(Goodbye<'a>),
    /// A sign of life, and the round trip's measure.
    Heartbeat(Heartbeat),
    /// Who belongs to a channel, or a part of that list.
    View(View<'a>),
    /// A whole view has arrived.
    ViewAck(ViewAck),
    /// A member wants to take part in a channel.
    ChannelJoin(ChannelJoin),
    /// The answer to that.
    ChannelReply(ChannelReply),
    /// A member goes from a channel.
    ChannelLeave(ChannelLeave),
    /// A segment of a flow.
    Data(Data<'a>),
    /// What a receiver has of a flow, and what it lacks.
    Status(Status<'a>),
    /// How far a flow has come.
    Sync(FlowSync),
    /// What repairs any of several segments.
    Parity(Parity<'a>),
    /// A member has come to a barrier.
    Arrive(Arrive),
    /// Everybody has come to a barrier.
    Release(Release),
    /// A barrier will never be complete.
    Abort(Abort<'a>),
}

/// What stands between header and trailer.
pub(super) trait Body<'a>: Sized {
    /// Whether it keeps the limits.
    fn check(&self) -> Result<(), EncodeError> {
        Ok(())
    }

    fn write<S: Sink>(&self, out: &mut S);

    /// Takes the fields off `body`. What is left is not its concern.
    fn read(body: &mut Reader<'a>) -> Result<Self, DecodeError>;
}

/// Evaluates an expression for the body of whichever kind.
macro_rules! with_body {
    ($packet:expr, $body:ident => $value:expr, leave => $leave:expr) => {
        match $packet {
            Packet::Data($body) => $value,
            Packet::Join($body) => $value,
            Packet::Retry($body) => $value,
            Packet::Reject($body) => $value,
            Packet::Accept($body) => $value,
            Packet::Leave => $leave,
            Packet::Goodbye($body) => $value,
            Packet::Heartbeat($body) => $value,
            Packet::View($body) => $value,
            Packet::ViewAck($body) => $value,
            Packet::ChannelJoin($body) => $value,
            Packet::ChannelReply($body) => $value,
            Packet::ChannelLeave($body) => $value,
            Packet::Status($body) => $value,
            Packet::Sync($body) => $value,
            Packet::Parity($body) => $value,
            Packet::Arrive($body) => $value,
            Packet::Release($body) => $value,
            Packet::Abort($body) => $value,
        }
    };
}

impl<'a> Packet<'a> {
    /// What the packet is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Packet::Join(_) => Kind::Join,
            Packet::Retry(_) => Kind::Retry,
            Packet::Reject(_) => Kind::Reject,
            Packet::Accept(_) => Kind::Accept,
            Packet::Leave => Kind::Leave,
            Packet::Goodbye(_) => Kind::Goodbye,
            Packet::Heartbeat(_) => Kind::Heartbeat,
            Packet::View(_) => Kind::View,
            Packet::ViewAck(_) => Kind::ViewAck,
            Packet::ChannelJoin(_) => Kind::ChannelJoin,
            Packet::ChannelReply(_) => Kind::ChannelReply,
            Packet::ChannelLeave(_) => Kind::ChannelLeave,
            Packet::Data(_) => Kind::Data,
            Packet::Status(_) => Kind::Status,
            Packet::Sync(_) => Kind::Sync,
            Packet::Parity(_) => Kind::Parity,
            Packet::Arrive(_) => Kind::Arrive,
            Packet::Release(_) => Kind::Release,
            Packet::Abort(_) => Kind::Abort,
        }
    }

    /// Bytes of the whole datagram, plain or sealed.
    #[must_use]
    #[inline]
    pub fn encoded_len(&self, sealed: bool) -> usize {
        let mut body = Count::default();
        self.write_body(&mut body);
        Header::LEN + body.0 + if sealed { TAG_LEN } else { CHECKSUM_LEN }
    }

    /// Appends the packet to `out` as a plain datagram, and returns its length in bytes.
    ///
    /// # Errors
    /// When a field exceeds its limit; `out` is as it was.
    #[inline]
    pub fn encode(&self, header: &Header, out: &mut BytesMut) -> Result<usize, EncodeError> {
        let start = out.len();
        let len = self.encode_unfinished(header, false, out)?;
        checksum::fill(&mut out[start..]);
        Ok(len)
    }

    /// Appends the packet to `out` without its trailer, for which there is room at its end, and returns its length in
    /// bytes. [`finish`](Self::finish) or `SenderKey::finish` completes it: for those who
    /// have several to send, because what was just written is not read quickly.
    ///
    /// # Errors
    /// When a field exceeds its limit, or what is to be sealed belongs to the handshake; `out` is as it was.
    #[inline]
    pub fn encode_unfinished(
        &self,
        header: &Header,
        sealed: bool,
        out: &mut BytesMut,
    ) -> Result<usize, EncodeError> {
        let len = self.checked_len(sealed)?;
        out.reserve(len);
        self.write(header, sealed, out);
        out.put(if sealed { &[0; TAG_LEN] } else { &[0; CHECKSUM_LEN] });
        Ok(len)
    }

    /// Completes a plain datagram.
    #[inline]
    pub fn finish(datagram: &mut [u8]) {
        checksum::fill(datagram);
    }

    /// Writes the packet to the front of `out` as a plain datagram, and returns its length in bytes.
    ///
    /// # Errors
    /// When a field exceeds its limit, or `out` is too small; it is as it was then.
    #[inline]
    pub fn encode_into(&self, header: &Header, out: &mut [u8]) -> Result<usize, EncodeError> {
        let datagram = room(out, self.checked_len(false)?)?;
        self.write(header, false, &mut Fill::new(datagram));
        checksum::fill(datagram);
        Ok(datagram.len())
    }

    /// Appends the packet to `out` as a datagram sealed with `key` for those who may open it, and returns its length in
    /// bytes.
    ///
    /// The number in `header` must never have been used with this key: two datagrams with one number reveal their
    /// contents and let others forge more.
    ///
    /// # Errors
    /// When a field exceeds its limit, the packet belongs to the handshake, or the key is another sender's; `out` is as
    /// it was.
    #[cfg(feature = "group-crypto")]
    #[inline]
    pub fn encode_sealed(
        &self,
        header: &Header,
        key: &SenderKey,
        audience: Audience,
        out: &mut BytesMut,
    ) -> Result<usize, EncodeError> {
        key.check(header)?;
        let start = out.len();
        let len = self.encode_unfinished(header, true, out)?;
        key.seal(header, audience, &mut out[start..]);
        Ok(len)
    }

    /// As [`encode_sealed`](Self::encode_sealed), but to the front of a slice.
    ///
    /// # Errors
    /// As there, and when `out` is too small; it is as it was then.
    #[cfg(feature = "group-crypto")]
    #[inline]
    pub fn encode_sealed_into(
        &self,
        header: &Header,
        key: &SenderKey,
        audience: Audience,
        out: &mut [u8],
    ) -> Result<usize, EncodeError> {
        let datagram = room(out, self.checked_len(true)?)?;
        key.check(header)?;
        self.write(header, true, &mut Fill::new(datagram));
        key.seal(header, audience, datagram);
        Ok(datagram.len())
    }

    /// Verifies a plain datagram and takes it apart.
    ///
    /// # Errors
    /// When it is sealed, damaged, or not what the format describes.
    #[inline]
    pub fn decode(datagram: &'a [u8]) -> Result<(Header, Self), DecodeError> {
        let envelope = Header::peek(datagram)?;
        if envelope.sealed {
            return Err(DecodeError::Sealed);
        }
        let contents = checksum::verify(datagram)?;
        let packet = Packet::read(envelope.kind, &contents[Header::LEN..])?;
        Ok((envelope.header, packet))
    }

    /// Opens a sealed datagram in place, as the receiver with this id, and takes it apart.
    ///
    /// # Errors
    /// When it is plain, was not sealed with this key, is for another receiver alone, was changed since, or is not what
    /// the format describes. The bytes after the header are undefined then.
    #[cfg(feature = "group-crypto")]
    #[inline]
    pub fn decode_sealed(
        datagram: &'a mut [u8],
        key: &SenderKey,
        receiver: u32,
    ) -> Result<(Header, Self), DecodeError> {
        let envelope = key.open_in_place(datagram, receiver)?;
        let packet = Packet::decode_opened(&envelope, datagram)?;
        Ok((envelope.header, packet))
    }

    /// Takes apart what [`SenderKey::open_in_place`] has opened, with the envelope that it returned; for those who
    /// freeze a buffer in between, so that a payload can stay where it is. The tag is still the datagram's end.
    ///
    /// # Errors
    /// When it is not what the format describes.
    #[cfg(feature = "group-crypto")]
    #[inline]
    pub fn decode_opened(envelope: &Envelope, datagram: &'a [u8]) -> Result<Self, DecodeError> {
        let end = datagram.len().saturating_sub(TAG_LEN);
        let body = datagram.get(Header::LEN..end).ok_or(DecodeError::Truncated)?;
        Packet::read(envelope.kind, body)
    }

    #[inline]
    fn read(kind: Kind, bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let body = &mut Reader::new(bytes);
        let packet = match kind {
            Kind::Data => Packet::Data(Body::read(body)?),
            Kind::Join => Packet::Join(Body::read(body)?),
            Kind::Retry => Packet::Retry(Body::read(body)?),
            Kind::Reject => Packet::Reject(Body::read(body)?),
            Kind::Accept => Packet::Accept(Body::read(body)?),
            Kind::Leave => Packet::Leave,
            Kind::Goodbye => Packet::Goodbye(Body::read(body)?),
            Kind::Heartbeat => Packet::Heartbeat(Body::read(body)?),
            Kind::View => Packet::View(Body::read(body)?),
            Kind::ViewAck => Packet::ViewAck(Body::read(body)?),
            Kind::ChannelJoin => Packet::ChannelJoin(Body::read(body)?),
            Kind::ChannelReply => Packet::ChannelReply(Body::read(body)?),
            Kind::ChannelLeave => Packet::ChannelLeave(Body::read(body)?),
            Kind::Status => Packet::Status(Body::read(body)?),
            Kind::Sync => Packet::Sync(Body::read(body)?),
            Kind::Parity => Packet::Parity(Body::read(body)?),
            Kind::Arrive => Packet::Arrive(Body::read(body)?),
            Kind::Release => Packet::Release(Body::read(body)?),
            Kind::Abort => Packet::Abort(Body::read(body)?),
        };
        body.finish()?;
        Ok(packet)
    }

    /// The length of the datagram, when everything is within its limits.
    #[inline]
    fn checked_len(&self, sealed: bool) -> Result<usize, EncodeError> {
        let kind = self.kind();
        if sealed && kind.is_handshake() {
            return Err(EncodeError::MustBePlain { kind });
        }
        with_body!(self, body => body.check(), leave => Ok(()))?;
        let len = self.encoded_len(sealed);
        // The limits of every kind see to it; this is for whoever changes one of them.
        at_most("datagram", len, MAX_DATAGRAM)?;
        Ok(len)
    }

    /// Header and body.
    #[inline]
    fn write<S: Sink>(&self, header: &Header, sealed: bool, out: &mut S) {
        out.put(&header.to_bytes(self.kind(), sealed));
        self.write_body(out);
    }

    #[inline]
    fn write_body<S: Sink>(&self, out: &mut S) {
        with_body!(self, body => body.write(out), leave => {});
    }
}

/// The first `needed` bytes of a caller's slice.
#[inline]
fn room(out: &mut [u8], needed: usize) -> Result<&mut [u8], EncodeError> {
    let room = out.len();
    out.get_mut(..needed).ok_or(EncodeError::NoRoom { needed, room })
}
