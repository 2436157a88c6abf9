//! Authenticators: what they are asked, and what becomes of whom they judge.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flexbond_session::socket::{
    AuthRequest, Authenticator, Credentials, CurveClient, Decision, DenyStatus, Event, HandshakeFailure,
    PlainServer, PlainUser, SocketType,
};
use flexbond_session::{Message, async_trait};

use crate::harness::{
    bind, brisk, denied, event, failed_handshake, ready_peers, recv, send, socket, socket_with, within,
};
use crate::raw::{Raw, greeting};
use crate::{client_of, keys};

/// Answers as it is told, and keeps what it was asked.
#[derive(Default)]
pub(crate) struct Judge {
    answer: Option<Decision>,
    asked: Mutex<Vec<AuthRequest>>,
}

#[async_trait]
impl Authenticator for Judge {
    async fn authenticate(&self, request: AuthRequest) -> Decision {
        self.asked.lock().expect("nobody panicked").push(request);
        match &self.answer {
            Some(answer) => answer.clone(),
            None => pending().await,
        }
    }
}

impl Judge {
    fn asked(&self) -> Vec<AuthRequest> {
        self.asked.lock().expect("nobody panicked").clone()
    }
}

pub(crate) fn judge(answer: impl Into<Option<Decision>>) -> Arc<Judge> {
    Arc::new(Judge {
        answer: answer.into(),
        ..Judge::default()
    })
}

#[tokio::test]
async fn an_authenticator_learns_what_zap_tells_and_says_who_it_is() {
    let server = keys();
    let ada = keys();
    let curve_client = brisk().curve_client(CurveClient::new(*server.public(), ada.clone()));
    let plain_client = brisk().plain_client(PlainUser::new("ada", "lovelace"));
    for (mechanism, bound, client) in [
        ("NULL", brisk(), brisk()),
        ("PLAIN", brisk().plain_server(PlainServer::new()), plain_client),
        ("CURVE", brisk().curve_server(server.clone()), curve_client),
    ] {
        let judge = judge(Decision::allow("countess").with_metadata("X-Role", "admin"));
        let options = bound
            .authenticator(Arc::clone(&judge))
            .auth_domain("engines")
            .routing_id("engine");
        let bound = socket_with(SocketType::Router, options);
        let endpoint = bind(&bound).await;
        // What the peer says of itself is not what is known of it.
        let dealer = socket_with(SocketType::Dealer, client.metadata("X-Role", "god"));
        dealer.connect(endpoint).expect("a good endpoint");
        send(&dealer, "x").await;
        let (_, peer) = within("a message", bound.recv_from()).await.expect("received");
        assert_eq!(peer.user_id(), Some("countess"), "{mechanism}");
        assert_eq!(peer.auth_metadata("x-role"), Some(&b"admin"[..]));
        assert_eq!(peer.metadata("x-role"), Some(&b"god"[..]));

        let asked = judge.asked();
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0].mechanism(), mechanism);
        assert_eq!((&*asked[0].domain, &*asked[0].address), ("engines", "127.0.0.1"));
        assert_eq!(asked[0].endpoint, *peer.endpoint());
        assert_eq!(&asked[0].routing_id[..], b"engine");
        match &asked[0].credentials {
            Credentials::Curve { public_key } => assert_eq!(public_key, ada.public()),
            Credentials::Plain { username, password } => {
                assert_eq!((&**username, password.expose()), ("ada", &b"lovelace"[..]));
            }
            other => assert_eq!(*other, Credentials::Null),
        }
    }
}

#[tokio::test]
async fn whoever_is_denied_learns_the_status_and_nothing_else() {
    let server = keys();
    let plain_client = brisk().plain_client(PlainUser::new("ada", "lovelace"));
    for (bound, client) in [
        (brisk(), brisk()),
        (brisk().plain_server(PlainServer::new()), plain_client),
        (brisk().curve_server(server.clone()), client_of(&server)),
    ] {
        for (status, told) in [
            (DenyStatus::Temporary, None),
            (DenyStatus::Refused, Some("400")),
            (DenyStatus::Internal, Some("500")),
        ] {
            let judge = judge(Decision::deny_with(status, "the real reason"));
            let options = bound.clone().authenticator(judge);
            let bound = socket_with(SocketType::Pull, options);
            let push = socket_with(SocketType::Push, client.clone());
            let mut monitors = (bound.monitor(), push.monitor());
            push.connect(bind(&bound).await).expect("a good endpoint");
            let (_, why, text) = failed_handshake(&mut monitors.0).await;
            assert_eq!(denied(&why), Some(status), "{text}");
            assert!(text.contains("the real reason"), "{text}");
            let (_, why, text) = failed_handshake(&mut monitors.1).await;
            match (told, why) {
                (None, HandshakeFailure::Closed) => {}
                (Some(code), HandshakeFailure::Refused { reason, .. }) => assert_eq!(reason, code),
                (_, other) => panic!("{other:?}: {text}"),
            }
            assert!(!text.contains("real reason"), "{text}");
            assert_eq!((ready_peers(&bound), ready_peers(&push)), (0, 0));
        }
    }
}

#[tokio::test]
async fn an_authenticator_that_never_answers_keeps_nobody_waiting_for_ever() {
    let options = brisk().authenticator(judge(None));
    let bound = socket_with(SocketType::Pull, options.auth_timeout(Duration::from_millis(20)));
    let mut monitor = bound.monitor();
    let push = socket(SocketType::Push);
    push.connect(bind(&bound).await).expect("a good endpoint");
    let (_, why, text) = failed_handshake(&mut monitor).await;
    assert_eq!(denied(&why), Some(DenyStatus::Temporary), "{text}");
    assert!(text.contains("20ms"), "{text}");

    // A socket that is closed does not wait for it either.
    let bound = socket_with(SocketType::Pull, brisk().authenticator(judge(None)));
    let mut monitor = bound.monitor();
    let push = socket(SocketType::Push);
    push.connect(bind(&bound).await).expect("a good endpoint");
    event(&mut monitor, "Accepted", |event| {
        matches!(event, Event::Accepted { .. }).then_some(())
    })
    .await;
    within("close", bound.close()).await;
}

#[tokio::test]
async fn an_authenticator_that_panics_turns_the_peer_away() {
    struct Clumsy;

    #[async_trait]
    impl Authenticator for Clumsy {
        async fn authenticate(&self, request: AuthRequest) -> Decision {
            panic!("on purpose, about {}", request.endpoint);
        }
    }

    let bound = socket_with(SocketType::Pull, brisk().authenticator(Clumsy));
    let mut monitor = bound.monitor();
    let push = socket(SocketType::Push);
    push.connect(bind(&bound).await).expect("a good endpoint");
    // More than once: the endpoint is still there.
    for _ in 0..2 {
        let (_, why, text) = failed_handshake(&mut monitor).await;
        assert_eq!(denied(&why), Some(DenyStatus::Internal), "{text}");
    }
}

#[tokio::test]
async fn a_peer_that_talks_on_before_it_is_judged_is_limited() {
    let bound = socket_with(SocketType::Pull, brisk().authenticator(judge(None)));
    let mut monitor = bound.monitor();
    let mut peer = Raw::connect(&bind(&bound).await).await;
    peer.send(&greeting(1, "NULL")).await;
    // 1 MiB, and more than it takes while it waits.
    for _ in 0..16 {
        if peer.try_send(&[0; 65_536]).await.is_err() {
            break;
        }
    }
    let (_, _, text) = failed_handshake(&mut monitor).await;
    assert!(text.contains("verdict"), "{text}");
}

#[tokio::test]
async fn peers_in_this_process_need_no_keys_and_no_judge() {
    let judge = judge(Decision::deny("never"));
    let options = brisk().curve_server(keys()).authenticator(Arc::clone(&judge));
    let bound = socket_with(SocketType::Pull, options);
    within("bind", bound.bind("inproc://open")).await.expect("free");
    let push = socket(SocketType::Push);
    push.connect("inproc://open").expect("it is there");
    send(&push, "hello").await;
    assert_eq!(recv(&bound).await, Message::from("hello"));
    assert!(judge.asked().is_empty());
}
