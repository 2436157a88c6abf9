//! `flexbond socket` over tls, with the certificates of files.

mod certificates;
mod program;

use std::fs;

use certificates::Authority;
use program::{Program, Side};

/// A folder with `ca.pem` and, for both ends, a certificate and a key.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    for (name, of) in [("server", "127.0.0.1"), ("client", "client.example")] {
        let (chain, key) = authority.issue(&[of]);
        fs::write(folder.path().join(format!("{name}.pem")), chain).unwrap();
        let path = folder.path().join(format!("{name}.key"));
        fs::write(&path, key).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
    folder
}

fn start(folder: &tempfile::TempDir, arguments: &[&str]) -> Program {
    let in_folder = |argument: &&str| {
        let path = folder.path().join(argument);
        match path.is_file() {
            true => path.display().to_string(),
            false => argument.to_string(),
        }
    };
    let arguments: Vec<String> = arguments.iter().map(in_folder).collect();
    Program::socket(Side::Ours, &arguments)
}

#[rustfmt::skip]
const SERVER: [&str; 10] = [
    "REP", "--bind", "tls://127.0.0.1:0", "--print-endpoint", "--echo", "--monitor",
    "--tls-cert", "server.pem", "--tls-key", "server.key",
];

#[test]
fn a_question_is_answered() {
    let folder = folder();
    let mut server = start(&folder, &[&SERVER[..], &["--recv", "1"]].concat());
    let endpoint = server.line();
    assert!(endpoint.starts_with("tls://127.0.0.1:"), "{endpoint}");
    let mut client = start(&folder, &["REQ", "--connect", &endpoint, "--tls-ca", "ca.pem"]);
    client.write(r#"["hello"]"#);
    assert_eq!(client.line(), r#"["hello"]"#);
    client.done();
    assert_eq!(server.end().code, Some(0));
}

#[test]
fn an_authority_at_the_bound_end_asks_for_certificates() {
    let folder = folder();
    let mut server = start(
        &folder,
        &[&SERVER[..], &["--recv", "1", "--tls-ca", "ca.pem"]].concat(),
    );
    let endpoint = server.line();
    let to_server = ["REQ", "--connect", &endpoint, "--tls-ca", "ca.pem"];
    let mut stranger = start(
        &folder,
        &[&to_server[..], &["--monitor", "--timeout", "20"]].concat(),
    );
    stranger.event("requires a certificate");
    server.event("showed no certificate");
    let own = ["--tls-cert", "client.pem", "--tls-key", "client.key"];
    let mut client = start(&folder, &[&to_server[..], &own].concat());
    client.write(r#"["hello"]"#);
    assert_eq!(client.line(), r#"["hello"]"#);
    client.done();
    assert_eq!(server.end().code, Some(0));
}

#[test]
fn only_the_named_are_let_in() {
    let folder = folder();
    let listed = [
        "--recv",
        "1",
        "--tls-ca",
        "ca.pem",
        "--tls-allow",
        "DNS:Client.example",
    ];
    let mut server = start(&folder, &[&SERVER[..], &listed].concat());
    let endpoint = server.line();
    let to_server = ["REQ", "--connect", &endpoint, "--tls-ca", "ca.pem"];
    let as_other = ["--tls-cert", "server.pem", "--tls-key", "server.key"];
    let mut other = start(
        &folder,
        &[&to_server[..], &as_other, &["--monitor", "--timeout", "20"]].concat(),
    );
    other.event("400");
    server.event("127.0.0.1");
    let own = ["--tls-cert", "client.pem", "--tls-key", "client.key"];
    let mut client = start(&folder, &[&to_server[..], &own].concat());
    client.write(r#"["hello"]"#);
    assert_eq!(client.line(), r#"["hello"]"#);
    client.done();
    assert_eq!(server.end().code, Some(0));
}

#[test]
fn what_would_not_do_is_refused() {
    let folder = folder();
    for (arguments, code, said) in [
        (&["REP", "--bind", "tls://127.0.0.1:0"][..], 2, "--tls-cert"),
        (
            &["REP", "--bind", "tcp://127.0.0.1:0", "--tls-ca", "ca.pem"],
            2,
            "tls://",
        ),
        (
            &[
                "REP",
                "--bind",
                "tls://127.0.0.1:0",
                "--tls-cert",
                "server.pem",
                "--tls-key",
                "client.key",
            ],
            1,
            "server.pem",
        ),
        (
            &["REQ", "--connect", "tls://127.0.0.1:5", "--tls-ca", "server.key"],
            1,
            "no certificate",
        ),
        (
            &[
                "REQ",
                "--connect",
                "tls://127.0.0.1:5",
                "--tls-ca",
                "ca.pem",
                "--tls-allow",
                "node",
            ],
            2,
            "DNS:",
        ),
    ] {
        let end = start(&folder, arguments).end();
        assert_eq!(end.code, Some(code), "{arguments:?}: {end:?}");
        assert!(end.stderr.join("\n").contains(said), "{arguments:?}: {end:?}");
    }
}
