//! Finding blocks where no length leads to them: after damage, and from the end backwards.

use std::io;

use super::head::{HEAD_LEN, Head, MARKER};
use super::storage::ReadAt;
use super::survey::decode;

const STEP: u64 = 1 << 20;

/// The first block of the recording `salt`, or of any where that is none, at `from` or after it.
pub(super) fn next_head(
    source: &impl ReadAt,
    salt: impl Into<Option<u32>>,
    from: u64,
    len: u64,
) -> io::Result<Option<(u64, Head)>> {
    let salt = salt.into();
    let mut start = from;
    let mut buffer = Vec::new();
    while start.saturating_add(HEAD_LEN as u64) <= len {
        let bytes = read(source, start, len, &mut buffer)?;
        if let Some((at, head)) = heads(bytes, salt).next() {
            return Ok(Some((start + at as u64, head)));
        }
        start += STEP;
    }
    Ok(None)
}

/// The last block of the recording `salt` that begins at `from` or after it.
pub(super) fn last_head(
    source: &impl ReadAt,
    salt: u32,
    from: u64,
    len: u64,
) -> io::Result<Option<(u64, Head)>> {
    let mut start = len;
    let mut buffer = Vec::new();
    while start > from {
        start = start.saturating_sub(STEP).max(from);
        let bytes = read(source, start, len, &mut buffer)?;
        if let Some((at, head)) = heads(bytes, Some(salt)).last() {
            return Ok(Some((start + at as u64, head)));
        }
    }
    Ok(None)
}

/// The bytes of every head that begins within one step from `start`.
fn read<'a>(source: &impl ReadAt, start: u64, len: u64, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
    // At most a step and a head.
    let wanted = (STEP + HEAD_LEN as u64 - 1).min(len - start) as usize;
    buffer.resize(wanted, 0);
    source.read_exact_at(buffer, start)?;
    Ok(buffer)
}

fn heads(bytes: &[u8], salt: Option<u32>) -> impl Iterator<Item = (usize, Head)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(found) = bytes[at.min(bytes.len())..]
            .iter()
            .position(|&byte| byte == MARKER[0])
        {
            let here = at + found;
            at = here + 1;
            if let Some(head) =
                decode(&bytes[here..]).filter(|head| salt.is_none_or(|salt| head.salt == salt))
            {
                return Some((here, head));
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::head::Kind;
    use crate::recording::{Compression, Timestamp};

    fn head(number: u64, salt: u32) -> [u8; HEAD_LEN] {
        let head = Head {
            kind: Kind::Message,
            compression: Compression::None,
            count: 0,
            checksum: 0,
            stored: 0,
            plain: 0,
            number,
            time: Timestamp::from_nanos(0),
            index: 0,
            salt,
        };
        head.encode()
    }

    #[test]
    fn heads_are_found_across_steps_and_others_are_not() {
        for at in [0, 1, STEP - 63, STEP - 1, STEP, STEP + 1, 3 * STEP - 64] {
            let mut bytes = vec![0; 3 * STEP as usize];
            bytes.iter_mut().step_by(997).for_each(|byte| *byte = MARKER[0]);
            bytes[at as usize..][..HEAD_LEN].copy_from_slice(&head(7, 1));
            let len = bytes.len() as u64;
            for found in [
                next_head(&bytes, 1, 0, len).unwrap(),
                last_head(&bytes, 1, 0, len).unwrap(),
            ] {
                assert_eq!(found.map(|(offset, head)| (offset, head.number)), Some((at, 7)));
            }
            assert_eq!(next_head(&bytes, 2, 0, len).unwrap(), None);
            assert_eq!(next_head(&bytes, 1, at + 1, len).unwrap(), None);
            assert_eq!(last_head(&bytes, 1, at + 1, len).unwrap(), None);
        }
    }

    #[test]
    fn the_first_and_the_last_are_told_apart() {
        let bytes = [&b"noise"[..], &head(1, 3), &head(2, 3), &head(3, 4), b"noise"].concat();
        let len = bytes.len() as u64;
        assert_eq!(next_head(&bytes, 3, 0, len).unwrap().unwrap().0, 5);
        assert_eq!(last_head(&bytes, 3, 0, len).unwrap().unwrap().0, 5 + 64);
    }
}
