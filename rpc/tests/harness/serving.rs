//! A server of any service, and a peer that is nothing but a socket.
#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "each test target uses its own part"
)]

use std::sync::atomic::{AtomicU32, Ordering};

use flexbond_rpc::envelope::{Codec, Envelope, Header, Kind, Method};
use flexbond_rpc::server::{Options, ServerStats, Stopped};
use flexbond_rpc::{Client, Request, Response, Server};
use flexbond_session::socket::Dealer;
use flexbond_session::{Endpoint, Message};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::{BoxError, Service};

use super::harness::{client, within};

/// A server that runs, until it is told to stop.
pub(crate) struct Serving {
    pub(crate) endpoint: Endpoint,
    stats: Box<dyn Fn() -> ServerStats + Send + Sync>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Stopped>,
}

impl Serving {
    pub(crate) async fn start<S>(service: S, endpoint: &str, options: Options) -> Self
    where
        S: Service<Request, Response = Response> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
    {
        let server = Server::with_options(service, options).expect("valid options");
        let endpoint = within("bind", server.bind(endpoint)).await.expect("bound");
        let stats = Box::new(server.stats());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(server.run_until(async {
            let _ = stopped.await;
        }));
        Serving {
            endpoint,
            stats,
            stop,
            task,
        }
    }

    /// With default options, over tcp.
    pub(crate) async fn of<S>(service: S) -> Self
    where
        S: Service<Request, Response = Response> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
    {
        Self::start(service, "tcp://127.0.0.1:0", Options::new()).await
    }

    pub(crate) fn stats(&self) -> ServerStats {
        (self.stats)()
    }

    pub(crate) fn client(&self) -> Client {
        client(&self.endpoint)
    }

    pub(crate) fn raw(&self) -> Raw {
        Raw::connect(&self.endpoint, flexbond_session::socket::Options::new())
    }

    /// Tells the server to end, and waits for that.
    pub(crate) async fn stop(self) -> Stopped {
        let _ = self.stop.send(());
        within("the server's end", self.task)
            .await
            .expect("it does not panic")
    }

    /// Drops the server in the middle of its work.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// A peer that says what it likes.
pub(crate) struct Raw {
    pub(crate) dealer: Dealer,
}

impl Raw {
    pub(crate) fn connect(endpoint: &Endpoint, options: flexbond_session::socket::Options) -> Self {
        let dealer = Dealer::with_options(options).expect("valid options");
        dealer.connect(endpoint).expect("connecting");
        Raw { dealer }
    }

    pub(crate) async fn send(&self, envelope: &Envelope) {
        self.send_message(envelope.encode().expect("an envelope")).await;
    }

    pub(crate) async fn send_message(&self, message: impl Into<Message>) {
        within("it leaves", self.dealer.send(message))
            .await
            .expect("sent");
    }

    pub(crate) async fn recv(&self) -> Envelope {
        let message = within("an answer", self.dealer.recv()).await.expect("received");
        Envelope::decode(message).expect("an envelope")
    }

    /// Whether nothing came that was not received yet: what a ping is answered with comes after all else.
    pub(crate) async fn is_all(&self) -> bool {
        self.send(&Envelope::ping(u64::MAX)).await;
        let pong = self.recv().await;
        (pong.header.kind, pong.header.call) == (Kind::Pong, u64::MAX)
    }
}

/// An endpoint within this process that no other test has.
pub(crate) fn nearby() -> String {
    static LAST: AtomicU32 = AtomicU32::new(0);
    format!("inproc://serving-{}", LAST.fetch_add(1, Ordering::Relaxed))
}

/// Both kinds of endpoints.
pub(crate) fn everywhere() -> [String; 2] {
    ["tcp://127.0.0.1:0".to_owned(), nearby()]
}

/// A call with arguments in JSON.
pub(crate) fn request(call: u64, method: &str, arguments: &str) -> Envelope {
    Envelope::request(call, Method::new(method).expect("a name"), arguments.to_owned())
        .with_codec(Codec::Json)
}

/// What an error says, as a failure in JSON.
pub(crate) fn failure_kind(envelope: &Envelope) -> String {
    assert_eq!(envelope.header.kind, Kind::Error, "{envelope:?}");
    let failure: serde_json::Value = serde_json::from_slice(&envelope.body).expect("JSON");
    failure["kind"].as_str().expect("a kind").to_owned()
}

/// The bytes of a header for this call.
pub(crate) fn header(kind: Kind, call: u64) -> Vec<u8> {
    Header::new(kind, call).encode().expect("a header").to_vec()
}

/// Makes two tests of each function: on a runtime of one thread, where the server tries handlers by itself, and on one of
/// two, where each call has a task.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod one_thread {
            $(#[tokio::test]
            async fn $name() {
                super::$name().await;
            })*
        }
        mod two_threads {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name().await;
            })*
        }
    };
}
pub(crate) use on_both;
