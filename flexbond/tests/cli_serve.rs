//! `flexbond serve`: the real program, with parties that connect to it.

mod program;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use flexbond::collectives::federation::{Config, CurveKeys, Federation, Limits, Role, VariableChannel};
use program::{End, PATIENCE, Program, scrape};

const FLEXBOND: &str = env!("CARGO_BIN_EXE_flexbond");

fn run(arguments: &[&str]) -> End {
    Program::flexbond(&[&["serve"], arguments].concat()).end()
}

/// A server that says where it is.
fn serve(arguments: &[&str]) -> (Program, String) {
    let mut server = Program::flexbond(&[&["serve"], arguments].concat());
    let endpoint = place(&mut server);
    (server, endpoint)
}

fn place(server: &mut Program) -> String {
    let line = server.line();
    line.strip_prefix("serving at ").expect(&line).to_owned()
}

const ANY: [&str; 2] = ["--listen", "tcp://127.0.0.1:0"];

fn config(endpoint: &str, job: &str, local: &str, members: &[&str]) -> Config {
    let limits = Limits::new().retry(Duration::from_millis(100)).linger(PATIENCE);
    let config = Config::new(job.parse().unwrap(), local.parse().unwrap())
        .by_server(endpoint)
        .limits(limits);
    members.iter().fold(config, |config, member| {
        config.member(member.parse().unwrap(), Role::Host)
    })
}

async fn party(endpoint: &str, local: &str) -> Federation {
    let config = config(endpoint, "job", local, &["a", "b"]);
    Federation::connect(config).await.unwrap()
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work)
        .await
        .expect("it takes too long")
}

async fn swap(one: &VariableChannel, other: &VariableChannel) {
    let (to, back) = within(async { tokio::join!(one.swap(&1), other.swap(&2)) }).await;
    let (to, back): (i32, i32) = (to.unwrap(), back.unwrap());
    assert_eq!((to, back), (2, 1));
}

/// Waits until the server is that well.
fn until_health(url: &str, status: &str) -> String {
    let url = url.replace("/metrics", "/health");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = scrape::get(&url, "");
        if text.contains(&format!("\"status\":\"{status}\"")) {
            return text;
        }
        assert!(Instant::now() < deadline, "not {status}: {text}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Makes keys in `folder`; the public one.
fn keygen(folder: &Path, name: &str) -> String {
    let end = Program::flexbond(&["keygen", folder.join(name).to_str().unwrap()]).end();
    assert_eq!(end.code, Some(0), "{end:?}");
    end.stdout[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_parties_swap_and_the_numbers_say_so() {
    let (mut server, endpoint) = serve(&[&ANY[..], &["--metrics", "0"]].concat());
    let url = scrape::url(&mut server);
    server.event("nobody has to prove who they are");
    let (a, b) = (party(&endpoint, "a").await, party(&endpoint, "b").await);
    swap(&a.variable("x", "b").unwrap(), &b.variable("x", "a").unwrap()).await;
    server.event("job job: a is there");
    let text = scrape::get(&url, "");
    for sample in [
        "flexbond_serve_messages_total{job=\"job\",party=\"a\"}",
        "flexbond_serve_jobs",
        "flexbond_serve_party_up{job=\"job\",party=\"b\"}",
    ] {
        assert_eq!(scrape::value(&text, sample), Some(1.0), "{sample}: {text}");
    }
    assert!(until_health(&url, "ok").starts_with("HTTP/1.1 200 "));
    within(async { tokio::join!(a.close(), b.close()) }).await;
    server.event("job job: a has left");
    server.signal("TERM");
    let end = server.end();
    assert_eq!(end.code, Some(0), "{end:?}");
    let last = end.stderr.last().unwrap();
    assert!(last.contains("2 messages handed over; nothing is left"), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_bound_to_parties_and_jobs_to_their_members() {
    let folder = tempfile::tempdir().unwrap();
    let [server_key, a_key, b_key, c_key] = ["server", "a", "b", "c"].map(|name| keygen(folder.path(), name));
    keygen(folder.path(), "stranger");
    let file = folder.path().join("server.toml");
    let text = format!(
        "listen = \"tcp://127.0.0.1:0\"\n[curve]\nsecret_file = \"server.key_secret\"\n\
         [parties.a]\nkey = \"{a_key}\"\n[parties.b]\nkey = \"{b_key}\"\n[parties.c]\nkey = \"{c_key}\"\n\
         [jobs.job]\nmembers = [\"a\", \"b\"]\n"
    );
    fs::write(&file, &text).unwrap();
    let file = file.to_str().unwrap();
    let good = run(&["--config", file, "--check-config"]);
    assert_eq!(
        (good.code, &*good.stdout[0]),
        (Some(0), &*format!("{file} is good"))
    );

    let (mut server, endpoint) = serve(&["--config", file]);
    let join = async |local: &str, key: &str, members: &[&str]| {
        let secret = folder.path().join(key).with_extension("key_secret");
        let config = config(&endpoint, "job", local, members).curve(CurveKeys::new(secret, &*server_key));
        Federation::connect(config).await.unwrap()
    };
    let _stranger = join("a", "stranger", &["a", "b"]).await;
    server.event("is not on the list");
    let _thief = join("a", "c", &["a", "b"]).await;
    server.event("job job: c has said to be a, and is not believed");
    // A job that is somebody else's.
    let outsider = join("c", "c", &["a", "b", "c"]).await;
    let error = within(outsider.ready(PATIENCE)).await.unwrap_err().to_string();
    assert!(error.contains("refuses this party"), "{error}");
    server.event("c is refused");

    let (a, b) = (
        join("a", "a", &["a", "b"]).await,
        join("b", "b", &["a", "b"]).await,
    );
    swap(&a.variable("x", "b").unwrap(), &b.variable("x", "a").unwrap()).await;

    // A new list, while it runs: b is out.
    fs::write(
        file,
        text.replace(&format!("[parties.b]\nkey = \"{b_key}\"\n"), ""),
    )
    .unwrap();
    server.signal("HUP");
    server.event("the configuration is taken over");
    server.event("is not on the list");
    fs::write(file, "listen = 5").unwrap();
    server.signal("HUP");
    let line = server.event("is not taken over");
    assert!(line.contains("`listen`") && line.contains("line 1"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_in_the_middle_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("messages.redb");
    let store = ["--store", store.to_str().unwrap()];
    let (mut server, endpoint) = serve(&[&ANY[..], &store].concat());
    let (a, b) = (party(&endpoint, "a").await, party(&endpoint, "b").await);
    let (to_b, to_a) = (a.variable("x", "b").unwrap(), b.variable("x", "a").unwrap());
    let count = 400_u32;
    let sender = tokio::spawn(async move {
        for number in 0..count {
            let content = vec![number as u8; 20_000];
            to_b.send_with(&number, vec![content.into()]).await.unwrap();
        }
        a.close().await;
    });
    for number in 0..count {
        if number % 100 == 50 {
            server.signal("KILL");
            drop(server);
            server = serve(&[&["--listen", &*endpoint], &store[..]].concat()).0;
        }
        let (value, buffers) = within(to_a.recv_with::<u32>()).await.unwrap();
        assert_eq!(value, number);
        assert!(buffers[0][..] == vec![number as u8; 20_000]);
    }
    within(sender).await.unwrap();
    within(b.close()).await;
    server.signal("INT");
    assert_eq!(server.end().code, Some(0));
}

/// A disk of 12 MiB, of which 6 are taken by something else, for one program: needs the right to mount.
fn on_a_small_disk(folder: &Path, arguments: &[&str]) -> Option<Program> {
    let script = "mount -t tmpfs -o size=12m tmpfs \"$0\" || exit 99; \
                  head -c 6291456 /dev/zero > \"$0/ballast\"; exec \"$@\"";
    for way in [&["--mount"][..], &["--user", "--map-root-user", "--mount"]] {
        let can = Command::new("unshare")
            .args(way)
            .args(["sh", "-c", "mount -t tmpfs tmpfs /mnt"])
            .output();
        if can.is_ok_and(|output| output.status.success()) {
            let mut command = Command::new("unshare");
            command
                .args(way)
                .args(["sh", "-c", script])
                .arg(folder)
                .arg(FLEXBOND);
            return Some(Program::start(command, arguments));
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_holds_up_senders_until_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("messages.redb");
    let arguments = ["serve", "--store", store.to_str().unwrap(), "--metrics", "0"];
    let arguments = [&arguments[..], &ANY].concat();
    let Some(mut server) = on_a_small_disk(folder.path(), &arguments) else {
        println!("NOT TESTED: no right to mount a small disk");
        return;
    };
    let url = scrape::url(&mut server);
    let endpoint = place(&mut server);
    let a = party(&endpoint, "a").await;
    let to_b = a.variable("x", "b").unwrap();
    for number in 0..20_u8 {
        within(to_b.send_bytes(vec![number; 500_000])).await.unwrap();
    }
    server.event("there is no room on the device");
    let text = until_health(&url, "store full");
    assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    // What is there can be had, which makes room.
    let b = party(&endpoint, "b").await;
    let to_a = b.variable("x", "a").unwrap();
    for number in 0..20_u8 {
        assert!(within(to_a.recv_bytes()).await.unwrap() == vec![number; 500_000]);
    }
    until_health(&url, "ok");
    within(async { tokio::join!(a.close(), b.close()) }).await;
    server.signal("TERM");
    assert_eq!(server.end().code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_with_the_memory_is_said_aloud() {
    let (mut server, endpoint) = serve(&ANY);
    let a = party(&endpoint, "a").await;
    a.variable("x", "b").unwrap().send(&1).await.unwrap();
    within(a.close()).await;
    assert!(a.is_handed_over());
    server.event("job job: a has left");
    server.signal("TERM");
    let end = server.end();
    assert_eq!(end.code, Some(0), "{end:?}");
    let last = end.stderr.last().unwrap();
    let text = "lost with the memory: 1 message of a in job job (it has gone, and nobody sends them again)";
    assert!(last.contains(" warn ") && last.ends_with(text), "{last}");
}

#[test]
fn a_secret_that_others_can_read_is_told() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let [_, a_key] = ["server", "a"].map(|name| keygen(folder.path(), name));
    let file = folder.path().join("server.toml");
    let text = format!("[curve]\nsecret_file = \"server.key_secret\"\n[parties.a]\nkey = \"{a_key}\"");
    fs::write(&file, text).unwrap();
    let check = || run(&["--config", file.to_str().unwrap(), "--check-config"]);
    assert_eq!(check().stderr.len(), 0);
    let secret = folder.path().join("server.key_secret");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let end = check();
    assert_eq!(end.code, Some(0), "{end:?}");
    assert!(
        end.stderr[0].contains("others can read the secret key in"),
        "{end:?}"
    );
}

#[test]
fn errors_name_the_line_and_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.toml");
    let place = file.to_str().unwrap();
    for (text, parts) in [
        (
            "listen = \"tcp://127.0.0.1:0\"\n[parties.a]\nkey = 5",
            &["line 3", "`parties.a.key`"][..],
        ),
        ("stores = \"x\"", &["line 1", "unknown field `stores`"]),
        (
            "[curve]\nsecret_file = \"none\"\n[parties.a]\nkey = \"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7\"",
            &["`curve.secret_file`: cannot read"],
        ),
        (
            "listen = \"tcp://*:9370\"",
            &["can be reached from other machines", "insecure"],
        ),
        (
            "listen = \"udp://127.0.0.1:9370\"",
            &["`listen`: message servers have no transport for udp://127.0.0.1:9370"],
        ),
        (
            "listen = \"inproc://x\"",
            &["`listen`: nobody but this process could come by inproc://x"],
        ),
        (
            "listen = \"ipc:///nonexistent/x/y\"",
            &["`listen`: ipc:///nonexistent/x/y: there is no folder /nonexistent/x"],
        ),
        (
            "[jobs.x]\nmembers = [\"a\", \"a\"]",
            &["jobs.x.members", "a is named twice"],
        ),
        (
            "[limits]\nttl_ms = 1",
            &["`limits`", "`ttl_ms`: must be from 1 s"],
        ),
        (
            "[limits]\nmemory_bytes = 1",
            &["`limits`", "memory_bytes", "at least 1 MiB"],
        ),
    ] {
        fs::write(&file, text).unwrap();
        let end = run(&["--config", place, "--check-config"]);
        assert_eq!(end.code, Some(2), "{text}: {end:?}");
        for part in parts {
            assert!(
                end.stderr[0].contains(part),
                "{text}: {part} is not in {}",
                end.stderr[0]
            );
        }
    }
    let end = run(&["--listen", "tcp://*:0"]);
    assert_eq!(end.code, Some(2), "{end:?}");
    assert!(
        end.stderr[0].contains("nobody would have to prove who they are"),
        "{end:?}"
    );
    let end = run(&["--config", "/nowhere.toml"]);
    assert!(
        end.stderr[0].contains("cannot read the configuration /nowhere.toml"),
        "{end:?}"
    );
}

#[test]
fn the_printed_configuration_is_a_good_one() {
    let printed = run(&["--print-config"]);
    assert_eq!(printed.code, Some(0));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.toml");
    fs::write(&file, printed.stdout.join("\n")).unwrap();
    let end = run(&["--config", file.to_str().unwrap(), "--check-config"]);
    assert_eq!(end.code, Some(0), "{end:?}");
}

#[test]
fn a_port_or_store_in_use_is_told_and_lines_are_objects_for_programs() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("messages.redb");
    let store = ["--store", store.to_str().unwrap()];
    let (mut server, endpoint) = serve(&[&ANY[..], &store, &["--log-format", "json"]].concat());
    let line = server.event("\"event\":\"open\"");
    assert!(
        line.starts_with('{') && line.contains("\"level\":\"warn\""),
        "{line}"
    );
    let end = run(&["--listen", &endpoint]);
    assert_eq!(end.code, Some(1), "{end:?}");
    assert!(end.stderr[0].contains("cannot listen at"), "{end:?}");
    let end = run(&[&ANY[..], &store].concat());
    assert_eq!(end.code, Some(1), "{end:?}");
    assert!(end.stderr[0].contains("in use by another process"), "{end:?}");
    server.signal("INT");
    let end = server.end();
    assert_eq!(end.code, Some(0), "{end:?}");
    assert!(
        end.stderr.iter().any(|line| line.contains("\"event\":\"ended\"")),
        "{end:?}"
    );
}
