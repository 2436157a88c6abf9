//! What of a large message goes ahead of the rest.

use std::io::IoSlice;

/// Where a large message begins: its header and `lead` bytes of it, to be written before the rest. From four times
/// that on (at 64 KiB on a runtime of several threads it costs more than it gains).
#[inline]
pub(super) fn beginning<'a>(slices: &'a [IoSlice<'_>], lead: Option<usize>) -> Option<[IoSlice<'a>; 2]> {
    match (slices, lead) {
        ([header, body, ..], Some(lead)) if header.len() < lead && body.len() / 4 >= lead => {
            Some([IoSlice::new(header), IoSlice::new(&body[..lead])])
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_beginning_of_a_large_message_goes_ahead() {
        let body = vec![7; 200];
        let large = [
            IoSlice::new(b"header"),
            IoSlice::new(&body),
            IoSlice::new(b"more"),
        ];
        let cut = |slices, lead| beginning(slices, lead).map(|[header, body]| (header.len(), body.len()));
        assert_eq!(cut(&large, Some(50)), Some((6, 50)));
        assert_eq!(cut(&large, Some(51)), None, "not large");
        assert_eq!(cut(&large, None), None, "gains nothing");
        assert_eq!(cut(&large[1..], Some(1)), None, "the rest of it");
        assert_eq!(cut(&large[..1], Some(2)), None);
    }
}
