//! `flexbond keygen`, and sockets that use what it makes.

mod program;

use std::fs::{self, Permissions};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use program::{End, Program};

fn run(arguments: &[&str]) -> End {
    Program::flexbond(arguments).end()
}

/// Makes keys in `folder`; the public one.
fn keygen(folder: &Path, name: &str) -> String {
    let end = run(&["keygen", folder.join(name).to_str().expect("text")]);
    assert_eq!(end.code, Some(0), "{end:?}");
    assert_eq!(end.stdout.len(), 1, "{end:?}");
    end.stdout[0].clone()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn keys_are_made_once_and_the_secret_one_is_for_its_owner_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let public = keygen(folder.path(), "server");
    let [public_file, secret_file] = ["server.key", "server.key_secret"].map(|name| folder.path().join(name));
    assert_eq!(mode(&secret_file), 0o600);
    assert_eq!(public.len(), 40);
    let text = fs::read_to_string(&public_file).expect("written");
    assert!(text.contains(&format!("public-key = \"{public}\"")), "{text}");
    assert!(!text.contains("secret-key"));
    let secret = fs::read_to_string(&secret_file).expect("written");
    assert!(secret.contains(&public) && secret.contains("secret-key = \""));

    // Again, also by the name of the file: nothing is replaced.
    for name in ["server", "server.key", "server.key_secret"] {
        let again = run(&["keygen", folder.path().join(name).to_str().expect("text")]);
        assert_eq!(again.code, Some(1), "{again:?}");
        assert!(again.stderr[0].contains("server.key_secret"), "{again:?}");
    }
    assert_eq!(fs::read_to_string(&secret_file).expect("still there"), secret);
    // Half of a pair is not made.
    fs::write(folder.path().join("half.key"), "taken").expect("written");
    let half = run(&["keygen", folder.path().join("half").to_str().expect("text")]);
    assert_eq!(half.code, Some(1), "{half:?}");
    assert!(!folder.path().join("half.key_secret").exists());
    // A folder is no name for files.
    for name in ["/", "..", ""] {
        let none = run(&[
            "keygen",
            &format!("{}{name}", folder.path().join("folder/").display()),
        ]);
        assert_eq!(none.code, Some(2), "{none:?}");
        assert!(none.stderr[0].contains("a folder"), "{none:?}");
    }
}

#[test]
fn a_comment_may_be_in_any_encoding() {
    let folder = tempfile::tempdir().expect("a folder");
    keygen(folder.path(), "server");
    let path = folder.path().join("server.key_secret");
    let mut text = fs::read(&path).expect("written");
    text.extend_from_slice(b"# Andr\xe9\n");
    fs::write(&path, text).expect("written");
    let file = path.to_str().expect("text");
    let mut rep = Program::flexbond(&[
        "socket",
        "REP",
        "--bind",
        "tcp://127.0.0.1:0",
        "--print-endpoint",
        "--curve-server",
        "--curve-secret",
        file,
    ]);
    assert!(rep.line().starts_with("tcp://"));
}

#[test]
fn sockets_talk_with_keys_and_strangers_are_kept_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = keygen(folder.path(), "server");
    let ada = keygen(folder.path(), "ada");
    let file = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let mut pull = Program::flexbond(&[
        "socket",
        "PULL",
        "--bind",
        "tcp://127.0.0.1:0",
        "--print-endpoint",
        "--monitor",
        "--recv",
        "1",
        "--curve-server",
        "--curve-secret",
        &file("server.key_secret"),
        "--curve-allow",
        &ada,
    ]);
    let endpoint = pull.line();
    let push = |more: &[&str]| {
        let arguments = ["socket", "PUSH", "--connect", &endpoint, "--timeout", "0.5"];
        let mut push = Program::flexbond(&[&arguments[..], more].concat());
        push.write(r#"["sealed"]"#);
        push.end().code
    };
    assert_eq!(push(&[]), Some(3), "nothing is delivered in clear");
    pull.event("mechanism mismatch");
    assert_eq!(push(&["--curve-server-key", &server]), Some(3), "a stranger");
    pull.event("is not on the list");
    let secret = file("ada.key_secret");
    assert_eq!(
        push(&["--curve-server-key", &ada, "--curve-secret", &secret]),
        Some(3),
        "a wrong key"
    );
    pull.event("not authentic");
    assert_eq!(
        push(&["--curve-server-key", &server, "--curve-secret", &secret]),
        Some(0)
    );
    assert_eq!(pull.line(), r#"["sealed"]"#);
    assert_eq!(pull.end().code, Some(0));
}

#[test]
fn silent_strangers_leave_a_descriptor_for_who_speaks() {
    let mut command = Command::new("sh");
    command.args(["-c", r#"ulimit -n 40; exec "$0" "$@""#]);
    let arguments = [
        "socket",
        "PULL",
        "--bind",
        "tcp://127.0.0.1:0",
        "--print-endpoint",
        "--recv",
        "1",
    ];
    let arguments = [&[env!("CARGO_BIN_EXE_flexbond")], &arguments[..]].concat();
    let mut pull = Program::start(command, &arguments);
    let endpoint = pull.line();
    let address = endpoint.strip_prefix("tcp://").expect("an address");
    let silent: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(address).expect("room in the backlog"))
        .collect();
    let mut push = Program::flexbond(&["socket", "PUSH", "--connect", &endpoint, "--timeout", "30"]);
    push.write(r#"["here"]"#);
    // A silent handshake lasts 30 s, unless it has to make room.
    assert_eq!(
        pull.line_within(Duration::from_secs(15)).as_deref(),
        Some(r#"["here"]"#)
    );
    assert_eq!((pull.end().code, push.end().code), (Some(0), Some(0)));
    drop(silent);
}

#[test]
fn options_that_do_not_fit_are_refused_and_secrets_that_others_can_read_are_noted() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = keygen(folder.path(), "server");
    let file = folder.path().join("server.key_secret");
    let secret = file.to_str().expect("text").to_owned();
    let public = folder
        .path()
        .join("server.key")
        .to_str()
        .expect("text")
        .to_owned();
    fs::set_permissions(&public, Permissions::from_mode(0o600)).expect("ours");
    let bind = ["socket", "PULL", "--bind", "tcp://127.0.0.1:0"];
    for (more, code, text) in [
        (&["--curve-secret", &secret][..], 2, "--curve-server"),
        (&["--curve-server"], 2, "--curve-secret"),
        (
            &["--curve-server", "--curve-secret", &public],
            2,
            "only a public key",
        ),
        (&["--curve-server-key", "short"], 2, "40 characters"),
        (
            &[
                "--curve-server",
                "--curve-secret",
                &secret,
                "--curve-server-key",
                &server,
            ],
            2,
            "cannot be used with",
        ),
        (&["--curve-server", "--curve-secret", "/nowhere"], 1, "/nowhere"),
    ] {
        let end = run(&[&bind[..], more].concat());
        assert_eq!(end.code, Some(code), "{more:?}: {end:?}");
        assert!(end.stderr.join("\n").contains(text), "{more:?}: {end:?}");
    }
    // One key in 85 begins with what looks like an option.
    let hyphen = "-6w{g]U$bC=R*:znL1bC*8qh1s*=8qJ:a=qaxDsa";
    let connect = [
        "socket",
        "PULL",
        "--connect",
        "tcp://127.0.0.1:9",
        "--timeout",
        "0.1",
    ];
    for more in [
        &["--curve-server-key", hyphen][..],
        &[
            "--curve-server",
            "--curve-secret",
            &secret,
            "--curve-allow",
            hyphen,
        ],
    ] {
        let end = run(&[&connect[..], more].concat());
        assert_eq!(end.code, Some(3), "{more:?}: {end:?}");
    }
    fs::set_permissions(&file, Permissions::from_mode(0o640)).expect("ours");
    let server = ["--curve-server", "--curve-secret", &secret, "--timeout", "0.1"];
    let end = run(&[&bind[..], &server].concat());
    assert_eq!(end.code, Some(3), "it is used: {end:?}");
    assert!(end.stderr[0].contains("chmod 600"), "{end:?}");
    for mode in [0o620, 0o602] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).expect("ours");
        let end = run(&[&bind[..], &server].concat());
        assert_eq!(end.code, Some(2), "the key in it may be another's: {end:?}");
        assert!(end.stderr[0].contains("can write"), "{end:?}");
    }
}

#[test]
fn passwords_go_to_other_machines_only_when_told() {
    let plain = ["--username", "ada", "--password", "secret"];
    let bind = ["socket", "PULL", "--bind", "tcp://*:0", "--plain-server"];
    let end = run(&[&bind[..], &plain].concat());
    assert_eq!(end.code, Some(2), "{end:?}");
    assert!(end.stderr[0].contains("--plain-anywhere"), "{end:?}");
    let mut pull =
        Program::flexbond(&[&bind[..], &plain, &["--plain-anywhere", "--print-endpoint"]].concat());
    assert!(pull.line().starts_with("tcp://"));
    pull.signal("INT");
    assert_eq!(pull.end().code, Some(130));
}
