//! One measurement of parties that talk by a server: the processes of one contender, from start to result.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::case::{Case, Cast, Outcome};
use super::run::{PATIENCE, Program, SETTLE, words};

/// Measures once. `more` are the words that say how long and with which setting.
///
/// # Errors
/// What the programs report, or that they do not answer.
pub(super) fn measure(
    program: &Path,
    case: &Case,
    cast: Cast,
    more: &[String],
    limit: Duration,
    folder: &Path,
) -> Result<Outcome> {
    let common = [
        format!("folder={}", folder.display()),
        format!("processes={}", cast.processes),
    ];
    let start = |role: &str, endpoint: &str, own: Vec<String>| {
        let more: Vec<String> = more.iter().chain(&common).cloned().chain(own).collect();
        Program::start(program, &words(role, case, endpoint, &more))
    };
    let (mut servers, mut endpoints) = (Vec::new(), Vec::<String>::new());
    // The last one first: those before it are told where it is.
    for _ in 0..cast.servers {
        let next = endpoints.first().map(|endpoint| format!("next={endpoint}"));
        let server = start("serve", "tcp://127.0.0.1:0", next.into_iter().collect())?;
        let bound = server.expect("bound", PATIENCE)?;
        let endpoint = bound["bound"].as_str().context("no endpoint")?;
        endpoints.insert(0, endpoint.to_owned());
        servers.insert(0, server);
    }
    let mut parties = Vec::new();
    for process in 0..cast.present {
        let endpoint = &endpoints[process % endpoints.len()];
        parties.push(start("party", endpoint, vec![format!("process={process}")])?);
    }
    all(&parties, "ready", PATIENCE)?;
    thread::sleep(SETTLE);
    for program in servers.iter_mut().chain(&mut parties) {
        program.go()?;
    }
    let measured = all(&parties, "seconds", limit)?;
    // A party that is gone keeps nobody waiting that has been measured; it still says what it did in all.
    parties.iter_mut().for_each(Program::end);
    let ended = all(&parties, "messages", PATIENCE)?;
    servers.iter_mut().for_each(Program::end);
    let served = all(&servers, "messages", PATIENCE)?;
    Ok(Outcome {
        measured: measured.first().cloned().unwrap_or_default(),
        other: json!({ "parties": measured, "ended": ended, "servers": served }),
    })
}

/// The line of each that has `key`.
fn all(programs: &[Program], key: &str, limit: Duration) -> Result<Vec<Value>> {
    let lines = programs.iter().map(|program| program.expect(key, limit));
    lines.collect()
}
