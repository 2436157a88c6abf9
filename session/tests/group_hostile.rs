//! Packets of those who mean no good, over real sockets: no effect, and every one of them counted.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fastrand::Rng;
use flexbond_session::group::{
    Coordinator, Counters, Event, Gone, Member, MemberId, Options, RecvError, SendError, Session,
};
use flexbond_wire::group::{Header, Join, Kind, MIN_JOIN, Packet};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep, timeout};

const LIMIT: Duration = Duration::from_secs(20);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(LIMIT, future).await.expect("it does not take that long")
}

/// Stands between the ends of a session: what one says to another passes here, is remembered, and comes from where the
/// other expects it. So anything can be said in anybody's name.
#[derive(Clone)]
struct Relay(Arc<Mutex<Ends>>);

#[derive(Default)]
struct Ends {
    /// The coordinator first: where it is, and the socket that stands for it.
    ends: Vec<(SocketAddr, Arc<UdpSocket>)>,
    said: Vec<Said>,
    /// Whom nothing reaches, if there is one.
    deaf: Option<usize>,
}

#[derive(Clone)]
struct Said {
    from: usize,
    to: usize,
    bytes: Vec<u8>,
}

impl Relay {
    fn new(coordinator: &Coordinator) -> Self {
        let relay = Relay(Arc::default());
        let address = coordinator.local_addr().expect("it is bound");
        relay.add(address);
        relay
    }

    fn endpoint(&self) -> String {
        format!("udp://{}", self.stand_in(0).local_addr().expect("it is bound"))
    }

    fn stand_in(&self, end: usize) -> Arc<UdpSocket> {
        Arc::clone(&self.0.lock().expect("no panic").ends[end].1)
    }

    fn add(&self, address: SocketAddr) -> usize {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.set_nonblocking(true).expect("it can be");
        let socket = Arc::new(UdpSocket::from_std(socket).expect("a runtime"));
        let to = {
            let mut ends = self.0.lock().expect("no panic");
            ends.ends.push((address, Arc::clone(&socket)));
            ends.ends.len() - 1
        };
        let relay = self.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 1 << 16];
            while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
                relay.pass(from, to, &buffer[..len]).await;
            }
        });
        to
    }

    async fn pass(&self, from: SocketAddr, to: usize, bytes: &[u8]) {
        let known = self
            .0
            .lock()
            .expect("no panic")
            .ends
            .iter()
            .position(|end| end.0 == from);
        let from = match known {
            Some(from) => from,
            None => self.add(from),
        };
        let bytes = bytes.to_vec();
        if self.0.lock().expect("no panic").deaf != Some(to) {
            self.say(from, to, &bytes).await;
        }
        self.0
            .lock()
            .expect("no panic")
            .said
            .push(Said { from, to, bytes });
    }

    /// Says something in the name of `from`.
    async fn say(&self, from: usize, to: usize, bytes: &[u8]) {
        let address = self.0.lock().expect("no panic").ends[to].0;
        self.stand_in(from)
            .send_to(bytes, address)
            .await
            .expect("it is sent");
    }

    #[cfg(feature = "group-crypto")]
    fn deafen(&self, end: Option<usize>) {
        self.0.lock().expect("no panic").deaf = end;
    }

    fn said(&self) -> Vec<Said> {
        self.0.lock().expect("no panic").said.clone()
    }
}

fn total(counters: Counters) -> u64 {
    counters.malformed + counters.foreign + counters.replayed + counters.forged + counters.unreadable
}

/// A session of two members, all of whose packets pass a relay.
struct Stage {
    relay: Relay,
    coordinator: Coordinator,
    members: Vec<Member>,
    /// Packets that each end was sent beside its session's.
    attacks: BTreeMap<usize, u64>,
    before: BTreeMap<usize, u64>,
}

impl Stage {
    async fn new(options: Options) -> Self {
        let coordinator = Coordinator::bind("udp://127.0.0.1:0", options.clone())
            .await
            .expect("it is free");
        let relay = Relay::new(&coordinator);
        let mut members = Vec::new();
        for _ in 0..3 {
            let joined = soon(Member::join(relay.endpoint(), options.clone())).await;
            members.push(joined.expect("admitted"));
        }
        for member in &members {
            soon(member.wait_for_members(3)).await.expect("all in");
        }
        let mut stage = Stage {
            relay,
            coordinator,
            members,
            attacks: BTreeMap::new(),
            before: BTreeMap::new(),
        };
        stage.speak().await;
        stage.meet().await;
        // Its LEAVE is among what was said.
        soon(stage.members.pop().expect("three are in").leave()).await;
        let sessions = stage.sessions().into_iter();
        for session in sessions.collect::<Vec<_>>() {
            while session.members().len() > 2 {
                soon(session.event()).await.expect("somebody leaves");
            }
            while timeout(Duration::from_millis(1), session.event()).await.is_ok() {}
        }
        stage.speak().await;
        for (end, session) in stage.sessions().into_iter().enumerate() {
            stage.before.insert(end, total(session.counters()));
        }
        stage
    }

    fn sessions(&self) -> Vec<Session> {
        let members = self.members.iter().map(|member| member.session().clone());
        [self.coordinator.session().clone()]
            .into_iter()
            .chain(members)
            .collect()
    }

    /// Everybody says something, and everybody else hears it.
    async fn speak(&self) {
        let sessions = self.sessions();
        for sender in &sessions {
            let delivery = soon(sender.send(vec![7; 5000])).await.expect("sent");
            for receiver in sessions.iter().filter(|other| other.id() != sender.id()) {
                let received = soon(receiver.recv()).await.expect("a message");
                assert_eq!((Ok(received.from), received.body.len()), (sender.id(), 5000));
            }
            soon(delivery.delivered()).await.expect("everybody has it");
        }
    }

    /// Groups are made, joined and used, and end.
    async fn meet(&self) {
        let mut barrier = self.coordinator.create_barrier(0).expect("it is free");
        let group = self.coordinator.create_broadcast(1).expect("it is free");
        let mut place = soon(self.members[0].join_barrier(0)).await.expect("let in");
        let heard = soon(self.members[1].join_broadcast(1)).await.expect("let in");
        for _ in 0..3 {
            let (one, other) = soon(async { tokio::join!(barrier.wait(), place.wait()) }).await;
            assert_eq!((one, other), (Ok(()), Ok(())));
        }
        let delivery = soon(group.send("to some")).await.expect("sent");
        assert_eq!(soon(heard.recv()).await.expect("a message").body, "to some");
        soon(delivery.delivered()).await.expect("delivered");
        drop((place, barrier, group));
        assert_eq!(soon(heard.recv()).await, Err(RecvError::GroupEnded));
    }

    /// Says something that must have no effect, in the name of `from`, and waits from time to time until it was counted.
    async fn attack(&mut self, from: usize, to: usize, bytes: &[u8]) {
        if to > self.members.len() || bytes.is_empty() {
            return;
        }
        self.relay.say(from, to, bytes).await;
        self.note(to).await;
    }

    async fn note(&mut self, to: usize) {
        *self.attacks.entry(to).or_default() += 1;
        if self.attacks[&to].is_multiple_of(32) {
            self.wait_counted(to).await;
        }
    }

    async fn wait_counted(&self, to: usize) {
        let session = &self.sessions()[to];
        let expected = self.before[&to] + self.attacks.get(&to).unwrap_or(&0);
        let until = Instant::now() + LIMIT;
        while total(session.counters()) < expected {
            assert!(
                Instant::now() < until,
                "{to} has counted {:?} of {expected}",
                session.counters()
            );
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// All was counted, nothing has come of it, and the session goes on.
    async fn end(self) {
        for (end, session) in self.sessions().into_iter().enumerate() {
            self.wait_counted(end).await;
            assert_eq!(session.try_recv(), Err(RecvError::WouldBlock), "{end}");
            let event = timeout(Duration::from_millis(1), session.event()).await;
            assert!(event.is_err(), "{end}: {event:?}");
            assert_eq!(session.members().len(), 2, "{end}");
        }
        self.speak().await;
    }

    /// A packet of each kind that was said from each end to each other that is still there.
    fn samples(&self) -> Vec<Said> {
        let mut samples = BTreeMap::new();
        for said in self.relay.said() {
            let kind = Header::peek(&said.bytes).expect("a packet").kind;
            samples.entry((kind as u8, said.from, said.to)).or_insert(said);
        }
        let samples: Vec<_> = samples.into_values().collect();
        let kinds = |kind: Kind| samples.iter().any(|said| said.bytes[3] == kind as u8);
        for kind in [
            Kind::Join,
            Kind::Retry,
            Kind::Accept,
            Kind::Leave,
            Kind::Goodbye,
            Kind::Heartbeat,
            Kind::View,
            Kind::ViewAck,
            Kind::ChannelJoin,
            Kind::ChannelReply,
            Kind::Data,
            Kind::Status,
            Kind::Arrive,
            Kind::Release,
        ] {
            assert!(kinds(kind), "no {kind:?} was said");
        }
        samples
    }
}

fn plain() -> Options {
    Options::new().segment(1000).dead_after(Duration::from_secs(10))
}

fn is_handshake(bytes: &[u8]) -> bool {
    Header::peek(bytes).is_ok_and(|envelope| envelope.kind.is_handshake())
}

async fn cut_short(options: Options) {
    let mut stage = Stage::new(options).await;
    for said in stage.samples() {
        for len in 1..said.bytes.len() {
            stage.attack(said.from, said.to, &said.bytes[..len]).await;
        }
    }
    stage.end().await;
}

async fn changed(options: Options) {
    let mut rng = Rng::with_seed(1);
    let mut stage = Stage::new(options).await;
    for said in stage.samples() {
        for index in 0..said.bytes.len().min(200) {
            let mut bytes = said.bytes.clone();
            bytes[index] ^= 1 << rng.u8(..8);
            stage.attack(said.from, said.to, &bytes).await;
        }
        // In somebody else's name: as if it were from there, or as if it said so.
        for from in (0..3).filter(|from| *from != said.from) {
            if !is_handshake(&said.bytes) {
                stage.attack(from, said.to, &said.bytes).await;
            }
        }
    }
    stage.end().await;
}

async fn said_again(options: Options) {
    let mut stage = Stage::new(options).await;
    let all = stage.relay.said();
    for said in all.iter().filter(|said| !is_handshake(&said.bytes)) {
        // What one says who is gone is foreign.
        stage.attack(said.from, said.to, &said.bytes).await;
    }
    // What belongs to joining is answered, but admits nobody.
    for said in all.iter().filter(|said| is_handshake(&said.bytes)) {
        stage.relay.say(said.from, said.to, &said.bytes).await;
    }
    stage.end().await;
}

async fn of_others(options: Options) {
    let other = Stage::new(options.clone()).await;
    let mut stage = Stage::new(options).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let addresses: Vec<_> = stage
        .sessions()
        .iter()
        .map(|session| session.local_addr().expect("it is bound"))
        .collect();
    for said in other
        .relay
        .said()
        .iter()
        .filter(|said| !is_handshake(&said.bytes))
    {
        stage.attack(said.from, said.to, &said.bytes).await;
    }
    // The same session's, from elsewhere.
    for said in stage
        .relay
        .said()
        .iter()
        .filter(|said| !is_handshake(&said.bytes))
    {
        if said.to < addresses.len() {
            stranger
                .send_to(&said.bytes, addresses[said.to])
                .await
                .expect("it is sent");
            stage.note(said.to).await;
        }
    }
    stage.end().await;
    other.end().await;
}

async fn garbage(options: Options) {
    let seed = fastrand::u64(..);
    let mut rng = Rng::with_seed(seed);
    let mut stage = Stage::new(options).await;
    let samples = stage.samples();
    for _ in 0..1500 {
        let mut bytes = vec![0; rng.usize(1..1500)];
        rng.fill(&mut bytes);
        if rng.bool() {
            // As far as its beginning goes it is one of ours.
            let like = &rng.choice(&samples).expect("some").bytes;
            let len = rng.usize(..=Header::LEN).min(bytes.len());
            bytes[..len].copy_from_slice(&like[..len]);
        }
        let to = rng.usize(..3);
        let from = (to + rng.usize(1..3)) % 3;
        stage.attack(from, to, &bytes).await;
    }
    println!("seed {seed}");
    stage.end().await;
}

#[tokio::test]
async fn packets_cut_short_are_counted_and_have_no_effect() {
    cut_short(plain()).await;
}

#[tokio::test]
async fn changed_packets_are_counted_and_have_no_effect() {
    changed(plain()).await;
}

#[tokio::test]
async fn packets_said_again_are_counted_and_have_no_effect() {
    said_again(plain()).await;
}

#[tokio::test]
async fn packets_of_others_are_counted_and_have_no_effect() {
    of_others(plain()).await;
}

#[tokio::test]
async fn garbage_is_counted_and_has_no_effect() {
    garbage(plain()).await;
}

#[cfg(feature = "group-crypto")]
mod keyed {
    use super::*;

    fn keyed() -> Options {
        plain().key("a key that is long enough".parse().expect("a key"))
    }

    #[tokio::test]
    async fn packets_cut_short_are_counted_and_have_no_effect() {
        cut_short(keyed()).await;
    }

    #[tokio::test]
    async fn changed_packets_are_counted_and_have_no_effect() {
        changed(keyed()).await;
    }

    #[tokio::test]
    async fn packets_said_again_are_counted_and_have_no_effect() {
        said_again(keyed()).await;
    }

    #[tokio::test]
    async fn packets_of_others_are_counted_and_have_no_effect() {
        of_others(keyed()).await;
    }

    #[tokio::test]
    async fn garbage_is_counted_and_has_no_effect() {
        garbage(keyed()).await;
    }

    /// Whether nobody but its receiver can open it.
    fn is_for_one(bytes: &[u8]) -> bool {
        Header::peek(bytes).is_ok_and(|envelope| envelope.for_one || envelope.kind.is_control())
    }

    #[tokio::test]
    async fn packets_for_one_said_to_others_are_counted_and_have_no_effect() {
        let mut stage = Stage::new(keyed()).await;
        let all = stage.relay.said();
        let mut kinds = BTreeMap::new();
        for said in all.iter().filter(|said| is_for_one(&said.bytes)) {
            *kinds.entry(said.bytes[3]).or_insert(0) += 1;
            for to in (0..3).filter(|to| *to != said.to) {
                stage.attack(said.from, to, &said.bytes).await;
            }
        }
        for kind in [
            Kind::Heartbeat,
            Kind::View,
            Kind::ChannelReply,
            Kind::Status,
            Kind::Sync,
            Kind::Arrive,
        ] {
            assert!(kinds.contains_key(&(kind as u8)), "no {kind:?} was said to one");
        }
        for end in 0..3 {
            stage.wait_counted(end).await;
        }
        for session in stage.sessions() {
            assert!(session.counters().forged > 0);
        }
        stage.end().await;
    }

    #[tokio::test]
    async fn where_a_late_member_begins_makes_nobody_else_skip() {
        let coordinator = Coordinator::bind("udp://127.0.0.1:0", keyed())
            .await
            .expect("it is free");
        let relay = Relay::new(&coordinator);
        let behind = soon(Member::join(relay.endpoint(), keyed()))
            .await
            .expect("admitted");
        soon(behind.wait_for_members(1)).await.expect("in");
        let delivery = soon(coordinator.send("hello")).await.expect("sent");
        assert_eq!(soon(behind.recv()).await.expect("a message").body, "hello");
        soon(delivery.delivered()).await.expect("delivered");
        let behind_end = 1;
        relay.deafen(Some(behind_end));
        for number in 0..10_u8 {
            soon(coordinator.send(vec![number; 3000])).await.expect("sent");
        }
        let late = soon(Member::join(relay.endpoint(), keyed()))
            .await
            .expect("admitted");
        soon(coordinator.wait_for_members(2)).await.expect("in");
        // It is told where to begin, which is after what the other has not got.
        let begins = async {
            loop {
                let said = relay
                    .said()
                    .into_iter()
                    .find(|said| said.from == 0 && said.to > behind_end && said.bytes[3] == Kind::Sync as u8);
                match said {
                    Some(said) => return said,
                    None => sleep(Duration::from_millis(1)).await,
                }
            }
        };
        let begins = soon(begins).await;
        // Of an epoch of which it has not heard, or it would be sure that it is not for it.
        let before = total(behind.counters());
        relay.say(0, behind_end, &begins.bytes).await;
        let until = Instant::now() + LIMIT;
        while total(behind.counters()) == before {
            assert!(Instant::now() < until, "{:?}", behind.counters());
            sleep(Duration::from_millis(1)).await;
        }
        relay.deafen(None);
        for number in 0..10_u8 {
            let body = soon(behind.recv()).await.expect("a message").body;
            assert!(body == vec![number; 3000], "message {number}");
        }
        let delivery = soon(coordinator.send("to both")).await.expect("sent");
        for member in [&behind, &late] {
            assert_eq!(soon(member.recv()).await.expect("a message").body, "to both");
        }
        soon(delivery.delivered()).await.expect("delivered");
    }

    #[tokio::test]
    async fn two_keyed_sessions_at_one_multicast_address_do_not_disturb_each_other() {
        two_sessions(keyed()).await;
    }
}

async fn two_sessions(options: Options) {
    let group = SocketAddr::from(([239, 255, 79, fastrand::u8(1..)], fastrand::u16(20_000..30_000)));
    let mut sessions = Vec::new();
    for _ in 0..2 {
        let coordinator = Coordinator::bind("udp://127.0.0.1:0", options.clone().multicast(group))
            .await
            .expect("it is free");
        let member = soon(Member::join(coordinator.endpoint(), options.clone())).await;
        sessions.push((coordinator, member.expect("admitted")));
    }
    for number in 0..30_u8 {
        for (session, (coordinator, _)) in sessions.iter().enumerate() {
            soon(coordinator.send(vec![number, session as u8]))
                .await
                .expect("sent");
        }
        for (session, (_, member)) in sessions.iter().enumerate() {
            let body = soon(member.recv()).await.expect("a message").body;
            assert_eq!(&body[..], [number, session as u8]);
        }
    }
    for (coordinator, member) in &sessions {
        assert_eq!(coordinator.members().len(), 1);
        assert_eq!(member.members(), [MemberId::COORDINATOR]);
        assert_eq!(member.try_recv(), Err(RecvError::WouldBlock));
    }
}

#[tokio::test]
async fn two_sessions_at_one_multicast_address_do_not_disturb_each_other() {
    two_sessions(plain()).await;
}

/// Memory of this process that is in use, in bytes; nothing where the system does not say.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

/// Asks to be admitted, as far as anybody can be who then says nothing more.
async fn half_join(coordinator: SocketAddr, nonce: u128) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let mut join = Join {
        nonce: nonce.to_be_bytes(),
        cookie: None,
        name: "half",
        recv_budget: 1 << 20,
        proof: None,
    };
    let header = Header {
        session: 0,
        sender: Header::NOT_A_MEMBER,
        epoch: 0,
        number: 1,
    };
    let mut answer = vec![0; 1 << 16];
    for _ in 0..20 {
        let mut datagram = BytesMut::new();
        Packet::Join(join)
            .encode(&header, &mut datagram)
            .expect("within the limits");
        socket.send_to(&datagram, coordinator).await.expect("it is sent");
        let Ok(Ok(len)) = timeout(Duration::from_millis(200), socket.recv(&mut answer)).await else {
            continue;
        };
        assert!(
            len <= MIN_JOIN,
            "the answer to a stranger is longer than the question"
        );
        match Packet::decode(&answer[..len]) {
            Ok((_, Packet::Retry(retry))) => join.cookie = Some(retry.cookie),
            _ => return,
        }
    }
}

#[tokio::test]
async fn a_storm_of_joiners_takes_no_memory_and_leaves_the_members_at_work() {
    const MOST: usize = 40;
    let options = Options::new()
        .heartbeat(Duration::from_millis(100))
        .dead_after(Duration::from_secs(5))
        .max_members(MOST);
    let coordinator = Coordinator::bind("udp://127.0.0.1:0", options.clone())
        .await
        .expect("it is free");
    let mut members = Vec::new();
    for _ in 0..2 {
        members.push(
            soon(Member::join(coordinator.endpoint(), options.clone()))
                .await
                .expect("admitted"),
        );
    }
    soon(coordinator.wait_for_members(2)).await.expect("all in");
    let address = coordinator.local_addr().expect("it is bound");
    let before = resident();
    let mut storm = tokio::task::JoinSet::new();
    for number in 0..500_u32 {
        storm.spawn(async move {
            if number % 2 == 0 {
                return half_join(address, u128::from(number)).await;
            }
            let mut rng = Rng::with_seed(number.into());
            let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
            for _ in 0..40 {
                let mut bytes = vec![0; MIN_JOIN];
                rng.fill(&mut bytes);
                bytes[..4].copy_from_slice(b"FB\x01\x01");
                let _ = socket.send_to(&bytes, address).await;
                tokio::task::yield_now().await;
            }
        });
    }
    let most = async {
        let mut most = 0;
        while storm.join_next().await.is_some() {
            most = most.max(coordinator.members().len());
            let delivery = soon(coordinator.send("in the storm")).await.expect("sent");
            for member in &members {
                assert_eq!(soon(member.recv()).await.expect("a message").body, "in the storm");
            }
            drop(delivery);
        }
        most
    };
    let most = timeout(Duration::from_secs(60), most)
        .await
        .expect("the storm ends");
    assert!((3..=MOST).contains(&most), "{most} were in");
    // Those who only asked are found dead; nobody else is.
    let ids: Vec<_> = members
        .iter()
        .map(|member| member.id().expect("it is in"))
        .collect();
    let mut turned_away = 0;
    // Of those turned away the first is told of, and then each doubling.
    let count = coordinator.counters().turned_away;
    assert!(count > 100, "{count} were turned away");
    while coordinator.members().len() > 2 || turned_away <= count.ilog2() {
        match soon(coordinator.event()).await.expect("an event") {
            Event::Gone { member, why } => assert!(
                !ids.contains(&member) && why == Some(Gone::Dead),
                "{member} {why:?}"
            ),
            Event::TurnedAway { .. } => turned_away += 1,
            _ => {}
        }
    }
    assert_eq!(coordinator.members(), ids);
    let delivery = soon(coordinator.send("after it")).await.expect("sent");
    for member in &members {
        assert_eq!(soon(member.recv()).await.expect("a message").body, "after it");
    }
    soon(delivery.delivered()).await.expect("all have it");
    assert!(coordinator.counters().malformed > 0);
    if let (Some(before), Some(after)) = (before, resident()) {
        println!("{} KiB before, {} KiB after the storm", before >> 10, after >> 10);
        assert!(
            after < before + (32 << 20),
            "{before} bytes before, {after} after"
        );
    }
}

#[tokio::test]
async fn a_gibibyte_for_who_has_64_mebibytes_is_refused_with_the_numbers() {
    let options = Options::new().recv_budget(64 << 20);
    let coordinator = Coordinator::bind("udp://127.0.0.1:0", Options::new().recv_budget(2 << 30))
        .await
        .expect("it is free");
    let member = soon(Member::join(coordinator.endpoint(), options))
        .await
        .expect("admitted");
    soon(coordinator.wait_for_members(1)).await.expect("in");
    let body = Bytes::from(vec![0; 1 << 30]);
    let refused = soon(coordinator.send(body)).await.expect_err("too large");
    let SendError::TooLarge {
        size,
        limit,
        member: whose,
    } = refused
    else {
        panic!("{refused}");
    };
    assert_eq!((size, limit, Ok(whose)), (1 << 30, 64 << 20, member.id()));
    let text = refused.to_string();
    assert!(text.contains("1073741824") && text.contains("67108864"), "{text}");
    soon(coordinator.send("small")).await.expect("sent");
    assert_eq!(soon(member.recv()).await.expect("a message").body, "small");
}
