//! `flexbond group`: sessions of several processes on this machine.

mod program;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use program::{End, PATIENCE, Program};

/// Starts an end that holds a session; returns it and where it is.
fn hold(command: &str, arguments: &[&str]) -> (Program, String) {
    let mut holder = Program::flexbond(&[&["group", command, "udp://127.0.0.1:0"], arguments].concat());
    let line = holder.line();
    let endpoint = line.strip_prefix("session at ").expect("where it is");
    (holder, endpoint.to_owned())
}

fn join(endpoint: &str, arguments: &[&str]) -> Program {
    let mut member = Program::flexbond(&[&["group", "join", endpoint], arguments].concat());
    assert!(member.line().starts_with("in the session at"));
    member
}

fn recv(endpoint: &str, folder: &Path, name: &str) -> Program {
    let folder = folder.to_str().expect("UTF-8");
    Program::flexbond(&["group", "recv", endpoint, folder, "--name", name])
}

/// Reads lines until one that contains `text`.
#[track_caller]
fn until(program: &mut Program, text: &str) -> String {
    loop {
        let line = program.line();
        if line.contains(text) {
            return line;
        }
    }
}

#[track_caller]
fn has(lines: &[String], text: &str) {
    assert!(
        lines.iter().any(|line| line.contains(text)),
        "no {text:?} in {lines:#?}"
    );
}

#[track_caller]
fn well(end: &End) {
    assert_eq!(end.code, Some(0), "{end:#?}");
    assert!(end.stderr.is_empty(), "{end:#?}");
}

/// A group address that other runs are not likely to have.
fn multicast() -> String {
    let id = std::process::id();
    format!(
        "239.255.{}.{}:{}",
        1 + id % 250,
        1 + id / 250 % 250,
        20_000 + id % 10_000
    )
}

#[test]
fn one_and_three_pass_barriers() {
    let multicast = multicast();
    for more in [&[][..], &["--multicast", &multicast]] {
        let (coordinator, endpoint) = hold(
            "coordinate",
            &[&["--members", "3", "--barriers", "100"], more].concat(),
        );
        let members = ["ada", "bo", "cy"].map(|name| join(&endpoint, &["--name", name, "--barriers", "100"]));
        let end = coordinator.end();
        well(&end);
        for name in ["ada", "bo", "cy"] {
            has(&end.stdout, &format!("({name}), at 127.0.0.1:"));
        }
        has(&end.stdout, "barriers: 100 passed; µs: mean ");
        has(&end.stdout, ", p99 ");
        has(&end.stdout, "3 came");
        for member in members {
            // The first may pass one before the last has come to it.
            let end = member.end();
            well(&end);
            has(&end.stdout, " passed; µs: mean ");
        }
    }
}

#[test]
fn a_late_comer_takes_part_and_the_end_is_a_good_one() {
    let (mut coordinator, endpoint) = hold("coordinate", &["--barriers", "10000000"]);
    let early = join(&endpoint, &["--barriers", "10000000"]);
    until(&mut coordinator, "passing");
    let end = join(&endpoint, &["--barriers", "10"]).end();
    well(&end);
    has(&end.stdout, "barriers: 10 passed");
    coordinator.signal("INT");
    let end = early.end();
    well(&end);
    has(&end.stdout, " passed; µs: mean ");
    let end = coordinator.end();
    assert_eq!(end.code, Some(130), "{end:#?}");
    has(&end.stdout, " passed; µs: mean ");
}

#[test]
fn a_member_that_is_killed_is_named_and_the_others_go_on() {
    let (mut coordinator, endpoint) = hold(
        "coordinate",
        &["--members", "2", "--barriers", "10000000", "--dead-after", "0.8"],
    );
    let mut survivor = join(&endpoint, &["--barriers", "10000000"]);
    let victim = join(&endpoint, &["--name", "victim", "--barriers", "10000000"]);
    until(&mut coordinator, "passing");
    victim.signal("KILL");
    let lost = until(&mut coordinator, "lost at the barrier");
    assert!(lost.contains("(victim); going on without"), "{lost}");
    until(&mut survivor, "lost at the barrier");
    // They do: another one is let in at the next barrier.
    well(&join(&endpoint, &["--barriers", "5"]).end());
    coordinator.signal("INT");
    let end = coordinator.end();
    has(&end.stdout, "1 failed; µs");
    has(&end.stdout, "(1 of them dead)");
    well(&survivor.end());
}

#[test]
fn when_the_coordinator_is_killed_members_end_and_say_why() {
    let (mut coordinator, endpoint) = hold("coordinate", &["--barriers", "10000000", "--dead-after", "0.8"]);
    let passing = join(&endpoint, &["--barriers", "10000000"]);
    let watching = join(&endpoint, &[]);
    until(&mut coordinator, "passing");
    coordinator.signal("KILL");
    for member in [passing, watching] {
        let end = member.end();
        assert_eq!(end.code, Some(1), "{end:#?}");
        has(&end.stderr, "error: the coordinator is dead");
    }
}

#[test]
fn membership_is_shown_until_a_signal() {
    let (mut coordinator, endpoint) = hold("coordinate", &[]);
    let mut staying = join(&endpoint, &["--name", "staying"]);
    until(&mut coordinator, "joined: member 1 (staying), at 127.0.0.1:");
    let leaving = join(&endpoint, &["--name", "leaving"]);
    until(&mut coordinator, "joined: member 2 (leaving)");
    until(&mut staying, "joined: member 2");
    leaving.signal("TERM");
    until(&mut coordinator, "gone: member 2 (leaving), left");
    until(&mut staying, "gone: member 2");
    well(&leaving.end());
    coordinator.signal("INT");
    let end = coordinator.end();
    well(&end);
    has(&end.stdout, "2 came, 1 went");
    let end = staying.end();
    well(&end);
    has(&end.stdout, "the coordinator has ended the session");
}

#[test]
fn who_cannot_join_is_told_what_to_do() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("udp://{}", silent.local_addr().expect("an address"));
    let end = Program::flexbond(&["group", "join", &endpoint, "--timeout", "0.2"]).end();
    assert_eq!(end.code, Some(1), "{end:#?}");
    has(
        &end.stderr,
        &format!("nobody answers at {endpoint} within 0.2 s (start the other side"),
    );

    let (_full, endpoint) = hold("coordinate", &["--max-members", "1"]);
    let _first = join(&endpoint, &[]);
    let end = Program::flexbond(&["group", "join", &endpoint, "--timeout", "5"]).end();
    assert_eq!(end.code, Some(1), "{end:#?}");
    has(&end.stderr, "does not admit this member");

    let (_no_barriers, endpoint) = hold("coordinate", &[]);
    let end = join(&endpoint, &["--barriers", "5", "--timeout", "0.3"]).end();
    assert_eq!(end.code, Some(1), "{end:#?}");
    has(&end.stderr, "the coordinator has to be started with --barriers");

    let end = Program::flexbond(&["group", "coordinate", "udp://127.0.0.1:0", "--spin", "1"]).end();
    assert_eq!(end.code, Some(2), "{end:#?}");
}

/// Bytes that differ from place to place.
fn bytes(count: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..count).map(|_| next()).collect()
}

#[track_caller]
fn same(one: &Path, other: &Path) {
    let metadata = |path: &Path| {
        let found = fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (
            found.is_dir(),
            found.mode() & 0o7777,
            found.mtime(),
            found.mtime_nsec(),
        )
    };
    assert_eq!(metadata(one), metadata(other), "{}", other.display());
    if one.is_file() {
        assert!(
            fs::read(one).unwrap() == fs::read(other).unwrap(),
            "{}",
            other.display()
        );
        return;
    }
    let names = |path: &Path| {
        let mut names: Vec<_> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(one), names(other));
    for name in names(one) {
        same(&one.join(&name), &other.join(&name));
    }
}

#[test]
fn a_folder_goes_to_three_receivers_and_once_only() {
    let place = tempfile::tempdir().unwrap();
    let top = place.path().join("top");
    fs::create_dir_all(top.join("nested/deeper/empty")).unwrap();
    fs::create_dir_all(top.join("ü und 日本")).unwrap();
    fs::write(top.join("empty"), "").unwrap();
    fs::write(top.join("nested/one"), "x").unwrap();
    fs::write(top.join("nested/deeper/five"), bytes(5 << 20)).unwrap();
    fs::write(top.join("ü und 日本/naïve 🙂.txt"), "text\n").unwrap();
    fs::set_permissions(top.join("nested/one"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::set_permissions(top.join("nested/deeper"), fs::Permissions::from_mode(0o555)).unwrap();
    let old = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_000_000_000_000_000_123);
    let file = fs::File::options()
        .write(true)
        .open(top.join("nested/one"))
        .unwrap();
    file.set_modified(old).unwrap();

    let multicast = multicast();
    let total = "4 files, 5,242,886 bytes";
    for (moved, more) in [
        ("", &["--multicast", &multicast][..]),
        (" (0 of them moved)", &[]),
    ] {
        let arguments = [&[top.to_str().unwrap(), "--receivers", "3"], more].concat();
        let (sender, endpoint) = hold("send", &arguments);
        let folders = ["a", "b", "c"].map(|name| place.path().join(name));
        let receivers = ["a", "b", "c"].map(|name| recv(&endpoint, &place.path().join(name), name));
        for receiver in receivers {
            let end = receiver.end();
            well(&end);
            has(&end.stdout, &format!("received {total}{moved} in "));
        }
        let end = sender.end();
        well(&end);
        for name in ["a", "b", "c"] {
            has(&end.stdout, &format!("({name}): complete"));
        }
        has(&end.stdout, &format!("{total}{moved} in "));
        has(&end.stdout, "3 of 3 receivers have everything");
        for folder in &folders {
            same(&top, &folder.join("top"));
        }
    }
    for folder in ["top", "a/top", "b/top", "c/top"] {
        let locked = place.path().join(folder).join("nested/deeper");
        fs::set_permissions(locked, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn a_receiver_that_is_killed_goes_on_where_it_was() {
    const SIZE: usize = 32 << 20;
    let place = tempfile::tempdir().unwrap();
    let whole = place.path().join("file");
    fs::write(&whole, bytes(SIZE)).unwrap();
    let arguments = [whole.to_str().unwrap(), "--receivers", "2", "--dead-after", "0.8"];
    let (victims, others) = (place.path().join("victims"), place.path().join("others"));

    let (sender, endpoint) = hold("send", &arguments);
    let victim = recv(&endpoint, &victims, "victim");
    let other = recv(&endpoint, &others, "other");
    let part = victims.join(".file.flexbond-part");
    let deadline = Instant::now() + PATIENCE;
    while fs::metadata(&part).map_or(0, |found| found.len()) == 0 {
        assert!(Instant::now() < deadline, "nothing comes");
        std::thread::yield_now();
    }
    victim.signal("KILL");
    drop(victim);
    let there = fs::metadata(&part).expect("it was killed in the middle").len();
    assert!((1..SIZE as u64).contains(&there), "{there}");
    well(&other.end());
    same(&whole, &others.join("file"));
    let end = sender.end();
    assert_eq!(end.code, Some(1), "{end:#?}");
    has(&end.stdout, "(victim): failed: it died");
    has(&end.stdout, "(other): complete");
    has(&end.stderr, "1 of 2 receivers have not got everything");

    let (sender, endpoint) = hold("send", &arguments);
    let again = [
        recv(&endpoint, &victims, "victim"),
        recv(&endpoint, &others, "other"),
    ];
    for receiver in again {
        well(&receiver.end());
    }
    let end = sender.end();
    well(&end);
    let rest = SIZE as u64 - there;
    let digits: String = rest.to_string();
    let moved = end
        .stdout
        .iter()
        .find_map(|line| line.split_once(" bytes (")?.1.split_once(" of them"));
    assert_eq!(
        moved.map(|(number, _)| number.replace(',', "")),
        Some(digits),
        "{end:#?}"
    );
    same(&whole, &victims.join("file"));
    assert!(!part.exists());
}

#[test]
fn senders_and_receivers_say_what_is_wrong() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    fs::write(&file, "text").unwrap();
    let file = file.to_str().unwrap();

    let (sender, _) = hold("send", &[file, "--receivers", "1", "--timeout", "0.2"]);
    let end = sender.end();
    assert_eq!(end.code, Some(3), "{end:#?}");
    has(&end.stderr, "0 of 1 receivers are there after 0.2 s");

    let end = Program::flexbond(&[
        "group",
        "send",
        "udp://127.0.0.1:0",
        "/no/such/file",
        "--receivers",
        "1",
    ])
    .end();
    assert_eq!(end.code, Some(1), "{end:#?}");
    has(&end.stderr, "cannot read /no/such/file");

    // A file cannot be received into a file; nobody is asked then.
    let end = Program::flexbond(&["group", "recv", "udp://127.0.0.1:9", file]).end();
    assert_eq!(end.code, Some(1), "{end:#?}");
    has(&end.stderr, "cannot write to");

    // What cannot be put where it belongs is told at both ends.
    let (sender, endpoint) = hold("send", &[file, "--receivers", "1"]);
    let folder = place.path().join("folder");
    fs::create_dir_all(folder.join("file/in the way")).unwrap();
    let end = recv(&endpoint, &folder, "blocked").end();
    assert_eq!(end.code, Some(1), "{end:#?}");
    has(&end.stderr, "flexbond: file: ");
    let end = sender.end();
    assert_eq!(end.code, Some(1), "{end:#?}");
    has(&end.stdout, "(blocked): failed: 1 of 1; file: ");

    // Not the other side of it.
    let (_coordinator, endpoint) = hold("coordinate", &[]);
    let mut receiver = Program::flexbond(&[
        "group",
        "recv",
        &endpoint,
        folder.to_str().unwrap(),
        "--timeout",
        "0.3",
    ]);
    receiver.line();
    let end = receiver.end();
    assert_eq!(end.code, Some(1), "{end:#?}");
    has(&end.stderr, "the other side has to be `flexbond group send`");
}

#[test]
fn only_who_has_the_key_gets_the_files() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).to_str().expect("UTF-8").to_owned();
    for (name, text) in [
        ("file", "text"),
        ("key", "a key for this test\n"),
        ("wrong", "another key here"),
    ] {
        fs::write(path(name), text).unwrap();
        // Of a key that others can read, it would be said so.
        fs::set_permissions(path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let (sender, endpoint) = hold(
        "send",
        &[&path("file"), "--receivers", "1", "--key-file", &path("key")],
    );
    let (out, wrong) = (path("out"), path("wrong"));
    for more in [&[][..], &["--key-file", &wrong]] {
        let arguments = [&["group", "recv", &endpoint, &out], more].concat();
        let end = Program::flexbond(&arguments).end();
        assert_eq!(end.code, Some(1), "{end:#?}");
        has(&end.stderr, "give both sides the same --key-file");
    }
    well(
        &Program::flexbond(&[
            "group",
            "recv",
            &endpoint,
            &path("out"),
            "--key-file",
            &path("key"),
        ])
        .end(),
    );
    well(&sender.end());
    same(&place.path().join("file"), &place.path().join("out/file"));
}

#[test]
fn what_has_taken_the_place_of_a_file_is_not_sent() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::create_dir(path("top")).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for name in ["top/good", "top/link", "top/pipe", "secret"] {
        fs::write(path(name), format!("{:>6}", &name[name.len() - 4..])).unwrap();
        let file = fs::File::options().write(true).open(path(name)).unwrap();
        file.set_modified(time).unwrap();
    }
    let named = path("named");
    fs::hard_link(path("top/good"), path("other")).unwrap();
    std::os::unix::fs::symlink(path("other"), &named).unwrap();
    let top = path("top");
    let (sender, endpoint) = hold(
        "send",
        &[top.to_str().unwrap(), named.to_str().unwrap(), "--receivers", "1"],
    );
    // All has been listed. The link leads to a file of the same size and time.
    for name in ["top/link", "top/pipe"] {
        fs::remove_file(path(name)).unwrap();
    }
    std::os::unix::fs::symlink(path("secret"), path("top/link")).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(path("top/pipe"))
        .status();
    assert!(made.unwrap().success());
    let end = recv(&endpoint, &path("out"), "a").end();
    assert_eq!(end.code, Some(1), "{end:#?}");
    has(&end.stderr, "2 of 5 files and folders failed");
    let end = sender.end();
    assert_eq!(end.code, Some(1), "{end:#?}");
    for name in ["link", "pipe"] {
        has(
            &end.stderr,
            &format!("top/{name}: it has changed since it was listed"),
        );
        assert!(!path("out/top").join(name).exists());
    }
    assert_eq!(fs::read(path("out/top/good")).unwrap(), b"  good");
    assert_eq!(
        fs::read(path("out/named")).unwrap(),
        b"  good",
        "who names a link means its file"
    );
}

#[test]
fn a_key_that_does_not_come_can_be_given_up() {
    let place = tempfile::tempdir().unwrap();
    let pipe = place.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let key = ["--key-file", pipe.to_str().unwrap()];
    let (file, out) = (place.path().join("file"), place.path().join("out"));
    fs::write(&file, "text").unwrap();
    for command in [
        &["coordinate", "udp://127.0.0.1:0"][..],
        &["join", "udp://127.0.0.1:9"],
        &[
            "send",
            "udp://127.0.0.1:0",
            file.to_str().unwrap(),
            "--receivers",
            "1",
        ],
        &["recv", "udp://127.0.0.1:9", out.to_str().unwrap()],
    ] {
        let program = Program::flexbond(&[&["group"], command, &key].concat());
        let _writer = writer_of(&pipe);
        // Not INT: who starts the tests in the background of a shell has all programs ignore it until they look for it.
        program.signal("TERM");
        let end = program.end();
        assert_eq!(end.code, None, "{command:?}: {end:#?}");
    }
}

/// The writing end of a named pipe, once somebody reads at the other.
fn writer_of(pipe: &Path) -> fs::File {
    use std::os::unix::fs::OpenOptionsExt;

    let deadline = Instant::now() + PATIENCE;
    loop {
        // Otherwise this would wait for as long as nobody reads (`open(2)`, ENXIO).
        let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        match fs::File::options().write(true).custom_flags(flags).open(pipe) {
            Ok(writer) => return writer,
            Err(error) => assert!(Instant::now() < deadline, "nobody reads: {error}"),
        }
        std::thread::yield_now();
    }
}

/// A pipe that takes nothing more until somebody reads.
fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    use std::io::Write;

    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let flags = rustix::fs::fcntl_getfl(&writer).expect("its flags");
    rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).expect("set");
    while writer.write(&[b'\n'; 4096]).is_ok() {}
    rustix::fs::fcntl_setfl(&writer, flags).expect("set back");
    (reader, writer)
}

#[test]
fn nobody_is_kept_waiting_by_who_does_not_read() {
    let place = tempfile::tempdir().unwrap();
    let endpoint = format!("ipc://{}", place.path().join("session").display());
    let (reader, writer) = full_pipe();
    let arguments = ["group", "coordinate", &endpoint, "--barriers", "10000000"];
    let coordinator = Program::printing_to(writer, &arguments);
    let staying = join(&endpoint, &["--barriers", "10000000"]);
    // More lines than any buffer of a few holds: who comes, and who goes.
    for _ in 0..4 {
        well(&join(&endpoint, &["--barriers", "5"]).end());
    }
    coordinator.signal("INT");
    well(&staying.end());
    let end = coordinator.reading(reader).end();
    assert_eq!(end.code, Some(130));
    let lines = end.stdout;
    has(&lines, "session at ipc://");
    has(&lines, "5 came");
}
