//! Simulated peers that come one after another, hoard, stop in the middle of a message and leave.

use std::collections::VecDeque;
use std::task::Wake;

use fastrand::Rng;

use super::*;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

fn accounts(all: usize) -> Arc<Accounts> {
    Accounts::new(Memory::new(
        (Limit::PeerRecvBytes, usize::MAX),
        (Limit::RecvMemory, all),
    ))
}

/// Says that it was woken.
#[derive(Default)]
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A peer, its connection and what came by it.
struct Peer {
    account: Arc<Account>,
    come: u64,
    fetched: u64,
    /// Sizes of the messages that it is still to send, the one in part first.
    to_send: VecDeque<usize>,
    /// What has come of that one.
    begun: usize,
    /// Bytes after which it says nothing more.
    falls_silent: usize,
    /// What has come as a whole and is not decoded, for the application's queue is full.
    undecoded: VecDeque<usize>,
    queue: VecDeque<usize>,
    connected: bool,
    bell: Arc<Bell>,
    waits: bool,
}

impl Peer {
    /// From this size on, a message has a buffer of its own.
    const LARGE: usize = 32 * KIB;
    /// Messages that the application's queue takes.
    const QUEUE: usize = 8;

    fn new(accounts: &Arc<Accounts>, to_send: Vec<usize>, falls_silent: usize) -> Self {
        let account = accounts.open();
        account.enter();
        Peer {
            account,
            come: 0,
            fetched: 0,
            to_send: to_send.into(),
            begun: 0,
            falls_silent,
            undecoded: VecDeque::new(),
            queue: VecDeque::new(),
            connected: true,
            bell: Arc::default(),
            waits: false,
        }
    }

    fn receives_body(&self) -> bool {
        self.begun > 0 && self.to_send[0] >= Self::LARGE
    }

    /// What is in the read buffer.
    fn buffered(&self) -> usize {
        let begun = if self.receives_body() { 0 } else { self.begun };
        self.undecoded.iter().sum::<usize>() + begun
    }

    fn partial(&self) -> usize {
        self.undecoded.iter().sum::<usize>() + self.begun
    }

    fn stuck(&self) -> usize {
        self.account.stuck()
    }

    fn held(&self) -> usize {
        (self.come - self.fetched) as usize + self.partial()
    }

    fn has_more(&self) -> bool {
        self.connected && (!self.undecoded.is_empty() || (self.falls_silent > 0 && !self.to_send.is_empty()))
    }

    /// Whether its connection has something to do.
    fn is_runnable(&self) -> bool {
        let woken = self.bell.0.load(Ordering::Relaxed);
        self.has_more() && self.queue.len() < Self::QUEUE && (!self.waits || woken)
    }

    fn tell(&self) {
        let excused = if self.undecoded.is_empty() {
            0
        } else {
            self.buffered()
        };
        self.account
            .tell(self.come, self.partial(), excused, self.fetched);
    }

    /// One turn of its connection, as a link takes it: false if there is no room, and that is new.
    fn turn(&mut self) -> bool {
        while self.queue.len() < Self::QUEUE
            && let Some(size) = self.undecoded.pop_front()
        {
            self.come += size as u64;
            self.queue.push_back(size);
        }
        self.tell();
        if !self.undecoded.is_empty() || self.to_send.is_empty() || self.falls_silent == 0 {
            self.account.pass();
            return true;
        }
        let ahead = self.receives_body();
        let wanted = if ahead {
            self.to_send[0] - self.begun
        } else {
            16 * KIB
        };
        let look = |peer: &Self| peer.account.window(peer.come, peer.fetched, wanted, ahead);
        let mut window = look(self);
        let mut is_new = false;
        if window == 0 {
            self.bell = Arc::default();
            is_new = self.account.wait(&Waker::from(Arc::clone(&self.bell)));
            window = look(self);
        }
        self.waits = window == 0;
        self.read(window);
        self.tell();
        !is_new || !self.waits
    }

    /// Reads what the other end sends, at most so much.
    fn read(&mut self, window: usize) {
        let mut left = window.min(self.falls_silent);
        while left > 0
            && let Some(size) = self.to_send.front().copied()
        {
            let step = left.min(size - self.begun);
            self.begun += step;
            self.falls_silent -= step;
            left -= step;
            if self.begun == size {
                self.begun = 0;
                self.undecoded.extend(self.to_send.pop_front());
            }
        }
    }

    /// The application receives a message of it.
    fn receive(&mut self) -> bool {
        let Some(size) = self.queue.pop_front() else {
            return false;
        };
        self.fetched += size as u64;
        if size > 16 * KIB || self.queue.is_empty() {
            self.account.collect(self.fetched);
        }
        true
    }

    fn disconnect(&mut self) {
        if std::mem::replace(&mut self.connected, false) {
            self.begun = 0;
            self.undecoded.clear();
            self.account.leave(self.come, self.fetched);
        }
    }
}

/// All of them; at each step the bound is checked.
struct World {
    accounts: Arc<Accounts>,
    peers: Vec<Peer>,
    /// Connections at a time.
    most: usize,
    /// What those that lost their connection had of what was not whole, and its even part then.
    closed: Vec<(usize, usize)>,
}

impl World {
    fn check(&self, seed: u64) {
        let (memory, all) = (self.accounts.memory(), self.accounts.memory().all());
        let held: usize = self.peers.iter().map(Peer::held).sum();
        let connected = self.peers.iter().filter(|peer| peer.connected).count();
        let most = all + Memory::GRAIN + self.most * Memory::OWN;
        assert!(
            memory.total() <= most,
            "seed {seed}: {} of {most}",
            memory.total()
        );
        let own = connected * Memory::OWN;
        assert!(
            held <= memory.total().max(all) + own && held <= most + own,
            "seed {seed}: {held} of {all} with {connected} connections"
        );
    }

    fn turn(&mut self, index: usize) {
        if self.peers[index].turn() {
            return;
        }
        let partials = self.peers.iter().map(Peer::stuck).enumerate();
        let heaviest = self.accounts.heaviest(partials);
        if let Some(heaviest) = heaviest {
            let connected = self.peers.iter().filter(|peer| peer.connected).count();
            let even = self.accounts.memory().all() / 2 / connected;
            self.closed.push((self.peers[heaviest].stuck(), even));
            self.peers[heaviest].disconnect();
        }
    }
}

#[test]
fn no_crowd_takes_more_than_there_is_and_none_starves() {
    for seed in 0..8 {
        let mut rng = Rng::with_seed(seed);
        let all = rng.usize(256 * KIB..8192 * KIB);
        let most = rng.usize(2..150);
        let even = all / 2 / most;
        let mut world = World {
            accounts: accounts(all),
            peers: Vec::new(),
            most,
            closed: Vec::new(),
        };
        let mut finished = 0;
        for _ in 0..1500 {
            let connected = world.peers.iter().filter(|peer| peer.connected).count();
            if connected < most {
                let (to_send, silent) = match rng.u8(..4) {
                    // No more than its even part at once: nobody may close its connection.
                    0 | 1 => (
                        (0..rng.usize(1..20)).map(|_| rng.usize(1..even)).collect(),
                        usize::MAX,
                    ),
                    // Announces much and stops in the middle.
                    2 => (vec![1 << 30], rng.usize(1..all)),
                    _ => ((0..5).map(|_| rng.usize(1..all / 2)).collect(), usize::MAX),
                };
                world.peers.push(Peer::new(&world.accounts, to_send, silent));
            }
            for _ in 0..20 {
                let index = rng.usize(..world.peers.len());
                if world.peers[index].is_runnable() {
                    world.turn(index);
                    world.check(seed);
                }
            }
            // Now and then somebody goes, and the application receives as it likes.
            let index = rng.usize(..world.peers.len());
            if rng.u8(..8) == 0 && world.peers[index].falls_silent != usize::MAX {
                world.peers[index].disconnect();
            }
            for _ in 0..rng.usize(..6) {
                let index = rng.usize(..world.peers.len());
                world.peers[index].receive();
            }
            world.check(seed);
            let before = world.peers.len();
            world.peers.retain(|peer| {
                peer.held() > 0 || peer.has_more() || (peer.connected && peer.falls_silent == 0)
            });
            finished += before - world.peers.len();
        }
        // Whoever waits is woken as the application receives; who hoards holds up nobody.
        let mut rounds = 0;
        while world
            .peers
            .iter()
            .any(|peer| peer.has_more() || !peer.queue.is_empty())
        {
            rounds += 1;
            assert!(rounds < 200_000, "seed {seed}: somebody waits for ever");
            for index in 0..world.peers.len() {
                if world.peers[index].is_runnable() {
                    world.turn(index);
                    world.check(seed);
                }
                world.peers[index].receive();
            }
        }
        for (partial, even) in &world.closed {
            assert!(
                partial >= even,
                "seed {seed}: closed with {partial}, its part was {even}"
            );
        }
        let memory = Arc::clone(&world.accounts);
        world.peers.iter_mut().for_each(Peer::disconnect);
        drop(world);
        assert_eq!(memory.memory().total(), 0, "seed {seed}: everything was received");
        assert_eq!(memory.waiters.load(Ordering::Relaxed), 0);
        println!("seed {seed}: {finished} of up to {most} at a time had their turn");
    }
}

#[test]
fn small_messages_are_not_counted_one_by_one() {
    let accounts = accounts(1 << 20);
    let account = accounts.open();
    account.enter();
    let (mut come, mut fetched) = (0, 0);
    for _ in 0..10_000 {
        come += 100;
        account.tell(come, 0, 0, fetched);
        fetched += 100;
        account.collect(fetched);
        assert!(accounts.memory().total() <= 2 * Account::OWN);
    }
    account.leave(come, fetched);
    assert_eq!(accounts.memory().total(), 0);
}

#[test]
fn what_came_otherwise_makes_no_debt() {
    let accounts = accounts(1 << 20);
    let account = accounts.open();
    account.enter();
    // Received without having come by the connection: a notice of the socket's own, say.
    let fetched = 100_000;
    account.collect(fetched);
    assert_eq!(accounts.memory().total(), 0);
    account.tell(fetched + 50_000, 1000, 0, fetched);
    assert_eq!(accounts.memory().total(), 51_000);
    account.collect(fetched + 50_000);
    assert_eq!(accounts.memory().total(), 1000);
    account.leave(fetched + 50_000, fetched + 50_000);
    assert_eq!(accounts.memory().total(), 0);
}

#[test]
fn those_that_wait_are_woken_in_their_order_and_pass_it_on() {
    let accounts = accounts(100 * KIB);
    let hoard = accounts.open();
    hoard.enter();
    hoard.tell(100 * KIB as u64, 0, 0, 0);
    let bells: Vec<Arc<Bell>> = (0..3).map(|_| Arc::default()).collect();
    let waiting: Vec<_> = bells
        .iter()
        .map(|bell| {
            let account = accounts.open();
            account.enter();
            account.tell(0, Account::OWN, 0, 0);
            assert_eq!(account.window(0, 0, 64 * KIB, true), 0);
            assert!(account.wait(&Waker::from(Arc::clone(bell))));
            assert!(!account.wait(&Waker::from(Arc::clone(bell))), "it waits already");
            account
        })
        .collect();
    let rung = || {
        bells
            .iter()
            .map(|bell| bell.0.load(Ordering::Relaxed))
            .collect::<Vec<_>>()
    };
    hoard.collect(60 * KIB as u64);
    assert_eq!(rung(), [true, false, false]);
    // It is gone before it has looked.
    waiting[0].leave(0, 0);
    assert_eq!(rung(), [true, true, false]);
    assert!(waiting[1].window(0, 0, 10 * KIB, true) > 0);
    assert_eq!(rung(), [true, true, true]);
}

#[test]
fn while_the_application_pauses_nobody_is_closed_for_what_it_could_receive() {
    let accounts = accounts(12 * MIB);
    let mut world = World {
        accounts: Arc::clone(&accounts),
        peers: Vec::new(),
        most: 1001,
        closed: Vec::new(),
    };
    for _ in 0..1000 {
        world.peers.push(Peer::new(&accounts, vec![100; 250], usize::MAX));
        // Most of what comes is in the read buffers, behind a full queue.
        for index in 0..world.peers.len() {
            while world.peers[index].is_runnable() {
                world.turn(index);
            }
        }
    }
    // For this one there is no room, and so it looks who has it.
    world.peers.push(Peer::new(&accounts, vec![MIB], usize::MAX));
    while world.peers[1000].is_runnable() {
        world.turn(1000);
    }
    assert!(world.peers[1000].waits);
    world.check(0);
    let memory = accounts.memory();
    assert!(memory.free() < 16 * KIB, "{} are free", memory.free());
    let partial: usize = world.peers.iter().map(Peer::partial).sum();
    assert!(partial > memory.all() / 2, "{partial}");
    assert!(world.closed.is_empty());
    let mut received = 0;
    // All that waits is received before any connection has its turn, and then the one that waits has it first.
    for index in 0..1000 {
        while world.peers[index].receive() {
            received += 1;
        }
    }
    while world.peers[1000].is_runnable() {
        world.turn(1000);
    }
    assert!(world.peers[1000].waits && world.closed.is_empty());
    while received < 1000 * 250 + 1 {
        for index in 0..world.peers.len() {
            while world.peers[index].receive() {
                received += 1;
            }
            while world.peers[index].is_runnable() {
                world.turn(index);
            }
        }
    }
    assert!(world.closed.is_empty());
    world.peers.iter_mut().for_each(Peer::disconnect);
    assert_eq!(memory.total(), 0);
}

#[test]
fn whoever_waits_looks_again_when_all_was_received() {
    let accounts = accounts(MIB);
    let mut world = World {
        accounts: Arc::clone(&accounts),
        peers: Vec::new(),
        most: 100,
        closed: Vec::new(),
    };
    // Each has messages that could be received, more than its queue takes, and then one that never comes as a whole.
    for _ in 0..60 {
        world.peers.push(Peer::new(
            &accounts,
            [vec![100; Peer::QUEUE + 1], vec![30 * KIB]].concat(),
            16 * KIB,
        ));
    }
    world
        .peers
        .push(Peer::new(&accounts, vec![300 * KIB], usize::MAX));
    let run = |world: &mut World| {
        for index in 0..world.peers.len() {
            while world.peers[index].is_runnable() {
                world.turn(index);
            }
        }
    };
    run(&mut world);
    assert!(world.closed.is_empty());
    assert!(world.peers[60].waits);
    let mut rounds = 0;
    while world.peers[60].has_more() {
        rounds += 1;
        assert!(rounds < 1000, "it waits for ever");
        for index in 0..world.peers.len() {
            world.peers[index].receive();
        }
        run(&mut world);
    }
    assert!(!world.closed.is_empty());
}

#[test]
fn whoever_has_a_little_that_is_not_counted_goes_on_in_little_room() {
    let accounts = accounts(100 * KIB);
    let hoard = accounts.open();
    hoard.enter();
    hoard.tell(60 * KIB as u64, 0, 0, 0);
    // It begins a large message: the first of it is its own.
    let account = accounts.open();
    account.enter();
    account.tell(0, Account::OWN - 9, 0, 0);
    assert_eq!(accounts.memory().free(), 40 * KIB);
    let window = account.window(0, 0, 90 * KIB, true);
    assert!(window >= 30 * KIB, "{window}");
    assert!(accounts.memory().total() <= 100 * KIB);
}

#[test]
fn what_seemed_to_be_gone_and_was_received_is_not_taken_off_twice() {
    let accounts = accounts(16 << 20);
    let account = accounts.open();
    account.enter();
    account.tell(5_000_000, 0, 0, 0);
    // Whoever receives has looked at what was told, and takes it off only after the connection, which sees an empty queue.
    let now = 5_000_000.min(account.told.load(Ordering::Relaxed));
    account.tell(0, 0, 0, 0);
    account.give_back(now);
    // From here on, both know what was received.
    account.tell(now + 1_000_000, 0, 0, now);
    assert_eq!(accounts.memory().total(), 1_000_000);
    account.collect(now + 1_000_000);
    assert_eq!(accounts.memory().total(), 0);
}

#[test]
fn connections_that_come_and_go_leave_nothing_uncounted() {
    let accounts = accounts(MIB);
    let hoard = accounts.open();
    hoard.enter();
    hoard.tell(MIB as u64, 0, 0, 0);
    let mut left = Vec::new();
    for _ in 0..1000 {
        let account = accounts.open();
        account.enter();
        let come = account.window(0, 0, 16 * KIB, false) as u64;
        account.tell(come, 0, 0, 0);
        account.leave(come, 0);
        left.push((account, come));
    }
    let held = left.iter().map(|(_, come)| *come as usize).sum::<usize>();
    assert_eq!(accounts.memory().total(), MIB + held);
    assert!(held <= Memory::GRAIN + Memory::OWN, "{held}");
    for (account, come) in left {
        account.collect(come);
    }
    assert_eq!(accounts.memory().total(), MIB);
}

#[test]
fn many_that_read_at_once_take_no_more_than_there_is() {
    let accounts = accounts(MIB);
    let open: Vec<_> = (0..Account::AT_ONCE).map(|_| accounts.open()).collect();
    open.iter().for_each(|account| account.enter());
    // All of them have looked before one of them says what it read, or made lists of.
    let take = |take: &dyn Fn(&Account) -> usize| {
        let come: Vec<_> = open.iter().map(|account| take(account)).collect();
        for (account, come) in open.iter().zip(&come) {
            account.tell(*come as u64, 0, 0, 0);
        }
        let (total, sum) = (accounts.memory().total(), come.iter().sum::<usize>());
        let most = MIB + open.len() * Memory::OWN;
        assert!(total <= most && sum <= most, "{total} and {sum} of {most}");
        for (account, come) in open.iter().zip(come) {
            account.collect(come as u64);
            account.told.store(0, Ordering::Relaxed);
            account.returned.store(0, Ordering::Relaxed);
        }
        assert_eq!(accounts.memory().total(), 0);
    };
    take(&|account| account.window(0, 0, 128 * KIB, false));
    take(&|account| account.beside(0, 0, 0));
}

#[test]
fn a_task_that_was_dropped_waits_for_nothing() {
    let accounts = accounts(100 * KIB);
    let hoard = accounts.open();
    hoard.enter();
    hoard.tell(100 * KIB as u64, 0, 0, 0);
    let account = accounts.open();
    account.enter();
    account.wait(Waker::noop());
    account.abandon();
    assert!(accounts.waiting.lock().is_empty());
    assert_eq!(Arc::strong_count(&account), 1);
}
