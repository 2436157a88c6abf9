//! Sockets and calls over tls, with certificates at both ends.

mod certificates;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use certificates::Authority;
use flexbond::rpc::server::Methods;
use flexbond::rpc::{Client, Server, client, server};
use flexbond::session::socket::{Event, Limit, LimitAction, Options, Pull, Push, Rep, Req};
use flexbond::transport::{
    ClientCertificates, Message, Registry, Tls, TlsClient, TlsIdentity, TlsOptions, TlsServer, TrustRoots,
};

/// Fails a test that waits for ever.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future)
        .await
        .unwrap_or_else(|_| panic!("{what}: nothing after 30 s"))
}

/// Transports of two machines whose certificates one authority has issued, and of a third one that has none.
struct World {
    server: Registry,
    client: Registry,
    stranger: Registry,
}

fn registry(options: TlsOptions) -> Registry {
    let registry = Registry::standard();
    let tls = Tls::new(options).unwrap();
    registry.register("tls", Arc::new(tls)).unwrap();
    registry
}

fn world() -> World {
    let authority = Authority::new();
    let issue = |names: &[&str]| {
        let (chain, key) = authority.issue(names);
        TlsIdentity::from_pem(chain, key).unwrap()
    };
    let roots = TrustRoots::from_pem(authority.pem()).unwrap();
    let server = TlsServer::new(issue(&["127.0.0.1"])).clients(ClientCertificates::Required(roots.clone()));
    let stranger = TlsClient::new(roots);
    let client = stranger.clone().identity(issue(&["client.example"]));
    World {
        server: registry(TlsOptions::default().server(server)),
        client: registry(TlsOptions::default().client(client)),
        stranger: registry(TlsOptions::default().client(stranger)),
    }
}

#[tokio::test]
async fn silent_clients_meet_the_limits_of_tls_and_keep_nobody_out() {
    let authority = Authority::new();
    let (chain, key) = authority.issue(&["127.0.0.1"]);
    let mut options =
        TlsOptions::default().server(TlsServer::new(TlsIdentity::from_pem(chain, key).unwrap()));
    options.max_handshakes = 1;
    options.handshake_timeout = Duration::from_millis(200);
    let client = TlsClient::new(TrustRoots::from_pem(authority.pem()).unwrap());
    let pull = Pull::with_options(Options::new().registry(registry(options))).unwrap();
    let endpoint = within("bind", pull.bind("tls://127.0.0.1:0")).await.unwrap();
    let address = endpoint.to_string().replace("tls://", "");
    let mut monitor = pull.as_socket().monitor();
    let connect = || tokio::net::TcpStream::connect(address.as_str());
    let _silent = (connect().await.unwrap(), connect().await.unwrap());
    for expected in [
        (Limit::Handshakes, LimitAction::Displaced),
        (Limit::HandshakeTime, LimitAction::Disconnected),
    ] {
        let met = within("a limit", async {
            loop {
                if let Some(Event::LimitReached { limit, action, .. }) = monitor.recv().await {
                    return (limit, action);
                }
            }
        })
        .await;
        assert_eq!(met, expected);
        assert_eq!(pull.as_socket().stats().limits.get(expected.0), 1);
    }
    let options = TlsOptions::default().client(client);
    let push = Push::with_options(Options::new().registry(registry(options))).unwrap();
    push.connect(&endpoint).unwrap();
    within("send", push.send("hello")).await.unwrap();
    assert_eq!(within("recv", pull.recv()).await.unwrap(), Message::from("hello"));
}

#[tokio::test]
async fn tasks_are_pushed_and_pulled() {
    const COUNT: usize = 500;
    let world = world();
    let pull = Pull::with_options(Options::new().registry(world.server)).unwrap();
    let push = Push::with_options(Options::new().registry(world.client)).unwrap();
    let endpoint = within("bind", pull.bind("tls://127.0.0.1:0")).await.unwrap();
    assert_eq!(endpoint.scheme(), "tls");
    push.connect(&endpoint).unwrap();
    let length = |n: usize| if n.is_multiple_of(50) { 300_000 } else { n };
    let sending = async {
        for n in 0..COUNT {
            push.send(Message::from([n.to_string().into_bytes(), vec![7; length(n)]]))
                .await
                .unwrap();
        }
    };
    let receiving = async {
        for n in 0..COUNT {
            let message = pull.recv().await.unwrap();
            assert_eq!(message[0], *n.to_string().as_bytes());
            assert_eq!(message[1].len(), length(n));
        }
    };
    within("the messages", async { tokio::join!(sending, receiving) }).await;
    // What was sent last arrives although its sender closes.
    push.send(Message::from("the last")).await.unwrap();
    within("the end", push.close()).await;
    let last = within("the last message", pull.recv()).await.unwrap();
    assert_eq!(last, Message::from("the last"));
}

#[tokio::test]
async fn questions_are_answered() {
    let world = world();
    let rep = Rep::with_options(Options::new().registry(world.server)).unwrap();
    let req = Req::with_options(Options::new().registry(world.client)).unwrap();
    let endpoint = within("bind", rep.bind("tls://127.0.0.1:0")).await.unwrap();
    req.connect(&endpoint).unwrap();
    for n in 0..100 {
        req.send(Message::from(format!("question {n}"))).await.unwrap();
        let question = within("a question", rep.recv()).await.unwrap();
        rep.send(question).await.unwrap();
        let answer = within("an answer", req.recv()).await.unwrap();
        assert_eq!(answer, Message::from(format!("question {n}")));
    }
}

#[tokio::test]
async fn methods_are_called() {
    let world = world();
    let options = server::Options::default().socket(Options::new().registry(world.server));
    let methods = Methods::new()
        .add("length", async |text: String| {
            Ok::<_, flexbond::rpc::Failure>(text.len())
        })
        .unwrap();
    let server = Server::with_options(methods, options).unwrap();
    let endpoint = within("bind", server.bind("tls://127.0.0.1:0")).await.unwrap();
    tokio::spawn(server.run());
    let options = client::Options::default();
    let socket = options.socket.clone().registry(world.client);
    let client = Client::with_options(&endpoint, options.socket(socket)).unwrap();
    for length in [0, 5, 100_000] {
        let got: usize = within("a call", client.call("length", &"x".repeat(length)))
            .await
            .unwrap();
        assert_eq!(got, length);
    }
}

#[tokio::test]
async fn both_ends_say_who_was_refused_and_why() {
    let world = world();
    let rep = Rep::with_options(Options::new().registry(world.server)).unwrap();
    let endpoint = within("bind", rep.bind("tls://127.0.0.1:0")).await.unwrap();
    let req = Req::with_options(Options::new().registry(world.stranger)).unwrap();
    let (mut here, mut there) = (rep.monitor(), req.monitor());
    req.connect(&endpoint).unwrap();
    within("the server's word", async {
        loop {
            if let Some(Event::AcceptFailed { error, .. }) = here.recv().await {
                assert!(error.contains("showed no certificate"), "{error}");
                break;
            }
        }
    })
    .await;
    within("the client's word", async {
        loop {
            if let Some(Event::HandshakeFailed { error, retry_in, .. }) = there.recv().await {
                assert!(error.contains("requires a certificate"), "{error}");
                assert!(retry_in.is_some(), "it may get one");
                break;
            }
        }
    })
    .await;
}
