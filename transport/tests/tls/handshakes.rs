//! Handshakes that fail: for which reason, and whom that delays.

use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

use flexbond_transport::{
    AcceptError, ClientCertificates, ConnectError, Endpoint, LinkOptions, TlsError, TlsOptions, Transport,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::certificates::Authority;
use crate::{
    address, attempt, bind, client, connect, inner, limited, pair, read_to_end, refused_here, refused_there,
    server, stream, talk,
};

#[tokio::test]
async fn another_name_is_refused() {
    let authority = Authority::new("a");
    let mut listener = bind(&server(authority.server())).await;
    let near = client(authority.client().server_name("another.example"));
    let (there, here) = attempt(&near, &mut *listener).await;
    let error = refused_there(there);
    let TlsError::NameMismatch {
        expected, presented, ..
    } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!(expected, "another.example");
    assert_eq!(presented.len(), 2);
    assert!(error.to_string().contains("another.example"), "{error}");
    assert!(matches!(refused_here(here), TlsError::Refused { .. }));

    // Neither is an address that the certificate does not have, and the listener is none the worse.
    let by_name = server(flexbond_transport::TlsServer::new(
        authority.issue("server", &["localhost"]).identity(),
    ));
    let mut listener = bind(&by_name).await;
    let (there, here) = attempt(&client(authority.client()), &mut *listener).await;
    assert!(matches!(refused_there(there), TlsError::NameMismatch { .. }));
    refused_here(here);
    pair(
        &client(authority.client().server_name("localhost")),
        &mut *listener,
    )
    .await;
}

#[tokio::test]
async fn the_name_of_the_endpoint_is_checked() {
    let authority = Authority::new("a");
    let by_name = server(flexbond_transport::TlsServer::new(
        authority.issue("server", &["localhost"]).identity(),
    ));
    let mut listener = bind(&by_name).await;
    let port = address(listener.local_endpoint()).port();
    let endpoint: Endpoint = format!("tls://localhost:{port}").parse().unwrap();
    let near = client(authority.client());
    let (near, far) = limited(async { tokio::join!(connect(&near, &endpoint), listener.accept()) }).await;
    talk(&*stream(near.unwrap()), &*stream(far.unwrap())).await;
}

#[tokio::test]
async fn an_unknown_authority_is_refused() {
    let mut listener = bind(&server(Authority::new("a").server())).await;
    let (there, here) = attempt(&client(Authority::new("b").client()), &mut *listener).await;
    assert!(matches!(refused_there(there), TlsError::UnknownIssuer));
    let error = refused_here(here);
    assert!(error.to_string().contains("does not know the issuer"), "{error}");
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let authority = Authority::new("a");
    let expired = authority.issue_expired(&["127.0.0.1"]).identity();
    let old = server(flexbond_transport::TlsServer::new(expired.clone()));
    let mut listener = bind(&old).await;
    let (there, _) = attempt(&client(authority.client()), &mut *listener).await;
    assert!(matches!(refused_there(there), TlsError::Expired));

    let clients = ClientCertificates::Required(authority.roots());
    let mut listener = bind(&server(authority.server().clients(clients))).await;
    let near = client(authority.client().identity(expired));
    let (_there, here) = attempt(&near, &mut *listener).await;
    assert!(matches!(refused_here(here), TlsError::Expired));
}

#[tokio::test]
async fn a_client_without_the_certificate_it_needs_is_told() {
    let authority = Authority::new("a");
    let clients = ClientCertificates::Required(authority.roots());
    let mut listener = bind(&server(authority.server().clients(clients))).await;

    let (there, here) = attempt(&client(authority.client()), &mut *listener).await;
    assert!(matches!(refused_here(here), TlsError::NoClientCertificate));
    // With TLS 1.3 a client hears of it when it reads.
    let error = read_to_end(&*stream(there.unwrap())).await.unwrap_err();
    assert!(
        matches!(inner(&error), TlsError::CertificateRequired),
        "{error:?}"
    );

    let stranger = Authority::new("b").issue("stranger", &[]).identity();
    let near = client(authority.client().identity(stranger));
    let (there, here) = attempt(&near, &mut *listener).await;
    assert!(matches!(refused_here(here), TlsError::UnknownIssuer));
    let error = read_to_end(&*stream(there.unwrap())).await.unwrap_err();
    assert!(matches!(inner(&error), TlsError::Refused { .. }), "{error:?}");
}

#[tokio::test]
async fn optional_certificates_are_checked_if_shown() {
    let authority = Authority::new("a");
    let clients = ClientCertificates::Optional(authority.roots());
    let mut listener = bind(&server(authority.server().clients(clients))).await;
    let (_near, far) = pair(&client(authority.client()), &mut *listener).await;
    assert_eq!(far.identity, None);

    let known = authority.issue("known", &[]).identity();
    let (_near, far) = pair(&client(authority.client().identity(known)), &mut *listener).await;
    assert_eq!(far.identity.unwrap().subject(), Some("CN=known"));

    let stranger = Authority::new("b").issue("stranger", &[]).identity();
    let (_there, here) = attempt(&client(authority.client().identity(stranger)), &mut *listener).await;
    assert!(matches!(refused_here(here), TlsError::UnknownIssuer));
}

/// How a ZMTP peer and a browser begin.
const PLAIN: [&[u8]; 2] = [
    b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x01NULL",
    b"GET / HTTP/1.1\r\n\r\n",
];

#[tokio::test]
async fn a_plain_client_is_recognized() {
    let authority = Authority::new("a");
    let mut listener = bind(&server(authority.server())).await;
    for greeting in PLAIN {
        let mut plain = TcpStream::connect(address(listener.local_endpoint()))
            .await
            .unwrap();
        plain.write_all(greeting).await.unwrap();
        let error = refused_here(limited(listener.accept()).await);
        assert!(matches!(error, TlsError::NotTls), "{error:?}");
    }
    pair(&client(authority.client()), &mut *listener).await;
}

#[tokio::test]
async fn a_plain_server_is_recognized() {
    let near = client(Authority::new("a").client());
    for greeting in PLAIN {
        let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::Tls(plain.local_addr().unwrap().into());
        let (there, _served) = limited(async {
            tokio::join!(connect(&near, &endpoint), async {
                let (mut stream, _) = plain.accept().await.unwrap();
                stream.write_all(greeting).await.unwrap();
                stream
            })
        })
        .await;
        let error = refused_there(there);
        assert!(matches!(error, TlsError::NotTls), "{error:?}");
    }
}

#[tokio::test]
async fn a_silent_client_delays_nobody() {
    let authority = Authority::new("a");
    let mut listener = bind(&server(authority.server())).await;
    let at = address(listener.local_endpoint());
    let mut silent = Vec::new();
    for beginning in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"] {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(beginning).await.unwrap();
        silent.push(stream);
    }
    for _ in 0..3 {
        let (near, far) = pair(&client(authority.client()), &mut *listener).await;
        talk(&*stream(near), &*stream(far)).await;
    }
}

#[tokio::test]
async fn a_silent_peer_runs_out_of_time() {
    const PATIENCE: Duration = Duration::from_millis(30);
    let authority = Authority::new("a");
    let options = TlsOptions::default()
        .server(authority.server())
        .client(authority.client())
        .handshake_timeout(PATIENCE);
    let hasty = flexbond_transport::Tls::new(options).unwrap();
    let mut listener = bind(&hasty).await;
    let _silent = TcpStream::connect(address(listener.local_endpoint()))
        .await
        .unwrap();
    let error = refused_here(limited(listener.accept()).await);
    assert!(
        matches!(error, TlsError::TimedOut { after, .. } if after == PATIENCE),
        "{error:?}"
    );

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::Tls(silent.local_addr().unwrap().into());
    let error = refused_there(limited(connect(&hasty, &endpoint)).await);
    assert!(matches!(error, TlsError::TimedOut { .. }), "{error:?}");
}

#[tokio::test]
async fn the_oldest_handshake_gives_way() {
    let authority = Authority::new("a");
    let options = TlsOptions::default().server(authority.server()).max_handshakes(2);
    let narrow = flexbond_transport::Tls::new(options).unwrap();
    let mut listener = bind(&narrow).await;
    let at = address(listener.local_endpoint());
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(TcpStream::connect(at).await.unwrap());
    }
    let error = limited(listener.accept()).await.unwrap_err();
    let AcceptError::Handshake { peer, source, .. } = error else {
        panic!("{error:?}")
    };
    assert!(
        matches!(*source, TlsError::Crowded { limit: 2, .. }),
        "{source:?}"
    );
    assert_eq!(address(&peer), silent[0].local_addr().unwrap());
    assert_eq!(
        limited(silent[0].read(&mut [0; 8])).await.unwrap(),
        0,
        "it is closed"
    );

    // An honest one takes the place of the next.
    let endpoint = listener.local_endpoint().clone();
    let near = client(authority.client());
    let accepting = async {
        let error = refused_here(listener.accept().await);
        assert!(matches!(error, TlsError::Crowded { .. }), "{error:?}");
        listener.accept().await.unwrap()
    };
    let (near, far) = limited(async { tokio::join!(connect(&near, &endpoint), accepting) }).await;
    talk(&*stream(near.unwrap()), &*stream(far)).await;
}

/// From another address of this machine.
#[cfg(target_os = "linux")]
async fn connect_from(host: u8, to: std::net::SocketAddr) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, host], 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Who gives way next.
#[cfg(target_os = "linux")]
async fn crowded(listener: &mut dyn flexbond_transport::Listener) -> std::net::SocketAddr {
    match limited(listener.accept()).await.unwrap_err() {
        AcceptError::Handshake { peer, source, .. } => {
            assert!(matches!(*source, TlsError::Crowded { .. }), "{source:?}");
            address(&peer)
        }
        error => panic!("{error:?}"),
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn no_address_keeps_out_the_others() {
    let authority = Authority::new("a");
    let options = TlsOptions::default().server(authority.server()).max_handshakes(4);
    let narrow = flexbond_transport::Tls::new(options).unwrap();
    let mut listener = bind(&narrow).await;
    let at = address(listener.local_endpoint());
    // The oldest comes from an address of its own.
    let honest = connect_from(2, at).await;
    let mut greedy = Vec::new();
    for _ in 0..3 {
        greedy.push(connect_from(3, at).await);
    }
    let other = connect_from(4, at).await;
    assert_eq!(crowded(&mut *listener).await, greedy[0].local_addr().unwrap());
    // However many come from there, they take places of each other.
    for next in 1..3 {
        greedy.push(connect_from(3, at).await);
        assert_eq!(crowded(&mut *listener).await, greedy[next].local_addr().unwrap());
    }
    // Where all have as many, it is the oldest's turn.
    let more = (connect_from(5, at).await, connect_from(6, at).await);
    assert_eq!(crowded(&mut *listener).await, greedy[3].local_addr().unwrap());
    assert_eq!(crowded(&mut *listener).await, honest.local_addr().unwrap());
    drop((other, more));
}

/// A ClientHello, as a client begins that then says nothing.
#[cfg(target_os = "linux")]
async fn first_flight(authority: &Authority) -> Vec<u8> {
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::Tls(mute.local_addr().unwrap().into());
    let near = client(authority.client());
    let read = async {
        let (mut stream, _) = mute.accept().await.unwrap();
        let mut head = [0; 5];
        stream.read_exact(&mut head).await.unwrap();
        let mut flight = head.to_vec();
        flight.resize(5 + usize::from(u16::from_be_bytes([head[3], head[4]])), 0);
        stream.read_exact(&mut flight[5..]).await.unwrap();
        flight
    };
    let (flight, _) = limited(async { tokio::join!(read, connect(&near, &endpoint)) }).await;
    flight
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_handshake_that_goes_on_gives_way_later_than_a_silent_one() {
    let authority = Authority::new("a");
    let flight = first_flight(&authority).await;
    let options = TlsOptions::default().server(authority.server()).max_handshakes(3);
    let narrow = flexbond_transport::Tls::new(options).unwrap();
    let mut listener = bind(&narrow).await;
    let at = address(listener.local_endpoint());
    let (mut lively, mut trickling, silent) = (
        connect_from(2, at).await,
        connect_from(3, at).await,
        connect_from(4, at).await,
    );
    // The oldest is answered, the next one only pretends.
    let answered = async {
        lively.write_all(&flight).await.unwrap();
        lively.read_u8().await.unwrap();
        for byte in &flight[..20] {
            trickling.write_all(&[*byte]).await.unwrap();
        }
    };
    tokio::select! {
        () = limited(answered) => {}
        accepted = listener.accept() => panic!("{accepted:?}"),
    }
    let _next = connect_from(5, at).await;
    assert_eq!(crowded(&mut *listener).await, trickling.local_addr().unwrap());
    let _next = (connect_from(6, at).await, connect_from(7, at).await);
    assert_eq!(crowded(&mut *listener).await, silent.local_addr().unwrap());
    assert_eq!(crowded(&mut *listener).await, lively.local_addr().unwrap());
}

#[tokio::test]
async fn a_listener_that_does_nothing_is_reached_all_the_same() {
    let authority = Authority::new("a");
    let mut listener = bind(&server(authority.server())).await;
    let endpoint = listener.local_endpoint().clone();
    let near = client(authority.client());
    let reached = limited(near.reach(&endpoint, &LinkOptions::default()))
        .await
        .unwrap();
    let mut finishing = std::pin::pin!(reached.finish());
    let once = poll_fn(|cx| Poll::Ready(finishing.as_mut().poll(cx).is_pending()));
    assert!(once.await, "nobody has shaken hands");
    let (near, far) = limited(async { tokio::join!(finishing, listener.accept()) }).await;
    talk(&*stream(near.unwrap()), &*stream(far.unwrap())).await;
}

#[tokio::test]
async fn a_peer_that_hangs_up_is_told_from_a_silent_one() {
    let authority = Authority::new("a");
    let mut listener = bind(&server(authority.server())).await;
    for beginning in [&b""[..], b"\x16\x03\x01\x02\x00"] {
        let mut stream = TcpStream::connect(address(listener.local_endpoint()))
            .await
            .unwrap();
        stream.write_all(beginning).await.unwrap();
        drop(stream);
        let error = refused_here(limited(listener.accept()).await);
        assert!(matches!(error, TlsError::Closed), "{error:?}");
    }
}

#[tokio::test]
async fn what_breaks_the_protocol_is_told() {
    let authority = Authority::new("a");
    let mut listener = bind(&server(authority.server())).await;
    for junk in [
        // A handshake record of junk, one that is too large, and an alert out of the blue.
        &b"\x16\x03\x01\x00\x08\xee\xee\xee\xee\xee\xee\xee\xee"[..],
        b"\x16\x03\x01\xff\xff",
        b"\x15\x03\x03\x00\x02\x02\x28",
    ] {
        let mut stream = TcpStream::connect(address(listener.local_endpoint()))
            .await
            .unwrap();
        stream.write_all(junk).await.unwrap();
        stream.shutdown().await.unwrap();
        refused_here(limited(listener.accept()).await);
    }
    pair(&client(authority.client()), &mut *listener).await;
}

#[tokio::test]
async fn both_versions_are_spoken_if_asked_for() {
    let authority = Authority::new("a");
    let both = TlsOptions::default()
        .server(authority.server())
        .client(authority.client())
        .tls12(true);
    let both = flexbond_transport::Tls::new(both).unwrap();
    let mut listener = bind(&both).await;
    for near in [&both, &client(authority.client())] {
        let (near, far) = pair(near, &mut *listener).await;
        talk(&*stream(near), &*stream(far)).await;
    }
}

#[tokio::test]
async fn nobody_there_is_an_error_of_the_system() {
    let near = client(Authority::new("a").client());
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let endpoint = Endpoint::Tls(free.into());
    let error = near
        .connect(&endpoint, &LinkOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Io { .. }), "{error:?}");
}
