//! What the examples that serve have in common: their arguments, and a server that ends with a summary.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use flexbond_rpc::{Methods, Server};
use tokio::signal::unix::{SignalKind, signal};

/// The arguments of a program: options with a value each.
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
                std::process::exit(0);
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
    std::process::exit(2);
}

/// Serves at `--bind` until Ctrl-C or SIGTERM; then lets running calls end, and prints what there was to do.
pub(crate) async fn serve(methods: Methods, arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let server = Server::new(methods);
    let endpoint = server
        .bind(arguments.get("--bind").unwrap_or("tcp://127.0.0.1:0"))
        .await?;
    // Whoever started this may wait for the line to know where to connect.
    println!("listening at {endpoint}");
    std::io::stdout().flush()?;

    let stopped = server
        .run_until(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            eprintln!("draining: running calls may end; Ctrl-C again ends at once");
            tokio::spawn(async move {
                interrupt.recv().await;
                std::process::exit(130);
            });
        })
        .await;
    let stats = stopped.stats;
    println!(
        "{} calls, {} failed, {} panicked, {} cancelled, {} refused; {} stopped at the end",
        stats.calls, stats.failures, stats.panics, stats.cancelled, stats.refused, stopped.aborted
    );
    Ok(())
}

/// Says why a program failed, and with which status it ends.
pub(crate) fn ended(ended: Result<(), Box<dyn Error>>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
