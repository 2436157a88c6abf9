//! The name of what is called.

use std::fmt;
use std::str::FromStr;

use flexbond_transport::Frame;

use super::MethodError;

/// The name of a method: 1 to 255 bytes of UTF-8. By custom a path with dots, such as `telescope.point`.
///
/// ```
/// use flexbond_rpc::envelope::{Method, MethodError};
///
/// assert_eq!(Method::new("sum")?.as_str(), "sum");
/// assert_eq!(Method::new(""), Err(MethodError::Empty));
/// # Ok::<(), MethodError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Method(Frame);

impl Method {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 255;

    /// Checks a name. A frame that was received is kept, not copied.
    ///
    /// # Errors
    /// [`MethodError`] when it is empty, too long or not UTF-8.
    pub fn new(name: impl Into<Frame>) -> Result<Self, MethodError> {
        let name = name.into();
        check(&name)?;
        Ok(Method(name))
    }

    /// The same of bytes, which are copied.
    #[inline]
    pub(super) fn of_bytes(name: &[u8]) -> Result<Self, MethodError> {
        check(name)?;
        Ok(Method(Frame::copy_from_slice(name)))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // The only constructor checked this, and a frame does not change.
        self.0.to_str().unwrap_or_default()
    }

    pub(super) fn frame(&self) -> &Frame {
        &self.0
    }
}

#[inline]
fn check(name: &[u8]) -> Result<(), MethodError> {
    match name.len() {
        0 => Err(MethodError::Empty),
        1..=Method::MAX_LEN => match std::str::from_utf8(name) {
            Ok(_) => Ok(()),
            Err(source) => Err(MethodError::NotUtf8 { source }),
        },
        len => Err(MethodError::TooLong { len }),
    }
}

impl FromStr for Method {
    type Err = MethodError;

    fn from_str(name: &str) -> Result<Self, MethodError> {
        Method::new(name)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        let longest = "é".repeat(127) + "x";
        assert_eq!(Method::new(longest.as_str()).unwrap().as_str(), longest);
        assert_eq!(
            Method::new("x".repeat(256)),
            Err(MethodError::TooLong { len: 256 })
        );
        assert!(matches!(
            Method::new(&b"a\xff"[..]),
            Err(MethodError::NotUtf8 { .. })
        ));
        assert_eq!("a.b".parse::<Method>().unwrap().to_string(), "a.b");
    }
}
