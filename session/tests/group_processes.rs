//! Sessions of several processes, some of which are killed or stopped in the middle of their work.

use std::env;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flexbond_session::group::{
    BarrierError, Coordinator, DeliveryError, Event, Gone, Member, MemberId, Options, Part, RecvError,
    SendError, SlowMember,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

/// What a process is told by: where the session is, and what to do there.
const ENDPOINT: &str = "FLEXBOND_TEST_GROUP";
const ROLE: &str = "FLEXBOND_TEST_GROUP_ROLE";
/// What it begins each of its reports with.
const MARK: &str = "process reports ";
const DEAD_AFTER: Duration = Duration::from_secs(1);
/// What is promised, and as much again for a machine that is busy.
const BOUND: Duration = DEAD_AFTER.saturating_add(Duration::from_millis(1000));
const LIMIT: Duration = Duration::from_secs(30);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(LIMIT, future).await.expect("it does not take that long")
}

fn say(text: impl std::fmt::Display) {
    println!("\n{MARK}{text}");
}

/// Not a test by itself: what each process of the others runs.
#[tokio::test]
async fn process() {
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

struct Process {
    child: Child,
    lines: UnboundedReceiver<(Instant, String)>,
}

impl Process {
    fn start(endpoint: &str, role: &str) -> Self {
        let mut child = Command::new(env::current_exe().expect("this test"))
            .args(["--exact", "process", "--nocapture"])
            .env(ENDPOINT, endpoint)
            .env(ROLE, role)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, lines) = unbounded_channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(report) = line.strip_prefix(MARK) {
                    let _ = sender.send((Instant::now(), report.to_owned()));
                }
            }
        });
        Process { child, lines }
    }

    /// Its next report, and when it came.
    async fn report(&mut self) -> (Instant, String) {
        soon(self.lines.recv()).await.expect("a report")
    }

    async fn says(&mut self) -> String {
        self.report().await.1
    }

    fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().expect("a shell");
        assert!(status.success(), "{kill}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the sessions are: by unicast, by multicast, over connections.
fn place(run: u64) -> (&'static str, Options) {
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

async fn start(coordinator: &Coordinator, role: &str, count: usize) -> Vec<Process> {
    let endpoint = coordinator.endpoint().to_string();
    (0..count).map(|_| Process::start(&endpoint, role)).collect()
}

/// Kills one of the processes; returns what survivors are to say of it, and when it was.
fn kill(processes: &mut Vec<Process>, ids: &mut Vec<String>) -> (String, Instant) {
    let victim = fastrand::usize(..processes.len());
    let mut dead = processes.remove(victim);
    dead.child.kill().expect("it lives");
    (format!("[MemberId({})]", ids.remove(victim)), Instant::now())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_killed_at_a_barrier_is_named_to_all_and_they_go_on() {
    for run in 0..5 {
        tokio::join!(kill_at_barrier(2 * run), kill_at_barrier(2 * run + 1));
    }
}

async fn kill_at_barrier(run: u64) {
    let (endpoint, options) = place(run);
    let coordinator = Coordinator::bind(endpoint, options).await.expect("it is free");
    let mut barrier = coordinator.create_barrier(0).expect("it is free");
    let mut members = start(&coordinator, "barrier", 3).await;
    let mut ids = Vec::new();
    for member in &mut members {
        ids.push(member.says().await);
    }
    let rounds = fastrand::usize(1..300);
    for _ in 0..rounds {
        assert_eq!(soon(barrier.wait()).await, Ok(()), "run {run}");
    }
    let (named, killed) = kill(&mut members, &mut ids);
    let own = soon(async {
        loop {
            match barrier.wait().await {
                Ok(()) => {}
                Err(BarrierError::Failed { failed }) => break failed,
                Err(error) => panic!("run {run}: {error:?}"),
            }
        }
    })
    .await;
    let mut took = vec![killed.elapsed()];
    assert_eq!(format!("{own:?}"), named, "run {run}");
    for member in &mut members {
        let (at, report) = member.report().await;
        assert_eq!(report, named, "run {run}");
        took.push(at - killed);
    }
    println!("{endpoint}: a kill after {rounds} rounds was known after {took:?}");
    assert!(took.iter().all(|took| *took < BOUND), "run {run}: {took:?}");
    for _ in 0..3 {
        assert_eq!(soon(barrier.wait()).await, Ok(()), "run {run}");
    }
    for member in &mut members {
        assert_eq!(member.says().await, "goes on", "run {run}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_killed_in_a_broadcast_is_named_to_all_and_they_get_everything() {
    for run in 0..5 {
        tokio::join!(kill_in_broadcast(2 * run), kill_in_broadcast(2 * run + 1));
    }
}

async fn kill_in_broadcast(run: u64) {
    let (endpoint, options) = place(run);
    let coordinator = Coordinator::bind(endpoint, options).await.expect("it is free");
    let group = coordinator.create_broadcast(1).expect("it is free");
    let mut members = start(&coordinator, "broadcast", 3).await;
    let mut ids = Vec::new();
    for member in &mut members {
        ids.push(member.says().await);
    }
    let before = fastrand::u32(1..40);
    let mut number = 0;
    while number < before {
        soon(group.send(numbered(number, 300_000))).await.expect("sent");
        number += 1;
    }
    let (named, killed) = kill(&mut members, &mut ids);
    let missed = soon(async {
        loop {
            let delivery = group.send(numbered(number, 300_000)).await.expect("sent");
            number += 1;
            match delivery.delivered().await {
                Ok(()) => {}
                Err(DeliveryError::Missed { members }) => break members,
                Err(error) => panic!("run {run}: {error:?}"),
            }
        }
    })
    .await;
    let mut took = vec![killed.elapsed()];
    assert_eq!(format!("{missed:?}"), named, "run {run}");
    for member in &mut members {
        let (at, report) = member.report().await;
        assert_eq!(report, named, "run {run}");
        took.push(at - killed);
    }
    println!("{endpoint}: a kill after {before} messages was known after {took:?}");
    assert!(took.iter().all(|took| *took < BOUND), "run {run}: {took:?}");
    soon(group.send(numbered(number, 300_000))).await.expect("sent");
    drop(group);
    for member in &mut members {
        let all = format!("all before {:?}", Some(number + 1));
        assert_eq!(member.says().await, all, "run {run}");
    }
    soon(coordinator.close()).await;
}

#[tokio::test]
async fn a_killed_coordinator_is_the_end_for_every_process() {
    for run in 0..4 {
        let (endpoint, _) = place(if run < 2 { 0 } else { 2 });
        let mut coordinator = Process::start(endpoint, "coordinate");
        let endpoint = coordinator.says().await;
        let role = ["barrier", "broadcast"][run % 2];
        let mut members: Vec<_> = (0..3).map(|_| Process::start(&endpoint, role)).collect();
        for member in &mut members {
            member.says().await;
        }
        coordinator.child.kill().expect("it lives");
        let killed = Instant::now();
        let mut took = Vec::new();
        for member in &mut members {
            let (at, report) = member.report().await;
            assert_eq!(report, "Over(CoordinatorDead)", "run {run}");
            took.push(at - killed);
        }
        println!("{endpoint}: the coordinator's death was known after {took:?}");
        assert!(took.iter().all(|took| *took < BOUND), "run {run}: {took:?}");
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
        let mut quick = Process::start(&endpoint, "read");
        quick.says().await;
        let mut slow = Process::start(&endpoint, "read");
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
