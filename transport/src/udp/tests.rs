//! What can be tested with the inside of a socket only.

use std::future::poll_fn;

use super::*;

fn bind() -> UdpSocket {
    UdpSocket::bind(([127, 0, 0, 1], 0).into(), &UdpOptions::default()).unwrap()
}

async fn receive(socket: &UdpSocket) -> (Received, Vec<u8>) {
    let (mut buffer, mut received) = (vec![0; 65_536], [Received::default()]);
    poll_fn(|cx| socket.poll_recv(cx, &mut [IoSliceMut::new(&mut buffer)], &mut received))
        .await
        .unwrap();
    buffer.truncate(received[0].len);
    (received[0], buffer)
}

/// Linux tells an unconnected socket of closed ports only when it is asked to, which this test does; other systems
/// do by themselves.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn reports_of_closed_ports_are_counted_and_ignored() {
    let (near, far) = (bind(), bind());
    near.state.enable_transport_errors((&near.io).into()).unwrap();
    // An address where no other test binds meanwhile.
    let closed = UdpSocket::bind(([127, 0, 0, 99], 0).into(), &UdpOptions::default())
        .unwrap()
        .local;
    let to_closed = [Transmit::new(closed, b"is anybody there?")];
    let to_far = [Transmit::new(far.local, b"hello")];

    // The report of the first packet stands before the second.
    assert_eq!(near.try_send(&to_closed).unwrap(), 1);
    assert_eq!(near.try_send(&to_far).unwrap(), 1);
    assert_eq!(receive(&far).await.1, b"hello");
    assert_eq!(near.counters().errors_ignored, 1);

    // And before what is received.
    assert_eq!(near.try_send(&to_closed).unwrap(), 1);
    far.try_send(&[Transmit::new(near.local, b"answer")]).unwrap();
    assert_eq!(receive(&near).await.1, b"answer");
    assert_eq!(near.counters().errors_ignored, 2);
}

/// A queue that was emptied is noted as such, and what comes later is found all the same.
#[tokio::test]
async fn what_arrives_after_a_short_read_is_found() {
    let (near, far) = (bind(), bind());
    for number in 0..100_u8 {
        let count = usize::from(number % 3) + 1;
        for _ in 0..count {
            near.try_send(&[Transmit::new(far.local, &[number])]).unwrap();
        }
        let mut arrived = 0;
        while arrived < count {
            let mut buffers = [[0; 2048]; 4];
            let mut received = [Received::default(); 4];
            let mut slices = buffers.each_mut().map(|buffer| IoSliceMut::new(buffer));
            arrived += poll_fn(|cx| far.poll_recv(cx, &mut slices, &mut received))
                .await
                .unwrap();
        }
        assert_eq!(arrived, count);
    }
}

#[tokio::test]
async fn who_has_left_hears_no_more() {
    let options = UdpOptions::default().interface(std::net::IpAddr::from([127, 0, 0, 1]));
    let gone = UdpSocket::bind_multicast(([239, 255, 70, 6], 0).into(), &options).unwrap();
    let stays = UdpSocket::bind_multicast(gone.local, &options).unwrap();
    let near = bind();
    near.try_send(&[Transmit::new(gone.local, b"first")]).unwrap();
    assert_eq!(receive(&gone).await.1, b"first");
    assert_eq!(receive(&stays).await.1, b"first");

    gone.leave().unwrap();
    gone.leave().unwrap();
    near.leave().unwrap();
    near.try_send(&[Transmit::new(gone.local, b"second")]).unwrap();
    assert_eq!(receive(&stays).await.1, b"second");
    // The system itself is asked, past what tokio remembers.
    let mut buffer = [0; 100];
    let nothing = gone.recv_batch(1, &mut [IoSliceMut::new(&mut buffer)], &mut [Received::default()]);
    assert_eq!(nothing.unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// Who sends to a group that it has joined does not hear itself, and hears the others.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_is_ignored_of_a_group_is_one_sender() {
    let options = UdpOptions::default().interface(std::net::IpAddr::from([127, 0, 0, 1]));
    let group = UdpSocket::bind_multicast("239.255.70.67:0".parse().unwrap(), &options).unwrap();
    let bind = || UdpSocket::bind(([127, 0, 0, 1], 0).into(), &options).unwrap();
    let (own, other) = (bind(), bind());
    assert_eq!(group.recv_drops(), Some(0));
    group.ignore(own.local).unwrap();
    // Joined packets are ignored as well.
    own.try_send(&[Transmit::new(group.local, &[1; 100]).segmented(10)])
        .unwrap();
    other.try_send(&[Transmit::new(group.local, b"hello")]).unwrap();
    let (received, contents) = receive(&group).await;
    assert_eq!((received.source, &contents[..]), (other.local, &b"hello"[..]));
    assert_eq!(group.recv_drops(), None, "the system counts both");
}

/// Packets that the system joins are spread over the places that they are given, also when more come than are expected,
/// and are described as they are in one piece.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn packets_are_spread_over_several_places() {
    let (near, far) = (bind(), bind());
    assert!(far.scatters());
    let contents: Vec<u8> = (0..4100_u32).map(|at| ((at * 7) >> 3) as u8).collect();
    for segment in [None, Some(1000)] {
        let mut transmit = Transmit::new(far.local, &contents);
        if let Some(size) = segment {
            transmit = transmit.segmented(size);
        }
        near.try_send(&[transmit]).unwrap();
        let mut spread = Vec::new();
        while spread.len() < contents.len() {
            let (mut head, mut body, mut rest) = ([0; 10], vec![0; 990], vec![0; 65_536]);
            let received = poll_fn(|cx| {
                let mut slices = [&mut head[..], &mut body, &mut rest].map(IoSliceMut::new);
                far.poll_recv_scattered(cx, &mut slices)
            });
            let received = received.await.unwrap();
            assert_eq!(received.source, near.local);
            assert_eq!(received.destination, Some(far.local.ip()));
            match segment {
                Some(size) => assert!(received.segment_size == size || received.len <= size),
                None => assert_eq!(received.segment_size, received.len),
            }
            let all = [&head[..], &body, &rest].concat();
            spread.extend_from_slice(&all[..received.len]);
        }
        assert_eq!(spread, contents);
    }
}

/// Nothing is lost between finding that nothing is there and what comes then.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_waits_for_what_is_to_be_spread_is_woken() {
    let (near, far) = (bind(), bind());
    let (mut head, mut body) = ([0; 2], [0; 2]);
    let mut slices = [&mut head[..], &mut body].map(IoSliceMut::new);
    let sent = std::cell::Cell::new(false);
    let received = poll_fn(|cx| {
        let polled = far.poll_recv_scattered(cx, &mut slices);
        if !sent.replace(true) {
            assert!(polled.is_pending());
            near.try_send(&[Transmit::new(far.local, b"abc")]).unwrap();
        }
        polled
    });
    let received = received.await.unwrap();
    assert_eq!((received.len, head, body), (3, *b"ab", *b"c\0"));
}
