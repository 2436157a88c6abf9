//! A real nats-server.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A server with a folder of its own, which ends with this value.
pub(crate) struct NatsServer {
    folder: TempDir,
    child: Option<Child>,
    port: Option<u16>,
    args: Vec<String>,
}

/// Where the program is; none when it is not installed.
fn program() -> Option<PathBuf> {
    let given = std::env::var_os("FLEXBOND_NATS_SERVER").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.map(|folder| folder.join("nats-server"));
    given.into_iter().chain(found).find(|program| program.is_file())
}

/// Whether there is a server to test against. Says so aloud where there is none, and fails where one is required.
pub(crate) fn is_there() -> bool {
    let is_there = program().is_some();
    if !is_there {
        assert!(
            std::env::var_os("FLEXBOND_REQUIRE_NATS").is_none(),
            "nats-server is required here and was not found"
        );
        eprintln!("SKIPPED: nats-server was not found; install it (Debian: nats-server)");
    }
    is_there
}

impl NatsServer {
    /// With JetStream, in files.
    pub(crate) fn start() -> Self {
        Self::with_args(&["-js"])
    }

    pub(crate) fn with_args(args: &[&str]) -> Self {
        let mut server = NatsServer {
            folder: tempfile::tempdir().unwrap(),
            child: None,
            port: None,
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        };
        server.run();
        server
    }

    /// Starts it, where it was before if it ran before.
    pub(crate) fn run(&mut self) {
        let ports = self.folder.path().join("ports");
        let _ = fs::remove_dir_all(&ports);
        fs::create_dir(&ports).unwrap();
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let child = Command::new(program().expect("the program is there"))
            .args(&self.args)
            .args(["-a", "127.0.0.1", "-p"])
            .arg(self.port.map_or("-1".to_owned(), |port| port.to_string()))
            .arg("-sd")
            .arg(self.folder.path().join("store"))
            .arg("--ports_file_dir")
            .arg(&ports)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(10);
        self.port = Some(loop {
            if let Some(port) = read_port(&ports) {
                break port;
            }
            assert!(Instant::now() < deadline, "{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        });
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port.expect("it has run"))
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The file is written at once and has the addresses, as JSON.
fn read_port(folder: &std::path::Path) -> Option<u16> {
    let file = fs::read_dir(folder).ok()?.next()?.ok()?;
    let text = fs::read_to_string(file.path()).ok()?;
    let (_, rest) = text.split_once("nats://")?;
    let (address, _) = rest.split_once('"')?;
    address.rsplit(':').next()?.parse().ok()
}
