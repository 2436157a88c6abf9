//! What there is when a run begins, and what happens in it.

use std::time::Duration;

use super::{HONEST, job, party};
use crate::federation::relay::{Access, RelayLimits};

/// What there is, and what happens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) is_durable: bool,
    /// The last party of those that keep to the rules is at a second server.
    pub(super) is_chain: bool,
    /// There is little room, and some messages are not kept whole.
    pub(super) is_small: bool,
    /// Without a store, what both sides have forgotten is lost.
    pub(super) parties_die: bool,
    pub(super) servers_die: bool,
    /// Packets of those who keep to the rules are not what they were, and nobody proves who he is.
    pub(super) is_wild: bool,
    /// The store loses pieces.
    pub(super) is_damaged: bool,
}

impl Plan {
    pub(super) fn new(choice: u8) -> Self {
        let has = |bit: u32| choice & (1 << bit) != 0;
        let is_durable = has(0);
        Plan {
            is_durable,
            is_chain: has(1),
            is_small: has(2),
            parties_die: is_durable || has(3),
            servers_die: is_durable || !has(3),
            is_wild: has(4),
            is_damaged: has(5) && is_durable,
        }
    }

    pub(super) fn limits(self) -> RelayLimits {
        let long = Duration::from_secs(10 * 365 * 24 * 3600);
        let limits = RelayLimits {
            retry: Duration::from_millis(100),
            heartbeat: Duration::from_millis(200),
            dead_after: Duration::from_secs(1),
            jobs: 5,
            jobs_per_party: 2,
            parties_per_job: 5,
            channels: 3,
            ttl: long,
            job_idle: if self.is_wild {
                Duration::from_secs(60)
            } else {
                long
            },
            aborted: Duration::from_secs(60),
            ..RelayLimits::default()
        };
        if !self.is_small {
            return limits;
        }
        RelayLimits {
            memory_bytes: 256 << 10,
            store_bytes: 256 << 10,
            party_bytes: Some(24 << 10),
            job_bytes: Some(160 << 10),
            window_bytes: 8 << 10,
            ..limits
        }
    }

    /// The bytes of the largest message that is sent.
    pub(super) fn largest(self) -> usize {
        // What is not kept whole goes with its sender.
        if self.parties_die && !self.is_durable {
            2000
        } else {
            6000
        }
    }
}

/// Who may take part: those of the job, and whoever likes to in others, unless it is `is_closed`.
pub(super) fn access(server: usize, is_closed: bool) -> Access {
    let members = (0..=HONEST).map(party).collect();
    let first = (0..HONEST - 1).chain([HONEST]).map(party);
    let servers = [("server 0".to_owned(), first.collect())];
    Access {
        jobs: [(job("job"), members)].into(),
        open_jobs: !is_closed,
        servers: servers.into_iter().filter(|_| server == 1).collect(),
        ..Access::default()
    }
}
