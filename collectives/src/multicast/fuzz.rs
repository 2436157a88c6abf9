//! What multicast brings to the receives of a rank, for fuzzers. Only there in builds for fuzzing and for tests.

use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::intake::{Announced, Intake, Stage, Taken};
use super::notice::Heading;

/// Reads `data` as a heading; then goes through it in steps of three bytes: what is announced, what comes, and what
/// receives do.
///
/// # Panics
/// When a receive gets more than was announced, or less and is told that it is all.
pub fn intake(data: &[u8]) {
    let cx = &Context::from_waker(Waker::noop());
    if let Some(heading) = data.get(..Heading::LEN).and_then(Heading::decode) {
        assert_eq!(heading.encode(), data[..Heading::LEN]);
    }
    let intake = Intake::default();
    // What each receive has of its message.
    let mut receives: Vec<(Announced, Vec<u8>)> = Vec::new();
    let mut number = 0;
    for step in data.chunks_exact(3) {
        let (step, which, count) = (step[0], usize::from(step[1]), step[2]);
        let (from, tag) = (which & 1, (which >> 1 & 1) as u64);
        // Of one that is received, or of any.
        let at = (!receives.is_empty()).then(|| which % receives.len());
        let meant = at.map_or((from, u32::from(count)), |at| {
            let (announced, _) = &receives[at];
            (announced.from, announced.number)
        });
        match step % 10 {
            0 => {
                let announced = Announced {
                    from,
                    tag,
                    number,
                    length: usize::from(count),
                    stage: Stage::New,
                };
                number += 1;
                intake.expect(&announced);
                assert!(intake.expects(from, announced.number, count.into()));
                receives.push((announced, Vec::new()));
            }
            1 | 2 => {
                let part = Bytes::from(vec![step; usize::from(count & 31)]);
                let put = intake.poll_put(cx, meant.0, meant.1, &part);
                assert_eq!(put, Poll::Ready(()), "there is room");
            }
            3 => intake.end(meant.0, meant.1),
            4 | 5 => {
                let Some(at) = at else { continue };
                let (announced, had) = &mut receives[at];
                match intake.poll_take(cx, announced.from, announced.number) {
                    Poll::Ready(Taken::Parts(parts)) => {
                        had.extend(parts.iter().flatten());
                        assert!(had.len() <= announced.length);
                    }
                    Poll::Ready(Taken::All) => {
                        assert_eq!(had.len(), announced.length);
                        receives.swap_remove(at);
                    }
                    Poll::Ready(Taken::Lost) => drop(receives.swap_remove(at)),
                    Poll::Pending => assert!(!intake.is_over()),
                }
            }
            6 => {
                let Some(at) = at else { continue };
                let (announced, had) = receives.swap_remove(at);
                intake.put_back(announced, &had);
            }
            7 => match intake.take_waiting(from, tag, usize::from(count)) {
                Some(Ok(announced)) => {
                    assert!(announced.length <= usize::from(count));
                    intake.expect(&announced);
                    receives.push((announced, Vec::new()));
                }
                Some(Err(length)) => assert!(length > usize::from(count)),
                None => {}
            },
            8 => {
                let discarded = intake.discard(|other| other == tag);
                assert!(discarded.iter().all(|announced| announced.tag == tag));
                assert!(intake.take_waiting(from, tag, usize::MAX).is_none());
            }
            _ if step == u8::MAX => intake.end_all(),
            _ => {
                intake.forget(meant.0, meant.1);
                let forgotten = |receive: &(Announced, Vec<u8>)| (receive.0.from, receive.0.number) == meant;
                receives.retain(|receive| !forgotten(receive));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn receives_get_what_was_announced(
            data in prop::collection::vec(prop_oneof![3 => 0_u8..10, 1 => any::<u8>()], 0..300),
        ) {
            intake(&data);
        }
    }
}
