//! NaCl's boxes: XSalsa20 and Poly1305, with keys from Curve25519.
//!
//! XSalsa20 is Salsa20 with a key that HSalsa20 makes of the key and the first 16 bytes of the nonce. In CURVE those
//! are the same for all frames of one kind, so that key is made once.

use std::fmt;

use poly1305::Poly1305;
use poly1305::universal_hash::{KeyInit, UniversalHash};
use salsa20::cipher::consts::U10;
use salsa20::cipher::{KeyIvInit, StreamCipher};
use salsa20::{Salsa20, hsalsa};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::{PublicKey, SecretKey};
use crate::zmtp::secret_array::SecretArray;

/// The bytes that authenticate a text.
pub(crate) const TAG: usize = 16;

/// What was sealed with another key, or changed on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unauthentic;

/// The key that two sides share.
pub(crate) struct SharedKey(SecretArray<32>);

impl SharedKey {
    /// A key that only this side knows.
    pub(crate) const fn from_secret(bytes: SecretArray<32>) -> Self {
        SharedKey(bytes)
    }

    /// What `ours` and `theirs` have in common. A point of low order, which has that in common with every key, is
    /// nobody's.
    pub(crate) fn agree(ours: &SecretKey, theirs: &PublicKey) -> Result<Self, Unauthentic> {
        let secret = x25519_dalek::StaticSecret::from(*ours.expose());
        let shared = secret.diffie_hellman(&x25519_dalek::PublicKey::from(*theirs.as_bytes()));
        if !shared.was_contributory() {
            return Err(Unauthentic);
        }
        Ok(SharedKey(derive(shared.as_bytes(), &[0; 16])))
    }

    /// The key for frames whose nonces begin like this.
    pub(crate) fn sealer(&self, prefix: &[u8; 16]) -> Sealer {
        Sealer(derive(&self.0, prefix))
    }

    /// Seals `text`, for a nonce of 16 bytes that come from chance behind a prefix of 8.
    pub(crate) fn seal_randomly(&self, prefix: &[u8; 8], nonce: &[u8; 16], text: &mut [u8]) -> [u8; TAG] {
        let (sealer, rest) = self.random(prefix, nonce);
        sealer.seal(rest, text)
    }

    /// Opens what [`seal_randomly`](Self::seal_randomly) sealed.
    pub(crate) fn open_randomly(
        &self,
        prefix: &[u8; 8],
        nonce: &[u8; 16],
        tag: &[u8],
        text: &mut [u8],
    ) -> Result<(), Unauthentic> {
        let (sealer, rest) = self.random(prefix, nonce);
        sealer.open(rest, tag, text)
    }

    fn random(&self, prefix: &[u8; 8], nonce: &[u8; 16]) -> (Sealer, u64) {
        let mut long = [0; 16];
        long[..8].copy_from_slice(prefix);
        long[8..].copy_from_slice(&nonce[..8]);
        let mut rest = [0; 8];
        rest.copy_from_slice(&nonce[8..]);
        (self.sealer(&long), u64::from_be_bytes(rest))
    }
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedKey(..)")
    }
}

fn derive(key: &[u8; 32], input: &[u8; 16]) -> SecretArray<32> {
    let mut derived = hsalsa::<U10>(key.into(), input.into());
    let mut result = SecretArray::zeros();
    result.copy_from_slice(&derived);
    derived.as_mut_slice().zeroize();
    result
}

/// Seals and opens frames whose nonces differ in their last 8 bytes.
pub(crate) struct Sealer(SecretArray<32>);

impl Sealer {
    /// Encrypts `text` where it is; returns what authenticates it. No nonce may be used twice.
    pub(crate) fn seal(&self, nonce: u64, text: &mut [u8]) -> [u8; TAG] {
        let (mut cipher, hash) = self.start(nonce);
        cipher.apply_keystream(text);
        authenticate(hash, text)
    }

    /// Decrypts `text` where it is, if it is authentic; otherwise it stays as it is.
    pub(crate) fn open(&self, nonce: u64, tag: &[u8], text: &mut [u8]) -> Result<(), Unauthentic> {
        let (mut cipher, hash) = self.start(nonce);
        if !bool::from(authenticate(hash, text).ct_eq(tag)) {
            return Err(Unauthentic);
        }
        cipher.apply_keystream(text);
        Ok(())
    }

    /// The first 32 bytes of the key stream are the key of the authenticator, the others encrypt.
    fn start(&self, nonce: u64) -> (Salsa20, Poly1305) {
        let mut cipher = Salsa20::new((&*self.0).into(), &nonce.to_be_bytes().into());
        let mut first = Zeroizing::new([0; 32]);
        cipher.apply_keystream(&mut *first);
        (cipher, Poly1305::new((&*first).into()))
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(..)")
    }
}

fn authenticate(mut hash: Poly1305, text: &[u8]) -> [u8; TAG] {
    // Whole blocks in one go: several are taken at once where the processor can.
    let (blocks, rest) = poly1305::Block::slice_as_chunks(text);
    hash.update(blocks);
    hash.compute_unpadded(rest).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zmtp::curve::KeyPair;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let mut bytes = [0; N];
        assert_eq!(digits.len(), 2 * N);
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).expect("hexadecimal");
            *byte = u8::from_str_radix(pair, 16).expect("hexadecimal");
        }
        bytes
    }

    /// The example of "Cryptography in NaCl" (Bernstein 2009).
    const ALICE: &str = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
    const BOB: &str = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f";
    const NONCE: &str = "69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37";
    const TEXT: &str = "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a \
         1ac728d45e6c61296cdc3c01233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057 \
         e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd4924ca1c60902e52f0a089bc76897040 \
         e082f937763848645e0705";
    const BOX: &str = "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4 \
         476fb8c531a1186ac0dfc17c98dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738 \
         b48eeee314a7cc8ab932164548e526ae90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de \
         56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74e355a5";
    /// A point of low order.
    const NOBODY: &str = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800";

    #[test]
    fn the_example_of_nacl_is_sealed_and_opened() {
        let alice = SecretKey::from_bytes(hex(ALICE));
        let shared = SharedKey::agree(&alice, &PublicKey::from_bytes(hex(BOB))).expect("a good key");
        let nonce: [u8; 24] = hex(NONCE);
        let (mut text, sealed) = (hex::<131>(TEXT), hex::<147>(BOX));
        let (prefix, rest) = nonce.split_at(8);
        let (prefix, rest) = (prefix.try_into().expect("8"), rest.try_into().expect("16"));
        let tag = shared.seal_randomly(prefix, rest, &mut text);
        assert_eq!((tag.as_slice(), text.as_slice()), sealed.split_at(TAG));
        for place in 0..sealed.len() {
            let mut wrong = sealed;
            wrong[place] ^= 1;
            let (tag, body) = wrong.split_at_mut(TAG);
            assert_eq!(shared.open_randomly(prefix, rest, tag, body), Err(Unauthentic));
        }
        assert_eq!(shared.open_randomly(prefix, rest, &tag, &mut text), Ok(()));
        assert_eq!(text, hex(TEXT));
        // A tag that is cut short is none.
        let mut text = [0; 131];
        assert_eq!(
            shared.open_randomly(prefix, rest, &tag[..8], &mut text),
            Err(Unauthentic)
        );
    }

    #[test]
    fn both_sides_agree_and_nobody_agrees_with_a_point_of_low_order() {
        let keys = [1, 2].map(|byte| KeyPair::from(SecretKey::from_bytes([byte; 32])));
        let [ours, theirs] = [0, 1].map(|side: usize| {
            SharedKey::agree(keys[side].secret(), keys[1 - side].public()).expect("a good key")
        });
        assert_eq!(*ours.0, *theirs.0);
        for nobody in [hex(NOBODY), [0; 32]] {
            assert!(SharedKey::agree(keys[0].secret(), &PublicKey::from_bytes(nobody)).is_err());
        }
    }

    #[test]
    fn texts_of_every_length_round_trip() {
        let sealer = SharedKey::from_secret(SecretArray::take([3; 32])).sealer(b"CurveZMQMESSAGEC");
        for len in 0..300 {
            let mut text = vec![7; len];
            let tag = sealer.seal(len as u64, &mut text);
            assert_eq!(sealer.open(len as u64 + 1, &tag, &mut text), Err(Unauthentic));
            assert_eq!(sealer.open(len as u64, &tag, &mut text), Ok(()));
            assert_eq!(text, vec![7; len]);
        }
    }
}
