//! Multicast over UDP. What a socket must not hear is sent before what it must: the first it hears is the latter.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use flexbond_transport::{DatagramSocket, Interface, Transmit, UdpOptions, UdpSocket};

use crate::{address, next, receive, send, send_to};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn on_loopback() -> UdpOptions {
    UdpOptions::default().interface(LOOPBACK)
}

fn sender() -> UdpSocket {
    UdpSocket::bind(address("127.0.0.1:0"), &UdpOptions::default()).unwrap()
}

fn listen(group: SocketAddr) -> UdpSocket {
    UdpSocket::bind_multicast(group, &on_loopback()).unwrap()
}

#[tokio::test]
async fn every_member_hears_the_group() {
    let one = listen(address("239.255.70.1:0"));
    let group = one.local_addr().unwrap();
    assert_ne!(group.port(), 0);
    let two = listen(group);
    let near = sender();
    let contents: Vec<u8> = (0..65_000_u32).map(|number| (number / 7) as u8).collect();
    send(&near, &[Transmit::new(group, &contents).segmented(1300)]).await;
    for member in [&one, &two] {
        let packets = receive(member, 50).await;
        for (packet, sent) in packets.iter().zip(contents.chunks(1300)) {
            assert_eq!(packet.bytes, sent);
            assert_eq!(packet.source, near.local_addr().unwrap());
            assert_eq!(packet.destination, Some(group.ip()));
        }
    }
}

#[tokio::test]
async fn interfaces_are_found_by_name_index_and_address() {
    let interfaces = if_addrs::get_if_addrs().unwrap();
    let loopback = interfaces
        .iter()
        .find(|interface| interface.ip() == LOOPBACK)
        .unwrap();
    let mut ways = vec![
        Interface::Name(loopback.name.clone()),
        Interface::Address(LOOPBACK),
    ];
    ways.extend(loopback.index.map(Interface::Index));
    for way in ways {
        assert_eq!(way.to_string().parse(), Ok(way.clone()));
        let options = UdpOptions::default().interface(way);
        let member = UdpSocket::bind_multicast(address("239.255.70.2:0"), &options).unwrap();
        let near = UdpSocket::bind(address("0.0.0.0:0"), &options).unwrap();
        send_to(&near, member.local_addr().unwrap(), b"found").await;
        assert_eq!(next(&member).await, b"found");
    }
}

#[tokio::test]
async fn two_groups_of_one_port_do_not_hear_each_other() {
    let one = listen(address("239.255.70.3:0"));
    let port = one.local_addr().unwrap().port();
    let two = listen(SocketAddr::new("239.255.70.4".parse().unwrap(), port));
    let near = sender();
    send_to(&near, two.local_addr().unwrap(), b"two").await;
    send_to(&near, one.local_addr().unwrap(), b"one").await;
    assert_eq!(next(&one).await, b"one");
    assert_eq!(next(&two).await, b"two");
}

#[tokio::test]
async fn a_group_does_not_hear_its_port() {
    let member = listen(address("239.255.70.5:0"));
    let group = member.local_addr().unwrap();
    let near = sender();
    // Its own, so that no other test hears this.
    let host = if cfg!(target_os = "linux") {
        "127.0.0.97"
    } else {
        "127.0.0.1"
    };
    let port = SocketAddr::new(host.parse().unwrap(), group.port());
    send_to(&near, port, b"to the port").await;
    send_to(&near, group, b"to the group").await;
    if cfg!(windows) {
        eprintln!("NOT TESTED: a group cannot be bound on this system");
        return;
    }
    assert_eq!(next(&member).await, b"to the group");
}

/// On loopback the loop is the line itself, so this takes another interface. Nothing leaves the machine: the packets
/// may pass no router and no line (a time to live of 0).
#[tokio::test]
async fn the_loop_can_be_off() {
    let interfaces = if_addrs::get_if_addrs().unwrap();
    let candidate = interfaces
        .iter()
        .find(|interface| !interface.is_loopback() && interface.ip().is_ipv4());
    let Some(interface) = candidate else {
        eprintln!("NOT TESTED: this machine has no IPv4 interface but loopback");
        return;
    };
    let options = UdpOptions::default().interface(interface.ip()).multicast_ttl(0);
    let member = match UdpSocket::bind_multicast(address("239.255.70.7:0"), &options) {
        Ok(member) => member,
        Err(error) => {
            eprintln!("NOT TESTED: {} takes no multicast ({error})", interface.name);
            return;
        }
    };
    let group = member.local_addr().unwrap();
    let any = address("0.0.0.0:0");
    let silent = UdpSocket::bind(any, &options.clone().multicast_loop(false)).unwrap();
    let loud = UdpSocket::bind(any, &options).unwrap();
    for (near, contents) in [(&silent, b"silent"), (&loud, b"aloud!")] {
        if let Err(error) = near.try_send(&[Transmit::new(group, contents)]) {
            eprintln!("NOT TESTED: {} sends no multicast ({error})", interface.name);
            return;
        }
    }
    assert_eq!(next(&member).await, b"aloud!");
}

/// A group of interface-local scope, so that nothing leaves the machine whatever the interface is.
#[tokio::test]
async fn ipv6_groups_are_heard() {
    let mut interfaces = if_addrs::get_if_addrs().unwrap();
    interfaces.retain(|interface| interface.ip().is_ipv6());
    interfaces.sort_by_key(|interface| !interface.is_loopback());
    for interface in &interfaces {
        let Some(index) = interface.index else { continue };
        let options = UdpOptions::default()
            .interface(Interface::Index(index))
            .multicast_ttl(0);
        let members = UdpSocket::bind_multicast(address("[ff11::7042]:0"), &options).and_then(|one| {
            let two = UdpSocket::bind_multicast(one.local_addr().unwrap(), &options)?;
            Ok([one, two])
        });
        let members = match members {
            Ok(members) => members,
            Err(error) => {
                eprintln!("not on {}: {error}", interface.name);
                continue;
            }
        };
        let group = members[0].local_addr().unwrap();
        let near = UdpSocket::bind(address("[::]:0"), &options).unwrap();
        let contents = [7; 13_000];
        let sent = near.try_send(&[Transmit::new(group, &contents).segmented(1300)]);
        match sent {
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("{error}"),
            Err(error) => {
                eprintln!("not on {}: {error}", interface.name);
                continue;
            }
            Ok(_) => {}
        }
        for member in &members {
            for packet in receive(member, 10).await {
                assert_eq!(packet.bytes, [7; 1300]);
                assert_eq!(packet.destination, Some(group.ip()));
            }
        }
        members[0].leave().unwrap();
        return;
    }
    eprintln!("NOT TESTED: this machine has no interface for IPv6 multicast");
}
