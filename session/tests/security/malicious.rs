//! Somebody at the port of a CURVE server who has heard all that an honest client has said, and says it again: whole, cut
//! anywhere, in another order, or in another protocol. The honest client next to him notices nothing.

use std::sync::{Arc, Mutex};

use flexbond_session::socket::{HandshakeFailure, KeyPair, Monitor, Socket, SocketType};
use flexbond_session::{Endpoint, Message};

use crate::curve::between;
use crate::harness::{
    bind, brisk, disconnected, failed_handshake, peers, ready_peers, recv, send, socket_with, until,
};
use crate::raw::{Raw, command, frame, greeting, message, ready};
use crate::{client_of, keys};

/// A server, and a client that keeps to the rules.
struct Port {
    keys: KeyPair,
    server: Socket,
    endpoint: Endpoint,
    monitor: Monitor,
    honest: Socket,
}

impl Port {
    async fn new() -> Self {
        let keys = keys();
        let server = socket_with(SocketType::Pull, brisk().curve_server(keys.clone()));
        let endpoint = bind(&server).await;
        let honest = socket_with(SocketType::Push, client_of(&keys));
        honest.connect(&endpoint).expect("a good endpoint");
        peers(&server, 1).await;
        let monitor = server.monitor();
        Port {
            keys,
            server,
            endpoint,
            monitor,
            honest,
        }
    }

    /// The honest client is heard, and nobody else.
    async fn is_undisturbed(&self) {
        send(&self.honest, "honest").await;
        assert_eq!(recv(&self.server).await, Message::from("honest"));
        assert!(self.server.try_recv().is_err());
        until("nobody else to be there", || ready_peers(&self.server) == 1).await;
    }

    /// Frames that another client says to the server, from its HELLO to its second message.
    async fn recorded(&mut self) -> Vec<Vec<u8>> {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&heard);
        let endpoint = between(self.endpoint.clone(), move |_, frame| {
            noted.lock().expect("nobody panics with it").push(frame.to_vec());
            frame.to_vec()
        })
        .await;
        let push = socket_with(SocketType::Push, client_of(&self.keys).reconnect_interval(None));
        push.connect(endpoint).expect("a good endpoint");
        for text in ["one", "two"] {
            send(&push, text).await;
            assert_eq!(recv(&self.server).await, Message::from(text));
        }
        let frames = heard.lock().expect("nobody panics with it").clone();
        assert!(frames.len() >= 4, "HELLO, INITIATE and two messages");
        frames
    }

    /// Somebody says this; why he does not get in. When he `leaves`, that may be why.
    async fn turned_away(&mut self, bytes: &[u8], leaves: bool) -> HandshakeFailure {
        let mut raw = Raw::connect(&self.endpoint).await;
        // It may be ended before it is whole.
        let _ = raw.try_send(bytes).await;
        if leaves {
            drop(raw);
        } else {
            raw.ended().await;
        }
        failed_handshake(&mut self.monitor).await.1
    }
}

#[tokio::test]
async fn a_recorded_client_said_again_gets_nobody_in_and_disturbs_nobody() {
    let mut port = Port::new().await;
    let frames = port.recorded().await;
    let said = |order: &[usize]| {
        let mut bytes = greeting(1, "CURVE");
        order.iter().for_each(|index| bytes.extend(&frames[*index]));
        bytes
    };
    let orders: [&[usize]; 7] = [
        &[0, 1, 2, 3],
        &[1, 0, 2, 3],
        &[0, 0, 1, 2],
        &[0, 2, 1, 3],
        &[1, 2, 3],
        &[2, 3],
        &[0, 1, 1],
    ];
    for order in orders {
        let why = port.turned_away(&said(order), false).await;
        assert!(
            !matches!(why, HandshakeFailure::Timeout),
            "{order:?} is seen at once, not in time: {why:?}"
        );
        port.is_undisturbed().await;
    }
}

#[tokio::test]
async fn a_recorded_handshake_cut_at_each_byte_gets_nobody_in_and_disturbs_nobody() {
    let mut port = Port::new().await;
    let frames = port.recorded().await;
    let handshake = [greeting(1, "CURVE"), frames[0].clone(), frames[1].clone()].concat();
    for end in 0..handshake.len() {
        let why = port.turned_away(&handshake[..end], true).await;
        assert!(
            matches!(why, HandshakeFailure::Closed | HandshakeFailure::Other),
            "{why:?} after {end}"
        );
        if end % 64 == 0 {
            port.is_undisturbed().await;
        }
    }
    port.is_undisturbed().await;
}

#[tokio::test]
async fn who_speaks_in_clear_at_a_curve_port_gets_nobody_in_and_disturbs_nobody() {
    let mut port = Port::new().await;
    let null = [greeting(1, "NULL"), ready("PUSH", &[]), message("in clear")];
    let plain = [
        greeting(1, "PLAIN"),
        command("HELLO", b"\x03ada\x08lovelace"),
        message("in clear"),
    ];
    for said in [null.concat(), plain.concat()] {
        let why = port.turned_away(&said, false).await;
        assert!(matches!(why, HandshakeFailure::Mechanism { .. }), "{why:?}");
        port.is_undisturbed().await;
    }
    // The right name, and then as if there were no mechanism; and what comes before there is one.
    for said in [
        [greeting(1, "CURVE"), ready("PUSH", &[]), message("in clear")].concat(),
        [greeting(1, "CURVE"), message("in clear")].concat(),
        [greeting(1, "CURVE"), frame(0, b""), message("in clear")].concat(),
    ] {
        let why = port.turned_away(&said, false).await;
        assert!(!matches!(why, HandshakeFailure::Timeout), "{why:?}");
        port.is_undisturbed().await;
    }
}

#[tokio::test]
async fn sealed_messages_in_another_order_end_their_connection_only() {
    let mut port = Port::new().await;
    // Frames 0 and 1 are HELLO and INITIATE; the second message comes after the third.
    let mut second = Vec::new();
    let endpoint = between(port.endpoint.clone(), move |number, frame| match number {
        3 => {
            second = frame.to_vec();
            Vec::new()
        }
        4 => [frame, &second[..]].concat(),
        _ => frame.to_vec(),
    })
    .await;
    let push = socket_with(SocketType::Push, client_of(&port.keys).reconnect_interval(None));
    push.connect(endpoint).expect("a good endpoint");
    for text in ["first", "second", "third"] {
        send(&push, text).await;
    }
    let why = disconnected(&mut port.monitor).await;
    assert!(why.contains("missing"), "{why}");
    assert_eq!(recv(&port.server).await, Message::from("first"));
    port.is_undisturbed().await;
}
