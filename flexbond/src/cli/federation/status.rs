//! `flexbond federation status`.

use serde_json::json;

use super::Status;
use super::place::failure_of;
use crate::cli::console;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::Stop;
use crate::cli::printable::printable;
use crate::collectives::federation::{Config, Federation, JobStatus, Presence};

impl Status {
    pub(super) async fn run(&self, config: Config) -> Result<Exit, Failure> {
        let status = Federation::look(config.clone(), self.timeout)
            .await
            .map_err(|error| failure_of(&error))?;
        let text = match self.json {
            true => format!("{}\n", object(&config, &status)),
            false => lines(&config, &status),
        };
        let own = status
            .parties
            .iter()
            .find(|party| party.member.id == *config.local());
        match console::print(&text) {
            Ok(()) | Err(Stop::ReaderGone) => Ok(own.map_or(Exit::Done, |own| exit(&own.presence))),
            Err(Stop::Failure(failure)) => Err(failure),
        }
    }
}

/// Whether anything could be seen, by what is known of the party's own place.
fn exit(own: &Presence) -> Exit {
    match own {
        Presence::NoServer(_) | Presence::ServerSilent(_) => Exit::TimedOut,
        Presence::ServerRefuses(_) | Presence::Refuses(_) => Exit::Failed,
        _ => Exit::Done,
    }
}

fn state(presence: &Presence) -> &'static str {
    match presence {
        Presence::Present => "present",
        Presence::Waiting => "waiting",
        Presence::Silent(_) => "silent",
        Presence::Left => "left",
        Presence::NotRunning => "not running",
        Presence::Unseen => "unseen",
        Presence::ServerSilent(_) => "server silent",
        Presence::NoServer(_) => "no server",
        Presence::ServerRefuses(_) => "server refuses",
        Presence::Refuses(_) => "refuses",
        _ => "unknown",
    }
}

fn object(config: &Config, status: &JobStatus) -> serde_json::Value {
    let parties: Vec<_> = status
        .parties
        .iter()
        .map(|party| {
            json!({
                "id": party.member.id.as_str(),
                "role": party.member.role.to_string(),
                "state": state(&party.presence),
                "text": party.presence.to_string(),
            })
        })
        .collect();
    let aborted = status.aborted.as_ref();
    let channels = status.stock.as_ref().map(|stock| {
        let channels = stock.iter().map(|stock| {
            json!({
                "from": stock.from.as_str(),
                "to": stock.to.as_str(),
                "channel": stock.channel.as_str(),
                "waiting": stock.messages,
                "sent": stock.sent,
            })
        });
        channels.collect::<Vec<_>>()
    });
    json!({
        "job": config.job().as_str(),
        "local": config.local().as_str(),
        "aborted": aborted.map(|(by, reason)| json!({"by": by.as_str(), "reason": reason})),
        "parties": parties,
        "channels": channels,
    })
}

fn lines(config: &Config, status: &JobStatus) -> String {
    let way = match config.server() {
        // It may have a password.
        Some(server) => format!("by {}", server.rsplit('@').next().unwrap_or_default()),
        None => "directly".to_owned(),
    };
    let mut text = format!("job {}, {}\n", printable(config.job().as_str()), printable(&way));
    if let Some((by, reason)) = &status.aborted {
        let (by, reason) = (printable(by.as_str()), printable(reason));
        text.push_str(&format!("party {by} has aborted the job: {reason}\n"));
    }
    let width = |name: &str| printable(name).chars().count();
    let names = status.parties.iter().map(|party| width(party.member.id.as_str()));
    let widest = names.max().unwrap_or(0);
    for party in &status.parties {
        let name = party.member.id.as_str();
        let seen = match (config.server(), &party.presence) {
            (None, Presence::Present) => "listens".to_owned(),
            (None, Presence::Unseen) => "does not listen".to_owned(),
            (_, Presence::Refuses(reason)) if party.member.id == *config.local() => {
                format!("is not let in: {reason}")
            }
            (_, presence) => presence.to_string(),
        };
        let space = " ".repeat(widest - width(name));
        let (name, role) = (printable(name), party.member.role.to_string());
        text.push_str(&format!("  {name}{space}  {role:<7}  {seen}\n"));
    }
    for stock in status.stock.iter().flatten() {
        let [from, to, channel] = [stock.from.as_str(), stock.to.as_str(), stock.channel.as_str()]
            .map(|name| printable(name).into_owned());
        let (waiting, sent) = (stock.messages, stock.sent);
        text.push_str(&format!(
            "  channel {channel} from {from} to {to}: {waiting} of {sent} messages wait\n"
        ));
    }
    text
}
