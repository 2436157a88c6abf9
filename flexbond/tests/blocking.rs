//! The blocking façade: it waits where it should, and only there.

use std::time::{Duration, Instant};

use flexbond::blocking::{CallError, Pair, Pub, Pull, Push, Rep, Req, Sub};
use flexbond::session::socket::{Event, Options, RecvError, SendErrorKind};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn threads_talk_without_a_runtime() {
    for bind in ["tcp://127.0.0.1:0", "inproc://blocking-threads"] {
        let server = Rep::new();
        let endpoint = server.bind(bind).unwrap();
        let thread = std::thread::spawn(move || {
            for _ in 0..100 {
                let request = server.recv().unwrap();
                server.send(request).unwrap();
            }
            server.close().unwrap();
        });
        let client = Req::new();
        client.connect(&endpoint).unwrap();
        for number in 0..100 {
            client.send(format!("request {number}")).unwrap();
            assert_eq!(client.recv().unwrap()[0], *format!("request {number}").as_bytes());
        }
        thread.join().unwrap();
    }
}

#[test]
fn waiting_has_a_limit_where_one_is_given() {
    let pull = Pull::new();
    pull.bind("inproc://blocking-limit").unwrap();
    let begin = Instant::now();
    let error = pull.recv_timeout(Duration::from_millis(50)).unwrap_err();
    assert!(matches!(error.socket(), Some(RecvError::Timeout(_))), "{error}");
    assert!(begin.elapsed() >= Duration::from_millis(50));
    assert!(matches!(
        pull.try_recv().unwrap_err().socket(),
        Some(RecvError::WouldBlock)
    ));

    let options = Options::new().recv_timeout(Some(Duration::from_millis(10)));
    let pull = Pull::with_options(options).unwrap();
    assert!(matches!(
        pull.recv().unwrap_err().socket(),
        Some(RecvError::Timeout(_))
    ));

    let push = Push::with_options(Options::new().send_timeout(Some(Duration::from_millis(10)))).unwrap();
    let error = push.send("nobody").unwrap_err();
    assert!(
        matches!(error.kind().socket(), Some(SendErrorKind::Timeout(_))),
        "{error}"
    );
    assert_eq!(&error.into_message()[0], b"nobody");
}

#[test]
fn within_a_runtime_it_refuses_to_wait() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let pull = Pull::new();
        assert!(matches!(pull.recv(), Err(CallError::AsyncContext)));
        assert!(matches!(
            pull.recv_timeout(PATIENCE),
            Err(CallError::AsyncContext)
        ));
        assert!(matches!(
            pull.bind("inproc://blocking-refused"),
            Err(CallError::AsyncContext)
        ));
        assert!(matches!(pull.close(), Err(CallError::AsyncContext)));
        assert!(matches!(pull.monitor().recv(), Err(CallError::AsyncContext)));
        // What never waits works.
        assert!(matches!(
            pull.try_recv(),
            Err(CallError::Socket(RecvError::WouldBlock))
        ));
        let push = Push::new();
        push.connect("inproc://blocking-nowhere").unwrap();
        let error = Push::new().send("kept").unwrap_err();
        assert!(matches!(error.kind(), CallError::AsyncContext), "{error}");
        assert_eq!(&error.into_message()[0], b"kept");
    });
}

#[test]
fn sockets_made_within_a_runtime_outlive_it() {
    let push = Push::new();
    let endpoint = push.bind("tcp://127.0.0.1:0").unwrap();
    let pull = Pull::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime
        .block_on(async { pull.connect(&endpoint).map(drop) })
        .unwrap();
    drop(runtime);
    push.send("through").unwrap();
    assert_eq!(&pull.recv_timeout(PATIENCE).unwrap()[0], b"through");
}

#[test]
fn events_and_counters_are_there() {
    let pair = Pair::new();
    let mut monitor = pair.monitor();
    let endpoint = pair.bind("tcp://127.0.0.1:0").unwrap();
    let other = Pair::new();
    other.connect(&endpoint).unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match monitor.recv_timeout(PATIENCE).unwrap() {
            Some(Event::Ready { .. }) => break,
            event => assert!(event.is_some() && Instant::now() < deadline, "{event:?}"),
        }
    }
    other.send("counted").unwrap();
    pair.recv_timeout(PATIENCE).unwrap();
    assert_eq!(
        (pair.stats().messages_received, pair.stats().bytes_received),
        (1, 7)
    );
    assert_eq!(pair.peers().len(), 1);
    assert_eq!(pair.bound(), [endpoint]);
}

#[test]
fn subscribers_choose() {
    let publisher = Pub::new();
    let endpoint = publisher.bind("inproc://blocking-topics").unwrap();
    let subscriber = Sub::new();
    subscriber.subscribe("a").unwrap();
    subscriber.connect(&endpoint).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let message = loop {
        publisher.send("b").unwrap();
        publisher.send("a").unwrap();
        match subscriber.recv_timeout(Duration::from_millis(10)) {
            Ok(message) => break message,
            Err(_) => assert!(Instant::now() < deadline),
        }
    };
    assert_eq!(&message[0], b"a");
}

#[test]
fn dropping_does_not_wait() {
    let push = Push::new();
    push.connect("tcp://127.0.0.1:1").unwrap();
    push.send("never delivered").unwrap();
    let begin = Instant::now();
    drop(push);
    assert!(
        begin.elapsed() < Duration::from_secs(1),
        "linger is 30 s, and none of it is spent here"
    );
}

#[test]
#[cfg(target_os = "linux")]
fn one_background_thread_serves_all() {
    let sockets: Vec<Pull> = (0..5).map(|_| Pull::new()).collect();
    sockets
        .iter()
        .for_each(|socket| drop(socket.bind("tcp://127.0.0.1:0").unwrap()));
    let count = || {
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        let names =
            threads.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
        names.filter(|name| name.trim() == "flexbond-io").count()
    };
    // A thread takes its name only when it first runs.
    let deadline = Instant::now() + Duration::from_secs(10);
    while count() == 0 && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(count(), 1);
}
