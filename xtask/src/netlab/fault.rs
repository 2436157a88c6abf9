//! The faults of links, and the rules that make the kernel commit them.

use std::collections::BTreeSet;
use std::fmt::Write;

use anyhow::{Result, bail};

/// Parts of a whole that a share is counted in: hundredths of a percent.
const WHOLE: u32 = 10_000;

/// A share of all packets, between none and all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share(u32);

impl Share {
    /// # Errors
    /// When `percent` is not between 0 and 100.
    pub(super) fn percent(percent: f64) -> Result<Self> {
        if !(0.0..=100.0).contains(&percent) {
            bail!("{percent} % is not a share; it is between 0 and 100 %");
        }
        // Between 0 and WHOLE, as was just checked.
        Ok(Share((percent / 100.0 * f64::from(WHOLE)).round() as u32))
    }

    fn is_zero(self) -> bool {
        self.0 == 0
    }
}

/// What is wrong with the link between a host and the switch.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Link {
    /// Of the UDP packets to the host, those that never arrive.
    pub(super) loss: Share,
    /// Of the UDP packets to the host, those that arrive twice.
    pub(super) duplication: Share,
    /// Nothing passes, in either direction.
    pub(super) is_cut: bool,
    /// The hosts to which nothing from this one passes.
    pub(super) blocked: BTreeSet<usize>,
    /// Most that passes in each direction, in Mbit/s.
    pub(super) rate: Option<f64>,
}

impl Link {
    /// Whether a fault picks single packets, so that several in one large buffer must not share their fate.
    pub(super) fn picks_packets(&self) -> bool {
        !self.loss.is_zero() || !self.duplication.is_zero()
    }
}

/// The name of a host's interface, in the host.
pub(super) fn interface(host: usize) -> String {
    format!("v{host}")
}

/// The name of the switch's port that a host is connected to.
pub(super) fn port(host: usize) -> String {
    format!("p{host}")
}

/// The hardware address of a host.
pub(super) fn hardware(host: usize) -> String {
    format!("02:fb:00:00:{:02x}:{:02x}", (host >> 8) & 0xff, host & 0xff)
}

/// The switch's whole ruleset, for nft. It replaces the one before it as one change.
///
/// Loss and partition are at the bridge's ports, not in the hosts' output (where a sender would be told) nor in their
/// input (where it would be after receive offload, which merges packets). Copies are made where packets enter the
/// switch, because the bridge has no rule for it; they are not subject to loss.
pub(super) fn ruleset(links: &[Link]) -> String {
    let mut rules = String::from("flush ruleset\n");
    let mut forward = String::new();
    for (host, link) in links.iter().enumerate() {
        let port = port(host);
        if link.is_cut {
            let _ = writeln!(forward, "iifname \"{port}\" counter drop");
            let _ = writeln!(forward, "oifname \"{port}\" counter drop");
        }
        for &to in &link.blocked {
            let to = self::port(to);
            let _ = writeln!(forward, "iifname \"{port}\" oifname \"{to}\" counter drop");
        }
        if !link.loss.is_zero() {
            let draw = draw(link.loss);
            let _ = writeln!(forward, "oifname \"{port}\" meta l4proto udp {draw} counter drop");
        }
    }
    if !forward.is_empty() {
        let _ = writeln!(
            rules,
            "table bridge faults {{\nchain forward {{\ntype filter hook forward priority 0; policy accept;\n{forward}}}\n}}"
        );
    }
    for (from, link) in links.iter().enumerate() {
        let copies = if link.is_cut {
            String::new()
        } else {
            copies(from, links)
        };
        if !copies.is_empty() {
            let port = port(from);
            let _ = writeln!(
                rules,
                "table netdev copies{from} {{\nchain ingress {{\n\
                 type filter hook ingress device \"{port}\" priority 0; policy accept;\n{copies}}}\n}}"
            );
        }
    }
    rules
}

/// The rules that copy packets of host `from`.
fn copies(from: usize, links: &[Link]) -> String {
    const TO_GROUPS: &str = "& 01:00:00:00:00:00 == 01:00:00:00:00:00";
    let mut rules = String::new();
    for (to, link) in links.iter().enumerate() {
        let is_reached = to != from && !link.is_cut && !links[from].blocked.contains(&to);
        if !is_reached || link.duplication.is_zero() {
            continue;
        }
        let (draw, port) = (draw(link.duplication), port(to));
        for address in [TO_GROUPS, &hardware(to)] {
            let _ = writeln!(
                rules,
                "meta l4proto udp ether daddr {address} {draw} counter dup to \"{port}\""
            );
        }
    }
    rules
}

/// A condition that holds for this share of the packets, drawn for each anew.
fn draw(share: Share) -> String {
    format!("numgen random mod {WHOLE} < {}", share.0)
}

/// Arguments for tc: a limit of `mbit` Mbit/s on `device`, or none. A large buffer passes as a whole; what would
/// wait for longer than 20 ms is dropped.
pub(super) fn shaping(device: &str, rate: Option<f64>) -> Vec<String> {
    let words = match rate {
        Some(mbit) => {
            let bits = (mbit * 1e6).round();
            format!("qdisc replace dev {device} root tbf rate {bits:.0}bit burst {BURST}b latency 20ms")
        }
        None => format!("qdisc del dev {device} root"),
    };
    words.split(' ').map(str::to_owned).collect()
}

/// Bytes that pass at once after a pause, when a rate is limited.
pub(super) const BURST: u32 = 70 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn links(faults: &[(usize, Link)]) -> Vec<Link> {
        let mut links = vec![Link::default(); 3];
        for (host, link) in faults {
            links[*host] = link.clone();
        }
        links
    }

    fn share(percent: f64) -> Share {
        Share::percent(percent).unwrap()
    }

    #[test]
    fn shares_are_between_none_and_all() {
        assert_eq!(share(0.0), Share(0));
        assert_eq!(share(0.25), Share(25));
        assert_eq!(share(100.0), Share(10_000));
        for percent in [-0.1, 100.1, f64::NAN, f64::INFINITY] {
            assert!(Share::percent(percent).is_err(), "{percent}");
        }
    }

    #[test]
    fn healthy_links_have_no_rules() {
        assert_eq!(ruleset(&links(&[])), "flush ruleset\n");
    }

    #[test]
    fn loss_is_at_the_port_of_the_receiver() {
        let lossy = Link {
            loss: share(5.0),
            ..Link::default()
        };
        assert!(lossy.picks_packets());
        let rules = ruleset(&links(&[(2, lossy)]));
        assert!(
            rules.contains("oifname \"p2\" meta l4proto udp numgen random mod 10000 < 500 counter drop"),
            "{rules}"
        );
        assert!(!rules.contains("iifname") && !rules.contains("dup"), "{rules}");
    }

    #[test]
    fn copies_go_to_the_one_host_and_come_from_all_others() {
        let doubled = Link {
            duplication: share(1.0),
            ..Link::default()
        };
        let rules = ruleset(&links(&[(1, doubled.clone())]));
        assert_eq!(rules.matches("dup to \"p1\"").count(), 4, "{rules}");
        assert!(!rules.contains("device \"p1\""), "{rules}");
        assert!(rules.contains("ether daddr 02:fb:00:00:00:01 "), "{rules}");
        let cut = Link {
            is_cut: true,
            ..doubled
        };
        let rules = ruleset(&links(&[(1, cut)]));
        assert!(!rules.contains("dup"), "copies would pass the cut\n{rules}");
        assert!(
            rules.contains("iifname \"p1\" counter drop\noifname \"p1\""),
            "{rules}"
        );
    }

    #[test]
    fn a_path_is_blocked_one_way() {
        let blocked = Link {
            blocked: BTreeSet::from([1]),
            ..Link::default()
        };
        let doubled = Link {
            duplication: share(1.0),
            ..Link::default()
        };
        let rules = ruleset(&links(&[(2, blocked), (1, doubled)]));
        assert_eq!(rules.matches(" drop").count(), 1, "{rules}");
        assert!(
            rules.contains("iifname \"p2\" oifname \"p1\" counter drop"),
            "{rules}"
        );
        assert!(
            rules.contains("device \"p0\"") && !rules.contains("device \"p2\""),
            "copies would pass the block\n{rules}"
        );
    }

    #[test]
    fn a_rate_is_set_and_taken_away() {
        assert_eq!(
            shaping("v0", Some(0.5)).join(" "),
            "qdisc replace dev v0 root tbf rate 500000bit burst 71680b latency 20ms"
        );
        assert_eq!(shaping("p1", None).join(" "), "qdisc del dev p1 root");
    }
}
