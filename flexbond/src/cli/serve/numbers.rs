//! What the server counts, as metrics, and how it is.

use crate::cli::metrics::{Exposition, Health};
use crate::collectives::federation::ServerStats;

/// So many parties have numbers of their own; more would only make a scrape long.
const PARTIES: usize = 10_000;

/// Fills in all numbers of a server.
pub(super) fn fill(exposition: &mut Exposition, stats: &ServerStats) {
    exposition.set_health(health(stats));
    let relay = &stats.relay;
    let present = |job: &crate::collectives::federation::JobStats| {
        job.parties.values().filter(|party| party.is_present).count()
    };
    let present: usize = relay.jobs.values().map(present).sum();
    for (name, help, value) in [
        (
            "flexbond_serve_jobs",
            "Jobs that are known.",
            relay.jobs.len() as f64,
        ),
        (
            "flexbond_serve_parties",
            "Parties of jobs that are there.",
            present as f64,
        ),
        (
            "flexbond_serve_connections",
            "Connections that are open.",
            stats.connections as f64,
        ),
        (
            "flexbond_serve_servers",
            "Other servers that are connected to.",
            stats.servers as f64,
        ),
        (
            "flexbond_serve_held_bytes",
            "Bytes of messages that are kept, and 128 for each piece.",
            relay.held_bytes as f64,
        ),
        (
            "flexbond_serve_granted_bytes",
            "Bytes that parties may send and have not sent.",
            relay.granted_bytes as f64,
        ),
        (
            "flexbond_serve_memory_bytes",
            "Bytes of messages that are in memory.",
            relay.memory_bytes as f64,
        ),
        (
            "flexbond_serve_limit_bytes",
            "Bytes that may be kept and granted altogether.",
            relay.limit_bytes as f64,
        ),
        (
            "flexbond_serve_waiting",
            "Senders that wait for room.",
            relay.waiting as f64,
        ),
        (
            "flexbond_serve_draining",
            "Whether the server is ending.",
            f64::from(u8::from(stats.is_draining)),
        ),
    ] {
        exposition.gauge(name, help, &[], value);
    }
    for (name, help, value) in [
        (
            "flexbond_serve_unreadable_packets",
            "Packets that cannot be read.",
            relay.unreadable,
        ),
        (
            "flexbond_serve_foreign_packets",
            "Packets of processes that have no place here.",
            relay.foreign,
        ),
        (
            "flexbond_serve_refusals",
            "Refusals that were sent.",
            relay.refused,
        ),
        (
            "flexbond_serve_forged_packets",
            "Packets of a connection that had proved to be somebody else.",
            relay.forged,
        ),
    ] {
        exposition.counter(name, help, &[], value);
    }
    if let Some(store) = &stats.store {
        let bytes = store.content_bytes as f64;
        exposition.gauge(
            "flexbond_serve_store_bytes",
            "Bytes of messages in the store.",
            &[],
            bytes,
        );
        let is_full = f64::from(u8::from(store.is_full));
        exposition.gauge(
            "flexbond_serve_store_full",
            "Whether the store has no room.",
            &[],
            is_full,
        );
        let help = "Batches that were written to the store.";
        exposition.counter("flexbond_serve_store_commits", help, &[], store.commits);
    }
    for (limit, count) in stats.limits.iter() {
        let labels = [("limit", limit.name())];
        let help = "How often connections met a limit of the socket.";
        exposition.counter("flexbond_serve_limits", help, &labels, count);
    }
    parties(exposition, stats);
}

fn parties(exposition: &mut Exposition, stats: &ServerStats) {
    let jobs = stats.relay.jobs.iter();
    let all = jobs.flat_map(|(job, stats)| {
        stats
            .parties
            .iter()
            .map(move |(party, stats)| (job, party, stats))
    });
    for (job, party, stats) in all.take(PARTIES) {
        let labels = [("job", job.as_str()), ("party", party.as_str())];
        for (name, help, value) in [
            (
                "flexbond_serve_messages",
                "Messages of a party that have come.",
                stats.received,
            ),
            (
                "flexbond_serve_bytes",
                "Bytes of messages of a party that have come.",
                stats.received_bytes,
            ),
            (
                "flexbond_serve_settled_messages",
                "Messages of a party that have come to their end.",
                stats.settled,
            ),
            (
                "flexbond_serve_expired_messages",
                "Messages of a party that have waited too long.",
                stats.expired,
            ),
        ] {
            exposition.counter(name, help, &labels, value);
        }
        for (name, help, value) in [
            (
                "flexbond_serve_party_up",
                "Whether a party is there.",
                u64::from(stats.is_present),
            ),
            (
                "flexbond_serve_held_messages",
                "Messages of a party that are kept.",
                stats.held,
            ),
            (
                "flexbond_serve_party_held_bytes",
                "Bytes of messages of a party that are kept.",
                stats.held_bytes,
            ),
        ] {
            exposition.gauge(name, help, &labels, value as f64);
        }
    }
}

fn health(stats: &ServerStats) -> Health {
    let store = stats.store.as_ref();
    if stats.is_draining {
        return Health {
            status: "draining",
            is_well: false,
            detail: None,
        };
    }
    match store.and_then(|store| store.trouble.as_ref().map(|trouble| (store.is_full, trouble))) {
        Some((is_full, trouble)) => Health {
            status: if is_full { "store full" } else { "store trouble" },
            is_well: false,
            detail: Some(trouble.clone()),
        },
        None => Health {
            status: "ok",
            is_well: true,
            detail: None,
        },
    }
}
