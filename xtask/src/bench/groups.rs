//! The group `groups`: barriers and broadcasts of a session, in a lab.

use std::time::Duration;

use super::case::Heading;
use super::figures::{GOODPUT, IDLE_CPU, MEAN, P50, P99, PEAK, UNTIL_ACKNOWLEDGED};
use super::lab::{LabCase, Network, Player};
use super::{OURS, RAW};

/// Our program, the one peer's and that of the raw limit.
pub(super) const PROGRAMS: [&str; 3] = ["flexbond-group", "camure", "raw-udp"];
/// How long our processes look before they sleep, in the cases that are called spinning.
const SPIN: &str = "spin_us=200";
/// As every host of a lab that just began.
const BRIDGE: Network = Network::Bridge {
    loss: 0.0,
    segmentation: true,
};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// All cases, the most telling first. `quick` ones have fewer rounds and less to send.
pub(super) fn cases(quick: bool) -> Vec<LabCase> {
    let extent = Extent { quick };
    let mut cases = Vec::new();
    for spin in [false, true] {
        cases.extend([1, 3, 7].map(|members| extent.barrier(members, spin)));
    }
    cases.extend([0.0, 1.0, 5.0].map(|loss| extent.lossy_barrier(3, loss)));
    for size in [64 * KIB, MIB] {
        cases.push(extent.broadcast("", Network::Loopback, 4, size));
    }
    for receivers in [1, 3, 7] {
        for size in [64 * KIB, MIB] {
            cases.push(extent.broadcast("", BRIDGE, receivers, size));
        }
    }
    cases.extend([0.0, 5.0, 30.0].map(|loss| extent.lossy_broadcast(3, loss)));
    cases.push(extent.idle(3));
    cases
}

/// How much is done in a run.
#[derive(Clone, Copy)]
struct Extent {
    quick: bool,
}

impl Extent {
    /// Either number, by how long runs are.
    fn pick(self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    /// How long one run may take. Peers that wait for timeouts may take very long where packets are lost.
    fn limit(self) -> Duration {
        Duration::from_secs(if self.quick { 20 } else { 60 })
    }

    fn case(self, name: String, network: Network, members: usize, size: usize) -> LabCase {
        let transport = match network {
            Network::Loopback => "lo",
            Network::Bridge { .. } => "bridge",
        };
        LabCase {
            heading: Heading {
                group: "groups",
                name,
                transport,
                size,
            },
            network,
            hosts: members + 1,
            players: Vec::new(),
            metrics: Vec::new(),
            limit: self.limit(),
        }
    }

    /// Barriers of processes on one machine, with which we either sleep or spin; the raw round trip does the same.
    fn barrier(self, members: usize, spin: bool) -> LabCase {
        let hosts = members + 1;
        let (name, ours, mode) = match spin {
            false => (format!("barrier 1+{members}"), "spin_us=0", "mode=tokio"),
            true => (format!("barrier 1+{members}, spinning"), SPIN, "mode=spin"),
        };
        let rounds = format!("rounds={}", self.pick(5000, 1000));
        let both = ["case=barrier", "warmup=200", &rounds];
        let mut players = session(hosts, &both, &[ours], &[]);
        if members == 1 {
            players.push(raw(1, &["case=ping-pong", mode, "warmup=200", &rounds]));
        }
        LabCase {
            players,
            metrics: vec![P50, P99, MEAN],
            ..self.case(name, Network::Loopback, members, 0)
        }
    }

    /// Barriers of hosts that lose packets: some wait for a repair, which the mean shows.
    fn lossy_barrier(self, members: usize, loss: f64) -> LabCase {
        // A peer that needs tens of milliseconds for a lost packet has to come to an end.
        let rounds = match loss {
            0.0 => self.pick(5000, 1000),
            ..2.0 => self.pick(1000, 200),
            _ => self.pick(300, 100),
        };
        let rounds = format!("rounds={rounds}");
        let both = ["case=barrier", "warmup=50", &rounds];
        let network = Network::Bridge {
            loss,
            segmentation: loss == 0.0,
        };
        LabCase {
            players: session(members + 1, &both, &["spin_us=0"], &[]),
            metrics: vec![MEAN],
            ..self.case(format!("barrier 1+{members}, {loss} % loss"), network, members, 0)
        }
    }

    /// Messages from one host to all others, as much from each contender as takes it about a second or less.
    fn broadcast(self, remark: &str, network: Network, receivers: usize, size: usize) -> LabCase {
        let hosts = receivers + 1;
        let ours = self.pick(512, 128) * MIB;
        let theirs = self.pick(32, 8) * MIB;
        LabCase {
            players: loads(self, hosts, size, ours, theirs),
            metrics: vec![GOODPUT, UNTIL_ACKNOWLEDGED, PEAK],
            ..self.case(
                format!("broadcast 1 -> {receivers}{remark}"),
                network,
                receivers,
                size,
            )
        }
    }

    /// The same with hosts that lose single packets, so that these travel one by one; also without loss, to compare.
    fn lossy_broadcast(self, receivers: usize, loss: f64) -> LabCase {
        let remark = match loss {
            0.0 => ", no offload".to_owned(),
            _ => format!(", {loss} % loss"),
        };
        let network = Network::Bridge {
            loss,
            segmentation: false,
        };
        let (ours, theirs) = match loss {
            0.0 => (self.pick(128, 32) * MIB, self.pick(32, 8) * MIB),
            _ => (self.pick(64, 16) * MIB, 2 * MIB),
        };
        let case = self.broadcast(&remark, network, receivers, MIB);
        LabCase {
            players: loads(self, receivers + 1, MIB, ours, theirs),
            ..case
        }
    }

    /// A session in which nothing happens, right after barriers.
    fn idle(self, members: usize) -> LabCase {
        let both = ["case=barrier", "warmup=50", "rounds=500", "idle_ms=2000"];
        LabCase {
            players: session(members + 1, &both, &[SPIN], &[]),
            metrics: vec![IDLE_CPU],
            ..self.case(
                format!("idle session 1+{members}, spinning"),
                Network::Loopback,
                members,
                0,
            )
        }
    }
}

/// Ours and the peer, which understand the same words.
fn session(hosts: usize, both: &[&str], ours: &[&str], theirs: &[&str]) -> Vec<Player> {
    let words = |own: &[&str]| both.iter().chain(own).map(|word| (*word).to_owned()).collect();
    let player = |name, program, own| Player {
        name,
        program,
        words: words(own),
        answers: hosts,
    };
    let [own_program, camure, _] = PROGRAMS;
    vec![player(OURS, own_program, ours), player(camure, camure, theirs)]
}

/// The raw limit; of its hosts the first `answers` have results.
fn raw(answers: usize, words: &[&str]) -> Player {
    Player {
        name: RAW,
        program: PROGRAMS[2],
        words: words.iter().map(|word| (*word).to_owned()).collect(),
        answers,
    }
}

/// All three with messages of `size` bytes, and as many as make up the totals of ours and of the peer.
fn loads(extent: Extent, hosts: usize, size: usize, ours: usize, theirs: usize) -> Vec<Player> {
    let size = format!("size={size}");
    let total = |bytes: usize| [format!("total={bytes}"), format!("warmup={}", bytes / 8)];
    let [ours, theirs] = [total(ours), total(theirs)];
    let mut players = session(
        hosts,
        &["case=broadcast", &size],
        &ours.each_ref().map(String::as_str),
        &theirs.each_ref().map(String::as_str),
    );
    let times = [
        format!("time_ms={}", extent.pick(1500, 800)),
        format!("window_ms={}", extent.pick(1000, 400)),
        "warmup_ms=200".to_owned(),
    ];
    let mut words = vec!["case=goodput"];
    words.extend(times.iter().map(String::as_str));
    players.push(raw(hosts, &words));
    players
}

/// What is equal for all, in a line for the report.
pub(super) fn rules(quick: bool, runs: usize) -> String {
    format!(
        "groups: {runs} runs in a lab that is kept for all runs of a case, one process per host, on lo or on a bridge; \
         barriers by the coordinator's clock; the goodput of a broadcast is that of its slowest receiver, each contender \
         sends as much as it needs for steady figures (see its words under the settings), and raw is multicast without \
         any repair; a run that takes more than {} s is missing",
        Extent { quick }.limit().as_secs()
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own_and_something_to_read() {
        for quick in [false, true] {
            let cases = cases(quick);
            let titles: BTreeSet<_> = cases.iter().map(|case| case.heading.title()).collect();
            assert_eq!(titles.len(), cases.len());
            for case in &cases {
                assert!(!case.metrics.is_empty());
                assert!(
                    case.players
                        .iter()
                        .all(|player| (1..=case.hosts).contains(&player.answers))
                );
                assert_eq!(case.players[0].name, OURS);
            }
        }
    }

    #[test]
    fn words_are_given_once() {
        for case in cases(false).iter().chain(&cases(true)) {
            for player in &case.players {
                let keys: Vec<_> = player
                    .words
                    .iter()
                    .map(|word| word.split_once('=').expect("a word is key=value").0)
                    .collect();
                let different: BTreeSet<_> = keys.iter().collect();
                assert_eq!(
                    different.len(),
                    keys.len(),
                    "{}: {:?}",
                    case.heading.title(),
                    player.words
                );
                assert_eq!(keys[0], "case");
                assert!(player.name == OURS || !keys.contains(&"spin_us"));
            }
        }
    }

    #[test]
    fn packets_that_are_lost_travel_alone() {
        for case in cases(false) {
            if let Network::Bridge { loss, segmentation } = case.network {
                assert!(loss == 0.0 || !segmentation, "{}", case.heading.title());
            }
        }
    }

    #[test]
    fn the_raw_limit_has_what_a_case_can_be_compared_with() {
        let cases = cases(true);
        let raw = |title: &str| {
            let case = cases.iter().find(|case| case.heading.title() == title);
            let players = &case.expect("there is such a case").players;
            players.iter().find(|player| player.name == RAW).cloned()
        };
        assert!(raw("barrier 1+1 lo").is_some_and(|raw| raw.words[1] == "mode=tokio"));
        assert!(raw("barrier 1+1, spinning lo").is_some_and(|raw| raw.words[1] == "mode=spin"));
        assert!(raw("barrier 1+3 lo").is_none());
        assert!(raw("broadcast 1 -> 7 bridge 1 MiB").is_some_and(|raw| raw.answers == 8));
    }
}
