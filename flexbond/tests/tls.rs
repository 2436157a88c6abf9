//! Sockets, calls and ranks over tls, with certificates at both ends.

mod certificates;

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use certificates::Authority;
use flexbond::rpc::server::Methods;
use flexbond::rpc::{Client, Context, Failure, Server, client, server};
use flexbond::session::async_trait;
use flexbond::session::socket::{
    AuthRequest, Authenticator, CertificateAllow, CertificateName, Decision, DenyStatus, Event,
    HandshakeFailure, Limit, LimitAction, Monitor, Options, PlainServer, PlainUser, Pull, Push, Rep, Req,
};
use flexbond::transport::{
    ClientCertificates, Fingerprint, Message, PeerName, Registry, Tls, TlsClient, TlsIdentity, TlsOptions,
    TlsServer, TrustRoots,
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
    world_with(ClientCertificates::Required)
}

fn world_with(clients: fn(TrustRoots) -> ClientCertificates) -> World {
    let authority = Authority::new();
    let issue = |names: &[&str]| {
        let (chain, key) = authority.issue(names);
        TlsIdentity::from_pem(chain, key).unwrap()
    };
    let roots = TrustRoots::from_pem(authority.pem()).unwrap();
    let server = TlsServer::new(issue(&["127.0.0.1"])).clients(clients(roots.clone()));
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
        .add("length", async |text: String| Ok::<_, Failure>(text.len()))
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

/// Lets everybody in as "countess", and keeps what it was asked.
#[derive(Default)]
struct Judge {
    asked: Mutex<Vec<AuthRequest>>,
}

#[async_trait]
impl Authenticator for Judge {
    async fn authenticate(&self, request: AuthRequest) -> Decision {
        self.asked.lock().unwrap().push(request);
        Decision::allow("countess").with_metadata("X-Role", "admin")
    }
}

fn dns(name: &str) -> PeerName {
    PeerName::Dns(name.to_owned())
}

/// Waits for a failed handshake: why, and in words.
async fn failure(monitor: &mut Monitor) -> (HandshakeFailure, String) {
    let failed = async {
        loop {
            match monitor.recv().await {
                Some(Event::HandshakeFailed { failure, error, .. }) => return (failure, error),
                Some(_) => {}
                None => panic!("the socket is closed"),
            }
        }
    };
    within("a failed handshake", failed).await
}

fn is_refused(failure: &HandshakeFailure) -> bool {
    let denied = matches!(
        failure,
        HandshakeFailure::Denied {
            status: DenyStatus::Refused,
            ..
        }
    );
    denied || matches!(failure, HandshakeFailure::Refused { reason, .. } if reason == "400")
}

#[tokio::test]
async fn an_authenticator_learns_whose_certificate_it_is_whatever_the_mechanism() {
    let mut mechanisms = vec![
        ("NULL", Options::new(), Options::new()),
        (
            "PLAIN",
            Options::new().plain_server(PlainServer::new()),
            Options::new().plain_client(PlainUser::new("ada", "lovelace")),
        ),
    ];
    #[cfg(feature = "curve")]
    {
        use flexbond::session::socket::{CurveClient, generate_keys};
        let keys = generate_keys().unwrap();
        let client = CurveClient::anonymous(*keys.public()).unwrap();
        mechanisms.push((
            "CURVE",
            Options::new().curve_server(keys),
            Options::new().curve_client(client),
        ));
    }
    for (mechanism, bound, connecting) in mechanisms {
        let world = world();
        let judge = Arc::new(Judge::default());
        let options = bound.registry(world.server).authenticator(Arc::clone(&judge));
        let rep = Rep::with_options(options).unwrap();
        let endpoint = within("bind", rep.bind("tls://127.0.0.1:0")).await.unwrap();
        let req = Req::with_options(connecting.registry(world.client)).unwrap();
        req.connect(&endpoint).unwrap();
        req.send("question").await.unwrap();
        let (_, client) = within("a question", rep.recv_from()).await.unwrap();
        rep.send("answer").await.unwrap();
        let (_, server) = within("an answer", req.recv_from()).await.unwrap();

        let asked = judge.asked.lock().unwrap().clone();
        assert_eq!(asked.len(), 1, "{mechanism}");
        assert_eq!(asked[0].mechanism(), mechanism);
        assert_eq!(asked[0].address, "127.0.0.1");
        let identity = asked[0].identity.as_ref().unwrap();
        assert_eq!(identity.names(), [dns("client.example")]);
        assert_eq!(
            identity.fingerprint(),
            Some(Fingerprint::of(&identity.chain()[0]))
        );
        assert_eq!(client.identity(), Some(identity));
        assert_eq!(client.user_id(), Some("countess"), "{mechanism}");
        assert_eq!(client.auth_metadata("x-role"), Some(&b"admin"[..]));
        let names = server.identity().unwrap().names();
        assert_eq!(names, [PeerName::Ip([127, 0, 0, 1].into())]);
    }
}

#[tokio::test]
async fn who_is_not_on_the_list_of_certificates_is_denied_until_it_is() {
    let world = world_with(ClientCertificates::Optional);
    let allowed = CertificateAllow::new();
    allowed.allow(dns("other.example").into(), "other");
    let options = Options::new()
        .registry(world.server)
        .authenticator(allowed.clone());
    let pull = Pull::with_options(options).unwrap();
    let mut here = pull.monitor();
    let endpoint = within("bind", pull.bind("tls://127.0.0.1:0")).await.unwrap();
    let unencrypted = within("bind", pull.bind("tcp://127.0.0.1:0")).await.unwrap();
    for (registry, endpoint, why) in [
        (&world.client, &endpoint, "client.example"),
        (&world.stranger, &endpoint, "showed no certificate"),
        (&world.client, &unencrypted, "showed no certificate"),
    ] {
        let push = Push::with_options(Options::new().registry(registry.clone())).unwrap();
        let mut there = push.monitor();
        push.connect(endpoint).unwrap();
        let (failed, text) = failure(&mut here).await;
        assert!(is_refused(&failed) && text.contains(why), "{text}");
        let (failed, text) = failure(&mut there).await;
        assert!(is_refused(&failed) && !text.contains(why), "{text}");
        within("the end", push.close()).await;
    }
    allowed.allow("DNS:Client.Example".parse().unwrap(), "the client");
    let push = Push::with_options(Options::new().registry(world.client)).unwrap();
    push.connect(&endpoint).unwrap();
    push.send("task").await.unwrap();
    let (_, peer) = within("a task", pull.recv_from()).await.unwrap();
    assert_eq!(peer.user_id(), Some("the client"));
}

#[tokio::test]
async fn who_connects_may_judge_the_server_too() {
    let world = world();
    let rep = Rep::with_options(Options::new().registry(world.server)).unwrap();
    let endpoint = within("bind", rep.bind("tls://127.0.0.1:0")).await.unwrap();
    let allowed = CertificateAllow::new();
    allowed.allow(Fingerprint::of(b"another one").into(), "another one");
    let options = Options::new()
        .registry(world.client)
        .authenticator(allowed.clone())
        .reconnect_interval(Duration::from_millis(1));
    let req = Req::with_options(options).unwrap();
    let mut there = req.monitor();
    req.connect(&endpoint).unwrap();
    let (failed, text) = failure(&mut there).await;
    assert!(is_refused(&failed) && text.contains("127.0.0.1"), "{text}");
    allowed.allow(CertificateName::Name(PeerName::Ip([127, 0, 0, 1].into())), "home");
    req.send("question").await.unwrap();
    rep.send(within("a question", rep.recv()).await.unwrap())
        .await
        .unwrap();
    let (_, server) = within("an answer", req.recv_from()).await.unwrap();
    assert_eq!(server.user_id(), Some("home"));
}

#[tokio::test]
async fn a_password_may_travel_over_tls_and_is_checked() {
    let world = world_with(ClientCertificates::Optional);
    let users = PlainServer::new().user("ada", "lovelace");
    let options = Options::new().registry(world.server).plain_server(users);
    let pull = Pull::with_options(options).unwrap();
    // Off this machine, as far as can be known.
    let endpoint = within("bind", pull.bind("tls://*:0")).await.unwrap();
    let endpoint = endpoint
        .to_string()
        .replace('*', "127.0.0.1")
        .replace("0.0.0.0", "127.0.0.1");
    for (password, good) in [("lovelace", true), ("byron", false)] {
        let options = Options::new().registry(world.stranger.clone());
        let push = Push::with_options(options.plain_client(PlainUser::new("ada", password))).unwrap();
        let mut there = push.monitor();
        push.connect(endpoint.as_str()).unwrap();
        if good {
            push.send("task").await.unwrap();
            let (_, peer) = within("a task", pull.recv_from()).await.unwrap();
            assert_eq!((peer.user_id(), peer.identity()), (Some("ada"), None));
        } else {
            let (failed, text) = failure(&mut there).await;
            assert!(is_refused(&failed), "{text}");
        }
    }
}

#[tokio::test]
async fn a_handler_sees_who_calls() {
    let world = world();
    let allowed = CertificateAllow::new();
    allowed.allow(dns("client.example").into(), "ada");
    let methods = Methods::new()
        .add("whoami", async |context: Context, (): ()| {
            let peer = context.connection().peer();
            let names = peer.identity().map(|identity| identity.names().to_vec());
            let name = names.into_iter().flatten().next().map(|name| name.to_string());
            Ok::<_, Failure>((peer.user_id().map(str::to_owned), name))
        })
        .unwrap();
    let socket = Options::new().registry(world.server).authenticator(allowed);
    let options = server::Options::default().socket(socket);
    let server = Server::with_options(methods, options).unwrap();
    let endpoint = within("bind", server.bind("tls://127.0.0.1:0")).await.unwrap();
    tokio::spawn(server.run());
    let options = client::Options::default();
    let socket = options.socket.clone().registry(world.client);
    let client = Client::with_options(&endpoint, options.socket(socket)).unwrap();
    let got: (Option<String>, Option<String>) = within("a call", client.call("whoami", &())).await.unwrap();
    assert_eq!(got, (Some("ada".to_owned()), Some("client.example".to_owned())));
}

#[cfg(feature = "collectives")]
mod ranks {
    use flexbond::session::mesh::{JoinError, Mesh, MeshOptions, MeshServer};

    use super::*;

    /// How a rank shows itself and trusts others: it listens and it connects.
    fn rank(authority: &Authority, trusted: &Authority) -> MeshOptions {
        let (chain, key) = authority.issue(&["127.0.0.1"]);
        let identity = TlsIdentity::from_pem(chain, key).unwrap();
        let roots = TrustRoots::from_pem(trusted.pem()).unwrap();
        let server = TlsServer::new(identity.clone()).clients(ClientCertificates::Required(roots.clone()));
        let client = TlsClient::new(roots).identity(identity);
        let registry = registry(TlsOptions::default().server(server).client(client));
        // Far more than the system and the stream hold back for each other.
        MeshOptions::new()
            .registry(registry)
            .send_buffer(32 << 10)
            .recv_buffer(32 << 10)
    }

    #[tokio::test]
    async fn ranks_exchange_messages_and_none_stands_still() {
        let authority = Authority::new();
        let options = rank(&authority, &authority);
        let serving = MeshServer::bind("tls://127.0.0.1:0", options.clone().size(2));
        let server = within("a server", serving).await.unwrap();
        assert_eq!(server.endpoint().scheme(), "tls");
        let join = |number| Mesh::join(server.endpoint(), options.clone().rank(number));
        let joining = async { tokio::try_join!(join(0), join(1)) };
        let (zero, one) = within("two ranks", joining).await.unwrap();
        for (tag, length) in [0, 1, 8 << 10, 100_000, 1 << 20].into_iter().enumerate() {
            let tag = tag as u64;
            let (there, back) = (vec![tag as u8; length], vec![!tag as u8; length]);
            // A send is done only once nothing of it is held back, as its receiver may be the next one to do anything.
            within("a message", async {
                let (sent, received) = tokio::join!(zero.send(1, tag, &there), one.recv_bytes(0, tag));
                sent.unwrap();
                assert!(received.unwrap() == there, "{length}");
                let (sent, received) = tokio::join!(one.send(0, tag, &back), zero.recv_bytes(1, tag));
                sent.unwrap();
                assert!(received.unwrap() == back, "{length}");
            })
            .await;
        }
        // Both at once, and what is given up in the middle arrives whole.
        let large = vec![7; 1 << 20];
        {
            let mut sending = std::pin::pin!(zero.send(1, 50, &large));
            let once =
                std::future::poll_fn(|cx| std::task::Poll::Ready(sending.as_mut().poll(cx).is_pending()));
            assert!(once.await, "it does not fit");
        }
        within("the rest", async {
            let receiving = async { [one.recv_bytes(0, 50).await, one.recv_bytes(0, 51).await] };
            let (sent, received) = tokio::join!(zero.send(1, 51, &large), receiving);
            sent.unwrap();
            assert!(received.into_iter().all(|received| received.unwrap() == large));
        })
        .await;
        within("the end", async { tokio::join!(zero.leave(), one.leave()) }).await;
    }

    /// A rank keeps its runtime from working for longer than a silent one may live, before it has a connection to the other
    /// one or after.
    async fn computing(has_connection: bool) {
        let authority = Authority::new();
        let options = rank(&authority, &authority)
            .heartbeat(Duration::from_millis(50))
            .dead_after(Duration::from_millis(600));
        let serving = MeshServer::bind("tls://127.0.0.1:0", options.clone().size(2));
        let server = within("a server", serving).await.unwrap();
        let (at, theirs) = (server.endpoint().clone(), options.clone().rank(1));
        let (tell_computing, computing) = tokio::sync::oneshot::channel();
        let busy = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let one = Mesh::join(&at, theirs).await.unwrap();
                if has_connection {
                    one.recv_bytes(0, 1).await.unwrap();
                }
                tell_computing.send(()).unwrap();
                // Computes.
                std::thread::sleep(Duration::from_millis(1600));
                assert_eq!(one.recv_bytes(0, 2).await.unwrap().len(), 1 << 20);
                one.send(0, 3, b"done").await.unwrap();
                one.leave().await;
            });
        });
        let zero = within("a rank", Mesh::join(server.endpoint(), options.rank(0)))
            .await
            .unwrap();
        if has_connection {
            within("a message", zero.send(1, 1, b"begin")).await.unwrap();
        }
        within("the other rank", computing).await.unwrap();
        within("a message", zero.send(1, 2, &vec![7; 1 << 20]))
            .await
            .unwrap();
        assert_eq!(within("an answer", zero.recv_bytes(1, 3)).await.unwrap(), "done");
        within("the end", zero.leave()).await;
        tokio::task::spawn_blocking(|| busy.join().unwrap())
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_rank_that_computes_is_not_dead() {
        tokio::join!(computing(false), computing(true));
    }

    #[tokio::test]
    async fn whose_certificate_another_authority_has_issued_does_not_join_and_learns_why() {
        let (authority, other) = (Authority::new(), Authority::new());
        let serving = MeshServer::bind("tls://127.0.0.1:0", rank(&authority, &authority).size(1));
        let server = within("a server", serving).await.unwrap();
        let options = rank(&other, &authority).join_timeout(Duration::from_millis(300));
        let joined = within("an answer", Mesh::join(server.endpoint(), options)).await;
        let Err(JoinError::Timeout {
            connect: Some(why), ..
        }) = joined
        else {
            panic!("{joined:?}");
        };
        assert!(why.to_string().contains("the peer refused"), "{why}");
        assert_eq!(server.stats().ranks, 0);
    }
}
