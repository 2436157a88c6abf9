//! Several packets in one call: what the system splits, and what goes out one by one where it cannot.

use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Transmit;

/// How many packets the system splits one call into.
#[derive(Debug)]
pub(super) struct Offload {
    segments: AtomicUsize,
}

impl Offload {
    pub(super) fn new(segments: usize) -> Self {
        Offload {
            segments: AtomicUsize::new(segments.max(1)),
        }
    }

    pub(super) fn max_segments(&self) -> usize {
        self.segments.load(Ordering::Relaxed)
    }

    /// Sends `contents` as packets of `size` bytes, in as few calls of `send` as the system allows. `send` is given
    /// what to send, and the size to split it by if it is more than one packet.
    ///
    /// An error means that nothing was sent. Once something was, `contents` is taken, and the answer is how many of
    /// its packets could not be sent any more; to send it all again would repeat the others, over and over if the
    /// system's buffer is smaller than `contents`.
    pub(super) fn send(
        &self,
        contents: &[u8],
        size: Option<usize>,
        mut send: impl FnMut(&[u8], Option<usize>) -> io::Result<()>,
    ) -> io::Result<usize> {
        let size = match size {
            Some(size) if size < contents.len() => size.max(1),
            _ => {
                send(contents, None)?;
                return Ok(0);
            }
        };
        let mut rest = contents;
        while !rest.is_empty() {
            let chunk = &rest[..rest.len().min(size * self.per_call(size))];
            let result = if chunk.len() <= size {
                send(chunk, None).map(|()| chunk.len())
            } else {
                match send(chunk, Some(size)) {
                    Ok(()) => Ok(chunk.len()),
                    // Is it the splitting that was refused, or the packet? One packet by itself tells.
                    Err(error) if may_be_refusal(&error) => send(&chunk[..size], None).map(|()| {
                        self.segments.store(1, Ordering::Relaxed);
                        size
                    }),
                    Err(error) => Err(error),
                }
            };
            match result {
                Ok(sent) => rest = &rest[sent..],
                Err(error) if rest.len() == contents.len() => return Err(error),
                Err(_) => return Ok(rest.len().div_ceil(size)),
            }
        }
        Ok(0)
    }

    /// How many packets of `size` bytes one call can take.
    fn per_call(&self, size: usize) -> usize {
        self.max_segments().min(Transmit::MAX_LEN / size).max(1)
    }
}

/// Whether an error can mean that the system, a driver or a tunnel on the way does not split: Linux says `EIO` or
/// `EINVAL`, which may have other causes too.
fn may_be_refusal(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported)
        || (cfg!(unix) && error.raw_os_error() == Some(EIO))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EINVAL: i32 = 22;

    /// Sends with a system of the test's making; what went out, call by call, as packets' lengths.
    fn run(
        offload: &Offload,
        contents: &[u8],
        size: Option<usize>,
        mut system: impl FnMut(usize, bool) -> io::Result<()>,
    ) -> (io::Result<usize>, Vec<Vec<usize>>) {
        let mut calls = Vec::new();
        let result = offload.send(contents, size, |contents, size| {
            let packets: Vec<usize> = match size {
                Some(size) => contents.chunks(size).map(<[u8]>::len).collect(),
                None => vec![contents.len()],
            };
            system(calls.len(), size.is_some())?;
            calls.push(packets);
            Ok(())
        });
        (result, calls)
    }

    fn refused() -> io::Result<()> {
        Err(io::Error::from_raw_os_error(EINVAL))
    }

    #[test]
    fn one_packet_is_one_call() {
        let offload = Offload::new(64);
        for size in [None, Some(5), Some(9)] {
            let (result, calls) = run(&offload, b"12345", size, |_, _| Ok(()));
            assert_eq!((result.unwrap(), calls), (0, vec![vec![5]]));
        }
        let (result, calls) = run(&offload, b"", Some(9), |_, _| Ok(()));
        assert_eq!((result.unwrap(), calls), (0, vec![vec![0]]));
    }

    #[test]
    fn the_system_splits_what_fits_into_one_call() {
        let offload = Offload::new(64);
        let (result, calls) = run(&offload, &[0; 1001], Some(100), |_, _| Ok(()));
        assert_eq!(result.unwrap(), 0);
        assert_eq!(calls, [[[100; 10].as_slice(), &[1]].concat()]);

        // More packets than the system splits, and more bytes than one call takes.
        let (_, calls) = run(&offload, &[0; 650], Some(10), |_, _| Ok(()));
        assert_eq!(calls.iter().map(Vec::len).collect::<Vec<_>>(), [64, 1]);
        let (_, calls) = run(&offload, &[0; 100_000], Some(1400), |_, _| Ok(()));
        assert_eq!(calls.iter().map(Vec::len).collect::<Vec<_>>(), [46, 26]);
        assert_eq!(calls.iter().flatten().sum::<usize>(), 100_000);
    }

    #[test]
    fn without_splitting_packets_go_one_by_one() {
        let offload = Offload::new(1);
        let (result, calls) = run(&offload, &[0; 25], Some(10), |_, _| Ok(()));
        assert_eq!((result.unwrap(), calls), (0, vec![vec![10], vec![10], vec![5]]));
        let (_, calls) = run(&offload, b"ab", Some(0), |_, _| Ok(()));
        assert_eq!(calls, [[1], [1]], "a size of none is one of one");
    }

    #[cfg(unix)]
    #[test]
    fn a_system_that_refuses_to_split_is_asked_once() {
        for code in [EINVAL, 5] {
            let offload = Offload::new(64);
            let (result, calls) = run(&offload, &[0; 25], Some(10), |_, split| match split {
                true => Err(io::Error::from_raw_os_error(code)),
                false => Ok(()),
            });
            assert_eq!((result.unwrap(), calls), (0, vec![vec![10], vec![10], vec![5]]));
            assert_eq!(offload.max_segments(), 1);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_packet_that_is_refused_by_itself_leaves_the_splitting_on() {
        let offload = Offload::new(64);
        let (result, calls) = run(&offload, &[0; 25], Some(10), |_, _| refused());
        assert_eq!(result.unwrap_err().raw_os_error(), Some(EINVAL));
        assert_eq!((calls.len(), offload.max_segments()), (0, 64));
    }

    #[test]
    fn what_is_begun_is_taken() {
        let offload = Offload::new(1);
        let full = || Err(ErrorKind::WouldBlock.into());
        let (result, calls) = run(&offload, &[0; 25], Some(10), |call, _| match call {
            0 => Ok(()),
            _ => full(),
        });
        assert_eq!((result.unwrap(), calls.len()), (2, 1));
        let (result, _) = run(&offload, &[0; 25], Some(10), |_, _| full());
        assert_eq!(result.unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}
