//! How the program ends: exit codes, error lines, time-outs, signals.

mod program;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use program::{End, Program};

fn run(arguments: &[&str]) -> End {
    Program::flexbond(arguments).end()
}

/// The only line on standard error.
#[track_caller]
fn error(end: &End) -> &str {
    assert_eq!(end.stderr.len(), 1, "{end:?}");
    assert!(end.stderr[0].starts_with("flexbond: error: "), "{end:?}");
    &end.stderr[0]
}

#[test]
fn what_cannot_be_used_is_a_usage_error() {
    let cases: [(&[&str], &str); 15] = [
        (&["socket"], "PATTERN"),
        (
            &["socket", "PUSHY", "--bind", "tcp://127.0.0.1:0"],
            "the patterns are",
        ),
        (&["socket", "PUSH"], "--bind ENDPOINT or --connect ENDPOINT"),
        (&["socket", "PUSH", "--bind", "127.0.0.1:0"], "127.0.0.1:0"),
        (&["socket", "PUSH", "--bind", "udp9://127.0.0.1:0"], "udp9"),
        (&["socket", "PUSH", "--connect", "tcp://127.0.0.1:0"], "port 0"),
        (&["socket", "PUSH", "--connect", "tcp://127.0.0.1:99999"], "99999"),
        (
            &["socket", "PUSH", "--recv", "1", "--bind", "tcp://127.0.0.1:0"],
            "--recv",
        ),
        (
            &["socket", "PULL", "--recv", "0", "--bind", "tcp://127.0.0.1:0"],
            "--recv",
        ),
        (
            &["socket", "PULL", "--echo", "--bind", "tcp://127.0.0.1:0"],
            "--echo",
        ),
        (
            &[
                "socket",
                "PUSH",
                "--subscribe",
                "x",
                "--bind",
                "tcp://127.0.0.1:0",
            ],
            "--subscribe",
        ),
        (
            &["socket", "PULL", "--timeout", "-1", "--bind", "tcp://127.0.0.1:0"],
            "--timeout",
        ),
        (
            &[
                "socket",
                "REQ",
                "--routing-id",
                "hex:00",
                "--connect",
                "tcp://127.0.0.1:1",
            ],
            "routing_id",
        ),
        (
            &[
                "socket",
                "REQ",
                "--username",
                "me",
                "--connect",
                "tcp://127.0.0.1:1",
            ],
            "--password",
        ),
        (&["nonsense"], "nonsense"),
    ];
    for (arguments, text) in cases {
        let end = run(arguments);
        assert_eq!(end.code, Some(2), "{arguments:?}: {end:?}");
        assert!(error(&end).contains(text), "{arguments:?}: {end:?}");
        assert!(end.stdout.is_empty(), "{end:?}");
    }
}

#[test]
fn help_documents_the_exit_codes() {
    let end = run(&["socket", "--help"]);
    assert_eq!(end.code, Some(0));
    let help = end.stdout.join("\n");
    for text in [
        "Exit codes:",
        "timed out",
        "usage",
        "--print-endpoint",
        "{\"hex\": \"00ff\"}",
    ] {
        assert!(help.contains(text), "{text}");
    }
    assert_eq!(
        run(&["--version"]).stdout,
        [concat!("flexbond ", env!("CARGO_PKG_VERSION"))]
    );
}

#[test]
fn an_endpoint_in_use_fails_with_a_hint() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", taken.local_addr().unwrap());
    let end = run(&["socket", "PULL", "--bind", &endpoint]);
    assert_eq!(end.code, Some(1));
    assert!(
        error(&end).contains("in use") && error(&end).contains("port 0"),
        "{end:?}"
    );
}

#[test]
fn a_bad_line_says_where_and_what_came_before_is_delivered() {
    let cases = [
        (r#"["a", 5]"#, "line 3, column", "a part"),
        ("not JSON", "line 3, column", "expected"),
        ("[]", "line 3", "at least one part"),
        (r#"{"hex":"00"}"#, "line 3", "array"),
        (r#"[{"hex":"0"}]"#, "line 3, column", "hex"),
    ];
    for (line, place, what) in cases {
        let mut pull = Program::flexbond(&[
            "socket",
            "PULL",
            "--bind",
            "tcp://127.0.0.1:0",
            "--print-endpoint",
            "--recv",
            "1",
        ]);
        let endpoint = pull.line();
        let mut push = Program::flexbond(&["socket", "PUSH", "--connect", &endpoint]);
        push.write(r#"["good"]"#);
        push.write("");
        push.write(line);
        let end = push.end();
        assert_eq!(end.code, Some(2), "{end:?}");
        assert!(
            error(&end).contains(place) && error(&end).contains(what),
            "{end:?}"
        );
        assert_eq!(pull.line(), r#"["good"]"#);
        pull.done();
    }
}

#[test]
fn a_router_needs_more_than_an_id() {
    let mut router = Program::flexbond(&["socket", "ROUTER", "--bind", "tcp://127.0.0.1:0"]);
    router.write(r#"["only an id"]"#);
    let end = router.end();
    assert_eq!(end.code, Some(2));
    assert!(error(&end).contains("input line 1"), "{end:?}");
}

#[test]
fn an_unknown_peer_is_reported_where_that_is_asked_for() {
    let mut router = Program::flexbond(&["socket", "ROUTER", "--mandatory", "--bind", "tcp://127.0.0.1:0"]);
    router.write(r#"["nobody", "text"]"#);
    assert!(router.event("no peer").contains("nobody"));
    assert_eq!(router.end().code, Some(1));
}

#[test]
fn nothing_to_receive_times_out() {
    for pattern in ["PULL", "SUB", "REP", "DEALER", "ROUTER", "PAIR", "XPUB"] {
        let begin = Instant::now();
        let mut program = Program::flexbond(&[
            "socket",
            pattern,
            "--bind",
            "tcp://127.0.0.1:0",
            "--timeout",
            "0.3",
            "--recv",
            "1",
        ]);
        // Standard input stays open: its end must not be what ends the program.
        let line = program.event("error");
        assert!(line.contains("nothing moved for 0.3 s"), "{line}");
        assert_eq!(program.end().code, Some(3), "{pattern}");
        assert!(begin.elapsed() >= Duration::from_millis(300));
    }
}

#[test]
fn waiting_for_input_is_no_time_out() {
    let mut push = Program::flexbond(&[
        "socket",
        "PUSH",
        "--bind",
        "tcp://127.0.0.1:0",
        "--print-endpoint",
        "--timeout",
        "0.2",
    ]);
    let endpoint = push.line();
    let mut pull = Program::flexbond(&["socket", "PULL", "--connect", &endpoint, "--timeout", "1.5"]);
    // The receiver gives up after a second and a half; the sender, which waits for lines only, does not.
    pull.event("nothing moved");
    assert_eq!(pull.end().code, Some(3));
    let mut pull = Program::flexbond(&[
        "socket",
        "PULL",
        "--connect",
        &endpoint,
        "--recv",
        "1",
        "--monitor",
    ]);
    pull.event("ready");
    push.write(r#"["still here"]"#);
    assert_eq!(pull.line(), r#"["still here"]"#);
    pull.done();
    push.done();
}

#[test]
fn what_nobody_takes_times_out() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let endpoint = format!("tcp://{free}");
    // Nobody listens: the message waits for linger and is then reported.
    let mut push = Program::flexbond(&["socket", "PUSH", "--connect", &endpoint, "--linger", "0.2"]);
    push.write(r#"["a"]"#);
    let end = push.end();
    assert_eq!(end.code, Some(3), "{end:?}");
    assert!(error(&end).contains("1 message not delivered"), "{end:?}");
    // No peer at all and none coming: the send itself waits.
    let mut push = Program::flexbond(&[
        "socket",
        "PUSH",
        "--bind",
        "tcp://127.0.0.1:0",
        "--timeout",
        "0.2",
    ]);
    push.write(r#"["a"]"#);
    assert_eq!(push.end().code, Some(3));
    // A request that is never answered.
    let mut rep = Program::flexbond(&["socket", "REP", "--bind", "tcp://127.0.0.1:0", "--print-endpoint"]);
    let endpoint = rep.line();
    let mut req = Program::flexbond(&["socket", "REQ", "--connect", &endpoint, "--timeout", "0.3"]);
    req.write(r#"["question"]"#);
    assert_eq!(rep.line(), r#"["question"]"#);
    req.event("nothing moved");
    assert_eq!(req.end().code, Some(3));
}

#[test]
fn linger_zero_drops_and_says_so() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut push = Program::flexbond(&[
        "socket",
        "PUSH",
        "--connect",
        &format!("tcp://{free}"),
        "--linger",
        "0",
    ]);
    push.write(r#"["a"]"#);
    let end = push.end();
    assert_eq!(end.code, Some(0));
    assert!(end.stderr.join("").contains("1 message not delivered"), "{end:?}");
}

#[test]
fn a_lost_peer_with_a_request_is_an_error_that_names_it() {
    let mut rep = Program::flexbond(&["socket", "REP", "--bind", "tcp://127.0.0.1:0", "--print-endpoint"]);
    let endpoint = rep.line();
    let mut req = Program::flexbond(&["socket", "REQ", "--connect", &endpoint]);
    req.write(r#"["question"]"#);
    rep.line();
    rep.signal("KILL");
    let line = req.event("lost");
    assert!(line.contains(&endpoint), "{line}");
    assert_eq!(req.end().code, Some(1));
}

#[test]
fn signals_end_it_cleanly() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut pull = Program::flexbond(&[
            "socket",
            "PULL",
            "--bind",
            "tcp://127.0.0.1:0",
            "--print-endpoint",
        ]);
        let endpoint = pull.line();
        let mut push = Program::flexbond(&["socket", "PUSH", "--connect", &endpoint]);
        push.write(r#"["abc"]"#);
        pull.line();
        pull.signal(signal);
        let end = pull.end();
        assert_eq!(end.code, Some(code));
        assert_eq!(
            end.stderr,
            ["flexbond: interrupted: 0 messages (0 B) sent, 1 message (3 B) received"]
        );
    }
}

#[test]
fn a_reader_that_goes_away_ends_it_cleanly() {
    let mut pull = Program::flexbond(&[
        "socket",
        "PULL",
        "--bind",
        "tcp://127.0.0.1:0",
        "--print-endpoint",
    ]);
    let endpoint = pull.line();
    pull.close_output();
    let mut push = Program::flexbond(&["socket", "PUSH", "--connect", &endpoint, "--linger", "0"]);
    // The first line is written into a pipe whose reader then notices that nobody wants it, and closes it.
    let deadline = Instant::now() + program::PATIENCE;
    while pull.is_running() {
        assert!(Instant::now() < deadline, "it goes on without a reader");
        push.write(r#"["more"]"#);
        std::thread::sleep(Duration::from_millis(1));
    }
    let end = pull.end();
    assert_eq!((end.code, end.stderr.len()), (Some(0), 0), "{end:?}");
}

#[test]
fn bound_endpoints_come_first_and_events_name_the_peer() {
    let mut dealer = Program::flexbond(&[
        "socket",
        "DEALER",
        "--bind",
        "tcp://127.0.0.1:0",
        "--bind",
        "tcp://127.0.0.1:0",
        "--print-endpoint",
        "--monitor",
    ]);
    let (first, second) = (dealer.line(), dealer.line());
    assert!(
        first.starts_with("tcp://127.0.0.1:") && second.starts_with("tcp://127.0.0.1:") && first != second
    );
    let mut peer = Program::flexbond(&["socket", "DEALER", "--connect", &second, "--routing-id", "ann"]);
    peer.write(r#"["hi"]"#);
    assert_eq!(dealer.line(), r#"["hi"]"#);
    let ready = dealer.event("ready");
    assert!(
        ready.contains("DEALER") && ready.contains("ann") && ready.contains("tcp://127.0.0.1:"),
        "{ready}"
    );
    peer.done();
    dealer.event("disconnected");
    assert_eq!(dealer.end().code, Some(0));
}

#[test]
fn plain_users_are_checked() {
    let server = [
        "socket",
        "PULL",
        "--bind",
        "tcp://127.0.0.1:0",
        "--print-endpoint",
        "--plain-server",
        "--recv",
        "1",
    ];
    let mut pull = Program::flexbond(
        &[
            &server[..],
            &["--username", "ada", "--password", "secret", "--monitor"],
        ]
        .concat(),
    );
    let endpoint = pull.line();
    let push = |name: &str, password: &str| {
        let arguments = [
            "socket",
            "PUSH",
            "--connect",
            &endpoint,
            "--username",
            name,
            "--password",
            password,
            "--linger",
            "0.5",
        ];
        let mut push = Program::flexbond(&arguments);
        push.write(r#"["let me in"]"#);
        push
    };
    assert_eq!(push("ada", "guess").end().code, Some(3));
    pull.event("failed");
    let push = push("ada", "secret");
    assert_eq!(pull.line(), r#"["let me in"]"#);
    push.done();
    pull.done();
}
