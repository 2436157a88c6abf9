//! What two sockets say to each other in each pattern, whoever they are.

use std::time::{Duration, Instant};

use super::{PATIENCE, Program, Side};

/// Two ends: who they are, which of them binds, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) first: Side,
    pub(crate) second: Side,
    pub(crate) first_binds: bool,
    pub(crate) transport: &'static str,
}

impl Ends {
    /// Both bind directions over every transport that two processes can share.
    pub(crate) fn each(first: Side, second: Side) -> impl Iterator<Item = Ends> {
        ["tcp", "ipc"].into_iter().flat_map(move |transport| {
            [true, false].map(|first_binds| Ends {
                first,
                second,
                first_binds,
                transport,
            })
        })
    }

    /// Starts both; the arguments are patterns and options without endpoints.
    fn start(self, first: &[&str], second: &[&str]) -> (Program, Program) {
        let folder = tempfile::tempdir().unwrap();
        let bind = match self.transport {
            "tcp" => "tcp://127.0.0.1:0".to_owned(),
            _ => format!("ipc://{}", folder.path().join("socket").display()),
        };
        // The folder must outlive the programs, and is small: the system's own cleaning gets it if a test fails.
        let _ = folder.keep();
        let with =
            |side, arguments: &[&str], more: &[&str]| Program::socket(side, &[arguments, more].concat());
        let binding = ["--bind", &bind, "--print-endpoint"];
        if self.first_binds {
            let mut first = with(self.first, first, &binding);
            let endpoint = first.line();
            (first, with(self.second, second, &["--connect", &endpoint]))
        } else {
            let mut second = with(self.second, second, &binding);
            let endpoint = second.line();
            (with(self.first, first, &["--connect", &endpoint]), second)
        }
    }
}

/// Messages with every kind of part.
fn messages() -> Vec<String> {
    vec![
        r#"["one"]"#.to_owned(),
        r#"["two", "", "parts with \"quotes\", \t and üñï"]"#.to_owned(),
        r#"[{"hex": "00ff80"}, {"hex": "fe"}]"#.to_owned(),
        r#"[""]"#.to_owned(),
        format!(r#"["{}"]"#, "long ".repeat(20_000)),
        format!(r#"["{}", "{}"]"#, "x".repeat(255), "y".repeat(256)),
    ]
}

#[track_caller]
fn same(actual: &str, expected: &str) {
    let parse = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    assert!(
        parse(actual) == parse(expected),
        "{actual:.200} instead of {expected:.200}"
    );
}

/// PUSH, PULL.
pub(crate) fn push_pull(ends: Ends) {
    let messages = messages();
    let count = messages.len().to_string();
    let (mut push, mut pull) = ends.start(&["PUSH"], &["PULL", "--recv", &count]);
    messages.iter().for_each(|message| push.write(message));
    for message in &messages {
        same(&pull.line(), message);
    }
    pull.done();
    push.done();
}

/// REQ, REP; replies are written by hand.
pub(crate) fn req_rep(ends: Ends) {
    let messages = messages();
    let count = messages.len().to_string();
    let (mut req, mut rep) = ends.start(&["REQ"], &["REP", "--recv", &count]);
    for message in &messages {
        req.write(message);
        same(&rep.line(), message);
        let reply = message.replacen('[', r#"["reply", "#, 1);
        rep.write(&reply);
        same(&req.line(), &reply);
    }
    req.done();
    rep.done();
}

/// REQ, REP that echoes.
pub(crate) fn req_rep_echo(ends: Ends) {
    let messages = messages();
    let count = messages.len().to_string();
    let (mut req, mut rep) = ends.start(&["REQ"], &["REP", "--echo", "--recv", &count]);
    messages.iter().for_each(|message| req.write(message));
    for message in &messages {
        same(&req.line(), message);
        same(&rep.line(), message);
    }
    req.done();
    rep.done();
}

/// REQ, ROUTER: the router sees the envelope.
pub(crate) fn req_router(ends: Ends) {
    let (mut req, mut router) = ends.start(&["REQ", "--routing-id", "client"], &["ROUTER", "--recv", "2"]);
    for body in ["a", "b"] {
        req.write(&format!(r#"["{body}"]"#));
        same(&router.line(), &format!(r#"["client", "", "{body}"]"#));
        // The last reply is written before the router has what it waits for only if it is written at once.
        if body == "a" {
            router.write(r#"["client", "", "answer"]"#);
            same(&req.line(), r#"["answer"]"#);
        }
    }
    router.done();
}

/// DEALER, REP: the dealer writes the envelope itself.
pub(crate) fn dealer_rep(ends: Ends) {
    let (mut dealer, mut rep) = ends.start(&["DEALER", "--recv", "3"], &["REP", "--recv", "3"]);
    for body in ["a", "b", "c"] {
        dealer.write(&format!(r#"["", "{body}"]"#));
    }
    for body in ["a", "b", "c"] {
        same(&rep.line(), &format!(r#"["{body}"]"#));
        rep.write(&format!(r#"["{body}{body}"]"#));
        same(&dealer.line(), &format!(r#"["", "{body}{body}"]"#));
    }
    dealer.done();
    rep.done();
}

/// DEALER, ROUTER: answers in another order than the questions.
pub(crate) fn dealer_router(ends: Ends) {
    let messages = messages();
    let count = messages.len().to_string();
    let (mut dealer, mut router) =
        ends.start(&["DEALER", "--routing-id", "d1", "--recv", &count], &["ROUTER"]);
    messages.iter().for_each(|message| dealer.write(message));
    let asked: Vec<String> = messages.iter().map(|_| router.line()).collect();
    for (message, asked) in messages.iter().zip(&asked) {
        same(asked, &message.replacen('[', r#"["d1", "#, 1));
    }
    asked.iter().rev().for_each(|message| router.write(message));
    for message in messages.iter().rev() {
        same(&dealer.line(), message);
    }
    dealer.done();
    router.done();
}

/// DEALER, ROUTER that echoes: the id that it made up leads back.
pub(crate) fn dealer_router_echo(ends: Ends) {
    let (mut dealer, mut router) =
        ends.start(&["DEALER", "--recv", "2"], &["ROUTER", "--echo", "--recv", "2"]);
    for message in [r#"["a", "b"]"#, r#"["c"]"#] {
        dealer.write(message);
        same(&dealer.line(), message);
        let parts: Vec<serde_json::Value> = serde_json::from_str(&router.line()).unwrap();
        assert!(
            parts[0]["hex"].is_string() || parts[0].is_string(),
            "a routing id in front: {parts:?}"
        );
    }
    dealer.done();
    router.done();
}

/// PAIR, PAIR.
pub(crate) fn pair(ends: Ends) {
    let messages = messages();
    let count = messages.len().to_string();
    let (mut first, mut second) = ends.start(&["PAIR", "--recv", &count], &["PAIR"]);
    for message in &messages {
        first.write(message);
        same(&second.line(), message);
    }
    for message in &messages {
        second.write(message);
        same(&first.line(), message);
    }
    first.done();
    second.done();
}

/// PUB or XPUB in the first place, SUB in the second: topics are prefixes.
pub(crate) fn publish_subscribe(ends: Ends) {
    let (mut publisher, mut subscriber) = ends.start(
        &["PUB"],
        &[
            "SUB",
            "--subscribe",
            "news.",
            "--subscribe",
            "weather",
            "--recv",
            "3",
        ],
    );
    // A publisher cannot see subscriptions; it repeats itself until one message came through.
    let deadline = Instant::now() + PATIENCE;
    let mut number = 0;
    let first = loop {
        assert!(Instant::now() < deadline, "nothing came through");
        number += 1;
        publisher.write(r#"["noise", "x"]"#);
        publisher.write(&format!(r#"["news.hello", "{number}"]"#));
        if let Some(line) = subscriber.line_within(Duration::from_millis(50)) {
            break line;
        }
    };
    assert!(first.contains("news.hello"), "{first}");
    publisher.write(r#"["new"]"#);
    publisher.write(r#"["weather", {"hex": "ff"}]"#);
    publisher.write(r#"["news.end"]"#);
    let mut rest = subscriber.end();
    rest.stdout.retain(|line| !line.contains("news.hello"));
    assert!(
        rest.stdout
            .iter()
            .all(|line| line.contains("weather") || line.contains("news.end")),
        "{rest:?}"
    );
    assert_eq!(rest.code, Some(0));
    publisher.done();
}

/// XPUB, XSUB: subscriptions are messages.
pub(crate) fn xpub_xsub(ends: Ends) {
    let (mut publisher, mut subscriber) = ends.start(&["XPUB"], &["XSUB", "--subscribe", "a", "--recv", "2"]);
    same(&publisher.line(), r#"["\u0001a"]"#);
    publisher.write(r#"["b", "not for them"]"#);
    publisher.write(r#"["a1", "first"]"#);
    same(&subscriber.line(), r#"["a1", "first"]"#);
    subscriber.write(r#"["\u0001b"]"#);
    same(&publisher.line(), r#"["\u0001b"]"#);
    publisher.write(r#"["b", "second"]"#);
    same(&subscriber.line(), r#"["b", "second"]"#);
    subscriber.done();
    publisher.end();
}
