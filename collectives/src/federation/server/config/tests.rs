//! Configurations of a message server.

use super::*;

const KEYS: [&str; 2] = [
    "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7",
    "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID",
];

fn error(text: &str) -> String {
    let config = ServerConfig::from_toml(text);
    let error = config.and_then(|config| config.validate()).unwrap_err();
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

#[test]
fn the_example_is_the_defaults_and_has_every_key() {
    let config = ServerConfig::from_toml(ServerConfig::EXAMPLE).unwrap();
    assert_eq!(config, ServerConfig::default());
    config.validate().unwrap();
    // What it comments out is right, too.
    let whole: String = ServerConfig::EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let whole = whole.replace(
        "tcp://127.0.0.1:9370\"]",
        "tcp://127.0.0.1:9370\", \"tls://127.0.0.1:9371\"]",
    );
    let config = ServerConfig::from_toml(&whole).unwrap();
    config.validate().unwrap();
    assert!(config.curve.is_some() && config.tls.is_some() && config.store.is_some());
    assert_eq!(
        (config.parties.len(), config.jobs.len(), config.servers.len()),
        (1, 1, 1)
    );
    assert_eq!(config.limits, RelayLimits::default());
    let limits = serde_json::to_value(RelayLimits::default()).unwrap();
    for key in limits.as_object().unwrap().keys() {
        let lines = ServerConfig::EXAMPLE
            .lines()
            .map(|line| line.trim_start_matches(['#', ' ']));
        assert!(
            lines
                .into_iter()
                .any(|line| line.starts_with(&format!("{key} = "))),
            "{key} is missing"
        );
    }
}

#[test]
fn nobody_is_two() {
    let print = "ab".repeat(32);
    let start = "listen = 'tls://127.0.0.1:0'\n[tls]\nauthorities='a'\ncertificate='c'\nprivate_key='k'\n";
    for (one, two) in [
        ("DNS:bank.example".to_owned(), "DNS:Bank.Example.".to_owned()),
        (
            format!("SHA256:{print}"),
            format!("SHA256:{}", print.to_uppercase()),
        ),
        ("IP:::1".to_owned(), "IP:0:0:0:0:0:0:0:1".to_owned()),
    ] {
        let text =
            format!("{start}[parties.a]\ncertificates = '{one}'\n[parties.b]\ncertificates = '{two}'\n");
        let error = error(&text);
        assert!(
            cfg!(not(feature = "tls")) || error.contains("is also that of parties.a"),
            "{error}"
        );
    }
    let error = error("[servers.north]\nparties = [\"hub\"]\n[servers.hub]\nparties = [\"b\"]");
    assert_eq!(error, "`servers.hub`: a party has this name, too; rename one");
}

#[test]
fn errors_name_the_key_and_the_line() {
    for (text, parts) in [
        (
            "listen = 5",
            vec!["line 1", "`listen`", "an endpoint, or a list of them"],
        ),
        ("\nlisten = \"tcp:/x\"", vec!["line 2", "`listen`", "tcp:/x"]),
        (
            "open_jobs = true\nlistens = []",
            vec!["line 2", "unknown field `listens`"],
        ),
        (
            "[parties.a]\nkey = \"short\"",
            vec!["line 2", "`parties.a.key`", "5"],
        ),
        (
            "[jobs.j]\nmember = []",
            vec!["line 2", "jobs.j", "unknown field `member`"],
        ),
        (
            "[jobs.j]\nmembers = [\"a\", \"b\", \"a\"]",
            vec!["line 2", "jobs.j.members", "a is named twice"],
        ),
        ("[limits]\nx = 1", vec!["line 2", "unknown field `x`"]),
        ("listen = [", vec!["line 1"]),
    ] {
        let error = error(text);
        for part in parts {
            assert!(error.contains(part), "{text}: {part} is not in {error}");
        }
    }
    let json = ServerConfig::from_json("{\n\"cache_bytes\": -1}")
        .unwrap_err()
        .to_string();
    assert!(
        json.contains("`cache_bytes`") && json.contains("line 2"),
        "{json}"
    );
    assert!(ServerConfig::from_json("{} x").is_err());
    let json = ServerConfig::from_json("{\"listen\": \"tcp://127.0.0.1:0\",}")
        .unwrap_err()
        .to_string();
    assert_eq!(
        json,
        "the configuration (JSON) is wrong: trailing comma at line 1 column 32"
    );
    let toml = ServerConfig::from_toml("[limits]\nmemory_bytes = -1")
        .unwrap_err()
        .to_string();
    assert!(
        !toml.contains('\n') && toml.contains("at `limits.memory_bytes`: line 2, column 16: invalid value"),
        "{toml}"
    );
}

#[test]
fn entries_that_do_not_go_together_are_refused() {
    let curve = "[curve]\nsecret_file = \"s\"\n";
    for (text, part) in [
        ("listen = []".to_owned(), "`listen`: a server listens somewhere"),
        ("listen = \"tcp://*:9370\"".to_owned(), "can be reached from other machines"),
        ("listen = \"tls://127.0.0.1:1\"".to_owned(), "needs a certificate: give `tls`"),
        ("[tls]".to_owned(), "`tls`: no endpoint of `listen`"),
        (
            "listen = \"udp://127.0.0.1:9370\"".to_owned(),
            "`listen`: message servers have no transport for udp://127.0.0.1:9370; give one at tcp://, tls:// or ipc://",
        ),
        ("listen = \"http://127.0.0.1:9370\"\ninsecure = true".to_owned(), "`listen`: message servers have no transport"),
        (
            "listen = [\"ipc:///tmp/x\", \"tcp://127.0.0.1:1\", \"ipc:///tmp/x\"]".to_owned(),
            "`listen`: ipc:///tmp/x is there twice",
        ),
        (
            "[servers.n]\nconnect = \"udp://127.0.0.1:1\"\nparties = []".to_owned(),
            "`servers.n.connect`: message servers have no transport",
        ),
        (
            "[servers.n]\nconnect = \"tcp://127.0.0.1:9370\"\nparties = []".to_owned(),
            "`servers.n.connect`: at tcp://127.0.0.1:9370 this server itself listens",
        ),
        (
            "listen = \"tcp://*:1\"\ninsecure = true\n[servers.n]\nconnect = \"tcp://localhost:1\"\nparties = []".to_owned(),
            "this server itself listens",
        ),
        ("[limits]\nttl_ms = 1".to_owned(), "`ttl_ms`: must be from 1 s to 10 years"),
        (format!("[parties.a]\nkey = \"{}\"", KEYS[0]), "`parties.a.key`: the server has no key"),
        (curve.to_owned(), "`parties`: nobody could come"),
        (
            format!("{curve}[parties.a]\nkey = \"{0}\"\n[parties.b]\nkey = \"{0}\"", KEYS[0]),
            "is also that of parties.a",
        ),
        (
            "[parties.a]\n[servers.a]\nconnect = \"tcp://x:1\"\nparties = []".to_owned(),
            "a party has this name, too",
        ),
        (
            "[servers.s]\nconnect = \"tcp://x:1\"\nparties = [\"p\"]\n[servers.t]\nconnect = \"tcp://x:1\"\nparties = [\"p\"]"
                .to_owned(),
            "p is with s and with t",
        ),
        ("[jobs.j]\nmembers = []".to_owned(), "`jobs.j.members`: a job has at least one party"),
        ("cache_bytes = 1".to_owned(), "`cache_bytes`: must be at least 1 MiB"),
    ] {
        let error = error(&text);
        assert!(error.contains(part), "{text}: {error}");
    }
    let open = "listen = [\"tcp://127.0.0.1:1\", \"ipc:///tmp/x\", \"tcp://[::1]:1\", \"tcp://[::1]:0\", \"tcp://[::1]:0\"]";
    ServerConfig::from_toml(open).unwrap().validate().unwrap();
    let meant = "listen = \"tcp://*:9370\"\ninsecure = true";
    ServerConfig::from_toml(meant).unwrap().validate().unwrap();
    let known = format!(
        "listen = \"tcp://*:9370\"\n{curve}[parties.a]\nkey = \"{}\"",
        KEYS[0]
    );
    ServerConfig::from_toml(&known).unwrap().validate().unwrap();
}

#[test]
fn paths_count_from_the_folder_of_the_file() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("server.toml");
    fs::write(&path, "store = \"m.redb\"\n[curve]\nsecret_file = \"/etc/s\"").unwrap();
    let config = ServerConfig::from_file(&path).unwrap();
    assert_eq!(config.store, Some(folder.path().join("m.redb")));
    assert_eq!(config.curve, Some(ServerKeys::new("/etc/s")));
    let other = folder.path().join("server.conf");
    fs::write(&other, "").unwrap();
    assert!(matches!(
        ServerConfig::from_file(&other),
        Err(ServerConfigError::Format { .. })
    ));
    assert!(matches!(
        ServerConfig::from_file(folder.path().join("none.toml")),
        Err(ServerConfigError::Read { .. })
    ));
}

#[test]
fn localhost_is_this_machine() {
    let config = ServerConfig::from_toml("listen = 'tcp://LocalHost:9370'").unwrap();
    config.validate().unwrap();
}

#[cfg(all(feature = "curve", feature = "tls"))]
#[test]
fn a_party_that_can_never_come_is_found() {
    let text = "
        listen = 'tls://127.0.0.1:0'
        [curve]
        secret_file = 's'
        [tls]
        authorities = 'a'
        certificate = 'c'
        private_key = 'k'
        [parties.a]
        certificates = 'DNS:a'
    ";
    assert_eq!(
        ServerConfig::from_toml(text)
            .unwrap()
            .validate()
            .unwrap_err()
            .to_string(),
        "`parties.a.certificates`: with `curve`, all come by their keys: give it a `key`, or leave out `curve`"
    );
}
