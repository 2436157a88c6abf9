//! Sessions of several processes, some of which are killed or stopped in the middle of their work.

mod process;

use std::env;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use flexbond_session::group::{
    BarrierError, Coordinator, DeliveryError, Event, Gone, Member, MemberId, Options, Part, RecvError,
    SendError, SlowMember,
};
use process::{Process, say};
use tokio::time::timeout;

/// What a process is told by: where the session is, and what to do there.
const ENDPOINT: &str = "FLEXBOND_TEST_GROUP";
const ROLE: &str = "FLEXBOND_TEST_GROUP_ROLE";
const DEAD_AFTER: Duration = Duration::from_secs(1);
/// What is promised of who is killed.
const PROMISE: Duration = DEAD_AFTER.saturating_add(Duration::from_millis(500));
/// The same for who is stopped, which begins sooner or later.
const BOUND: Duration = DEAD_AFTER.saturating_add(Duration::from_millis(1000));
const LIMIT: Duration = Duration::from_secs(30);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(LIMIT, future).await.expect("it does not take that long")
}

/// Not a test by itself: what each process of the others runs.
#[tokio::test]
async fn role() {
    let (Ok(endpoint), Ok(role)) = (env::var(ENDPOINT), env::var(ROLE)) else {
        return;
    };
    match role.as_str() {
        "coordinate" => coordinate(&endpoint).await,
        "barrier" => meet(&endpoint).await,
        "broadcast" => listen(&endpoint).await,
        _ => read(&endpoint).await,
    }
}

/// Holds a session until it is killed, with a barrier and a broadcast group.
async fn coordinate(endpoint: &str) {
    let coordinator = Coordinator::bind(endpoint, options()).await.expect("it is free");
    let mut barrier = coordinator.create_barrier(0).expect("it is free");
    let group = coordinator.create_broadcast(1).expect("it is free");
    say(coordinator.endpoint());
    let meet = async {
        loop {
            barrier.wait().await.expect("nobody else dies");
        }
    };
    let send = async {
        for number in 0_u32.. {
            group.send(numbered(number, 300_000)).await.expect("sent");
        }
    };
    tokio::join!(meet, send);
}

/// Comes to a barrier until somebody is lost there, and a few times after that.
async fn meet(endpoint: &str) {
    let member = Member::join(endpoint, Options::new()).await.expect("admitted");
    let mut barrier = member.join_barrier(0).await.expect("let in");
    say(member.id().expect("in").number());
    let failed = loop {
        match barrier.wait().await {
            Ok(()) => {}
            Err(BarrierError::Failed { failed }) => break failed,
            Err(error) => return say(format!("{error:?}")),
        }
    };
    say(format!("{failed:?}"));
    for _ in 0..3 {
        barrier.wait().await.expect("all others live");
    }
    say("goes on");
    // Until the group ends.
    while barrier.wait().await.is_ok() {}
}

/// Receives what is sent to a broadcast group, and tells who is gone.
async fn listen(endpoint: &str) {
    let member = Member::join(endpoint, Options::new()).await.expect("admitted");
    let group = member.join_broadcast(1).await.expect("let in");
    say(member.id().expect("in").number());
    let watch = async {
        while let Ok(event) = member.event().await {
            if let Event::Gone { member, .. } = event {
                say(format!("[{member:?}]"));
            }
        }
    };
    let receive = async {
        let mut expected = None;
        loop {
            match group.recv().await {
                Ok(received) => {
                    let number = number_of(&received.body);
                    assert_eq!(number, *expected.get_or_insert(number), "in order, once each");
                    expected = Some(number + 1);
                }
                Err(RecvError::GroupEnded) => return say(format!("all before {expected:?}")),
                Err(error) => return say(format!("{error:?}")),
            }
        }
    };
    tokio::select! {
        () = receive => {}
        // It ends when the session does, which the other hears, too.
        () = async { tokio::join!(watch, std::future::pending::<()>()); } => {}
    }
    member.leave().await;
}

/// Receives messages until an empty one, and says what they were.
async fn read(endpoint: &str) {
    let options = Options::new().recv_budget(1 << 20);
    let member = Member::join(endpoint, options).await.expect("admitted");
    say(member.id().expect("in").number());
    let mut numbers = Vec::new();
    loop {
        match member.recv().await {
            Ok(received) if received.part == Part::Cut => {}
            Ok(received) if received.body.is_empty() => break,
            Ok(received) => numbers.push(number_of(&received.body)),
            Err(error) => return say(format!("{error:?}")),
        }
    }
    let ascend = numbers.windows(2).all(|pair| pair[0] < pair[1]);
    say(format!(
        "{} messages up to {:?}, ascending: {ascend}",
        numbers.len(),
        numbers.last()
    ));
    member.leave().await;
}

fn numbered(number: u32, size: usize) -> Bytes {
    let mut body = vec![0; size];
    body[..4].copy_from_slice(&number.to_be_bytes());
    body.into()
}

fn number_of(body: &[u8]) -> u32 {
    u32::from_be_bytes([0, 1, 2, 3].map(|at| body[at]))
}

fn options() -> Options {
    Options::new()
        .heartbeat(Duration::from_millis(100))
        .dead_after(DEAD_AFTER)
}

/// Where the sessions are: by unicast, by multicast, over connections.
fn place(run: u64) -> (&'static str, Options) {
    // Not by a seed: nobody else should have it.
    let group = SocketAddr::from(([239, 255, 78, fastrand::u8(1..)], fastrand::u16(20_000..30_000)));
    match run % 3 {
        0 => ("udp://127.0.0.1:0", options()),
        1 => ("udp://127.0.0.1:0", options().multicast(group)),
        #[cfg(feature = "tcp")]
        _ => ("tcp://127.0.0.1:0", options()),
        #[cfg(not(feature = "tcp"))]
        _ => ("udp://127.0.0.1:0", options()),
    }
}

fn start(endpoint: &str, role: &str) -> Process {
    Process::start("role", &[(ENDPOINT, endpoint), (ROLE, role)])
}

/// A session with three processes in a role, one of which is to be killed.
struct Victims {
    coordinator: Coordinator,
    members: Vec<Process>,
    ids: Vec<String>,
    random: Rng,
    /// What failed, if something does.
    context: String,
}

impl Victims {
    /// `open` makes the group that the processes are in.
    async fn new<G>(run: u64, role: &str, open: impl FnOnce(&Coordinator) -> G) -> (Self, G) {
        let seed = fastrand::u64(..);
        let (endpoint, options) = place(run);
        let coordinator = Coordinator::bind(endpoint, options).await.expect("it is free");
        let group = open(&coordinator);
        let at = coordinator.endpoint().to_string();
        let mut members: Vec<_> = (0..3).map(|_| start(&at, role)).collect();
        let mut ids = Vec::new();
        for member in &mut members {
            ids.push(member.says().await);
        }
        let victims = Victims {
            coordinator,
            members,
            ids,
            random: Rng::with_seed(seed),
            context: format!("run {run}, seed {seed}, {endpoint}"),
        };
        (victims, group)
    }

    /// Kills one of the processes; returns what survivors are to say of it, and when it was.
    fn kill(&mut self) -> (String, Instant) {
        let victim = self.random.usize(..self.members.len());
        self.members.remove(victim).kill();
        (format!("[MemberId({})]", self.ids.remove(victim)), Instant::now())
    }

    /// All who are left name the same one, and in time; the coordinator has just done so.
    async fn all_name(&mut self, own: &[MemberId], named: &str, killed: Instant) {
        let context = &self.context;
        let mut took = vec![killed.elapsed()];
        assert_eq!(format!("{own:?}"), named, "{context}");
        for member in &mut self.members {
            let (at, report) = member.report().await;
            assert_eq!(report, named, "{context}");
            took.push(at - killed);
        }
        println!("{context}: known after {took:?}");
        assert!(took.iter().all(|took| *took < PROMISE), "{context}: {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_killed_at_a_barrier_is_named_to_all_and_they_go_on() {
    for run in 0..5 {
        tokio::join!(kill_at_barrier(2 * run), kill_at_barrier(2 * run + 1));
    }
}

async fn kill_at_barrier(run: u64) {
    let open = |coordinator: &Coordinator| coordinator.create_barrier(0).expect("it is free");
    let (mut session, mut barrier) = Victims::new(run, "barrier", open).await;
    for _ in 0..session.random.usize(1..300) {
        assert_eq!(soon(barrier.wait()).await, Ok(()), "{}", session.context);
    }
    let (named, killed) = session.kill();
    let own = soon(async {
        loop {
            match barrier.wait().await {
                Ok(()) => {}
                Err(BarrierError::Failed { failed }) => break failed,
                Err(error) => panic!("{}: {error:?}", session.context),
            }
        }
    })
    .await;
    session.all_name(&own, &named, killed).await;
    for _ in 0..3 {
        assert_eq!(soon(barrier.wait()).await, Ok(()), "{}", session.context);
    }
    for member in &mut session.members {
        assert_eq!(member.says().await, "goes on", "{}", session.context);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_killed_in_a_broadcast_is_named_to_all_and_they_get_everything() {
    for run in 0..5 {
        tokio::join!(kill_in_broadcast(2 * run), kill_in_broadcast(2 * run + 1));
    }
}

async fn kill_in_broadcast(run: u64) {
    let open = |coordinator: &Coordinator| coordinator.create_broadcast(1).expect("it is free");
    let (mut session, group) = Victims::new(run, "broadcast", open).await;
    let before = session.random.u32(1..40);
    let mut number = 0;
    while number < before {
        soon(group.send(numbered(number, 300_000))).await.expect("sent");
        number += 1;
    }
    let (named, killed) = session.kill();
    let missed = soon(async {
        loop {
            let delivery = group.send(numbered(number, 300_000)).await.expect("sent");
            number += 1;
            match delivery.delivered().await {
                Ok(()) => {}
                Err(DeliveryError::Missed { members }) => break members,
                Err(error) => panic!("{}: {error:?}", session.context),
            }
        }
    })
    .await;
    session.all_name(&missed, &named, killed).await;
    soon(group.send(numbered(number, 300_000))).await.expect("sent");
    drop(group);
    for member in &mut session.members {
        let all = format!("all before {:?}", Some(number + 1));
        assert_eq!(member.says().await, all, "{}", session.context);
    }
    soon(session.coordinator.close()).await;
}

#[tokio::test]
async fn a_killed_coordinator_is_the_end_for_every_process() {
    for run in 0..4 {
        let (endpoint, _) = place(if run < 2 { 0 } else { 2 });
        let mut coordinator = start(endpoint, "coordinate");
        let endpoint = coordinator.says().await;
        let role = ["barrier", "broadcast"][run % 2];
        let mut members: Vec<_> = (0..3).map(|_| start(&endpoint, role)).collect();
        for member in &mut members {
            member.says().await;
        }
        coordinator.kill();
        let killed = Instant::now();
        let mut took = Vec::new();
        for member in &mut members {
            let (at, report) = member.report().await;
            assert_eq!(report, "Over(CoordinatorDead)", "run {run}");
            took.push(at - killed);
        }
        println!("{endpoint}: the coordinator's death was known after {took:?}");
        assert!(took.iter().all(|took| *took < PROMISE), "run {run}: {took:?}");
    }
}

/// A session with a small window, of two processes that read, one of which is stopped.
struct Stopped {
    coordinator: Coordinator,
    quick: Process,
    slow: Process,
    slow_id: MemberId,
}

impl Stopped {
    /// Bytes of a message, and messages in a window.
    const SIZE: usize = 50_000;
    const WINDOW: u32 = 20;

    async fn new(policy: SlowMember, dead_after: Duration) -> Self {
        let options = options()
            .dead_after(dead_after)
            .slow_member(policy)
            .window(Self::SIZE * Self::WINDOW as usize)
            .send_budget((Self::SIZE as u64) * u64::from(Self::WINDOW));
        let coordinator = Coordinator::bind("udp://127.0.0.1:0", options)
            .await
            .expect("it is free");
        let endpoint = coordinator.endpoint().to_string();
        let mut quick = start(&endpoint, "read");
        quick.says().await;
        let mut slow = start(&endpoint, "read");
        slow.says().await;
        let slow_id = *coordinator.members().last().expect("it has joined");
        // All that begins is over, so that it has its place in the flow.
        let first = soon(coordinator.send(numbered(0, Self::SIZE)))
            .await
            .expect("sent");
        soon(first.delivered()).await.expect("delivered");
        slow.signal("STOP");
        Stopped {
            coordinator,
            quick,
            slow,
            slow_id,
        }
    }

    /// Sends messages from number `first` on until there is no room for one within a while, at most so many; returns the
    /// next number.
    async fn send(&self, first: u32, most: u32) -> u32 {
        for number in first..first + most {
            let sent = self.coordinator.send(numbered(number, Self::SIZE));
            if timeout(Duration::from_millis(500), sent).await.is_err() {
                return number;
            }
        }
        first + most
    }

    /// Ends, and gives what both have to say of what they received.
    async fn end(mut self) -> (String, String) {
        soon(self.coordinator.send("")).await.expect("sent");
        let said = (self.quick.says().await, self.slow.says().await);
        soon(self.coordinator.close()).await;
        said
    }
}

fn all(next: u32) -> String {
    format!("{next} messages up to {:?}, ascending: true", Some(next - 1))
}

const PATIENT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_stopped_is_waited_for_and_misses_nothing() {
    let session = Stopped::new(SlowMember::Block, PATIENT).await;
    let next = session.send(1, 1000).await;
    assert!(next < 4 * Stopped::WINDOW, "nothing waited: {next} were sent");
    let refused = session.coordinator.try_send(numbered(next, Stopped::SIZE));
    assert_eq!(refused.err(), Some(SendError::WouldBlock));
    session.slow.signal("CONT");
    for number in next..next + 50 {
        soon(session.coordinator.send(numbered(number, Stopped::SIZE)))
            .await
            .expect("sent");
    }
    assert_eq!(session.end().await, (all(next + 50), all(next + 50)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_stopped_for_too_long_is_dead_and_hears_of_it() {
    let mut session = Stopped::new(SlowMember::Block, DEAD_AFTER).await;
    let begun = Instant::now();
    for number in 1..100 {
        soon(session.coordinator.send(numbered(number, Stopped::SIZE)))
            .await
            .expect("sent");
    }
    let why = gone(&session).await;
    assert_eq!(why, Some(Gone::Dead));
    assert!(begun.elapsed() < BOUND + DEAD_AFTER, "{:?}", begun.elapsed());
    session.slow.signal("CONT");
    let said = session.slow.says().await;
    assert!(said.starts_with("Over(Dismissed"), "{said}");
    soon(session.coordinator.send("")).await.expect("sent");
    assert_eq!(session.quick.says().await, all(100));
}

async fn gone(session: &Stopped) -> Option<Gone> {
    loop {
        let event = soon(session.coordinator.event()).await.expect("an event");
        if let Event::Gone { member, why } = event {
            assert_eq!(member, session.slow_id);
            return why;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_stopped_is_sent_away_where_that_is_the_policy() {
    let patience = Duration::from_millis(500);
    let mut session = Stopped::new(SlowMember::EvictAfter(patience), PATIENT).await;
    let begun = Instant::now();
    for number in 1..200 {
        soon(session.coordinator.send(numbered(number, Stopped::SIZE)))
            .await
            .expect("sent");
    }
    assert!(begun.elapsed() < patience + BOUND, "{:?}", begun.elapsed());
    assert_eq!(gone(&session).await, Some(Gone::Evicted));
    session.slow.signal("CONT");
    let said = session.slow.says().await;
    assert_eq!(said, "Over(Dismissed { why: Evicted })");
    soon(session.coordinator.send("")).await.expect("sent");
    assert_eq!(session.quick.says().await, all(200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quorum_goes_on_without_who_is_stopped_who_misses_nothing() {
    let session = Stopped::new(SlowMember::Quorum(1), PATIENT).await;
    let next = session.send(1, 1000).await;
    // As much as waits for it, and no more: that has a bound, too.
    assert!(
        (Stopped::WINDOW..5 * Stopped::WINDOW).contains(&next),
        "{next} were sent"
    );
    session.slow.signal("CONT");
    for number in next..next + 50 {
        soon(session.coordinator.send(numbered(number, Stopped::SIZE)))
            .await
            .expect("sent");
    }
    assert_eq!(session.end().await, (all(next + 50), all(next + 50)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_stopped_skips_to_the_newest_where_that_is_the_policy() {
    let session = Stopped::new(SlowMember::KeepLatest, PATIENT).await;
    let next = session.send(1, 20 * Stopped::WINDOW).await;
    assert_eq!(next, 20 * Stopped::WINDOW + 1, "nobody is waited for");
    session.slow.signal("CONT");
    // It keeps up again, sooner or later.
    let mut last = next;
    let keeps_up = async {
        loop {
            let delivery = session
                .coordinator
                .send(numbered(last, Stopped::SIZE))
                .await
                .expect("sent");
            if delivery.delivered().await.is_ok() {
                break;
            }
            last += 1;
        }
    };
    soon(keeps_up).await;
    let (quick, slow) = session.end().await;
    assert_eq!(quick, all(last + 1));
    assert!(slow.ends_with("ascending: true"), "{slow}");
    assert!(slow.contains(&format!("up to {:?}", Some(last))), "{slow}");
    let count: u32 = slow
        .split(' ')
        .next()
        .and_then(|count| count.parse().ok())
        .expect("a number");
    assert!(count < next, "it skipped none of {next}: {slow}");
}
