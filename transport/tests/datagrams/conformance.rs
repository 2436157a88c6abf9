//! What every datagram socket does.

use std::future::poll_fn;
use std::io::{ErrorKind, IoSliceMut};
use std::task::Poll;

use flexbond_transport::{DatagramSocket, Received, Transmit};

use crate::{next, receive, receive_into, send, send_to};

type Pair = (Box<dyn DatagramSocket>, Box<dyn DatagramSocket>);

/// What arrives is what was sent, with the addresses of both ends; an empty packet is one too.
async fn packets_arrive((near, far): Pair) {
    let (here, there) = (near.local_addr().unwrap(), far.local_addr().unwrap());
    assert!(here.port() != 0 && there.port() != 0);
    for contents in [&b"hello"[..], b"", &[7; 1400]] {
        send_to(&*near, there, contents).await;
        let packet = receive(&*far, 1).await.remove(0);
        assert_eq!((packet.source, &packet.bytes[..]), (here, contents));
        assert!(
            packet
                .destination
                .is_none_or(|destination| destination == there.ip())
        );
        send_to(&*far, packet.source, contents).await;
        assert_eq!(next(&*near).await, contents);
    }
}

async fn batches_arrive((near, far): Pair) {
    let there = far.local_addr().unwrap();
    let contents: Vec<[u8; 100]> = (0..100).map(|number| [number; 100]).collect();
    let batch: Vec<_> = contents.iter().map(|bytes| Transmit::new(there, bytes)).collect();
    send(&*near, &batch).await;
    let mut arrived: Vec<_> = receive(&*far, 100)
        .await
        .into_iter()
        .map(|packet| packet.bytes)
        .collect();
    arrived.sort();
    assert_eq!(arrived, contents);

    assert_eq!(near.try_send(&[]).unwrap(), 0);
    let nothing = poll_fn(|cx| Poll::Ready(far.poll_recv(cx, &mut [], &mut [Received::default()]))).await;
    assert!(matches!(nothing, Poll::Ready(Ok(0))));
}

/// Also more of them than the socket says that it takes: that may have sunk a moment ago.
async fn segments_arrive_as_packets((near, far): Pair) {
    let there = far.local_addr().unwrap();
    let contents: Vec<u8> = (0..65_000_u32).map(|number| (number / 7) as u8).collect();
    for (len, size) in [
        (65_000, 1300),
        (64_999, 1300),
        (1301, 1300),
        (1300, 1300),
        (10, 1300),
        (10, 1),
    ] {
        let contents = &contents[..len];
        send(&*near, &[Transmit::new(there, contents).segmented(size)]).await;
        let packets = receive(&*far, len.div_ceil(size)).await;
        for (packet, sent) in packets.iter().zip(contents.chunks(size)) {
            assert_eq!(packet.bytes, sent);
        }
    }
    assert!(near.max_send_segments() >= 1 && far.max_recv_segments() >= 1);
}

/// A packet that is longer than its buffer fills it; the next one is not harmed.
async fn long_packets_are_cut_off((near, far): Pair) {
    if cfg!(not(any(target_os = "linux", target_os = "android"))) {
        eprintln!("not tested: this system may drop packets that are longer than their buffer");
        return;
    }
    let there = far.local_addr().unwrap();
    send(
        &*near,
        &[Transmit::new(there, &[7; 1000]), Transmit::new(there, b"next")],
    )
    .await;
    let mut arrived = Vec::new();
    while arrived.len() < 2 {
        arrived.extend(receive_into(&*far, 4, 100).await);
    }
    let (cut, buffer) = &arrived[0];
    assert_eq!(
        (cut.len, cut.segment_size, &buffer[..]),
        (100, 100, &[7; 100][..])
    );
    let (whole, buffer) = &arrived[1];
    assert_eq!((whole.len, &buffer[..4]), (4, &b"next"[..]));
}

/// What cannot be sent is an error of its own, and what stands after it goes on without it.
async fn one_bad_packet_harms_no_other((near, far): Pair) {
    let there = far.local_addr().unwrap();
    let nowhere = std::net::SocketAddr::new(there.ip(), 0);
    let huge = vec![0; Transmit::MAX_LEN + 100];
    let batch = [
        Transmit::new(there, b"first"),
        Transmit::new(nowhere, b"bad"),
        Transmit::new(there, &huge),
        Transmit::new(there, b"last"),
    ];
    let (mut rest, mut errors) = (&batch[..], 0);
    while !rest.is_empty() {
        match poll_fn(|cx| near.poll_send(cx, rest)).await {
            Ok(taken) => rest = &rest[taken..],
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::WouldBlock);
                errors += 1;
                rest = &rest[1..];
            }
        }
    }
    assert_eq!(errors, 2);
    let packets: Vec<_> = receive(&*far, 2)
        .await
        .into_iter()
        .map(|packet| packet.bytes)
        .collect();
    assert_eq!(packets, [&b"first"[..], b"last"]);
}

/// A task that waits is woken, and there is nothing to receive before.
async fn who_waits_is_woken((near, far): Pair) {
    let there = far.local_addr().unwrap();
    let waiting = tokio::spawn(async move {
        let mut polls = 0;
        let (mut buffer, mut received) = ([0; 100], [Received::default()]);
        poll_fn(|cx| {
            polls += 1;
            far.poll_recv(cx, &mut [IoSliceMut::new(&mut buffer)], &mut received)
        })
        .await
        .unwrap();
        (polls, received[0].len)
    });
    tokio::task::yield_now().await;
    send_to(&*near, there, b"wake").await;
    let (polls, len) = waiting.await.unwrap();
    assert!(polls >= 2);
    assert_eq!(len, 4);
}

macro_rules! suite {
    ($($name:ident: $pair:expr;)*) => {
        $(
            mod $name {
                suite!(@tests $pair; packets_arrive, batches_arrive, segments_arrive_as_packets,
                    long_packets_are_cut_off, one_bad_packet_harms_no_other, who_waits_is_woken);
            }
        )*
    };
    (@tests $pair:expr; $($test:ident),*) => {
        $(
            #[tokio::test]
            async fn $test() {
                match $pair {
                    Some(pair) => super::$test(pair).await,
                    None => eprintln!("NOT TESTED: this machine has no IPv6 loopback address"),
                }
            }
        )*
    };
}

#[cfg(feature = "udp")]
mod over_udp {
    use flexbond_transport::{UdpOptions, UdpSocket};

    use super::*;

    fn udp(host: &str, options: &UdpOptions) -> Option<Pair> {
        let any = format!("{host}:0").parse().unwrap();
        if host.starts_with('[') && std::net::UdpSocket::bind("[::1]:0").is_err() {
            return None;
        }
        let [near, far] = [(); 2].map(|()| Box::new(UdpSocket::bind(any, options).unwrap()) as Box<_>);
        Some((near, far))
    }

    suite! {
        udp_v4: super::super::over_udp::udp("127.0.0.1", &Default::default());
        udp_v6: super::super::over_udp::udp("[::1]", &Default::default());
        udp_v4_without_offload: super::super::over_udp::udp(
            "127.0.0.1",
            &flexbond_transport::UdpOptions::default().segmentation_offload(false)
        );
        udp_v6_without_offload: super::super::over_udp::udp(
            "[::1]",
            &flexbond_transport::UdpOptions::default().segmentation_offload(false)
        );
    }
}

#[cfg(feature = "simnet")]
mod over_simnet {
    use std::time::Duration;

    use flexbond_transport::simnet::{Config, Path, SimNet};

    use super::*;

    fn simnet(config: Config) -> Option<Pair> {
        let network = SimNet::new(7, config);
        let near = network.bind("10.0.0.1:0".parse().unwrap()).unwrap();
        let far = network.bind("[fd00::2]:0".parse().unwrap()).unwrap();
        Some((Box::new(near), Box::new(far)))
    }

    suite! {
        at_once: super::super::over_simnet::simnet(Default::default());
        joined: super::super::over_simnet::simnet(super::Config::default().segments(64));
        delayed: super::super::over_simnet::simnet(
            super::Config::default().path(super::Path::default().delay(super::Duration::from_millis(2)))
        );
    }
}

#[cfg(feature = "tunnel")]
mod over_tunnel {
    use super::*;
    use crate::tunnel::Place;

    async fn pair(mut place: Place) -> Option<Pair> {
        let far = place.bind().await;
        let near = place.member().await;
        Some((Box::new(near), Box::new(far)))
    }

    suite! {
        third_party: super::super::over_tunnel::pair(crate::tunnel::Place::third_party()).await;
    }

    #[cfg(feature = "inproc")]
    suite! {
        inproc: super::super::over_tunnel::pair(crate::tunnel::Place::inproc()).await;
    }

    #[cfg(all(feature = "ipc", any(target_os = "linux", target_os = "android")))]
    suite! {
        ipc_abstract: super::super::over_tunnel::pair(crate::tunnel::Place::ipc_abstract()).await;
    }

    #[cfg(feature = "tcp")]
    suite! {
        tcp: super::super::over_tunnel::pair(crate::tunnel::Place::tcp()).await;
    }
}
