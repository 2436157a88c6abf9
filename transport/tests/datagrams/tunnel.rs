//! What tunnels do over every transport: addresses, connections that come and go, and what happens when there is too
//! much.

#[path = "../conformance/duplex.rs"]
mod duplex;

use std::future::poll_fn;
use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use flexbond_transport::{
    BindError, DatagramSocket, Endpoint, Received, Registry, Transmit, Tunnel, TunnelCounters, TunnelOptions,
};
use tokio::time::timeout;

use crate::{DEADLINE, Packet, address, next, receive, receive_into, send, send_to};

/// Where the tunnels of a test meet.
pub(crate) struct Place {
    pub(crate) registry: Registry,
    endpoint: Endpoint,
    pub(crate) options: TunnelOptions,
    #[cfg(all(feature = "ipc", unix))]
    _directory: Option<tempfile::TempDir>,
}

impl Place {
    fn at(registry: Registry, endpoint: &str) -> Self {
        Place {
            registry,
            endpoint: endpoint.parse().unwrap(),
            options: TunnelOptions::default(),
            #[cfg(all(feature = "ipc", unix))]
            _directory: None,
        }
    }

    /// A transport of somebody else, whose streams never write without a task to wake.
    pub(crate) fn third_party() -> Self {
        let registry = Registry::empty();
        let transport = Arc::new(duplex::Duplex::default());
        registry.register("duplex", transport).unwrap();
        Self::at(registry, "duplex://somewhere")
    }

    #[cfg(feature = "inproc")]
    pub(crate) fn inproc() -> Self {
        let registry = Registry::empty();
        let transport = Arc::new(flexbond_transport::Inproc::new());
        registry.register("inproc", transport).unwrap();
        Self::at(registry, "inproc://place")
    }

    #[cfg(all(feature = "ipc", unix))]
    pub(crate) fn ipc() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let endpoint = format!("ipc://{}", directory.path().join("session").display());
        let mut place = Self::at(Registry::standard(), &endpoint);
        place._directory = Some(directory);
        place
    }

    #[cfg(all(feature = "ipc", any(target_os = "linux", target_os = "android")))]
    pub(crate) fn ipc_abstract() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let endpoint = format!("ipc://@flexbond tunnel {} {number}", std::process::id());
        Self::at(Registry::standard(), &endpoint)
    }

    #[cfg(feature = "tcp")]
    pub(crate) fn tcp() -> Self {
        Self::at(Registry::standard(), "tcp://127.0.0.1:0")
    }

    pub(crate) fn with(mut self, change: impl FnOnce(TunnelOptions) -> TunnelOptions) -> Self {
        self.options = change(self.options);
        self
    }

    /// The root; members are made towards where it listens from now on.
    pub(crate) async fn bind(&mut self) -> Tunnel {
        let root = Tunnel::bind(&self.registry, &self.endpoint, &self.options)
            .await
            .unwrap();
        self.endpoint = root.local_endpoint().clone();
        root
    }

    pub(crate) async fn member(&self) -> Tunnel {
        Tunnel::toward(&self.registry, &self.endpoint, &self.options)
            .await
            .unwrap()
    }

    /// Binds again where another root was dropped a moment ago, and whose tasks may still have to end.
    async fn bind_again(&mut self) -> Tunnel {
        let bind = async {
            loop {
                match Tunnel::bind(&self.registry, &self.endpoint, &self.options).await {
                    Err(BindError::InUse { .. }) => tokio::task::yield_now().await,
                    bound => return bound.unwrap(),
                }
            }
        };
        timeout(DEADLINE, bind).await.expect("it stays in use")
    }
}

pub(crate) fn local(tunnel: &Tunnel) -> SocketAddr {
    tunnel.local_addr().unwrap()
}

/// Whether nothing can be received now. Ends of connections are noticed, too.
pub(crate) async fn is_silent(tunnel: &Tunnel) -> bool {
    poll_fn(|cx| {
        let mut buffer = [0; 100];
        let mut buffers = [IoSliceMut::new(&mut buffer)];
        Poll::Ready(
            tunnel
                .poll_recv(cx, &mut buffers, &mut [Received::default()])
                .is_pending(),
        )
    })
    .await
}

/// Lets the tunnels do what they have to until their counters are as they are to be.
pub(crate) async fn until(tunnels: &[&Tunnel], reached: impl Fn(&[TunnelCounters]) -> bool) {
    let wait = async {
        loop {
            let counters: Vec<_> = tunnels.iter().map(|tunnel| tunnel.counters()).collect();
            if reached(&counters) {
                return;
            }
            for tunnel in tunnels {
                assert!(is_silent(tunnel).await, "a packet that nobody expects");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    if timeout(DEADLINE, wait).await.is_err() {
        panic!("it does not come to that: {tunnels:?}");
    }
}

/// Every test over each transport, on a runtime of one thread and on one whose threads race.
macro_rules! over_all {
    ($($test:ident)*) => {
        over_all!(@place third_party; $($test)*);
        #[cfg(feature = "inproc")]
        over_all!(@place inproc; $($test)*);
        #[cfg(all(feature = "ipc", unix))]
        over_all!(@place ipc; $($test)*);
        #[cfg(feature = "tcp")]
        over_all!(@place tcp; $($test)*);
    };
    (@place $place:ident; $($test:ident)*) => {
        mod $place {
            $(
                mod $test {
                    use crate::tunnel::{Place, $test};

                    #[tokio::test]
                    async fn one_thread() {
                        $test(Place::$place()).await;
                    }

                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn two_threads() {
                        $test(Place::$place()).await;
                    }
                }
            )*
        }
    };
}

over_all! {
    all_sizes_arrive
    thousands_arrive_in_order
    batches_are_split_and_joined
    addresses_that_were_passed_on_are_reached
    many_send_to_one
    connecting_at_once_loses_nothing
    a_tunnel_may_send_to_itself
    who_comes_back_is_reached_again
    idle_connections_are_closed_and_made_again
    who_does_not_receive_stops_nobody_else
    what_waits_is_sent_after_a_drop
    what_waits_for_a_connection_is_sent_after_a_drop
    everything_ends_with_a_drop
}

async fn all_sizes_arrive(mut place: Place) {
    let root = place.bind().await;
    let member = place.member().await;
    assert_eq!(member.root_addr(), local(&root));
    let contents: Vec<u8> = (0..Transmit::MAX_LEN).map(|number| (number / 3) as u8).collect();
    for len in [
        0,
        1,
        2,
        61,
        62,
        63,
        1400,
        4095,
        4096,
        40_000,
        65_506,
        Transmit::MAX_LEN,
    ] {
        send_to(&member, local(&root), &contents[..len]).await;
        let packet = receive(&root, 1).await.remove(0);
        assert_eq!((packet.source, packet.bytes.len()), (local(&member), len));
        assert!(packet.bytes == contents[..len], "{len}");
        send_to(&root, packet.source, &contents[..len]).await;
        assert!(next(&member).await == contents[..len], "{len}");
    }
    for tunnel in [&root, &member] {
        let counters = tunnel.counters();
        assert_eq!(
            (counters.connections, counters.dialed + counters.accepted),
            (1, 1)
        );
        assert_eq!((tunnel.recv_drops(), counters.dropped_full), (Some(0), 0));
    }
}

/// The number at the beginning of each packet.
fn numbers(packets: &[Packet]) -> impl Iterator<Item = u32> + '_ {
    packets
        .iter()
        .map(|packet| u32::from_be_bytes(*packet.bytes.first_chunk().unwrap()))
}

async fn thousands_arrive_in_order(mut place: Place) {
    const COUNT: u32 = 5000;
    let root = place.bind().await;
    let member = place.member().await;
    let there = local(&root);
    let sending = async {
        for number in 0..COUNT {
            let mut contents = vec![7; 4 + number as usize % 900];
            contents[..4].copy_from_slice(&number.to_be_bytes());
            send_to(&member, there, &contents).await;
        }
    };
    let ((), packets) = tokio::join!(sending, receive(&root, COUNT as usize));
    assert!(numbers(&packets).eq(0..COUNT));
    let fits = |(number, packet): (usize, &Packet)| packet.bytes.len() == 4 + number % 900;
    assert!(packets.iter().enumerate().all(fits));
}

async fn batches_are_split_and_joined(mut place: Place) {
    let root = place.bind().await;
    let member = place.member().await;
    let there = local(&root);
    assert!(member.max_send_segments() > 1 && root.max_recv_segments() > 1);
    let contents: Vec<u8> = (0..140_000_u32).map(|number| (number / 11) as u8).collect();
    for size in [1, 700, 1400, 40_000, 65_507] {
        let contents = &contents[..contents.len().min(size * 300)];
        send(&member, &[Transmit::new(there, contents).segmented(size)]).await;
        let packets = receive(&root, contents.len().div_ceil(size)).await;
        assert!(
            packets
                .iter()
                .map(|packet| &packet.bytes[..])
                .eq(contents.chunks(size)),
            "{size}"
        );
    }
    // Also into buffers that are shorter than what was sent at once.
    send(
        &member,
        &[Transmit::new(there, &contents[..14_000]).segmented(1400)],
    )
    .await;
    let mut packets = Vec::new();
    while packets.len() < 10 {
        for (received, buffer) in receive_into(&root, 3, 3000).await {
            assert!(received.segment_size == 1400 && received.len <= 2800);
            packets.extend(received.packets(&buffer).map(<[u8]>::to_vec));
        }
    }
    assert!(
        packets
            .iter()
            .map(|bytes| &bytes[..])
            .eq(contents[..14_000].chunks(1400))
    );
}

async fn addresses_that_were_passed_on_are_reached(mut place: Place) {
    let root = place.bind().await;
    let members = [place.member().await, place.member().await];
    let mut seen = Vec::new();
    for member in &members {
        send_to(member, member.root_addr(), b"here I am").await;
        seen.push(receive(&root, 1).await.remove(0).source);
    }
    assert_eq!(seen, members.each_ref().map(local));
    // The one hears of the other from the root, and connects to it by itself.
    send_to(&root, seen[1], seen[0].to_string().as_bytes()).await;
    let learned: SocketAddr = String::from_utf8(next(&members[1]).await)
        .unwrap()
        .parse()
        .unwrap();
    send_to(&members[1], learned, b"to you alone").await;
    let packet = receive(&members[0], 1).await.remove(0);
    assert_eq!(
        (packet.source, &packet.bytes[..]),
        (seen[1], &b"to you alone"[..])
    );
    send_to(&members[0], packet.source, b"to you, too").await;
    assert_eq!(next(&members[1]).await, b"to you, too");
    assert_eq!(root.counters().connections, 2);
    assert_eq!(members[0].counters().connections, 2);
}

async fn many_send_to_one(mut place: Place) {
    const MEMBERS: usize = 20;
    const EACH: usize = 50;
    let root = place.bind().await;
    let mut members = Vec::new();
    for _ in 0..MEMBERS {
        members.push(place.member().await);
    }
    for number in 0..EACH {
        for member in &members {
            send_to(member, member.root_addr(), &[number as u8; 1000]).await;
        }
    }
    let packets = receive(&root, MEMBERS * EACH).await;
    for member in &members {
        let from = |packet: &&Packet| packet.source == local(member);
        let numbers: Vec<_> = packets
            .iter()
            .filter(from)
            .map(|packet| packet.bytes[0] as usize)
            .collect();
        assert!(numbers.into_iter().eq(0..EACH));
    }
}

async fn connecting_at_once_loses_nothing(mut place: Place) {
    const COUNT: u32 = 200;
    let root = place.bind().await;
    for _ in 0..5 {
        let (near, far) = (place.member().await, place.member().await);
        let (here, there) = (local(&near), local(&far));
        for number in 0..COUNT {
            // Nothing runs in between, so that neither hears of the other before it has begun to connect.
            near.try_send(&[Transmit::new(there, &number.to_be_bytes())])
                .unwrap();
            far.try_send(&[Transmit::new(here, &number.to_be_bytes())])
                .unwrap();
            if number > COUNT / 2 {
                tokio::task::yield_now().await;
            }
        }
        for tunnel in [&near, &far] {
            let mut arrived: Vec<_> = numbers(&receive(tunnel, COUNT as usize).await).collect();
            arrived.sort_unstable();
            assert!(arrived.into_iter().eq(0..COUNT), "{near:?} {far:?}");
        }
        // One of the two is left.
        until(&[&near, &far], |counters| {
            counters.iter().all(|counters| counters.connections == 1)
        })
        .await;
        send_to(&near, there, b"still there").await;
        assert_eq!(next(&far).await, b"still there");
        send_to(&far, here, b"still here").await;
        assert_eq!(next(&near).await, b"still here");
    }
    drop(root);
}

async fn a_tunnel_may_send_to_itself(mut place: Place) {
    let root = place.bind().await;
    for number in 0..100_u32 {
        send_to(&root, local(&root), &number.to_be_bytes()).await;
    }
    let packets = receive(&root, 100).await;
    // Either end of the connection may be the one that is sent on, and the other one at first.
    let mut arrived: Vec<_> = numbers(&packets).collect();
    arrived.sort_unstable();
    assert!(arrived.into_iter().eq(0..100));
    assert!(packets.iter().all(|packet| packet.source == local(&root)));
}

/// Sends until an answer comes: what is sent meanwhile may be lost.
async fn reach(near: &Tunnel, there: SocketAddr, far: &Tunnel) {
    let attempt = async {
        loop {
            send_to(near, there, b"are you back?").await;
            let answer = timeout(Duration::from_millis(5), receive_into(far, 1, 100)).await;
            // Who waits for a packet notices how its connections end.
            let _ = is_silent(near).await;
            if answer.is_ok() {
                return;
            }
        }
    };
    timeout(DEADLINE, attempt).await.expect("it is not reached");
}

async fn who_comes_back_is_reached_again(place: Place) {
    let mut place = place.with(|options| options.max_backoff(Duration::from_millis(30)));
    let mut root = place.bind().await;
    let member = place.member().await;
    let there = member.root_addr();
    reach(&member, there, &root).await;
    for _ in 0..3 {
        drop(root);
        root = place.bind_again().await;
        assert_eq!(local(&root), there);
        reach(&member, there, &root).await;
    }
}

async fn idle_connections_are_closed_and_made_again(place: Place) {
    let mut place = place.with(|options| options.idle_timeout(Duration::from_millis(40)));
    let root = place.bind().await;
    let member = place.member().await;
    for _ in 0..3 {
        send_to(&member, local(&root), b"once more").await;
        assert_eq!(next(&root).await, b"once more");
        until(&[&root, &member], |counters| {
            counters.iter().all(|counters| counters.connections == 0)
        })
        .await;
    }
    assert_eq!(member.counters().dialed, 3);
    // The other way round, nobody having heard of anybody.
    send_to(&root, local(&member), b"back").await;
    assert_eq!(next(&member).await, b"back");
    for tunnel in [&root, &member] {
        let counters = tunnel.counters();
        assert_eq!(
            (
                counters.dropped_closed,
                counters.dropped_unreachable,
                counters.garbled
            ),
            (0, 0, 0)
        );
    }
}

async fn who_does_not_receive_stops_nobody_else(place: Place) {
    const SIZE: usize = 60_000;
    const COUNT: usize = 600;
    let mut place = place.with(|options| options.max_queued(1 << 20));
    let root = place.bind().await;
    let (stopped, other) = (place.member().await, place.member().await);
    for member in [&stopped, &other] {
        send_to(member, member.root_addr(), b"here I am").await;
        next(&root).await;
    }
    // 36 MB for the one, between which the other hears everything.
    for number in 0..COUNT as u32 {
        let mut contents = vec![7; SIZE];
        contents[..4].copy_from_slice(&number.to_be_bytes());
        send_to(&root, local(&stopped), &contents).await;
        send_to(&root, local(&other), &number.to_be_bytes()).await;
        assert_eq!(next(&other).await, number.to_be_bytes());
    }
    let dropped = root.counters().dropped_full as usize;
    // What the queue, the kernel's buffers and a channel hold.
    assert!(dropped > COUNT / 3, "{dropped}");
    let packets = receive(&stopped, COUNT - dropped).await;
    assert!(numbers(&packets).is_sorted());
    assert!(packets.iter().all(|packet| packet.bytes.len() == SIZE));
    send_to(&root, local(&stopped), b"there is room again").await;
    assert_eq!(next(&stopped).await, b"there is room again");
    assert_eq!(root.counters().dropped_full as usize, dropped);
}

async fn what_waits_is_sent_after_a_drop(mut place: Place) {
    const COUNT: u32 = 100;
    let root = place.bind().await;
    let member = place.member().await;
    send_to(&member, member.root_addr(), b"here I am").await;
    next(&root).await;
    for number in 0..COUNT {
        let mut contents = vec![7; 60_000];
        contents[..4].copy_from_slice(&number.to_be_bytes());
        send_to(&member, member.root_addr(), &contents).await;
    }
    drop(member);
    let packets = receive(&root, COUNT as usize).await;
    assert!(numbers(&packets).eq(0..COUNT));
    until(&[&root], |counters| counters[0].connections == 0).await;
}

async fn what_waits_for_a_connection_is_sent_after_a_drop(mut place: Place) {
    const COUNT: u32 = 20;
    let root = place.bind().await;
    let member = place.member().await;
    // Nothing in between gives anybody the time to connect.
    for number in 0..COUNT {
        let mut contents = vec![7; 60_000];
        contents[..4].copy_from_slice(&number.to_be_bytes());
        let packet = Transmit::new(member.root_addr(), &contents);
        assert_eq!(member.try_send(&[packet]).unwrap(), 1);
    }
    drop(member);
    let packets = receive(&root, COUNT as usize).await;
    assert!(numbers(&packets).eq(0..COUNT));
    until(&[&root], |counters| counters[0].connections == 0).await;
}

async fn everything_ends_with_a_drop(mut place: Place) {
    let metrics = tokio::runtime::Handle::current().metrics();
    let before = metrics.num_alive_tasks();
    let root = place.bind().await;
    let member = place.member().await;
    send_to(&member, member.root_addr(), b"here I am").await;
    next(&root).await;
    // One that waits for an answer which never comes, where that is possible.
    let nobody = if local(&root).port() == 1 {
        address("[fd66:6c78:626f:6e64::77]:1")
    } else {
        address("127.0.0.1:9")
    };
    send_to(&member, nobody, b"is anybody there?").await;
    drop((root, member));
    let ended = async {
        while metrics.num_alive_tasks() > before {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, ended).await.expect("a task goes on for ever");
    drop(place.bind_again().await);
}

#[tokio::test]
async fn what_cannot_be_bound_is_named() {
    let (registry, options) = (Registry::standard(), TunnelOptions::default());
    let endpoint = |text: &str| text.parse::<Endpoint>().unwrap();
    for text in ["udp://127.0.0.1:5", "pigeon://roof"] {
        let error = Tunnel::bind(&registry, &endpoint(text), &options)
            .await
            .unwrap_err();
        assert!(matches!(error, BindError::UnknownScheme { .. }), "{error}");
        let error = Tunnel::toward(&registry, &endpoint(text), &options)
            .await
            .unwrap_err();
        assert!(matches!(error, BindError::UnknownScheme { .. }), "{error}");
    }
    let unusable = async |text: &str| {
        let error = Tunnel::toward(&registry, &endpoint(text), &options)
            .await
            .unwrap_err();
        assert!(matches!(error, BindError::Unusable { .. }), "{error}");
    };
    #[cfg(feature = "tcp")]
    for text in ["tcp://*:5", "tcp://127.0.0.1:0"] {
        unusable(text).await;
    }
    #[cfg(all(feature = "ipc", unix))]
    for text in ["ipc://*".to_owned(), format!("ipc:///{}", "x".repeat(100))] {
        unusable(&text).await;
    }
    #[cfg(feature = "inproc")]
    unusable(&format!("inproc://{}", "x".repeat(250))).await;
    let _ = unusable;
}

#[tokio::test]
async fn names_have_addresses_of_their_own() {
    let mut place = Place::third_party();
    let root = place.bind().await;
    let members = [place.member().await, place.member().await];
    assert_eq!(local(&root), address("[fd66:6c78:626f:6e64::1]:1"));
    assert_eq!(root.root_addr(), local(&root));
    for member in &members {
        let SocketAddr::V6(address) = local(member) else {
            panic!("{member:?}")
        };
        let octets = address.ip().octets();
        assert_eq!(octets[..8], *b"\xfdflxbond");
        let place: String = octets[8..].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            member.local_endpoint().to_string(),
            format!("duplex://somewhere.{place}")
        );
    }
    assert_ne!(local(&members[0]), local(&members[1]));
    for nobody in [
        "10.0.0.1:1",
        "[fd66:6c78:626f:6e64::1]:2",
        "[fd66:6c78:626f:6e65::1]:1",
    ] {
        let packet = [Transmit::new(address(nobody), b"to whom?")];
        assert!(root.try_send(&packet).is_err(), "{nobody}");
    }
}

#[cfg(feature = "tcp")]
#[tokio::test]
async fn what_cannot_be_reached_is_counted() {
    let mut place = Place::tcp();
    let root = place.bind().await;
    let gone = local(&place.member().await);
    for _ in 0..3 {
        send_to(&root, gone, &[0; 3000]).await;
    }
    until(&[&root], |counters| counters[0].dropped_unreachable == 3).await;
    assert_eq!(
        (root.counters().dial_failures, root.counters().connections),
        (1, 0)
    );
    // A pause, in which nothing is tried.
    send(&root, &[Transmit::new(gone, &[0; 3000]).segmented(1000)]).await;
    assert_eq!(
        (root.counters().dropped_unreachable, root.counters().dial_failures),
        (6, 1)
    );
    let group = [Transmit::new(address("239.255.7.9:5"), b"to all")];
    assert!(root.try_send(&group).is_err());
}

#[cfg(feature = "tcp")]
#[tokio::test]
async fn a_root_for_every_interface_is_reached() {
    let mut place = Place::tcp();
    place.endpoint = "tcp://*:*".parse().unwrap();
    let root = place.bind().await;
    place.endpoint = Endpoint::from(SocketAddr::from(([127, 0, 0, 1], local(&root).port())));
    let member = place.member().await;
    send_to(&member, member.root_addr(), b"here I am").await;
    let packet = receive(&root, 1).await.remove(0);
    assert_eq!(packet.source, local(&member));
    send_to(&root, packet.source, b"there you are").await;
    let packet = receive(&member, 1).await.remove(0);
    assert_eq!(packet.source, member.root_addr());
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("NOT TESTED: this machine has no IPv6 loopback address");
        return;
    }
    place.endpoint = "tcp://[::1]:0".parse().unwrap();
    let root = place.bind().await;
    let member = place.member().await;
    send_to(&member, member.root_addr(), b"here I am").await;
    assert_eq!(receive(&root, 1).await[0].source, local(&member));
}
