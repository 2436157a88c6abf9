//! What the examples that serve have in common: their arguments, and a server that ends with a summary.

use std::error::Error;
use std::io::{self, Write};
use std::process;
use std::thread;

use flexbond_rpc::server::Stopped;
use flexbond_rpc::{Methods, Server};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// The arguments of a program: options with a value each.
#[derive(Default)]
pub(crate) struct Arguments(Vec<(String, String)>);

impl Arguments {
    /// The arguments that the program was called with. `--help` prints `help` and ends the program; an argument that is
    /// not in `known` ends it with status 2.
    pub(crate) fn parse(help: &str, known: &[&str]) -> Self {
        let mut arguments = std::env::args().skip(1);
        let mut options = Vec::new();
        while let Some(argument) = arguments.next() {
            if argument == "--help" || argument == "-h" {
                println!("{help}");
                process::exit(0);
            }
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (argument, None),
            };
            if !known.contains(&name.as_str()) {
                misused(&format!("unknown argument {name:?}"));
            }
            match value.or_else(|| arguments.next()) {
                Some(value) => options.push((name, value)),
                None => misused(&format!("{name} needs a value")),
            }
        }
        Arguments(options)
    }

    /// The value of an option.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let option = self.0.iter().rfind(|(known, _)| known == name);
        option.map(|(_, value)| value.as_str())
    }

    /// The number that an option has, or `default`.
    #[allow(dead_code, reason = "some examples have no numbers")]
    pub(crate) fn number(&self, name: &str, default: usize) -> usize {
        match self.get(name).map(str::parse) {
            None => default,
            Some(Ok(number)) => number,
            Some(Err(_)) => misused(&format!("{name} needs a number")),
        }
    }
}

fn misused(what: &str) -> ! {
    eprintln!("error: {what} (see --help)");
    process::exit(2);
}

/// Serves at `--bind` until Ctrl-C or SIGTERM; then lets running calls end, and prints what there was to do.
pub(crate) async fn serve(methods: Methods, arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let told = told_to_end()?;
    let server = Server::new(methods);
    let endpoint = server
        .bind(arguments.get("--bind").unwrap_or("tcp://127.0.0.1:0"))
        .await?;
    // Whoever started this may wait for the line to know where to connect.
    let mut stdout = io::stdout();
    writeln!(stdout, "listening at {endpoint}")?;
    stdout.flush()?;
    let stopped = server
        .run_until(async {
            let _ = told.await;
            eprintln!("draining: running calls may end; Ctrl-C again ends at once");
        })
        .await;
    writeln!(stdout, "{}", summary(&stopped))?;
    Ok(())
}

/// Ready at the first Ctrl-C or SIGTERM; the second ends the program at once. On a thread of its own, so that no handler
/// that keeps the others busy can stand in the way.
fn told_to_end() -> io::Result<oneshot::Receiver<()>> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let (tell, told) = oneshot::channel();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            // As a shell has it: 128 and the number of the signal.
            let mut next = async || {
                tokio::select! {
                    _ = interrupt.recv() => 130,
                    _ = terminate.recv() => 143,
                }
            };
            next().await;
            let _ = tell.send(());
            process::exit(next().await);
        });
    })?;
    Ok(told)
}

/// What a server did, in one line. What should not happen is named only where it did.
fn summary(stopped: &Stopped) -> String {
    let stats = stopped.stats;
    let mut summary = format!(
        "{} calls, {} failed, {} panicked, {} cancelled, {} refused; {} stopped at the end",
        stats.calls, stats.failures, stats.panics, stats.cancelled, stats.refused, stopped.aborted
    );
    for (count, what) in [
        (stats.slow_peers, "connections ended whose peers did not read"),
        (stats.undelivered + stopped.undelivered, "answers undelivered"),
        (stats.malformed, "messages malformed"),
    ] {
        if count > 0 {
            summary.push_str(&format!("; {count} {what}"));
        }
    }
    summary
}

/// Ends the program, and says why if it failed. At once: work on other threads that nobody waits for any more is given
/// up, where the end of `main` would wait for it.
pub(crate) fn end(ended: Result<(), Box<dyn Error>>) -> ! {
    match ended {
        Ok(()) => process::exit(0),
        Err(error) => {
            eprintln!("error: {error}");
            process::exit(1);
        }
    }
}
