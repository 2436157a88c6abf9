//! How a remote call is laid out in one message.
//!
//! # Frames
//!
//! | frame | content |
//! | --- | --- |
//! | 0 | the [`Header`], 24 bytes |
//! | 1 | the method's name, UTF-8, 1 to 255 bytes, in a request or one-way call; empty in all other kinds |
//! | 2 | the body, in the header's codec; may be empty |
//! | 3 | [`Metadata`], if the header's flag says so |
//! | then | raw buffers, at most [`MAX_BUFFERS`]: large data that the body refers to by position, never copied |
//!
//! The first three may be one frame instead: the header, the length of the method's name in one byte, the name, and
//! the body. A reader knows it by its length, for it has more than 24 bytes; it is the quicker way for small calls,
//! and answers come in either form.
//!
//! A socket's own frames (a routing id, the empty delimiter of REQ and REP) stand before these and are not part of
//! the envelope.
//!
//! # The header, byte by byte
//!
//! All numbers are unsigned, with the most significant byte first (network byte order).
//!
//! | bytes | field | meaning |
//! | --- | --- | --- |
//! | 0 | version | 1 |
//! | 1 | kind | 1 request, 2 response, 3 error, 4 stream item, 5 stream end, 6 credit, 7 cancel, 8 one-way, 9 ping, 10 pong, 11 draining |
//! | 2 | codec | of the body: 0 raw bytes, 1 postcard, 2 JSON, 3 MessagePack; 128 to 255 are the application's own |
//! | 3 | flags | bit 0: the caller wants a stream; bit 1: the call is idempotent, a retry is sound; bit 2: there is metadata; bit 3: the caller sends items after the call; bit 4: an error of a call whose work had begun, see below; the others are 0 |
//! | 4–7 | count | request: how many items of the streamed answer may come at once; stream item: its number, from 0; stream end: how many items there were; credit: how many more items may come; else 0 |
//! | 8–15 | call | the caller's number for the call; everything that belongs to the call repeats it |
//! | 16–23 | deadline | how many microseconds the caller still waits, measured when the message was sent; 0 for no deadline, 1 for one that is over: nothing runs |
//!
//! The deadline is a remaining time and not a time of day, so clocks need not agree. What a kind has no use for is
//! written as 0 and ignored when read. A reader refuses versions, kinds and flags that it does not know.
//!
//! # What a server does with it
//!
//! A call has one answer: a response, an error, or items and the end of a stream; none once it was cancelled. Its number
//! is free again with the answer. Calls that the server stops because it ends, for they took longer than it waits, are
//! answered with an error of the kind `cancelled`; a peer that does not read may lose that with its connection. A message that is no request, or one that cannot be read, is answered with an error
//! of the kind `malformed` and the number that it has (0 if it has none), unless a call of this number is under way:
//! that one shall not be hit by it. For the same reason a request with the number of a call that is under way is
//! dropped. The server counts both.
//!
//! Items of a streamed answer come as the caller gives leave, but the end of a stream, and its failure, need none: the
//! server makes one item ahead.
//!
//! An error's kind says whether the call may have had effects: those of `unknown_method`, `bad_arguments`,
//! `overloaded`, `unavailable`, `too_large`, `malformed`, `unauthenticated` and `permission_denied` had none, and a
//! retry is sound, unless bit 4 of the flags is set: then the work had begun when it failed so. All other kinds may
//! have had effects.
//!
//! A request that is larger than the server allows is answered with an error of the kind `too_large`; one that is larger
//! than its socket reads (1 GiB over all frames, unless it was told otherwise) cannot be: the connection ends. Likewise
//! a request with more than [`MAX_BUFFERS`] buffers is answered with an error of the kind `malformed`, but a message of
//! more than 65,536 frames (unless the socket was told otherwise) is not read, and ends the connection.
//!
//! In Python (`socket` is any pyzmq socket of a suitable pattern):
//!
//! ```python
//! import struct
//! HEADER = struct.Struct("!4BIQQ")  # version, kind, codec, flags, count, call, deadline
//! socket.send_multipart([HEADER.pack(1, 1, 2, 0, 0, 7, 250_000), b"telescope.point", b'{"ra": 12.5}'])
//! ```
//!
//! ```
//! use flexbond_rpc::envelope::{Codec, Envelope, Method};
//!
//! let call = Envelope::request(7, Method::new("telescope.point")?, r#"{"ra": 12.5}"#)
//!     .with_codec(Codec::Json)
//!     .with_deadline(std::time::Duration::from_millis(250));
//! let message = call.encode()?;
//! let (header, rest) = message[0].split_at(24);
//! assert_eq!(header, [1, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 3, 0xd0, 0x90]);
//! assert_eq!(rest, b"\x0ftelescope.point{\"ra\": 12.5}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod content;
mod error;
mod header;
mod metadata;
mod method;

pub use content::{Envelope, MAX_BUFFERS};
pub use error::{DecodeError, EncodeError, MetadataError, MethodError};
pub use header::{Codec, Flags, Header, Kind};
pub use metadata::Metadata;
pub use method::Method;
