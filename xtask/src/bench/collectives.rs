//! The group `collectives`: allreduce, broadcast and barrier of ranks on one machine.

use std::time::Duration;

use super::case::{Better, Heading, Metric, bytes, metric};
use super::ranks::RanksCase;

/// How many ranks there are.
const RANKS: [usize; 3] = [2, 4, 8];
/// How many there are where one sends to all others at once.
const MULTICAST_RANKS: [usize; 2] = [4, 8];
/// Bytes that every rank has.
const SIZES: [usize; 3] = [1 << 10, 1 << 20, 64 << 20];
/// How long one run may take.
const LIMIT: Duration = Duration::from_secs(60);

/// All cases, the most telling first. `quick` ones have fewer rounds.
pub(super) fn cases(quick: bool) -> Vec<RanksCase> {
    let mut cases = Vec::new();
    for size in SIZES {
        cases.extend(RANKS.map(|ranks| case("allreduce f32", "allreduce", size, ranks, quick)));
    }
    cases.extend(RANKS.map(|ranks| case("broadcast", "bcast", SIZES[2], ranks, quick)));
    cases.extend(RANKS.map(|ranks| case("barrier", "barrier", 0, ranks, quick)));
    cases.extend(MULTICAST_RANKS.map(|ranks| RanksCase {
        multicast: true,
        ..case("broadcast by multicast", "bcast", SIZES[2], ranks, quick)
    }));
    cases
}

fn case(name: &str, operation: &str, size: usize, ranks: usize, quick: bool) -> RanksCase {
    let (warmup, rounds) = rounds(size, quick);
    let mut words = vec![format!("case={operation}")];
    if size > 0 {
        words.push(format!("size={size}"));
    }
    words.extend([format!("warmup={warmup}"), format!("rounds={rounds}")]);
    RanksCase {
        heading: Heading {
            group: "collectives",
            name: format!("{name}, {ranks} ranks"),
            transport: "lo",
            size,
        },
        ranks,
        words,
        multicast: false,
        metrics: METRICS.to_vec(),
        limit: LIMIT,
    }
}

/// How many before the measured ones, and how many of those: about a second in all.
fn rounds(size: usize, quick: bool) -> (usize, usize) {
    let (warmup, rounds) = match size {
        0..=0xFFFF => (200, 5000),
        0x1_0000..=0xFF_FFFF => (20, 200),
        _ => (2, 10),
    };
    if quick {
        (warmup / 2, rounds / 5)
    } else {
        (warmup, rounds)
    }
}

const METRICS: [Metric; 4] = [
    metric(" mean", "µs", Better::Lower, |outcome| outcome.number("mean_us")),
    metric(" p50", "µs", Better::Lower, |outcome| outcome.number("p50_us")),
    metric(" p99", "µs", Better::Lower, |outcome| outcome.number("p99_us")),
    metric(
        ": mean of single ones, by the slowest rank",
        "µs",
        Better::Lower,
        |outcome| outcome.number("synced_us"),
    ),
];

/// What is equal for all, in a line for the report.
pub(super) fn rules(runs: usize) -> String {
    let sizes = SIZES.map(bytes).join(", ");
    format!(
        "collectives: {runs} runs; ranks are processes of this machine; sizes are those of one rank ({sizes}), and sums \
         are of f32; by multicast is flexbond's choice alone; Open MPI by tcp, with ranks that spin and yield; mean over rounds that follow each other at once, \
         and over single ones that begin with a barrier; a run that takes more than {} s is missing",
        LIMIT.as_secs()
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own_and_words_that_programs_know() {
        for quick in [false, true] {
            let cases = cases(quick);
            let titles: BTreeSet<_> = cases.iter().map(|case| case.heading.title()).collect();
            assert_eq!((titles.len(), cases.len()), (17, 17));
            for case in &cases {
                for word in &case.words {
                    let (key, value) = word.split_once('=').expect("a word is key=value");
                    assert!(["case", "size", "warmup", "rounds"].contains(&key), "{word}");
                    assert_ne!(value, "0", "{word}");
                }
            }
        }
    }

    #[test]
    fn a_title_tells_ranks_and_size() {
        let cases = cases(true);
        assert_eq!(cases[0].heading.title(), "allreduce f32, 2 ranks lo 1 KiB");
        assert_eq!(cases[14].heading.title(), "barrier, 8 ranks lo");
        assert_eq!(
            cases[16].heading.title(),
            "broadcast by multicast, 8 ranks lo 64 MiB"
        );
        assert!(cases[16].multicast && !cases[14].multicast);
        assert_eq!(
            cases[8].words,
            ["case=allreduce", "size=67108864", "warmup=1", "rounds=2"]
        );
    }
}
