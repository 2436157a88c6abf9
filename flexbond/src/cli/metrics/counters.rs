//! What streams and their sockets count, as metrics.

use super::Exposition;
use crate::session::socket::Stats;
use crate::stream::{Snapshot, Warning};

/// Labels that all numbers of one stream have: its address, and what part it has in the program.
pub(crate) type Labels<'a> = [(&'static str, &'a str)];

/// The statistics of a stream that is received, or sent.
pub(crate) fn stream(exposition: &mut Exposition, labels: &Labels<'_>, snapshot: &Snapshot) {
    let totals = &snapshot.totals;
    for (name, help, value) in [
        ("flexbond_stream_messages", "Good messages.", totals.messages),
        (
            "flexbond_stream_bytes",
            "Bytes of all parts of good messages.",
            totals.bytes,
        ),
        (
            "flexbond_stream_malformed_messages",
            "Messages that could not be understood.",
            totals.malformed,
        ),
        (
            "flexbond_stream_unknown_messages",
            "Good messages of an unknown htype.",
            totals.unknown,
        ),
        (
            "flexbond_stream_undecodable_messages",
            "Good messages of an unknown encoding.",
            totals.undecodable,
        ),
        (
            "flexbond_stream_reordered_frames",
            "Frames that came after others with higher numbers.",
            totals.reordered,
        ),
        (
            "flexbond_stream_duplicate_frames",
            "Frames that came more than once.",
            totals.duplicates,
        ),
        (
            "flexbond_stream_restarts",
            "New beginnings of the numbers within a series.",
            totals.restarts,
        ),
        ("flexbond_stream_series", "Series that were seen.", totals.series),
    ] {
        exposition.counter(name, help, labels, value);
    }
    // A frame that comes late is lost no longer, so this may fall.
    exposition.gauge(
        "flexbond_stream_lost_frames",
        "Frame numbers that are missing.",
        labels,
        totals.lost_frames as f64,
    );
    let shared = snapshot
        .warnings
        .iter()
        .any(|warning| matches!(warning, Warning::SharedSource(_)));
    exposition.gauge(
        "flexbond_stream_shared_source",
        "1 when frames go missing because another receiver takes them.",
        labels,
        f64::from(u8::from(shared)),
    );
    for count in &snapshot.htypes {
        let labels = [labels, &[("htype", &*count.htype)]].concat();
        exposition.counter(
            "flexbond_stream_htype_messages",
            "Good messages by htype.",
            &labels,
            count.messages,
        );
        exposition.counter(
            "flexbond_stream_htype_bytes",
            "Bytes of good messages by htype.",
            &labels,
            count.bytes,
        );
    }
    for count in &snapshot.sources {
        let numbering = count.numbering.field();
        let labels = [labels, &[("source", &*count.source), ("numbering", numbering)]].concat();
        exposition.counter(
            "flexbond_stream_source_frames",
            "Numbered messages by source.",
            &labels,
            count.received,
        );
        exposition.gauge(
            "flexbond_stream_source_lost_frames",
            "Frame numbers that are missing, by source.",
            &labels,
            count.lost as f64,
        );
    }
}

/// The counters of a socket.
pub(crate) fn socket(exposition: &mut Exposition, labels: &Labels<'_>, stats: &Stats) {
    exposition.gauge("flexbond_socket_peers", "Peers now.", labels, stats.peers as f64);
    for (name, help, value) in [
        (
            "flexbond_socket_dropped_messages",
            "Messages dropped: for slow peers, with peers that went away, at the end.",
            stats.dropped,
        ),
        (
            "flexbond_socket_handshakes",
            "Handshakes completed.",
            stats.handshakes,
        ),
        (
            "flexbond_socket_reconnects",
            "Connections lost and made again.",
            stats.reconnects,
        ),
    ] {
        exposition.counter(name, help, labels, value);
    }
    for (limit, count) in stats.limits.iter() {
        let labels = [labels, &[("limit", limit.name())]].concat();
        exposition.counter(
            "flexbond_socket_limits",
            "How often peers met a limit of the socket.",
            &labels,
            count,
        );
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::negotiation::Format;
    use super::*;
    use crate::stream::{Header, Statistics};

    #[test]
    fn a_stream_is_counted_by_type_and_source() {
        let now = Instant::now();
        let mut statistics = Statistics::new();
        for frame in [0, 1, 3] {
            statistics.handle_message(now, 10);
            let header = Header::new("raw-1.0")
                .with("frame", frame)
                .with("source", "camera");
            statistics.handle_header(&header, 10);
        }
        let mut exposition = Exposition::new();
        stream(
            &mut exposition,
            &[("address", "tcp://a:1")],
            &statistics.snapshot(now),
        );
        socket(&mut exposition, &[("address", "tcp://a:1")], &Stats::default());
        let text = exposition.render(Format::Text);
        for line in [
            "flexbond_stream_messages_total{address=\"tcp://a:1\"} 3",
            "flexbond_stream_bytes_total{address=\"tcp://a:1\"} 30",
            "flexbond_stream_lost_frames{address=\"tcp://a:1\"} 1",
            "flexbond_stream_htype_messages_total{address=\"tcp://a:1\",htype=\"raw-1.0\"} 3",
            "flexbond_stream_source_lost_frames{address=\"tcp://a:1\",source=\"camera\",numbering=\"frame\"} 1",
            "flexbond_socket_peers{address=\"tcp://a:1\"} 0",
            "flexbond_socket_limits_total{address=\"tcp://a:1\",limit=\"max_peers_per_address\"} 0",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
        for help in text.lines().filter(|line| line.starts_with("# HELP")) {
            assert!(!help.contains(['\\', '"']), "{help}");
        }
    }
}
