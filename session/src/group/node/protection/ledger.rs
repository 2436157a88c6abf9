//! What tests and fuzzers remember of sealing: no key ever seals two packets under one number.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use bytes::BytesMut;
use flexbond_wire::group::{Audience, Header, Nonce, Packet, SenderKey, TAG_LEN, WrappedKey};

use crate::group::MemberId;

/// What only a key makes of a packet that is always the same: tells keys apart.
type KeyId = [u8; TAG_LEN];

#[derive(Default)]
struct Ledger {
    sealed: HashSet<(KeyId, u64)>,
    wrapped: HashMap<(u64, MemberId, Nonce, u32), WrappedKey>,
}

thread_local! {
    static LEDGER: RefCell<Ledger> = RefCell::default();
}

/// Forgets everything: another world begins, whose keys may be those of the one before.
pub(crate) fn begin() {
    LEDGER.take();
}

/// How many packets were sealed.
#[cfg(test)]
pub(crate) fn sealed() -> usize {
    LEDGER.with_borrow(|ledger| ledger.sealed.len())
}

/// A packet with this header is sealed with `key`.
///
/// # Panics
/// When one was before, whatever it said.
pub(super) fn note_sealed(key: &SenderKey, header: &Header) {
    let known = (identify(key, header), header.number);
    let is_new = LEDGER.with_borrow_mut(|ledger| ledger.sealed.insert(known));
    assert!(is_new, "a key seals twice under one number: {header:?}");
}

/// An epoch's key was wrapped for a member of a session, with the key of this server nonce and for this view.
///
/// # Panics
/// When another one was before.
pub(super) fn note_wrapped(session: u64, member: MemberId, server_nonce: Nonce, view: u32, key: WrappedKey) {
    LEDGER.with_borrow_mut(|ledger| {
        let known = ledger
            .wrapped
            .entry((session, member, server_nonce, view))
            .or_insert(key);
        assert_eq!(*known, key, "two keys are wrapped for {member:?} under one view");
    });
}

fn identify(key: &SenderKey, header: &Header) -> KeyId {
    let probe = Header {
        number: u64::MAX,
        ..*header
    };
    let mut datagram = BytesMut::new();
    Packet::Leave
        .encode_sealed(&probe, key, Audience::All, &mut datagram)
        .expect("the key of this header");
    let tag = datagram.last_chunk().expect("it ends with a tag");
    *tag
}
