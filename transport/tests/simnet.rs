//! Each fault of the simulated network, without clock or task.
#![cfg(feature = "simnet")]

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use flexbond_transport::Transmit;
use flexbond_transport::simnet::{Config, Counters, Delivery, Network, PACKET_OVERHEAD, Path};
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};

const SEEDS: std::ops::Range<u64> = 0..20;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn host(number: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, number])
}

fn at(number: u8) -> SocketAddr {
    SocketAddr::new(host(number), 5000)
}

fn group() -> SocketAddr {
    "239.255.70.1:5000".parse().unwrap()
}

/// Everything that arrives up to `until`, with its time.
fn run(network: &mut Network, until: Duration) -> Vec<(Duration, Delivery)> {
    let mut arrived = Vec::new();
    while let Some(now) = network.poll_timeout().filter(|&now| now <= until) {
        while let Some(delivery) = network.poll_delivery(now) {
            arrived.push((now, delivery));
        }
    }
    arrived
}

fn numbers(arrived: &[(Duration, Delivery)]) -> Vec<u32> {
    arrived
        .iter()
        .map(|(_, delivery)| u32::from_be_bytes(delivery.bytes[..4].try_into().unwrap()))
        .collect()
}

/// Sends `count` numbered packets at time zero.
fn flood(network: &mut Network, count: u32) {
    for number in 0..count {
        network.send(Duration::ZERO, at(1), at(2), number.to_be_bytes().to_vec());
    }
}

/// 2000 numbered packets over a path; what arrived.
fn over(seed: u64, path: Path) -> (Vec<(Duration, Delivery)>, Counters) {
    let mut network = Network::new(seed, Config::default().path(path));
    flood(&mut network, 2000);
    let arrived = run(&mut network, Duration::MAX);
    assert_eq!(network.in_flight(), 0, "seed {seed}");
    (arrived, network.counters())
}

/// Whether `part` of 2000 is about a fifth: more than six standard deviations (18) off is no chance.
fn is_a_fifth(part: usize) -> bool {
    (290..=510).contains(&part)
}

#[test]
fn without_faults_all_arrives_at_once_and_in_order() {
    let (arrived, counters) = over(0, Path::default());
    assert_eq!(numbers(&arrived), (0..2000).collect::<Vec<_>>());
    assert!(arrived.iter().all(|(now, delivery)| now.is_zero()
        && (delivery.from, delivery.to, delivery.destination) == (at(1), at(2), at(2))));
    assert_eq!(
        (
            counters.sent,
            counters.sent_bytes,
            counters.copies,
            counters.delivered,
            counters.delivered_bytes
        ),
        (2000, 8000, 2000, 2000, 8000)
    );
}

#[test]
fn packets_are_lost() {
    for seed in SEEDS {
        let (arrived, counters) = over(seed, Path::default().loss(0.2));
        assert!(
            is_a_fifth(2000 - arrived.len()),
            "seed {seed}: {} arrived",
            arrived.len()
        );
        assert_eq!(counters.lost as usize, 2000 - arrived.len(), "seed {seed}");
        assert!(numbers(&arrived).is_sorted(), "seed {seed}");
    }
    assert_eq!(over(0, Path::default().loss(1.0)).0, []);
    for never in [0.0, -1.0, f64::NAN] {
        assert_eq!(over(0, Path::default().loss(never)).0.len(), 2000);
    }
}

#[test]
fn packets_are_duplicated() {
    for seed in SEEDS {
        let (arrived, counters) = over(seed, Path::default().duplication(0.2));
        let mut times = BTreeMap::new();
        for number in numbers(&arrived) {
            *times.entry(number).or_insert(0) += 1;
        }
        assert_eq!(times.len(), 2000, "seed {seed}");
        let twice = times.values().filter(|&&times| times == 2).count();
        assert!(is_a_fifth(twice), "seed {seed}: {twice} twice");
        assert_eq!(counters.duplicated as usize, arrived.len() - 2000, "seed {seed}");
    }
}

#[test]
fn packets_are_reordered() {
    for seed in SEEDS {
        let (arrived, counters) = over(seed, Path::default().delay(ms(5)).reordering(0.2, ms(3)));
        assert_eq!(arrived.len(), 2000, "seed {seed}");
        let late = arrived.iter().filter(|(now, _)| *now == ms(8)).count();
        assert!(is_a_fifth(late), "seed {seed}: {late} late");
        assert_eq!(counters.reordered as usize, late, "seed {seed}");
        // The late ones by themselves, and all others, are in order.
        let (others, late) = arrived.split_at(2000 - late);
        assert!(others.iter().all(|(now, _)| *now == ms(5)), "seed {seed}");
        assert!(
            numbers(others).is_sorted() && numbers(late).is_sorted(),
            "seed {seed}"
        );
    }
}

#[test]
fn packets_are_delayed_and_keep_their_order() {
    for seed in SEEDS {
        let path = Path::default().delay(ms(5)).jitter(ms(10));
        let (arrived, _) = over(seed, path);
        assert_eq!(numbers(&arrived), (0..2000).collect::<Vec<_>>(), "seed {seed}");

        // Where none waits for another.
        let mut network = Network::new(seed, Config::default().path(path));
        let mut arrived = Vec::new();
        for number in 0..2000 {
            network.send(ms(20 * number), at(1), at(2), vec![]);
            arrived.extend(run(&mut network, ms(20 * number + 19)));
        }
        let mut delays: Vec<_> = arrived
            .iter()
            .zip(0..)
            .map(|((now, _), number)| *now - ms(20 * number))
            .collect();
        delays.sort();
        assert!(
            delays[0] >= ms(5) && delays[0] < ms(6),
            "seed {seed}: {:?}",
            delays[0]
        );
        assert!(
            delays[1999] <= ms(15) && delays[1999] > ms(14),
            "seed {seed}: {:?}",
            delays[1999]
        );
    }
}

#[test]
fn packets_are_corrupted_in_one_byte() {
    for seed in SEEDS {
        let mut network = Network::new(seed, Config::default().path(Path::default().corruption(0.2)));
        for _ in 0..2000 {
            network.send(Duration::ZERO, at(1), at(2), vec![0; 100]);
        }
        network.send(Duration::ZERO, at(1), at(2), Vec::new());
        let arrived = run(&mut network, Duration::MAX);
        let changed = |delivery: &Delivery| delivery.bytes.iter().filter(|&&byte| byte != 0).count();
        assert!(
            arrived.iter().all(|(_, delivery)| changed(delivery) <= 1),
            "seed {seed}"
        );
        let corrupted = arrived
            .iter()
            .filter(|(_, delivery)| changed(delivery) == 1)
            .count();
        assert!(is_a_fifth(corrupted), "seed {seed}: {corrupted} corrupted");
        assert_eq!(network.counters().corrupted as usize, corrupted, "seed {seed}");
    }
}

#[test]
fn a_rate_is_kept_and_its_queue_is_limited() {
    // 100 bytes take 100 ms; ten of them wait.
    let path = Path::default().rate(1000, 1000).delay(ms(1));
    let mut network = Network::new(0, Config::default().path(path));
    for _ in 0..30 {
        network.send(Duration::ZERO, at(1), at(2), vec![0; 100]);
    }
    let arrived = run(&mut network, Duration::MAX);
    let times: Vec<_> = arrived.iter().map(|(now, _)| now.as_millis()).collect();
    assert_eq!(times, (1..=10).map(|number| number * 100 + 1).collect::<Vec<_>>());
    assert_eq!(network.counters().queue_full, 20);

    // Each direction, and each pair, has a line of its own.
    network.send(ms(2000), at(1), at(2), vec![0; 100]);
    network.send(ms(2000), at(2), at(1), vec![0; 100]);
    network.send(ms(2000), at(1), at(3), vec![0; 100]);
    let arrived = run(&mut network, Duration::MAX);
    assert_eq!(
        arrived.iter().map(|(now, _)| *now).collect::<Vec<_>>(),
        [ms(2101); 3]
    );
}

#[test]
fn packets_beyond_the_mtu_do_not_get_through() {
    let mut network = Network::new(0, Config::default().path(Path::default().mtu(1400)));
    network.send(Duration::ZERO, at(1), at(2), vec![0; 1400]);
    network.send(Duration::ZERO, at(1), at(2), vec![0; 1401]);
    assert_eq!(run(&mut network, Duration::MAX).len(), 1);
    assert_eq!(network.counters().too_large, 1);
}

#[test]
fn paths_are_set_by_pair_and_direction() {
    let mut network = Network::new(0, Config::default());
    network.set_path(host(1), host(2), Path::default().loss(1.0));
    let exchange = |network: &mut Network| {
        for (from, to) in [(1, 2), (2, 1), (1, 3)] {
            network.send(Duration::ZERO, at(from), at(to), vec![from, to]);
        }
        let arrived = run(network, Duration::MAX);
        arrived
            .iter()
            .map(|(_, delivery)| (delivery.bytes[0], delivery.bytes[1]))
            .collect::<Vec<_>>()
    };
    assert_eq!(exchange(&mut network), [(2, 1), (1, 3)]);
    network.set_default_path(Path::default().loss(1.0));
    assert_eq!(exchange(&mut network), []);
    network.set_path(host(1), host(2), Path::default());
    assert_eq!(exchange(&mut network), [(1, 2)]);
    network.reset_path(host(1), host(2));
    assert_eq!(exchange(&mut network), []);
    assert_eq!(network.path(host(1), host(2)).loss, 1.0);
}

#[test]
fn a_host_always_reaches_itself() {
    let mut network = Network::new(0, Config::default().path(Path::default().loss(1.0)));
    network.partition([host(1)]);
    network.send(Duration::ZERO, at(1), at(1), vec![1]);
    assert_eq!(run(&mut network, Duration::ZERO).len(), 1);
}

#[test]
fn partitions_cut_and_heal() {
    let mut network = Network::new(0, Config::default().path(Path::default().delay(ms(5))));
    let pairs = |network: &mut Network, now| {
        for (from, to) in [(1, 2), (3, 4), (1, 3), (4, 2)] {
            network.send(now, at(from), at(to), vec![from, to]);
        }
    };
    pairs(&mut network, ms(0));
    // What is under way is stopped at the border too.
    network.partition([host(1), host(2)]);
    pairs(&mut network, ms(1));
    let arrived = run(&mut network, Duration::MAX);
    let within: Vec<_> = arrived
        .iter()
        .map(|(_, delivery)| delivery.bytes.to_vec())
        .collect();
    assert_eq!(within, [[1, 2], [3, 4], [1, 2], [3, 4]]);
    assert_eq!(network.counters().cut, 4);
    network.heal();
    pairs(&mut network, ms(10));
    assert_eq!(run(&mut network, Duration::MAX).len(), 4);
}

#[test]
fn a_paused_host_sends_nothing_and_keeps_what_fits() {
    let room = 10 * (4 + PACKET_OVERHEAD);
    let mut network = Network::new(0, Config::default().recv_buffer(room));
    network.pause(host(2));
    assert!(network.is_paused(host(2)) && !network.is_paused(host(1)));
    flood(&mut network, 15);
    network.send(ms(1), at(2), at(1), vec![0; 4]);
    assert_eq!(run(&mut network, ms(1)), []);
    assert_eq!(network.in_flight(), 10);
    assert_eq!(
        (network.counters().overflowed, network.counters().silenced),
        (5, 1)
    );

    // What comes later stands behind what waits.
    network.send(ms(2), at(1), at(2), 99_u32.to_be_bytes().to_vec());
    network.resume(host(2));
    network.resume(host(2));
    let arrived = run(&mut network, ms(2));
    assert_eq!(numbers(&arrived), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 99]);
    assert_eq!(network.poll_timeout(), None);
}

#[test]
fn groups_reach_their_members_each_by_its_path() {
    let mut network = Network::new(0, Config::default());
    let reached = |network: &mut Network| {
        network.send(Duration::ZERO, at(1), group(), vec![7]);
        let arrived = run(network, Duration::MAX);
        assert!(
            arrived
                .iter()
                .all(|(_, delivery)| delivery.destination == group())
        );
        arrived
            .iter()
            .map(|(_, delivery)| delivery.to)
            .collect::<Vec<_>>()
    };
    assert_eq!(reached(&mut network), []);
    assert_eq!(network.counters().unheard, 1);
    for number in [3, 2, 1, 2] {
        network.join(host(number), group().ip());
    }
    assert_eq!(reached(&mut network), [at(1), at(2), at(3)]);
    network.set_path(host(1), host(2), Path::default().loss(1.0));
    assert_eq!(reached(&mut network), [at(1), at(3)]);
    network.leave(host(1), group().ip());
    network.leave(host(9), group().ip());
    assert_eq!(reached(&mut network), [at(3)]);
}

#[test]
fn what_is_under_way_is_limited() {
    let room = 100 * (4 + PACKET_OVERHEAD);
    let path = Path::default().delay(ms(5));
    let mut network = Network::new(0, Config::default().path(path).in_flight(room));
    flood(&mut network, 150);
    assert_eq!((network.in_flight(), network.counters().flooded), (100, 50));
    assert_eq!(run(&mut network, Duration::MAX).len(), 100);
    flood(&mut network, 100);
    assert_eq!(network.counters().flooded, 50);
}

fn everything() -> Path {
    Path::default()
        .loss(0.05)
        .duplication(0.05)
        .reordering(0.05, ms(3))
        .corruption(0.05)
        .delay(ms(2))
        .jitter(ms(4))
        .rate(1_000_000, 50_000)
        .mtu(1400)
}

/// A run with all faults, groups, a partition and a pause.
fn trace(seed: u64) -> (Vec<(Duration, Delivery)>, Counters) {
    let mut network = Network::new(seed, Config::default().path(everything()).recv_buffer(20_000));
    for number in 1..=4 {
        network.join(host(number), group().ip());
    }
    let mut arrived = Vec::new();
    for step in 0..500_u32 {
        let now = ms(u64::from(step));
        match step {
            100 => network.partition([host(2)]),
            150 => network.heal(),
            200 => network.pause(host(3)),
            300 => network.resume(host(3)),
            _ => {}
        }
        let from = at((step % 4) as u8 + 1);
        let len = 4 + step as usize * 3;
        let mut bytes = vec![0; len];
        bytes[..4].copy_from_slice(&step.to_be_bytes());
        network.send(now, from, group(), bytes.clone());
        network.send(now, from, at((step % 3) as u8 + 1), bytes);
        arrived.extend(run(&mut network, now));
    }
    arrived.extend(run(&mut network, Duration::MAX));
    (arrived, network.counters())
}

#[test]
fn a_seed_is_a_run() {
    for seed in SEEDS {
        let first = trace(seed);
        assert!(first == trace(seed), "seed {seed} gave two runs");
        assert!(
            first.0 != trace(seed + 1000).0,
            "seeds {seed} and {} gave one run",
            seed + 1000
        );
        assert!(first.0.is_sorted_by_key(|(now, _)| *now), "seed {seed}");
    }
}

fn path() -> impl Strategy<Value = Path> {
    let chance = || prop_oneof![Just(0.0), 0.0..1.0_f64, Just(1.0)];
    let rate = prop_oneof![Just(0), 1_u64.., 1_000..100_000_u64];
    (
        (chance(), chance(), chance(), chance()),
        (0..50_u64, 0..50_u64, 0..50_u64),
        (rate, 0..10_000_usize, 0..3000_usize),
    )
        .prop_map(
            |((loss, duplication, reordering, corruption), (delay, jitter, late), (rate, queue, mtu))| {
                Path::default()
                    .loss(loss)
                    .duplication(duplication)
                    .reordering(reordering, ms(late))
                    .corruption(corruption)
                    .delay(ms(delay))
                    .jitter(ms(jitter))
                    .rate(rate, queue)
                    .mtu(mtu)
            },
        )
}

proptest! {
    /// Every copy ends somewhere, and is counted there.
    #[test]
    fn nothing_gets_out_of_the_books(
        seed in any::<u64>(),
        path in path(),
        in_flight in 0..100_000_usize,
        recv_buffer in 0..20_000_usize,
        steps in proptest::collection::vec((0..6_u8, 1..4_u8, 1..6_u8, 0..2000_usize), 0..200),
    ) {
        let config = Config::default().path(path).in_flight(in_flight).recv_buffer(recv_buffer);
        let mut network = Network::new(seed, config);
        network.join(host(1), group().ip());
        network.join(host(2), group().ip());
        let mut arrived = 0;
        for (time, (action, from, to, len)) in steps.into_iter().enumerate() {
            let now = ms(time as u64);
            match action {
                0 => network.pause(host(to)),
                1 => network.resume(host(to)),
                2 => network.partition([host(from), host(to)]),
                _ if to == 5 => network.send(now, at(from), group(), vec![0; len]),
                _ => network.send(now, at(from), at(to), vec![0; len]),
            }
            while network.poll_delivery(now).is_some() {
                arrived += 1;
            }
            let c = network.counters();
            prop_assert_eq!(c.delivered, arrived);
            prop_assert_eq!(
                c.copies + c.duplicated,
                c.delivered + c.too_large + c.queue_full + c.lost + c.flooded + c.cut + c.overflowed
                    + network.in_flight() as u64
            );
        }
    }
}

#[test]
fn the_largest_packet_gets_through() {
    let mut network = Network::new(0, Config::default());
    network.send(Duration::ZERO, at(1), at(2), vec![0; Transmit::MAX_LEN]);
    assert_eq!(run(&mut network, Duration::MAX).len(), 1);
}
