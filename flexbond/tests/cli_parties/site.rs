//! A folder with the configurations and keys of servers and parties, and the programs that have them.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{End, Program};

/// Times that are short enough for tests, of servers and parties alike.
const TIMES: &str = "heartbeat_ms = 100\ndead_after_ms = 600\nretry_ms = 100\n";

pub(crate) struct Site {
    folder: TempDir,
}

/// A running server.
pub(crate) struct Running {
    pub(crate) program: Program,
    pub(crate) endpoint: String,
    file: String,
}

/// A party's configuration.
#[derive(Clone)]
pub(crate) struct Party {
    pub(crate) file: String,
}

impl Site {
    pub(crate) fn new() -> Self {
        Site {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        path.to_str().unwrap().to_owned()
    }

    /// Makes keys; the public one.
    pub(crate) fn keygen(&self, name: &str) -> String {
        let end = Program::flexbond(&["keygen", self.path(name).to_str().unwrap()]).end();
        assert_eq!(end.code, Some(0), "{end:?}");
        end.stdout[0].clone()
    }

    /// The configuration of a server: keys of the top, limits, and tables.
    pub(crate) fn server_file(&self, name: &str, top: &str, limits: &str, tables: &str) -> String {
        let text = format!("{top}\n[limits]\n{TIMES}{limits}\n{tables}");
        self.write(&format!("{name}.toml"), &text)
    }

    pub(crate) fn serve(&self, top: &str, limits: &str, tables: &str) -> Running {
        let file = self.server_file("server", top, limits, tables);
        Running::start(Program::flexbond(&serving(&file, "tcp://127.0.0.1:0")), file)
    }

    /// A party with more keys in its configuration.
    pub(crate) fn party_with(&self, endpoint: &str, local: &str, members: &[&str], more: &Value) -> Party {
        let mut config = json!({
            "server": endpoint,
            "session": {"local_id": local, "job_id": "job"},
            "federation": {"host": members},
            "limits": {"heartbeat_ms": 100, "dead_after_ms": 600, "retry_ms": 100},
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            match (config.get_mut(key), value) {
                (Some(Value::Object(there)), Value::Object(value)) => there.extend(value.clone()),
                _ => config[key] = value.clone(),
            }
        }
        Party {
            file: self.write(
                &format!("{local}-{}.json", fastrand::u32(..)),
                &config.to_string(),
            ),
        }
    }

    pub(crate) fn party(&self, endpoint: &str, local: &str) -> Party {
        self.party_with(endpoint, local, &["a", "b"], &Value::Null)
    }

    /// The parties `a` and `b` of a job.
    pub(crate) fn pair(&self, endpoint: &str) -> (Party, Party) {
        (self.party(endpoint, "a"), self.party(endpoint, "b"))
    }
}

pub(crate) fn serving<'a>(file: &'a str, listen: &'a str) -> [&'a str; 8] {
    [
        "serve",
        "--config",
        file,
        "--listen",
        listen,
        "--metrics",
        "0",
        "--log=debug",
    ]
}

impl Running {
    pub(crate) fn start(mut program: Program, file: String) -> Self {
        let line = program.line();
        let endpoint = line.strip_prefix("serving at ").expect(&line).to_owned();
        Running {
            program,
            endpoint,
            file,
        }
    }

    /// Ends it as `kill -9` does, and starts another one in its place.
    pub(crate) fn kill_and_restart(&mut self) {
        self.program.signal("KILL");
        self.restart();
    }

    pub(crate) fn restart(&mut self) {
        let arguments = serving(&self.file, &self.endpoint);
        // The one before is dropped, and waited for, before the next one listens.
        self.program = Program::flexbond(&["--version"]);
        self.program = Program::flexbond(&arguments);
        self.program.line();
    }

    /// Waits for an event of the server.
    pub(crate) fn event(&mut self, text: &str) -> String {
        self.program.event(text)
    }
}

impl Party {
    fn start(&self, arguments: &[&str]) -> Program {
        Program::flexbond(&[&["federation", "--config", &self.file], arguments].concat())
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> End {
        self.start(arguments).end()
    }

    /// Sends a value on the channel `x`.
    pub(crate) fn send(&self, to: &str, value: &str, more: &[&str]) -> End {
        let mut program = self.start(&[&["send", "--to", to, "--channel", "x"], more].concat());
        program.write(value);
        program.end()
    }

    #[track_caller]
    pub(crate) fn sends(&self, to: &str, value: &str) {
        let end = self.send(to, value, &[]);
        assert_eq!(end.code, Some(0), "{end:?}");
    }

    /// Receives a value on the channel `x`.
    pub(crate) fn recv(&self, from: &str, more: &[&str]) -> End {
        self.run(&[&["recv", "--from", from, "--channel", "x"], more].concat())
    }

    #[track_caller]
    pub(crate) fn receives(&self, from: &str, value: &str) {
        let end = self.recv(from, &[]);
        assert_eq!(
            (end.code, &*end.stdout),
            (Some(0), &[value.to_owned()][..]),
            "{end:?}"
        );
    }
}

/// Fails with this code and a line that contains the text.
#[track_caller]
pub(crate) fn fails(end: &End, code: i32, text: &str) {
    assert_eq!(end.code, Some(code), "{end:?}");
    assert!(
        end.stderr.iter().any(|line| line.contains(text)),
        "{text}: {end:?}"
    );
}
