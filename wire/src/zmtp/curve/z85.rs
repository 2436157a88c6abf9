//! Z85, how people write keys (RFC 32): five characters for four bytes.

use zeroize::Zeroizing;

use crate::zmtp::secret_array::SecretArray;

const ALPHABET: &[u8; 85] =
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// The characters that a key has.
pub(super) const KEY_LEN: usize = 40;

/// Writes a key.
pub(super) fn encode(key: &[u8; 32]) -> Zeroizing<[u8; KEY_LEN]> {
    let mut text = Zeroizing::new([0; KEY_LEN]);
    for (word, digits) in key.as_chunks::<4>().0.iter().zip(text.as_chunks_mut::<5>().0) {
        let mut value = u32::from_be_bytes(*word);
        for digit in digits.iter_mut().rev() {
            *digit = ALPHABET[(value % 85) as usize];
            value /= 85;
        }
    }
    text
}

/// Reads a key of the right length. The error is where a character stands that cannot be there, from 0 on.
pub(super) fn decode(text: &[u8; KEY_LEN]) -> Result<SecretArray<32>, usize> {
    let mut key = SecretArray::zeros();
    for (group, (digits, word)) in text
        .as_chunks::<5>()
        .0
        .iter()
        .zip(key.as_chunks_mut::<4>().0)
        .enumerate()
    {
        let mut value: u32 = 0;
        for (index, digit) in digits.iter().enumerate() {
            let position = group * 5 + index;
            let worth = ALPHABET.iter().position(|known| known == digit).ok_or(position)?;
            value = value
                .checked_mul(85)
                .and_then(|value| value.checked_add(worth as u32))
                .ok_or(position)?;
        }
        *word = value.to_be_bytes();
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Client public key of the test vectors in libzmq's `zmq_curve` manual page.
    const TEXT: &[u8; KEY_LEN] = b"Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";
    const KEY: [u8; 32] = [
        0xBB, 0x88, 0x47, 0x1D, 0x65, 0xE2, 0x65, 0x9B, 0x30, 0xC5, 0x5A, 0x53, 0x21, 0xCE, 0xBB, 0x5A, 0xAB,
        0x2B, 0x70, 0xA3, 0x98, 0x64, 0x5C, 0x26, 0xDC, 0xA2, 0xB2, 0xFC, 0xB4, 0x3F, 0xC5, 0x18,
    ];

    #[test]
    fn a_known_key_is_written_and_read() {
        assert_eq!(&*encode(&KEY), TEXT);
        assert_eq!(*decode(TEXT).expect("it is one"), KEY);
        for key in [[0; 32], [0xff; 32]] {
            assert_eq!(*decode(&encode(&key)).expect("just written"), key);
        }
    }

    #[test]
    fn what_is_no_key_is_refused_where_it_goes_wrong() {
        for (position, character) in [(0, b' '), (7, b'"'), (39, 0xff), (13, b',')] {
            let mut text = *TEXT;
            text[position] = character;
            assert_eq!(decode(&text).err(), Some(position));
        }
        // More than four bytes can hold.
        assert_eq!(decode(&[b'#'; KEY_LEN]).err(), Some(4));
    }
}
