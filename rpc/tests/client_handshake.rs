//! What a client says of other ends that are no servers of calls, or refuse it.
#![cfg(feature = "tcp")]

mod harness;

use std::time::Duration;

use flexbond_rpc::client::Options;
use flexbond_rpc::{CallError, Client};
use flexbond_session::socket::{self, PlainServer, Pub, Router};
use harness::{Running, client, until, within};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

const HERE: &str = "tcp://127.0.0.1:0";

/// Whoever takes connections, says this, and nothing more.
async fn stranger(says: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((mut connection, _)) = listener.accept().await {
            if connection.write_all(says).await.is_ok() {
                connections.push(connection);
            }
        }
    });
    endpoint
}

/// Waits until a client says this of why it is not connected.
async fn says(client: &Client, what: &str) {
    until(what, || {
        client.trouble().is_some_and(|trouble| trouble.contains(what))
    })
    .await;
}

#[tokio::test]
async fn the_trouble_is_what_was_wrong_with_the_handshake() {
    let silent = stranger(b"").await;
    says(
        &Client::connect(silent.as_str()).unwrap(),
        "has not answered the handshake",
    )
    .await;

    let web = stranger(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    let client_of_web = Client::connect(web.as_str()).unwrap();
    says(
        &client_of_web,
        "the handshake failed: malformed input: neither a greeting",
    )
    .await;
    let error = client_of_web.connected(Duration::ZERO).await.unwrap_err();
    assert!(error.to_string().contains("the handshake failed"), "{error}");
    let call = client_of_web.method("any").timeout(Duration::from_millis(20));
    let error = within("its end", call.value::<_, ()>(&())).await.unwrap_err();
    assert!(error.to_string().contains("the handshake failed"), "{error}");

    let publisher = Pub::new();
    let endpoint = within("bind", publisher.bind(HERE)).await.unwrap();
    says(
        &client(&endpoint),
        "the handshake failed: a DEALER socket cannot talk to a PUB",
    )
    .await;

    let password = PlainServer::new();
    let locked = Router::with_options(socket::Options::new().plain_server(password)).unwrap();
    let endpoint = within("bind", locked.bind(HERE)).await.unwrap();
    says(
        &client(&endpoint),
        "the handshake failed: security mechanism mismatch",
    )
    .await;
}

#[tokio::test]
async fn a_second_client_of_the_same_routing_id_loses_its_connection() {
    let server = Running::start(HERE).await;
    let named = || {
        let named = socket::Options::new().routing_id("twin");
        Client::with_options(&server.endpoint, Options::new().socket(named)).unwrap()
    };
    let first = named();
    assert_eq!(
        within("an answer", first.call::<_, String>("echo", &"x"))
            .await
            .unwrap(),
        "x"
    );
    let second = named();
    let error = within("its end", second.call::<_, String>("echo", &"x"))
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Disconnected { .. }), "{error}");
    assert!(error.to_string().contains("may have its routing id"), "{error}");
    assert_eq!(
        within("an answer", first.call::<_, String>("echo", &"y"))
            .await
            .unwrap(),
        "y"
    );
    first.close().await;
    until("the second one's turn", || second.is_connected()).await;
}
