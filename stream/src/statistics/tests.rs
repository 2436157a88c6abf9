//! Counting by the headers of whole streams, and what is shown of it.

use super::*;

const MS: Duration = Duration::from_millis(1);

#[test]
fn rates_follow_the_window() {
    let start = Instant::now();
    let mut statistics = Statistics::new();
    assert_eq!(statistics.rates(start), Rates::default());
    for i in 0..1000_u32 {
        statistics.handle_message(start + i * MS, 10);
    }
    let rates = statistics.rates(start + 1000 * MS);
    assert!((950.0..1050.0).contains(&rates.messages_per_second), "{rates:?}");
    assert!((9500.0..10500.0).contains(&rates.bytes_per_second), "{rates:?}");
    assert_eq!(
        statistics.rates(start + 5000 * MS),
        Rates::default(),
        "all of it is older than the window"
    );
    statistics.handle_message(start + 5000 * MS, 10);
    let rates = statistics.rates(start + 5000 * MS);
    assert!(rates.messages_per_second < 2.0, "{rates:?}");
    assert_eq!(statistics.elapsed(), 5000 * MS);
}

#[test]
fn a_young_stream_and_a_clock_that_steps_back_do_no_harm() {
    let start = Instant::now() + 100 * MS;
    let mut statistics = Statistics::new();
    statistics.handle_message(start, 1);
    statistics.handle_message(start - 50 * MS, 1);
    assert_eq!(statistics.totals().messages, 2);
    assert!(statistics.rates(start - 100 * MS).messages_per_second <= 20.0);
    assert!(statistics.rates(start + u32::MAX * MS) == Rates::default());
}

fn feed(statistics: &mut Statistics, header: &Header) {
    statistics.handle_message(Instant::now(), 10);
    statistics.handle_header(header, 10);
}

fn totals(headers: impl IntoIterator<Item = Header>) -> Totals {
    let mut statistics = Statistics::new();
    headers
        .into_iter()
        .for_each(|header| feed(&mut statistics, &header));
    statistics.totals()
}

fn image(series: u64, frame: u64) -> Header {
    Header::new("dimage-1.0")
        .with("series", series)
        .with("frame", frame)
}

#[test]
fn numbers_that_overtake_each_other_are_not_shared() {
    let mut statistics = Statistics::new();
    for number in 0..4_000 {
        statistics.handle_frame(number ^ 1);
        assert_eq!(statistics.poll_warning(), None, "at {number}");
    }
    let totals = statistics.totals();
    assert_eq!((totals.lost_frames, totals.reordered), (0, 2_000));
}

#[test]
fn a_new_series_begins_anew() {
    let start = |series: u64| Header::new("dheader-1.0").with("series", series);
    let end = |series: u64| Header::new("dseries_end-1.0").with("series", series);
    let seen = totals([
        start(1),
        image(1, 0),
        image(1, 1),
        end(1),
        start(2),
        // Lost: 0 and 1 at the beginning, which the header has announced.
        image(2, 2),
        // The last frame of the series before, by another connection.
        image(1, 2),
        image(2, 3),
        end(2),
    ]);
    assert_eq!((seen.lost_frames, seen.restarts, seen.duplicates), (2, 0, 0));
    assert_eq!(seen.series, 2);
    // Without the header nobody knows where a series begins.
    assert_eq!(totals([image(7, 40), image(7, 41)]).lost_frames, 0);
}

#[test]
fn sources_count_for_themselves() {
    let frame = |source: &str, frame: u64| {
        let header = Header::new("array-1.0").with("frame", frame);
        header.with("source", source)
    };
    let mut statistics = Statistics::new();
    for i in 0..50 {
        feed(&mut statistics, &frame("left", i));
        feed(&mut statistics, &frame("right", 1_000 + 2 * i));
        feed(
            &mut statistics,
            &Header::new("bsr_m-1.1").with("pulse_id", 10 * i),
        );
    }
    let snapshot = statistics.snapshot(Instant::now());
    let lost: Vec<_> = snapshot
        .sources
        .iter()
        .map(|source| (&*source.source, source.lost))
        .collect();
    assert_eq!(lost, [("left", 0), ("right", 49), ("", 0)]);
    assert_eq!(snapshot.sources[2].stride, Some(10));
    assert_eq!(snapshot.totals.lost_frames, 49);
}

#[test]
fn a_second_receiver_is_told_of_once() {
    let mut statistics = Statistics::new();
    for i in 0..40 {
        feed(&mut statistics, &image(1, i));
    }
    assert_eq!(statistics.poll_warning(), None);
    for i in 0..40 {
        feed(&mut statistics, &image(1, 41 + 2 * i));
    }
    let Some(Warning::SharedSource(shared)) = statistics.poll_warning() else {
        panic!("no warning");
    };
    assert_eq!((shared.pattern.received, shared.pattern.of), (1, 2));
    assert_eq!(statistics.poll_warning(), None);
    assert_eq!(statistics.warnings().count(), 1);
    let mut feed_from = |first: u64, step: u64, count: u64| {
        for i in 0..count {
            feed(&mut statistics, &image(1, first + step * i));
        }
        (statistics.warnings().count(), statistics.poll_warning().is_some())
    };
    assert_eq!(feed_from(120, 1, 2_000), (0, false), "over");
    assert_eq!(feed_from(2_121, 2, 100), (1, false), "again, but that is no news");
    assert_eq!(feed_from(2_320, 1, 20_000), (0, false));
    assert_eq!(feed_from(22_321, 2, 100), (1, true));
}

#[test]
fn a_thinned_stream_with_its_stride_set_is_whole() {
    let mut statistics = Statistics::new();
    statistics.set_stride(Numbering::Frame, Stride::Fixed(10.try_into().unwrap()));
    for i in 0..100 {
        statistics.handle_frame(10 * i);
    }
    assert_eq!(statistics.totals().lost_frames, 0);
    assert_eq!(statistics.warnings().count(), 0);
}

#[test]
fn types_and_sources_are_bounded() {
    let mut statistics = Statistics::new();
    for i in 0..1_000_u64 {
        let header = Header::new(format!("t-{i}")).with("source", format!("s{i}"));
        feed(&mut statistics, &header.with("frame", i));
    }
    feed(&mut statistics, &Header::new("x".repeat(1_000)));
    let snapshot = statistics.snapshot(Instant::now());
    assert_eq!(
        (snapshot.htypes.len(), snapshot.other_htypes),
        (MAX_HTYPES, 1_001 - 32)
    );
    assert_eq!(
        (snapshot.sources.len(), snapshot.totals.untracked),
        (64, 1_000 - 64)
    );
}

#[test]
fn what_is_shown() {
    let start = Instant::now();
    let mut statistics = Statistics::new();
    for i in [0, 1, 3] {
        statistics.handle_message(start + 500 * MS, 1_000_000);
        statistics.handle_header(&Header::new("array-1.0\u{1b}").with("frame", i), 1_000_000);
    }
    statistics.handle_malformed();
    let snapshot = statistics.snapshot(start + 1500 * MS);
    let text = snapshot.to_string();
    assert!(text.contains(" MB/s    Message rate: "), "{text}");
    assert!(
        text.contains("3 messages, 3000000 bytes in 0.000 s, 1 lost, 1 malformed"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "{text}");
    let json = snapshot.to_json();
    assert_eq!(json["messages"], 3);
    assert_eq!(json["malformed"], 1);
    assert_eq!(json["sources"][0]["lost"], 1);
    assert_eq!(json["sources"][0]["numbering"], "frame");
    assert_eq!(json["htypes"]["array-1.0\u{1b}"]["bytes"], 3_000_000);
    assert_eq!(json["warnings"].as_array().unwrap().len(), 0);
}
