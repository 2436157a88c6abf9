//! The MD5 that formats of this field carry to recognize data, not to protect them.

use std::fmt::Write;

use md5::{Digest, Md5};

/// MD5 in 32 hexadecimal digits.
pub(crate) fn md5_hex(data: &[u8]) -> String {
    let mut text = String::with_capacity(32);
    for byte in Md5::digest(data) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_rfc_1321() {
        assert_eq!(md5_hex(b""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(md5_hex(b"message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
    }
}
