//! What reviewers have found: each was wrong once.

use super::super::relay::Relay;
use super::stage::{SERVER, Stage, Voice, data, open};
use super::*;
use crate::federation::core::packet::{Content, Data, Hello, Item, Packet};

fn numbered(name: &str, epoch: u64, first: u64) -> Item {
    Item::Open {
        flow: 0,
        key: key(name),
        from: Some((epoch, first)),
    }
}

/// A piece of a message of one part.
fn piece(offset: u64, at: u64, len: usize, size: u64, byte: u8) -> (Item, Vec<Bytes>) {
    let data = Data {
        flow: 0,
        offset,
        tag: None,
        codec: 0,
        ttl: None,
        expired: false,
        at,
        parts: (at == 0).then_some(size).into_iter().collect(),
        pieces: 1,
    };
    (Item::Data(data), vec![Bytes::from(vec![byte; len])])
}

/// Who leaves says so to each of the others, and the operator hears of it once.
#[test]
fn who_leaves_is_told_once() {
    let mut stage = Stage::open();
    let mut voices = [1, 2].map(|other| Voice {
        members: (0..3).map(party).collect(),
        ..Voice::new(0, other)
    });
    for process in 0..2 {
        for voice in &voices {
            stage.hello(voice);
        }
        for voice in &mut voices {
            assert!(stage.takes(voice, Item::Leave));
        }
        let events = stage.events();
        let told = |kind: fn(&RelayEvent) -> bool| events.iter().filter(|event| kind(event)).count();
        assert_eq!(
            told(|event| matches!(event, RelayEvent::Joined { .. })),
            1,
            "{events:?}"
        );
        assert_eq!(
            told(|event| matches!(event, RelayEvent::Left { .. })),
            1,
            "{events:?}"
        );
        stage.pass(Duration::from_secs(10));
        stage.events();
        voices = voices.map(|voice| voice.again(20 + process));
    }
}

/// How many items there are for somebody.
fn count_items(said: &[(Way, Packet)], voice: &Voice) -> u64 {
    let own = said
        .iter()
        .filter(|(way, _)| *way == Way::Party(voice.connection));
    own.map(|(_, packet)| match &packet.header.content {
        Content::Items { items, .. } => items.len() as u64,
        _ => 0,
    })
    .sum()
}

fn settled(offset: u64) -> Item {
    Item::Settled {
        flow: 0,
        offset,
        expired: false,
    }
}

fn opened(epoch: u64, next: u64, held: Vec<u64>) -> Item {
    Item::Opened {
        flow: 0,
        epoch,
        next,
        held,
    }
}

fn give(stage: &mut Stage, voice: &mut Voice, (item, pieces): (Item, Vec<Bytes>)) {
    assert!(stage.takes_with(voice, item, pieces), "{:?}", stage.events());
}

/// Items that the server says to somebody, who acknowledges them.
fn take_in(stage: &mut Stage, voice: &mut Voice) -> Vec<Item> {
    let mut all = Vec::new();
    for (way, packet) in stage.hear() {
        if way == Way::Party(voice.connection)
            && packet.header.from == voice.to
            && let Content::Items { seq, items } = packet.header.content
        {
            for (item, seq) in items.into_iter().zip(seq..) {
                if seq == voice.ack {
                    voice.ack += 1;
                    all.push(item);
                }
            }
        }
    }
    stage.say_with(voice, Content::Ack { gap: false }, Vec::new());
    all
}

/// Items that the server says to each, not acknowledged.
fn said(stage: &mut Stage, voices: &[&Voice]) -> Vec<Vec<(Item, Vec<Bytes>)>> {
    let mut all = vec![Vec::new(); voices.len()];
    for (way, packet) in stage.hear() {
        let Packet { header, pieces } = packet;
        let mut pieces = pieces.into_iter();
        for (index, voice) in voices.iter().enumerate() {
            if way == Way::Party(voice.connection)
                && header.from == voice.to
                && let Content::Items { items, .. } = &header.content
            {
                for item in items {
                    let own = pieces.by_ref().take(item.pieces()).collect();
                    all[index].push((item.clone(), own));
                }
            }
        }
    }
    all
}

struct Durable {
    stage: Stage,
    store: ModelStore,
    setup: RelaySetup,
}

impl Durable {
    fn new(limits: RelayLimits) -> Durable {
        let now = Instant::now();
        let setup = RelaySetup {
            incarnation: SERVER,
            limits,
            access: Access::open(),
            routes: Routes::default(),
            durable: true,
            epochs: 1,
            unix_ms: 1_000_000,
        };
        Durable {
            stage: Stage {
                now,
                relay: Relay::new(setup.clone(), now),
            },
            store: ModelStore::default(),
            setup,
        }
    }

    fn settle(&mut self) {
        while let Some(request) = self.stage.relay.poll_store() {
            match self.store.done(request) {
                model::Done::Committed(batch) => self.stage.relay.handle_committed(batch),
                model::Done::Loaded(piece, content) => self.stage.relay.handle_loaded(piece, content),
                model::Done::Gone(piece) => self.stage.relay.handle_missing(piece),
            }
        }
    }

    fn restart(&mut self) {
        let mut relay = Relay::new(self.setup.clone(), self.stage.now);
        self.store.show(&mut |record| relay.restore(record));
        self.stage.relay = relay;
    }
}

#[test]
fn parties_that_come_back_after_their_job_was_forgotten_go_on() {
    let plan = Plan {
        relay_limits: RelayLimits {
            job_idle: Duration::from_secs(5),
            ..relay_limits()
        },
        ..Plan::default()
    };
    let mut net = Net::new(1, plan);
    net.send(0, 1, "x", letter("one")).unwrap();
    net.run(Duration::from_secs(1));
    assert!(net.take(1, 0, "x", None).is_some());
    net.run(Duration::from_secs(1));
    net.cut(0);
    net.cut(1);
    net.run(Duration::from_secs(20));
    assert!(net.stats(0).jobs.is_empty(), "it is forgotten");
    net.connect(0);
    net.connect(1);
    net.send(0, 1, "x", letter("two")).unwrap();
    net.run(Duration::from_secs(120));
    let taken = net.take(1, 0, "x", None);
    assert_eq!(taken.and_then(|taken| text(&taken)).as_deref(), Some("two"));
}

#[test]
fn a_message_that_is_received_before_it_has_come_again_has_its_end() {
    let mut stage = Stage::open();
    let (mut a, mut b) = (Voice::new(0, 1), Voice::new(1, 0));
    stage.hello(&a);
    stage.hello(&b);
    // The server has started again. A sends again what has no end; B has it all and has not received it.
    assert!(stage.takes(&mut a, numbered("x", 7, 0)));
    give(&mut stage, &mut a, data(0, 0, 10));
    let news = stage.hear();
    a.ack = count_items(&news, &a);
    b.ack = count_items(&news, &b);
    assert!(stage.takes(&mut b, opened(7, 2, vec![0, 1])));
    // Its program takes both, a little before the second has come from A again.
    assert!(stage.takes(&mut b, settled(0)));
    assert!(stage.takes(&mut b, settled(1)));
    give(&mut stage, &mut a, data(0, 1, 10));
    let ends = take_in(&mut stage, &mut a).into_iter();
    let ends: Vec<_> = ends
        .filter_map(|item| match item {
            Item::Settled { offset, .. } => Some(offset),
            _ => None,
        })
        .collect();
    assert_eq!((ends, stage.relay.stats().held_bytes), (vec![0, 1], 0));
}

#[test]
fn a_slow_receiver_lives_on_when_the_server_has_started_again() {
    with_seeds(20, |seed| {
        let mut net = Net::new(seed, Plan::default());
        for number in 0..200 {
            net.send(0, 1, "x", large(3000, number)).unwrap();
        }
        net.run(Duration::from_secs(5));
        net.restart_server(0);
        let mut count = 0;
        net.until(1, |net| {
            for _ in 0..net.random.u32(0..20) {
                count += u32::from(net.take(1, 0, "x", None).is_some());
            }
            count == 200
        });
        net.run(Duration::from_secs(30));
        net.assert_empty(0);
    });
}

#[test]
fn numbers_do_not_go_back_when_all_start_again() {
    let mut all = Durable::new(relay_limits());
    let (mut a, mut b) = (Voice::new(0, 1), Voice::new(1, 0));
    all.stage.hello(&a);
    all.stage.hello(&b);
    assert!(all.stage.takes(&mut a, open(0, "x")));
    give(&mut all.stage, &mut a, data(0, 0, 10));
    give(&mut all.stage, &mut a, piece(1, 0, 10, 20, 1));
    all.settle();
    let items = take_in(&mut all.stage, &mut b);
    let epoch = items.iter().find_map(|item| match item {
        Item::Open { from, .. } => from.map(|(epoch, _)| epoch),
        _ => None,
    });
    let epoch = epoch.unwrap();
    assert!(all.stage.takes(&mut b, opened(epoch, 0, Vec::new())));
    take_in(&mut all.stage, &mut b);
    assert!(all.stage.takes(&mut b, settled(0)));
    all.settle();
    // A dies amid its second message, and the server.
    all.restart();
    let mut a = a.again(20);
    (b.connection, b.seq, b.ack) = (500, 0, 0);
    all.stage.hello(&a);
    all.stage.hello(&b);
    assert!(all.stage.takes(&mut a, open(0, "x")));
    all.settle();
    let items = take_in(&mut all.stage, &mut a);
    let next = items.iter().find_map(|item| match item {
        Item::Opened { next, .. } => Some(*next),
        _ => None,
    });
    let next = next.unwrap();
    // The new process sends its first message, and hears that B has it.
    give(&mut all.stage, &mut a, data(0, next, 10));
    all.settle();
    let said = said(&mut all.stage, &[&a, &b]);
    assert!(said[1].iter().any(|(item, _)| matches!(item, Item::Open { .. })));
    assert!(all.stage.takes(&mut b, opened(epoch, 1, Vec::new())));
    all.settle();
    assert!(
        all.stage.relay.stats().held_bytes > 0,
        "nobody has had message {next}"
    );
}

#[test]
fn late_acknowledgements_of_a_dead_message_free_nothing_of_the_next() {
    let limits = RelayLimits {
        window_bytes: 128 << 10,
        ..relay_limits()
    };
    let mut stage = Stage::new(limits, Access::open());
    let (mut a, mut b) = (Voice::new(0, 1), Voice::new(1, 0));
    stage.hello(&a);
    stage.hello(&b);
    assert!(stage.takes(&mut a, numbered("x", 7, 0)));
    assert!(stage.takes(&mut a, Item::Want { total: 80_000 }));
    // A message that is not kept whole, and of which two pieces are on their way to B.
    give(&mut stage, &mut a, piece(0, 0, 10_000, 70_000, 1));
    take_in(&mut stage, &mut b);
    assert!(stage.takes(&mut b, opened(7, 0, Vec::new())));
    give(&mut stage, &mut a, piece(0, 10_000, 10_000, 70_000, 1));
    let mut copy = b.clone();
    for (_, packet) in stage.hear() {
        if let Content::Items { seq, items } = packet.header.content
            && packet.header.to == b.from
        {
            copy.ack = copy.ack.max(seq + items.len() as u64);
        }
    }
    // The way to B is full. A dies; its successor sends another message.
    stage.relay.set_blocked(Way::Party(b.connection), true);
    stage.relay.handle_lost(Way::Party(a.connection));
    let mut a = a.again(20);
    stage.hello(&a);
    assert!(stage.takes(&mut a, open(0, "x")));
    assert!(stage.takes(&mut a, Item::Want { total: 80_000 }));
    give(&mut stage, &mut a, piece(0, 0, 10_000, 70_000, 2));
    give(&mut stage, &mut a, piece(0, 10_000, 10_000, 70_000, 2));
    // B has the pieces of the first.
    b.ack = copy.ack;
    stage.say_with(&b, Content::Ack { gap: false }, Vec::new());
    stage.relay.set_blocked(Way::Party(b.connection), false);
    for at in 2..7 {
        give(&mut stage, &mut a, piece(0, at * 10_000, 10_000, 70_000, 2));
    }
    let mut came = Vec::new();
    for _ in 0..10 {
        for item in take_in(&mut stage, &mut b) {
            if let Item::Data(data) = item {
                came.push(data.at);
            }
        }
        stage.pass(Duration::from_millis(100));
        stage.say_with(&a, Content::Ack { gap: false }, Vec::new());
    }
    assert!(came.contains(&0) && came.contains(&60_000), "{came:?}");
}

#[test]
fn time_goes_on_when_a_receiver_is_slower_than_the_ttl() {
    let limits = RelayLimits {
        ttl: Duration::from_secs(1),
        ..relay_limits()
    };
    let mut stage = Stage::new(limits, Access::open());
    let (mut a, mut b) = (Voice::new(0, 1), Voice::new(1, 0));
    stage.hello(&a);
    stage.hello(&b);
    assert!(stage.takes(&mut a, numbered("x", 7, 0)));
    for offset in 0..300 {
        give(&mut stage, &mut a, data(0, offset, 10));
        if offset == 0 {
            take_in(&mut stage, &mut b);
            assert!(stage.takes(&mut b, opened(7, 0, Vec::new())));
        }
        take_in(&mut stage, &mut b);
    }
    // B has all 300, and its program is busy.
    for _ in 0..4 {
        stage.now += Duration::from_millis(400);
        stage.say_with(&b, Content::Ack { gap: false }, Vec::new());
        stage.relay.handle_timeout(stage.now);
    }
    let is_over = (0..1000).any(|_| {
        stage.relay.handle_timeout(stage.now);
        stage.hear();
        stage.relay.poll_timeout().is_none_or(|at| at > stage.now)
    });
    assert!(is_over, "a timer is always due: the server turns in a circle");
}

#[test]
fn all_messages_for_one_who_never_comes_end_after_their_time() {
    let limits = RelayLimits {
        ttl: Duration::from_secs(10),
        ..relay_limits()
    };
    let mut stage = Stage::new(limits, Access::open());
    let mut a = Voice::new(0, 1);
    stage.hello(&a);
    assert!(stage.takes(&mut a, numbered("x", 7, 0)));
    for offset in 0..350 {
        give(&mut stage, &mut a, data(0, offset, 10));
    }
    stage.pass(Duration::from_secs(15));
    let expired = stage.relay.stats().jobs[&job("job")].parties[&party(0)].expired;
    assert_eq!(expired, 350, "the others wait another time as long");
}

#[test]
fn a_receiver_cannot_fill_the_memory_with_what_it_says_that_it_holds() {
    let mut stage = Stage::open();
    let (mut a, mut b) = (Voice::new(0, 1), Voice::new(1, 0));
    stage.hello(&a);
    stage.hello(&b);
    assert!(stage.takes(&mut a, numbered("x", 7, 0)));
    give(&mut stage, &mut a, data(0, 0, 1));
    take_in(&mut stage, &mut b);
    let held: Vec<_> = (1..200_000).collect();
    stage.takes(&mut b, opened(7, 300_000, held));
    let half = stage.half(&b);
    let flow = stage.relay.halves[half].targets[0];
    let kept = format!("{:?}", stage.relay.flows[flow]).len();
    let counted = stage.relay.stats().held_bytes;
    assert!(kept < 1 << 16, "{kept} bytes in words, of which {counted} count");
}

#[test]
fn what_the_store_has_no_more_is_not_counted_for_ever() {
    let mut all = Durable::new(relay_limits());
    let mut a = Voice::new(0, 1);
    all.stage.hello(&a);
    assert!(all.stage.takes(&mut a, numbered("x", 7, 0)));
    let (mut item, pieces) = data(0, 0, 10_000);
    if let Item::Data(data) = &mut item {
        data.ttl = Some(500);
    }
    give(&mut all.stage, &mut a, (item, pieces));
    all.settle();
    all.restart();
    let mut b = Voice::new(1, 0);
    all.stage.hello(&b);
    take_in(&mut all.stage, &mut b);
    assert!(all.stage.takes(&mut b, opened(7, 0, Vec::new())));
    all.stage.hear();
    assert_eq!(all.stage.relay.stats().memory_bytes, 10_000, "it is being loaded");
    // Its time is over before the store has come to it.
    all.stage.pass(Duration::from_millis(600));
    all.settle();
    all.stage.hear();
    all.settle();
    assert_eq!(all.stage.relay.stats().memory_bytes, 0);
}

/// A durable server with 1 MiB of memory, and a receiver that does not acknowledge.
fn slow_receiver() -> (Durable, Voice) {
    let mut all = Durable::new(RelayLimits {
        memory_bytes: 1 << 20,
        ..relay_limits()
    });
    let mut a = Voice::new(0, 1);
    all.stage.hello(&a);
    for flow in 0..40 {
        let open = open(flow, &flow.to_string());
        assert!(all.stage.takes(&mut a, open));
        let total = (u64::from(flow) + 1) * 700_000;
        assert!(all.stage.takes(&mut a, Item::Want { total }));
        give(&mut all.stage, &mut a, data(flow, 0, 600_000));
        all.settle();
        take_in(&mut all.stage, &mut a);
    }
    let mut b = Voice::new(1, 0);
    all.stage.hello(&b);
    let mut opens = BTreeMap::new();
    for _ in 0..10 {
        let said = said(&mut all.stage, &[&b]);
        for (item, _) in said.into_iter().flatten() {
            if let Item::Open { flow, from, .. } = item
                && opens.insert(flow, from).is_none()
            {
                let epoch = from.unwrap().0;
                let opened = Item::Opened {
                    flow,
                    epoch,
                    next: 0,
                    held: Vec::new(),
                };
                assert!(all.stage.takes(&mut b, opened));
            }
        }
        all.settle();
    }
    for _ in 0..200 {
        all.stage.hear();
        all.settle();
    }
    (all, b)
}

#[test]
fn a_slow_receiver_does_not_stop_the_others() {
    let (mut all, b) = slow_receiver();
    let mut c = Voice::new(2, 3);
    c.job = job("other");
    c.members = vec![party(2), party(3)];
    all.stage.hello(&c);
    assert!(all.stage.takes(&mut c, open(0, "x")));
    // For as long as it shows that it lives.
    for _ in 0..20 {
        all.stage.pass(Duration::from_millis(100));
        all.stage.say_with(&b, Content::Ack { gap: false }, Vec::new());
        all.stage.hear();
        all.settle();
    }
    let (item, pieces) = data(0, 0, 10);
    assert!(
        all.stage.takes_with(&mut c, item, pieces),
        "nobody else's message is taken: {:?}",
        all.stage.relay.stats().memory_bytes
    );
}

#[test]
fn what_waits_on_links_counts() {
    let (all, b) = slow_receiver();
    let half = all.stage.half(&b);
    let (_, bytes) = all.stage.relay.halves[half].link.queued();
    let counted = all.stage.relay.stats().memory_bytes;
    assert!(
        bytes as u64 <= counted,
        "{bytes} bytes, of which {counted} count, of 1 MiB"
    );
}

#[test]
fn nothing_is_said_on_a_way_that_is_full() {
    let mut stage = Stage::new(relay_limits(), Access::default());
    let stranger = Voice::new(0, 1);
    stage.relay.set_blocked(Way::Party(stranger.connection), true);
    let mut said = 0;
    for _ in 0..5000 {
        stage.hello(&stranger);
        said += stage.hear().len();
    }
    assert_eq!(said, 0);
}

#[test]
fn sessions_go_on_when_routes_change() {
    let mut stage = Stage::open();
    let mut a = Voice::new(0, 1);
    stage.hello(&a);
    assert!(stage.takes(&mut a, open(0, "x")));
    stage.relay.set_routes(Routes {
        parties: [(party(0), 0)].into(),
    });
    assert!(stage.takes(&mut a, open(1, "y")), "what has begun goes on");
}

#[test]
fn who_was_away_hears_that_one_who_left_is_there_again() {
    let mut stage = Stage::open();
    let (mut a, mut b) = (Voice::new(0, 1), Voice::new(1, 0));
    stage.hello(&a);
    stage.hello(&b);
    take_in(&mut stage, &mut b);
    assert!(stage.takes(&mut a, Item::Leave));
    let mut last = None;
    let mut note = |items: Vec<Item>| {
        for item in items {
            match item {
                Item::Seen { is_up } => last = Some(is_up),
                Item::Leave => last = Some(false),
                _ => {}
            }
        }
    };
    note(take_in(&mut stage, &mut b));
    // B is not heard for some time; meanwhile A ends and starts again.
    for _ in 0..6 {
        stage.pass(Duration::from_millis(200));
        stage.say_with(&a, Content::Ack { gap: false }, Vec::new());
    }
    stage.relay.handle_lost(Way::Party(a.connection));
    let a = a.again(20);
    stage.hello(&a);
    stage.say_with(&b, Content::Ack { gap: false }, Vec::new());
    note(take_in(&mut stage, &mut b));
    note(take_in(&mut stage, &mut b));
    assert_eq!(last, Some(true), "B thinks that A has left, and A is there");
}

#[test]
fn who_is_drained_has_told_all() {
    let mut all = Durable::new(relay_limits());
    let mut a = Voice::new(0, 1);
    all.stage.hello(&a);
    assert!(all.stage.takes(&mut a, open(0, "x")));
    all.settle();
    take_in(&mut all.stage, &mut a);
    give(&mut all.stage, &mut a, data(0, 0, 10));
    all.settle();
    all.stage.relay.drain();
    let mut told = 0;
    while !all.stage.relay.is_drained() {
        let said = all.stage.hear().into_iter();
        told = said
            .map(|(_, packet)| packet.header.ack)
            .max()
            .unwrap_or(0)
            .max(told);
        all.settle();
    }
    assert_eq!(told, a.seq, "its message is in the store, and it does not know");
}

#[test]
fn a_job_that_is_kept_for_ten_years_does_no_harm() {
    let longest = Duration::from_secs(10 * 366 * 24 * 3600);
    let limits = RelayLimits {
        job_idle: longest,
        aborted: longest,
        ttl: longest,
        ..relay_limits()
    };
    assert_eq!(limits.validate(), Ok(()));
    let mut stage = Stage::new(limits, Access::open());
    let mut a = Voice::new(0, 1);
    stage.hello(&a);
    assert!(stage.takes(&mut a, open(0, "x")));
    give(&mut stage, &mut a, data(0, 0, 10));
    let (by, reason) = (party(0), "enough".to_owned());
    assert!(stage.takes(&mut a, Item::Abort { by, reason }));
    stage.pass(Duration::from_secs(3600));
    assert_eq!(stage.relay.stats().jobs.len(), 1);
}

#[test]
fn a_message_does_not_begin_its_time_anew_with_each_start() {
    let mut all = Durable::new(RelayLimits {
        ttl: Duration::from_secs(10),
        ..relay_limits()
    });
    let mut a = Voice::new(0, 1);
    all.stage.hello(&a);
    assert!(all.stage.takes(&mut a, open(0, "x")));
    give(&mut all.stage, &mut a, data(0, 0, 10));
    all.settle();
    for _ in 0..5 {
        all.stage.pass(Duration::from_secs(6));
        all.settle();
        all.setup.unix_ms += 6000;
        all.restart();
    }
    all.stage.pass(Duration::from_secs(1));
    all.settle();
    assert_eq!(all.store.kept(), 0, "after 31 s of 10");
}

#[test]
fn the_last_offset_does_not_stop_its_receiver() {
    let last = (1 << 62) - 1;
    let mut stage = Stage::open();
    let (mut a, mut b) = (Voice::new(0, 1), Voice::new(1, 0));
    stage.hello(&a);
    stage.hello(&b);
    assert!(stage.takes(&mut a, numbered("x", 7, last)));
    give(&mut stage, &mut a, data(0, last, 10));
    take_in(&mut stage, &mut b);
    assert!(stage.takes(&mut b, opened(7, last, Vec::new())));
    take_in(&mut stage, &mut b);
    // B has it, and says so in its next session.
    let mut b = b.again(30);
    stage.relay.handle_lost(Way::Party(101));
    stage.hello(&b);
    take_in(&mut stage, &mut b);
    assert!(
        stage.takes(&mut b, opened(7, last + 1, vec![last])),
        "B says nothing more"
    );
}

#[test]
fn answers_count() {
    let limits = RelayLimits {
        memory_bytes: 1 << 20,
        ..relay_limits()
    };
    let mut stage = Stage::new(limits, Access::open());
    let mut a = Voice::new(0, 1);
    stage.hello(&a);
    assert!(stage.takes(&mut a, open(0, "x")));
    let half = stage.half(&a);
    for _ in 0..20_000 {
        let total = stage.relay.halves[half].account.granted + 1;
        if !stage.takes(&mut a, Item::Want { total }) {
            break;
        }
    }
    let bytes = stage.relay.halves[half].link.queued().0 * size_of::<Item>();
    assert!(bytes < 1 << 20, "{bytes} bytes of one pair, of 1 MiB altogether");
}

#[test]
fn who_is_refused_by_the_second_server_hears_of_it() {
    let plan = Plan {
        homes: vec![0, 1],
        ..Plan::default()
    };
    let mut net = Net::new(1, plan);
    let access = Access {
        servers: [("server 0".to_owned(), [party(0)].into())].into(),
        jobs: [(job("job"), [party(1), party(2)].into())].into(),
        ..Access::open()
    };
    net.servers[1].relay.set_access(access);
    net.run(Duration::from_secs(20));
    assert!(net.node(0).peers()[0].refused.is_some());
}

#[test]
fn a_new_sender_hears_of_no_message_that_is_not_kept() {
    let mut all = Durable::new(relay_limits());
    let mut a = Voice::new(0, 1);
    all.stage.hello(&a);
    assert!(all.stage.takes(&mut a, open(0, "x")));
    all.settle();
    for offset in 0..3 {
        give(&mut all.stage, &mut a, data(0, offset, 10));
    }
    // A dies before they are in the store; its successor asks where it is to go on.
    all.stage.relay.handle_lost(Way::Party(a.connection));
    let mut a = a.again(20);
    all.stage.hello(&a);
    assert!(all.stage.takes(&mut a, open(0, "x")));
    let told = take_in(&mut all.stage, &mut a);
    let next = told.iter().find_map(|item| match item {
        Item::Opened { next, .. } => Some(*next),
        _ => None,
    });
    // And the server dies.
    assert_eq!(all.store.kept(), 0);
    assert!(
        next.is_none_or(|next| next == 0),
        "it goes on with {next:?}, and nobody has those before"
    );
}

#[test]
fn a_slow_receiver_leaves_memory_for_loading() {
    let mut all = Durable::new(RelayLimits {
        memory_bytes: 128 << 20,
        ..relay_limits()
    });
    let content = Bytes::from(vec![1; 1 << 20]);
    let mut a = Voice::new(0, 1);
    let mut c = Voice::new(2, 3);
    c.job = job("other");
    c.members = vec![party(2), party(3)];
    for (voice, flows) in [(&mut a, 140), (&mut c, 1)] {
        all.stage.hello(voice);
        for flow in 0..flows {
            assert!(all.stage.takes(voice, open(flow, &flow.to_string())));
            let total = (u64::from(flow) + 1) * 1_100_000;
            assert!(all.stage.takes(voice, Item::Want { total }));
            let (item, _) = data(flow, 0, 1 << 20);
            give(&mut all.stage, voice, (item, vec![content.clone()]));
            all.settle();
            take_in(&mut all.stage, voice);
        }
    }
    // Nothing of it is in memory any more.
    all.restart();
    let mut b = Voice::new(1, 0);
    let mut d = Voice::new(3, 2);
    d.job = job("other");
    d.members = c.members.clone();
    all.stage.hello(&b);
    all.stage.hello(&d);
    // B never acknowledges, and D does.
    let mut opens = BTreeSet::new();
    let mut has_come = false;
    for _ in 0..60 {
        let mut ack = d.ack;
        for (way, packet) in all.stage.hear() {
            let Content::Items { seq, items } = packet.header.content else {
                continue;
            };
            let is_d = way == Way::Party(d.connection);
            if is_d {
                ack = ack.max(seq + items.len() as u64);
            }
            for item in items {
                has_come |= is_d && matches!(item, Item::Data(_));
                let voice = if is_d { &mut d } else { &mut b };
                if let Item::Open { flow, from, .. } = item
                    && opens.insert((is_d, flow))
                {
                    let opened = Item::Opened {
                        flow,
                        epoch: from.unwrap().0,
                        next: 0,
                        held: Vec::new(),
                    };
                    assert!(all.stage.takes(voice, opened));
                }
            }
        }
        d.ack = ack;
        all.stage.pass(Duration::from_millis(100));
        all.stage.say_with(&d, Content::Ack { gap: false }, Vec::new());
        all.stage.say_with(&b, Content::Ack { gap: false }, Vec::new());
        // The store takes its time.
        all.settle();
    }
    assert!(opens.contains(&(true, 0)));
    assert!(
        has_come,
        "{} bytes of memory",
        all.stage.relay.stats().memory_bytes
    );
}

#[test]
fn a_message_that_takes_the_place_of_one_that_was_wanted_again_is_sent() {
    let limits = RelayLimits {
        window_bytes: 128 << 10,
        ..relay_limits()
    };
    let mut stage = Stage::new(limits, Access::open());
    let (mut a, mut b) = (Voice::new(0, 1), Voice::new(1, 0));
    stage.hello(&a);
    // B is reached through another server.
    let hello = Hello {
        members: b.members.clone(),
        window_messages: 1000,
        window_bytes: 1 << 20,
        max_message: 1 << 30,
        credit: 1 << 20,
        custody: 1 << 16,
    };
    stage.say_with(&b, Content::Hello(hello), Vec::new());
    assert!(stage.takes(&mut b, Item::Seen { is_up: true }));
    assert!(stage.takes(&mut a, numbered("x", 7, 0)));
    assert!(stage.takes(&mut a, Item::Want { total: 80_000 }));
    let mut came = Vec::new();
    for at in 0..7 {
        give(&mut stage, &mut a, piece(0, at * 10_000, 10_000, 70_000, 1));
        came.extend(take_in(&mut stage, &mut b));
        if at == 0 {
            assert!(stage.takes(&mut b, opened(7, 0, Vec::new())));
        }
        came.extend(take_in(&mut stage, &mut b));
    }
    let is_last = |item: &Item| matches!(item, Item::Data(data) if data.at == 60_000);
    assert!(came.iter().any(is_last), "all of it went on");
    // The party's session with the other server has broken, which wants it again. A dies, and another takes its place.
    assert!(stage.takes(&mut b, Item::Rewind { flow: 0, offset: 0 }));
    take_in(&mut stage, &mut b);
    stage.relay.handle_lost(Way::Party(a.connection));
    let mut a = a.again(20);
    stage.hello(&a);
    assert!(stage.takes(&mut a, open(0, "x")));
    let told = take_in(&mut stage, &mut a);
    let next = told.iter().find_map(|item| match item {
        Item::Opened { next, .. } => Some(*next),
        _ => None,
    });
    let next = next.unwrap();
    give(&mut stage, &mut a, data(0, next, 10));
    let mut sent = Vec::new();
    for _ in 0..20 {
        for item in take_in(&mut stage, &mut b) {
            if let Item::Data(data) = item {
                sent.push((data.offset, data.expired));
            }
        }
        stage.pass(Duration::from_millis(100));
        stage.say_with(&a, Content::Ack { gap: false }, Vec::new());
    }
    assert!(
        sent.contains(&(next, false)),
        "{sent:?}, and its sender sent {next}"
    );
}

#[test]
fn a_new_sender_is_told_what_the_receiver_has() {
    for is_there in [true, false] {
        let mut stage = Stage::open();
        let (mut a, mut b) = (Voice::new(0, 1), Voice::new(1, 0));
        // The server has started again. Messages 10 to 12 were received, and A has not heard of it. It dies before it sends
        // them again.
        stage.hello(&a);
        if is_there {
            stage.hello(&b);
        }
        assert!(stage.takes(&mut a, numbered("x", 7, 10)));
        stage.relay.handle_lost(Way::Party(a.connection));
        let mut a = a.again(20);
        stage.hello(&a);
        assert!(stage.takes(&mut a, open(0, "x")));
        let next = |said: Vec<Item>| {
            said.iter().find_map(|item| match item {
                Item::Opened { next, .. } => Some(*next),
                _ => None,
            })
        };
        if is_there {
            let news = stage.hear();
            b.ack = count_items(&news, &b);
            a.ack = count_items(&news, &a);
            let early = data(0, 10, 10);
            assert!(!stage.takes_with(&mut a, early.0, early.1), "it has to wait");
            assert!(stage.takes(&mut b, opened(7, 13, Vec::new())));
            assert_eq!(next(take_in(&mut stage, &mut a)), Some(13));
        } else {
            let next = next(take_in(&mut stage, &mut a));
            assert!(next.is_some_and(|next| next > 10 + 65_000), "{next:?}");
        }
    }
}

#[test]
fn a_message_behind_a_gap_is_loaded_though_it_is_larger_than_the_window() {
    let mut all = Durable::new(relay_limits());
    let mut a = Voice::new(0, 1);
    all.stage.hello(&a);
    // A new store: A's count has come to 100. Another process of A begins, and counts where nobody has been.
    assert!(all.stage.takes(&mut a, numbered("x", 7, 100)));
    all.settle();
    all.stage.relay.handle_lost(Way::Party(a.connection));
    let mut a = a.again(20);
    all.stage.hello(&a);
    assert!(all.stage.takes(&mut a, open(0, "x")));
    all.settle();
    let told = take_in(&mut all.stage, &mut a);
    let next = told.iter().find_map(|item| match item {
        Item::Opened { next, .. } => Some(*next),
        _ => None,
    });
    let next = next.unwrap();
    assert!(next > 65_000, "{next}");
    let size = 2 << 20;
    assert!(all.stage.takes(&mut a, Item::Want { total: size + 1000 }));
    for at in [0, size / 2] {
        give(&mut all.stage, &mut a, piece(next, at, 1 << 20, size, 1));
        all.settle();
    }
    // B, who takes 1 MiB at once, still counts from 100.
    let mut b = Voice::new(1, 0);
    all.stage.hello(&b);
    let mut came = 0;
    for _ in 0..20 {
        for item in take_in(&mut all.stage, &mut b) {
            match item {
                Item::Open { .. } => assert!(all.stage.takes(&mut b, opened(7, 100, Vec::new()))),
                Item::Data(data) => came = data.at,
                _ => {}
            }
        }
        all.settle();
        all.stage.pass(Duration::from_millis(100));
        all.stage.say_with(&a, Content::Ack { gap: false }, Vec::new());
    }
    assert_eq!(came, size / 2, "B waits for ever");
}

#[test]
fn a_numbering_of_its_own_begins_where_its_sender_says_also_after_the_server() {
    let mut all = Durable::new(relay_limits());
    let (mut a, mut b) = (Voice::new(0, 1), Voice::new(1, 0));
    let is_opened = |items: &[Item], epoch, next| {
        let mut items = items.iter();
        items.any(|item| matches!(item, Item::Opened { epoch: e, next: n, .. } if (*e, *n) == (epoch, next)))
    };
    all.stage.hello(&a);
    assert!(all.stage.takes(&mut a, numbered("x", 7, 100)));
    assert!(is_opened(&take_in(&mut all.stage, &mut a), 7, 100));
    all.settle();
    // Nothing is kept, and the receiver has never heard of the channel: numbers may be lower in another numbering.
    all.restart();
    let mut a = a.again(20);
    all.stage.hello(&a);
    assert!(all.stage.takes(&mut a, numbered("x", 8, 97)));
    assert!(is_opened(&take_in(&mut all.stage, &mut a), 8, 97));
    give(&mut all.stage, &mut a, data(0, 97, 10));
    all.settle();
    for incarnation in [30, 40] {
        all.restart();
        a = a.again(incarnation);
        all.stage.hello(&a);
        assert!(all.stage.takes(&mut a, numbered("x", 8, 97)));
        assert!(is_opened(&take_in(&mut all.stage, &mut a), 8, 98));
        assert!(all.stage.relay.stats().held_bytes > 0);
    }
    all.stage.hello(&b);
    let items = take_in(&mut all.stage, &mut b);
    let is_announced = |item: &Item| {
        matches!(
            item,
            Item::Open {
                from: Some((8, 97)),
                ..
            }
        )
    };
    assert!(items.iter().any(is_announced), "{items:?}");
    assert!(all.stage.takes(&mut b, opened(8, 97, Vec::new())));
    // Its content is in the store.
    assert_eq!(take_in(&mut all.stage, &mut b), []);
    all.settle();
    let sent = take_in(&mut all.stage, &mut b);
    assert!(
        matches!(&sent[..], [Item::Data(data)] if data.offset == 97),
        "{sent:?}"
    );
    assert!(all.stage.takes(&mut b, settled(97)));
    assert_eq!(all.stage.relay.stats().held_bytes, 0);
}

#[test]
fn no_channel_gets_the_number_of_one_that_is_not_taken_up() {
    let mut all = Durable::new(relay_limits());
    let mut a = Voice::new(0, 1);
    all.stage.relay.restore(Record::Flow {
        id: 9,
        job: job("gone"),
        from: party(0),
        to: party(1),
        key: key("x"),
        epoch: 1,
        source: (1, 0),
    });
    all.stage.hello(&a);
    assert!(all.stage.takes(&mut a, open(0, "x")));
    assert!(all.stage.relay.flow_ids.keys().eq(&[10]));
}

#[test]
fn a_damaged_store_gives_no_number_beyond_the_last() {
    let mut all = Durable::new(relay_limits());
    let mut a = Voice::new(0, 1);
    all.stage.relay.restore(Record::Job {
        job: a.job.clone(),
        members: a.members.clone(),
        aborted: None,
    });
    for (id, name) in [(u64::MAX, "x"), (u64::MAX - 1, "y"), (4, "z")] {
        all.stage.relay.restore(Record::Flow {
            id,
            job: a.job.clone(),
            from: party(0),
            to: party(1),
            key: key(name),
            epoch: 1,
            source: (1, 0),
        });
    }
    let (flow, next, offset) = (4, u64::MAX, u64::MAX);
    all.stage.relay.restore(Record::Next { flow, next });
    for parts in [vec![0], vec![9]] {
        all.stage.relay.restore(Record::Message {
            flow,
            offset,
            tag: None,
            codec: 0,
            parts,
            expires_unix_ms: None,
        });
        let id = PieceId { flow, offset, at: 0 };
        all.stage.relay.restore(Record::Piece { id, len: 9 });
    }
    all.stage.hello(&a);
    for (number, name) in (0..).zip(["x", "y", "z"]) {
        assert!(all.stage.takes(&mut a, open(number, name)));
    }
    assert!(all.stage.relay.flow_ids.keys().eq(&[4, 5, 6]));
    assert_eq!(all.stage.relay.stats().held_bytes, 0);
}
