//! Requests: a REQ takes the answer of the peer it asked, the whole of it, and no other.
#![cfg(all(feature = "tcp", feature = "inproc"))]

mod harness;
mod raw;

use std::time::Duration;

use flexbond_session::Message;
use flexbond_session::socket::{Options, SocketType};
use harness::{bind, number, numbered, peers, recv, send, socket, socket_with, within};
use raw::{Raw, message};

#[tokio::test]
async fn a_stranger_cannot_answer_a_request() {
    let req = socket(SocketType::Req);
    let endpoint = bind(&req).await;
    let mut asked = Raw::connect(&endpoint).await;
    asked.handshake("REP").await;
    peers(&req, 1).await;
    send(&req, "question").await;
    assert_eq!(asked.recv_message().await, Message::from(["", "question"]));
    let mut stranger = Raw::connect(&endpoint).await;
    stranger.handshake("REP").await;
    peers(&req, 2).await;
    stranger.send(&message(["", "lie"])).await;
    stranger.send(&message(["", "another lie"])).await;
    asked.send(&message(["", "truth"])).await;
    assert_eq!(recv(&req).await, Message::from("truth"));
    // Nor answer before it is asked.
    send(&req, "second").await;
    assert_eq!(stranger.recv_message().await, Message::from(["", "second"]));
    stranger.send(&message(["", "fine"])).await;
    assert_eq!(recv(&req).await, Message::from("fine"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relaxed_request_never_misses_a_quick_reply() {
    for endpoint in ["tcp://127.0.0.1:0", "inproc://relaxed"] {
        let options = Options::new().linger(Duration::ZERO);
        let rep = socket_with(SocketType::Rep, options.clone());
        let req = socket_with(SocketType::Req, options.req_relaxed(true));
        let bound = within("bind", rep.bind(endpoint)).await.unwrap();
        req.connect(bound).unwrap();
        tokio::spawn(async move {
            while let Ok(request) = rep.recv().await {
                if rep.send(request).await.is_err() {
                    return;
                }
            }
        });
        let asking = tokio::spawn(async move {
            for i in 0..20_000 {
                req.send(numbered(i, 8)).await.unwrap();
                let reply = within("a quick reply", req.recv()).await.unwrap();
                assert_eq!(number(&reply[0]), i);
            }
        });
        asking.await.expect(endpoint);
    }
}
