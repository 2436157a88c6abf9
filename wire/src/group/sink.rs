//! Where the fields of a datagram are put: a growing buffer, a caller's slice, or just a count.

use std::net::SocketAddr;

use bytes::BytesMut;

/// Takes bytes in order.
pub(super) trait Sink {
    fn put(&mut self, bytes: &[u8]);

    fn put_u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    fn put_u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    fn put_u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.put(&value.to_be_bytes());
    }

    /// A byte of length and the bytes, which the caller has limited to 255.
    fn put_sized(&mut self, bytes: &[u8]) {
        self.put_u8(bytes.len() as u8);
        self.put(bytes);
    }

    /// A byte that says whether something follows, and that if so.
    fn put_option(&mut self, bytes: Option<&[u8]>) {
        self.put_u8(u8::from(bytes.is_some()));
        self.put(bytes.unwrap_or_default());
    }

    fn put_address(&mut self, address: SocketAddr) {
        match address {
            SocketAddr::V4(v4) => {
                self.put_u8(4);
                self.put(&v4.ip().octets());
            }
            SocketAddr::V6(v6) => {
                self.put_u8(6);
                self.put(&v6.ip().octets());
            }
        }
        self.put_u16(address.port());
    }

    fn put_optional_address(&mut self, address: Option<SocketAddr>) {
        match address {
            Some(address) => self.put_address(address),
            None => self.put_u8(0),
        }
    }
}

impl Sink for BytesMut {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Counts, and keeps nothing.
#[derive(Debug, Default)]
pub(super) struct Count(pub(super) usize);

impl Sink for Count {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

/// Fills a slice from its front; it has room for everything that is put, as was counted before.
#[derive(Debug)]
pub(super) struct Fill<'b> {
    room: &'b mut [u8],
    at: usize,
}

impl<'b> Fill<'b> {
    pub(super) const fn new(room: &'b mut [u8]) -> Self {
        Fill { room, at: 0 }
    }
}

impl Sink for Fill<'_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.room[self.at..][..bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }
}
