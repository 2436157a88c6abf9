//! Queues that nobody empties any longer: a message that finds one stays as it was.
#![cfg(feature = "tcp")]

mod harness;

use flexbond_session::Message;
use flexbond_session::socket::{SendErrorKind, SocketType};
use harness::{brisk, socket_with, vacant};

#[test]
fn a_message_for_a_socket_whose_runtime_is_gone_comes_back_whole() {
    for conflate in [false, true] {
        for kind in [SocketType::Push, SocketType::Dealer] {
            let socket = socket_with(kind, brisk().conflate(conflate));
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                socket.connect(vacant()).expect("connecting");
            });
            drop(runtime);
            let message = Message::from(vec![7; 5000]);
            let error = socket.try_send(message.clone()).expect_err("nobody takes it");
            assert_eq!(*error.kind(), SendErrorKind::WouldBlock);
            assert_eq!(error.into_message(), message, "{kind}, conflate: {conflate}");
        }
    }
}
