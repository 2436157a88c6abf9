//! Who sends to whom.

use super::{Args, Traffic};

/// A loop of one party: it sends to one, and receives from one, by a channel of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loop {
    /// The job's number.
    pub job: usize,
    /// The party whose loop it is.
    pub party: usize,
    /// The channel's number.
    pub channel: usize,
    /// Whom it sends to.
    pub to: usize,
    /// Whom it receives from.
    pub from: usize,
}

/// The loops of one party.
pub(super) fn loops(args: &Args, job: usize, party: usize) -> Vec<Loop> {
    let parties = args.parties;
    let ends: Vec<(usize, usize)> = match args.traffic {
        Traffic::Ring => vec![((party + 1) % parties, (party + parties - 1) % parties)],
        Traffic::Swap => {
            let others = (0..parties).filter(|other| *other != party);
            others.map(|other| (other, other)).collect()
        }
        // The others have nothing to do.
        Traffic::Flow | Traffic::Tensor | Traffic::Store => match party {
            0 | 1 => vec![(1 - party, 1 - party)],
            _ => Vec::new(),
        },
    };
    let with_channels = ends.into_iter().flat_map(|(to, from)| {
        (0..args.in_flight).map(move |channel| Loop {
            job,
            party,
            channel,
            to,
            from,
        })
    });
    with_channels.collect()
}
