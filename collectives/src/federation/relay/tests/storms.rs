//! Each message once and in order, whatever breaks.

use super::*;

/// A program that sends numbers, and goes on where its channel is when it starts again.
fn send_numbers(net: &mut Net, from: usize, to: usize, count: u64, huge: usize) {
    if net.nodes[from].is_none() {
        return;
    }
    while let Some(next) = net.position(from, to, "x")
        && next < count
        && net.send(from, to, "x", sized(next, huge)).is_ok()
    {}
}

/// Numbers in letters of many sizes.
fn sized(number: u64, huge: usize) -> Letter {
    let padding = match number % 7 {
        0 => 3000,
        5 => huge,
        3 => 1500,
        _ => 0,
    };
    let mut letter = letter(number);
    letter.parts.push(Bytes::from(vec![b' '; padding]));
    letter
}

/// A program that writes down what it has had, and goes on from there when it starts again.
fn receive_numbers(net: &mut Net, at: usize, from: usize, log: &mut u64) {
    if net.nodes[at].is_none() {
        return;
    }
    // Some programs acknowledge what they have written down, some give it back at times.
    let acknowledges = from == 1;
    loop {
        let taken = match acknowledges {
            true => net.lend(at, from, "x"),
            false => net.take(at, from, "x", None),
        };
        let Some(taken) = taken else {
            return;
        };
        assert_eq!(taken.offset, *log, "each once, in order");
        let text = text(&taken).expect("nothing expires");
        assert_eq!(text.trim(), log.to_string());
        let is_done = !acknowledges || net.random.u32(0..4) > 0;
        *log += u64::from(is_done);
        if acknowledges {
            net.end(at, from, "x", &taken, is_done);
        }
    }
}

struct Storm {
    plan: Plan,
    count: u64,
    /// The size of some messages.
    huge: usize,
    deaths: u32,
    /// Whether parties die, servers, and connections break.
    parties: bool,
    servers: bool,
    connections: bool,
}

impl Default for Storm {
    fn default() -> Self {
        Storm {
            plan: Plan::default(),
            count: 60,
            huge: 2000,
            deaths: 16,
            parties: false,
            servers: false,
            connections: false,
        }
    }
}

fn storm(seed: u64, storm: Storm) {
    let server_count = storm.plan.homes.iter().max().unwrap() + 1;
    let mut net = Net::new(seed, storm.plan);
    (net.loss, net.doubled, net.jitter) = (30, 30, 5);
    let (mut logs, mut left) = ([0, 0], storm.deaths);
    net.until(60, |net| {
        if left > 0 && net.random.u32(0..100) == 0 {
            left -= 1;
            match net.random.u32(0..4) {
                0 if storm.parties => {
                    // Messages that are not kept whole are lost when first their sender dies and then their receiver.
                    let who = match storm.huge > 50_000 {
                        true => usize::from(seed % 4 < 2),
                        false => net.random.usize(0..2),
                    };
                    net.restart(who);
                    net.resume(who, 1 - who, "x", logs[who]);
                }
                1 if storm.servers => {
                    let server = net.random.usize(0..server_count);
                    net.restart_server(server);
                }
                2 if storm.connections => {
                    let who = net.random.usize(0..2);
                    net.cut(who);
                    net.connect(who);
                }
                3 if storm.connections && server_count > 1 => net.cut_servers(),
                _ => {}
            }
        }
        for (from, to) in [(0, 1), (1, 0)] {
            send_numbers(net, from, to, storm.count, storm.huge);
            receive_numbers(net, to, from, &mut logs[to]);
        }
        logs == [storm.count; 2] && left == 0
    });
    (net.loss, net.doubled) = (0, 0);
    net.run(Duration::from_secs(5));
    for server in 0..server_count {
        let stats = net.stats(server);
        assert_eq!((stats.held_bytes, stats.memory_bytes), (0, 0), "{stats:?}");
        for party in stats.jobs.values().flat_map(|job| job.parties.values()) {
            assert_eq!(party.wrong, 0, "{:?}", net.servers[server].events);
        }
    }
}

fn small_windows() -> RelayLimits {
    RelayLimits {
        memory_bytes: 1 << 20,
        window_bytes: 64 << 10,
        ..relay_limits()
    }
}

fn durable() -> Plan {
    Plan {
        is_durable: true,
        ..Plan::default()
    }
}

fn chained(plan: Plan) -> Plan {
    Plan {
        homes: vec![0, 1],
        ..plan
    }
}

fn small(plan: Plan) -> Plan {
    Plan {
        relay_limits: small_windows(),
        ..plan
    }
}

#[test]
fn over_a_bad_network() {
    with_seeds(20, |seed| {
        storm(
            seed,
            Storm {
                count: 100,
                deaths: 0,
                ..Storm::default()
            },
        );
    });
}

#[test]
fn when_parties_die_and_connections_break() {
    with_seeds(40, |seed| {
        storm(
            seed,
            Storm {
                plan: small(Plan::default()),
                parties: true,
                connections: true,
                ..Storm::default()
            },
        );
    });
}

#[test]
fn when_a_server_without_a_store_dies_and_its_parties_live() {
    with_seeds(40, |seed| {
        storm(
            seed,
            Storm {
                servers: true,
                connections: true,
                ..Storm::default()
            },
        );
    });
}

#[test]
fn when_all_die_and_the_server_has_a_store() {
    with_seeds(40, |seed| {
        storm(
            seed,
            Storm {
                plan: durable(),
                parties: true,
                servers: true,
                connections: true,
                ..Storm::default()
            },
        );
    });
}

#[test]
fn when_the_store_is_all_but_the_memory() {
    with_seeds(20, |seed| {
        storm(
            seed,
            Storm {
                plan: Plan {
                    relay_limits: RelayLimits {
                        memory_bytes: 6000,
                        ..relay_limits()
                    },
                    ..durable()
                },
                parties: true,
                servers: true,
                connections: true,
                ..Storm::default()
            },
        );
    });
}

#[test]
fn through_two_servers_that_die_when_parties_live() {
    with_seeds(30, |seed| {
        storm(
            seed,
            Storm {
                plan: chained(Plan::default()),
                servers: true,
                connections: true,
                ..Storm::default()
            },
        );
    });
}

#[test]
fn through_two_servers_when_parties_die() {
    with_seeds(30, |seed| {
        storm(
            seed,
            Storm {
                plan: chained(small(Plan::default())),
                parties: true,
                connections: true,
                ..Storm::default()
            },
        );
    });
}

#[test]
fn through_two_servers_with_stores_when_all_die() {
    with_seeds(30, |seed| {
        storm(
            seed,
            Storm {
                plan: chained(durable()),
                parties: true,
                servers: true,
                connections: true,
                ..Storm::default()
            },
        );
    });
}

#[test]
fn messages_that_are_not_kept_whole_when_parties_die() {
    with_seeds(15, |seed| {
        storm(
            seed,
            Storm {
                plan: small(Plan::default()),
                count: 30,
                huge: 100_000,
                parties: true,
                connections: true,
                ..Storm::default()
            },
        );
    });
}

#[test]
fn messages_that_are_not_kept_whole_when_the_server_dies() {
    with_seeds(15, |seed| {
        storm(
            seed,
            Storm {
                plan: small(Plan::default()),
                count: 30,
                huge: 100_000,
                servers: true,
                connections: true,
                ..Storm::default()
            },
        );
    });
}

#[test]
fn messages_that_are_not_kept_whole_through_two_servers() {
    with_seeds(10, |seed| {
        storm(
            seed,
            Storm {
                plan: chained(small(Plan::default())),
                count: 30,
                huge: 100_000,
                parties: seed % 2 == 0,
                servers: seed % 2 == 1,
                connections: true,
                ..Storm::default()
            },
        );
    });
}
