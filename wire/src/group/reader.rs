//! Takes the fields of a body off its front; nothing is believed before its length was checked.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::DecodeError;

/// What is left of a body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    pub(super) const fn new(body: &'a [u8]) -> Self {
        Reader { rest: body }
    }

    pub(super) const fn len(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Everything that is left.
    #[inline]
    pub(super) fn take_all(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    #[inline]
    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    #[inline]
    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A byte of flags, of which only those in `known` may be set.
    #[inline]
    pub(super) fn flags(&mut self, known: u8) -> Result<u8, DecodeError> {
        let flags = self.u8()?;
        if flags & !known != 0 {
            return Err(invalid("flags", flags));
        }
        Ok(flags)
    }

    /// A byte that says whether something follows, and that if so.
    pub(super) fn option<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<Option<[u8; N]>, DecodeError> {
        match self.u8()? {
            0 => Ok(None),
            1 => self.array().map(Some),
            other => Err(invalid(field, other)),
        }
    }

    /// A byte of length, 0 or `N`, and as many bytes.
    pub(super) fn sized_option<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<Option<[u8; N]>, DecodeError> {
        match self.u8()? {
            0 => Ok(None),
            len if usize::from(len) == N => self.array().map(Some),
            other => Err(invalid(field, other)),
        }
    }

    /// A byte of length, at most `limit`, and as many bytes of text.
    pub(super) fn text(&mut self, field: &'static str, limit: usize) -> Result<&'a str, DecodeError> {
        let len = usize::from(self.u8()?);
        if len > limit {
            return Err(DecodeError::Length { field, len, limit });
        }
        std::str::from_utf8(self.take(len)?).map_err(|_| DecodeError::NotText { field })
    }

    pub(super) fn address(&mut self) -> Result<SocketAddr, DecodeError> {
        self.optional_address()?.ok_or(invalid("address family", 0_u8))
    }

    pub(super) fn optional_address(&mut self) -> Result<Option<SocketAddr>, DecodeError> {
        let ip = match self.u8()? {
            0 => return Ok(None),
            4 => Ipv4Addr::from(self.array::<4>()?).into(),
            6 => Ipv6Addr::from(self.array::<16>()?).into(),
            other => return Err(invalid("address family", other)),
        };
        Ok(Some(SocketAddr::new(ip, self.u16()?)))
    }

    /// Makes sure that nothing is left.
    #[inline]
    pub(super) const fn finish(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::TrailingBytes {
                count: self.rest.len(),
            })
        }
    }
}

pub(super) fn invalid(field: &'static str, value: impl Into<u64>) -> DecodeError {
    DecodeError::Invalid {
        field,
        value: value.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_taken_that_is_not_there() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u32(), Err(DecodeError::Truncated));
        assert_eq!(reader.u16(), Ok(0x0102));
        assert_eq!(reader.finish(), Err(DecodeError::TrailingBytes { count: 1 }));
        assert_eq!(reader.take_all(), [3]);
        assert_eq!(reader.finish(), Ok(()));
        assert_eq!(reader.u8(), Err(DecodeError::Truncated));
    }

    #[test]
    fn lengths_and_choices_are_checked() {
        assert_eq!(Reader::new(&[4]).flags(3), Err(invalid("flags", 4_u8)));
        assert_eq!(Reader::new(&[2]).option::<1>("key"), Err(invalid("key", 2_u8)));
        assert_eq!(Reader::new(&[1, 9]).option::<1>("key"), Ok(Some([9])));
        assert_eq!(
            Reader::new(&[3, 9]).sized_option::<2>("cookie"),
            Err(invalid("cookie", 3_u8))
        );
        assert_eq!(
            Reader::new(&[2, 8, 9]).sized_option::<2>("cookie"),
            Ok(Some([8, 9]))
        );
        assert!(matches!(
            Reader::new(&[9]).text("name", 8),
            Err(DecodeError::Length { .. })
        ));
        assert_eq!(
            Reader::new(&[1, 0xff]).text("name", 8),
            Err(DecodeError::NotText { field: "name" })
        );
        assert_eq!(Reader::new(&[0]).address(), Err(invalid("address family", 0_u8)));
        assert_eq!(
            Reader::new(&[5]).optional_address(),
            Err(invalid("address family", 5_u8))
        );
    }
}
