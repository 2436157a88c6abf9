//! What only UDP does: offload, buffers, closed ports.

use flexbond_transport::{BindError, DatagramSocket, Endpoint, Transmit, UdpOptions, UdpSocket};

use crate::{address, next, receive, receive_into, send, send_to};

fn bind() -> UdpSocket {
    UdpSocket::bind(address("127.0.0.1:0"), &UdpOptions::default()).unwrap()
}

#[tokio::test]
async fn what_the_system_splits_it_joins_again() {
    let (near, far) = (bind(), bind());
    let there = far.local_addr().unwrap();
    send(&near, &[Transmit::new(there, &[7; 65_000]).segmented(1300)]).await;
    if near.max_send_segments() == 1 || far.max_recv_segments() == 1 {
        eprintln!("NOT TESTED: this system does not split or join packets");
        assert_eq!(receive(&far, 50).await.len(), 50);
        return;
    }
    let received = receive_into(&far, 1, 65_536).await;
    let (received, buffer) = &received[0];
    assert_eq!((received.len, received.segment_size), (65_000, 1300));
    assert_eq!(received.packets(buffer).count(), 50);
    assert_eq!(received.destination, Some(there.ip()));
}

#[tokio::test]
async fn without_offload_one_packet_is_sent_per_call() {
    let options = UdpOptions::default().segmentation_offload(false);
    let (near, far) = (UdpSocket::bind(address("127.0.0.1:0"), &options).unwrap(), bind());
    assert_eq!(near.max_send_segments(), 1);
    let contents: Vec<u8> = (0..=255).collect();
    let there = far.local_addr().unwrap();
    send(&near, &[Transmit::new(there, &contents).segmented(10)]).await;
    let packets = receive(&far, 26).await;
    assert!(
        packets
            .iter()
            .map(|packet| &packet.bytes[..])
            .eq(contents.chunks(10))
    );
    assert_eq!(near.counters(), Default::default());
}

/// More than one call takes: 64 packets, and 65,507 bytes.
#[tokio::test]
async fn more_than_one_call_takes_is_sent_in_several() {
    let (near, far) = (bind(), bind());
    let contents: Vec<u8> = (0..140_000_u32).map(|number| (number / 11) as u8).collect();
    let there = far.local_addr().unwrap();
    send(&near, &[Transmit::new(there, &contents).segmented(1400)]).await;
    let packets = receive(&far, 100).await;
    assert!(
        packets
            .iter()
            .map(|packet| &packet.bytes[..])
            .eq(contents.chunks(1400))
    );
    send(&near, &[Transmit::new(there, &contents[..200]).segmented(1)]).await;
    assert_eq!(receive(&far, 200).await.len(), 200);
}

#[tokio::test]
async fn the_source_can_be_chosen() {
    let near = UdpSocket::bind(address("0.0.0.0:0"), &UdpOptions::default()).unwrap();
    let far = bind();
    let source = "127.0.0.2".parse().unwrap();
    if !cfg!(target_os = "linux") {
        eprintln!("NOT TESTED: this system has one loopback address");
        return;
    }
    let packet = Transmit::new(far.local_addr().unwrap(), b"from two").from(source);
    send(&near, &[packet]).await;
    assert_eq!(receive(&far, 1).await[0].source.ip(), source);

    // Not one of this machine's: an error of this packet, which leaves the splitting on.
    let segments = near.max_send_segments();
    let packet = packet.from("192.0.2.77".parse().unwrap()).segmented(2);
    near.try_send(&[packet]).unwrap_err();
    assert_eq!(near.max_send_segments(), segments);
    send_to(&near, far.local_addr().unwrap(), b"goes on").await;
    assert_eq!(next(&far).await, b"goes on");
}

#[tokio::test]
async fn a_closed_port_disturbs_nobody() {
    let (near, far) = (bind(), bind());
    // An address where no other test binds meanwhile, on systems that have it.
    let host = if cfg!(target_os = "linux") {
        "127.0.0.99:0"
    } else {
        "127.0.0.1:0"
    };
    let closed = UdpSocket::bind(address(host), &UdpOptions::default())
        .unwrap()
        .local_addr()
        .unwrap();
    for number in 0..10 {
        send_to(&near, closed, b"is anybody there?").await;
        send_to(&near, far.local_addr().unwrap(), &[number]).await;
        assert_eq!(next(&far).await, [number]);
        send_to(&far, near.local_addr().unwrap(), &[number]).await;
        assert_eq!(next(&near).await, [number]);
    }
}

#[tokio::test]
async fn what_finds_the_buffer_full_is_counted() {
    let options = UdpOptions::default().recv_buffer(8192);
    let far = UdpSocket::bind(address("127.0.0.1:0"), &options).unwrap();
    let near = bind();
    let Some(before) = far.recv_drops() else {
        eprintln!("NOT TESTED: this system does not tell how many packets it has dropped");
        return;
    };
    assert_eq!(before, 0);
    for _ in 0..1000 {
        send_to(&near, far.local_addr().unwrap(), &[0; 1000]).await;
    }
    let dropped = usize::try_from(far.recv_drops().unwrap()).unwrap();
    assert!((1..1000).contains(&dropped), "{dropped} of 1000 were dropped");
    assert_eq!(receive(&far, 1000 - dropped).await.len(), 1000 - dropped);
    assert_eq!(near.recv_drops().unwrap_or(0), 0);
}

#[tokio::test]
async fn the_buffers_are_what_was_granted() {
    for asked in [16 << 10, 100 << 10] {
        let options = UdpOptions::default().recv_buffer(asked).send_buffer(asked);
        let socket = UdpSocket::bind(address("127.0.0.1:0"), &options).unwrap();
        assert_eq!(
            (socket.recv_buffer().unwrap(), socket.send_buffer().unwrap()),
            (asked, asked)
        );
    }
    let options = UdpOptions::default()
        .recv_buffer(usize::MAX)
        .send_buffer(usize::MAX);
    let socket = UdpSocket::bind(address("127.0.0.1:0"), &options).unwrap();
    assert!((1..usize::MAX).contains(&socket.recv_buffer().unwrap()));
}

#[tokio::test]
async fn a_port_is_bound_once() {
    // An address where no other test binds meanwhile, on systems that have it.
    let host = if cfg!(target_os = "linux") {
        "127.0.0.98:0"
    } else {
        "127.0.0.1:0"
    };
    let socket = UdpSocket::bind(address(host), &UdpOptions::default()).unwrap();
    let local = socket.local_addr().unwrap();
    let error = UdpSocket::bind(local, &UdpOptions::default()).unwrap_err();
    assert!(matches!(&error, BindError::InUse { endpoint, .. } if *endpoint == Endpoint::Udp(local.into())));
    drop(socket);
    UdpSocket::bind(local, &UdpOptions::default()).unwrap();
}

#[tokio::test]
async fn what_cannot_be_bound_is_named() {
    let bind = |text, options: &UdpOptions| UdpSocket::bind(address(text), options).unwrap_err();
    let plain = UdpOptions::default();
    assert_eq!(
        bind("239.255.7.9:5", &plain).to_string(),
        "cannot bind udp://239.255.7.9:5: a multicast group is joined, not bound"
    );
    let options = plain
        .clone()
        .interface("no-such-one".parse::<flexbond_transport::Interface>().unwrap());
    assert_eq!(
        bind("127.0.0.1:0", &options).to_string(),
        "cannot bind udp://127.0.0.1:0: there is no network interface no-such-one"
    );
    assert!(matches!(bind("192.0.2.77:5", &plain), BindError::Io { .. }));
    let error = UdpSocket::bind_multicast(address("127.0.0.1:5"), &plain).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot bind udp://127.0.0.1:5: not a multicast address"
    );
}

/// From the text of an endpoint to a socket.
#[tokio::test]
async fn endpoints_are_looked_up() {
    let addresses = |text: &str| {
        let Endpoint::Udp(address) = text.parse().unwrap() else {
            panic!("{text}")
        };
        address
    };
    let any = addresses("udp://*:5");
    assert_eq!(any.local_addrs(false).await.unwrap(), [address("0.0.0.0:5")]);
    assert_eq!(any.local_addrs(true).await.unwrap(), [address("[::]:5")]);
    assert!(any.peer_addrs(false).await.is_err());
    assert!(addresses("udp://127.0.0.1:*").peer_addrs(false).await.is_err());
    let group = addresses("udp://239.255.7.9:5");
    assert_eq!(group.peer_addrs(false).await.unwrap(), [address("239.255.7.9:5")]);
    let names = addresses("udp://localhost:5").peer_addrs(false).await.unwrap();
    assert_eq!(names, [address("127.0.0.1:5")]);
}
