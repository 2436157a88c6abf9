//! Mechanisms: which of them fit together, and what each is refused for.

use std::time::Duration;

use flexbond_session::socket::{
    BindError, ConnectError, HandshakeFailure, PlainServer, PlainUser, SocketType,
};

use crate::authenticator::judge;
use crate::harness::{bind, brisk, failed_handshake, ready_peers, socket_with, within};
use crate::{client_of, keys};

#[tokio::test]
async fn mechanisms_that_differ_are_named_at_both_ends() {
    let server = keys();
    let plain = brisk().plain_client(PlainUser::new("ada", "lovelace"));
    for (bound, connecting, names) in [
        (brisk().curve_server(server.clone()), brisk(), ["CURVE", "NULL"]),
        (brisk(), client_of(&server), ["NULL", "CURVE"]),
        (brisk().curve_server(server.clone()), plain, ["CURVE", "PLAIN"]),
    ] {
        let bound = socket_with(SocketType::Pull, bound);
        let endpoint = bind(&bound).await;
        let connecting = socket_with(SocketType::Push, connecting);
        let mut monitors = [bound.monitor(), connecting.monitor()];
        connecting.connect(endpoint.clone()).expect("a good endpoint");
        for (side, monitor) in monitors.iter_mut().enumerate() {
            let (from, why, text) = failed_handshake(monitor).await;
            match why {
                HandshakeFailure::Mechanism { ours, theirs, .. } => {
                    assert_eq!([&*ours, &*theirs], [names[side], names[1 - side]]);
                }
                other => panic!("{other:?}: {text}"),
            }
            assert!(text.contains(names[0]) && text.contains(names[1]), "{text}");
            if side == 0 {
                assert!(from.to_string().starts_with("tcp://127.0.0.1:"), "{from}");
            } else {
                assert_eq!(from, endpoint);
            }
        }
        assert_eq!((ready_peers(&bound), ready_peers(&connecting)), (0, 0));
    }
}

#[tokio::test]
async fn passwords_do_not_leave_the_machine_unasked() {
    let server = brisk().plain_server(PlainServer::new().user("ada", "lovelace"));
    let client = brisk().plain_client(PlainUser::new("ada", "lovelace"));
    let bound = socket_with(SocketType::Pull, server.clone());
    let error = within("bind", bound.bind("tcp://*:0"))
        .await
        .expect_err("refused");
    assert!(matches!(error, BindError::ClearText { .. }), "{error}");
    assert!(error.to_string().contains("plain_anywhere"), "{error}");
    bind(&bound).await;
    let push = socket_with(SocketType::Push, client.clone());
    let error = push.connect("tcp://192.0.2.1:1").expect_err("refused");
    assert!(matches!(error, ConnectError::ClearText { .. }), "{error}");

    let bound = socket_with(SocketType::Pull, server.plain_anywhere(true));
    within("bind", bound.bind("tcp://*:0")).await.expect("allowed");
    let push = socket_with(SocketType::Push, client.plain_anywhere(true));
    push.connect("tcp://192.0.2.1:1").expect("allowed");
}

#[tokio::test]
async fn roles_that_exclude_each_other_are_refused_by_name() {
    let server = keys();
    let curve = || client_of(&server);
    let plain = || brisk().plain_client(PlainUser::new("ada", "lovelace"));
    let users = || PlainServer::new().user("ada", "lovelace");
    let judge = || judge(None);
    for (option, options) in [
        ("curve_client", curve().curve_server(server.clone())),
        (
            "plain_client or plain_server",
            curve().plain_client(PlainUser::new("a", "b")),
        ),
        ("plain_client", plain().plain_server(users())),
        ("authenticator", curve().authenticator(judge())),
        ("authenticator", plain().authenticator(judge())),
        (
            "authenticator",
            brisk().plain_server(users()).authenticator(judge()),
        ),
        ("auth_timeout", brisk().auth_timeout(Duration::ZERO)),
        ("auth_domain", brisk().auth_domain("d".repeat(256))),
    ] {
        assert_eq!(options.validate().expect_err("refused").option, option);
    }
}
