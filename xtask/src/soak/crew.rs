//! A session of a group in processes: its coordinator, and those who join.

use anyhow::{Context, Result, ensure};

use super::program::Program;
use super::stage::{PATIENCE, Stage};

/// So many barriers that none gets to the last one.
const ENDLESS: [&str; 2] = ["--barriers", "2000000"];

/// Half a second of silence is death.
pub(super) const SOON_DEAD: [&str; 2] = ["--dead-after", "0.5"];

/// A coordinator with what `options` say, and where its session is.
pub(super) fn coordinator(stage: &Stage<'_>, options: &[&str]) -> Result<(Program, String)> {
    let own = ["group", "coordinate", "udp://127.0.0.1:0"];
    let coordinator = stage.flexbond(&[&own, options].concat())?;
    let endpoint = session_of(&coordinator.line(PATIENCE)?)?;
    Ok((coordinator, endpoint))
}

/// As [`coordinator`], for barriers without an end as soon as there are `members`.
pub(super) fn drill(stage: &Stage<'_>, members: &str, options: &[&str]) -> Result<(Program, String)> {
    coordinator(stage, &[&["--members", members], &ENDLESS[..], options].concat())
}

/// One that joins and receives.
pub(super) fn member(stage: &Stage<'_>, endpoint: &str, name: &str) -> Result<Program> {
    let member = stage.flexbond(&["group", "join", endpoint, "--name", name])?;
    member.says("in the session", PATIENCE)?;
    Ok(member)
}

/// One that passes the barriers of a [`drill`].
pub(super) fn recruit(stage: &Stage<'_>, endpoint: &str, name: &str, options: &[&str]) -> Result<Program> {
    let own = ["group", "join", endpoint, "--name", name];
    stage.flexbond(&[&own[..], &ENDLESS, options].concat())
}

/// Ends a drill: all leave in good order, and have passed barriers together.
pub(super) fn dismiss(coordinator: &mut Program, members: Vec<Program>) -> Result<()> {
    coordinator.signal("INT")?;
    coordinator.ends_with(130, PATIENCE)?;
    for mut member in members {
        member.ends_with(0, PATIENCE)?;
        let said = member.output.take().join("\n");
        ensure!(said.contains("barriers"), "it passed none: {said}");
    }
    Ok(())
}

/// Each ends with an error that names the coordinator's death.
pub(super) fn are_orphans(members: &mut [Program]) -> Result<()> {
    for member in members {
        member.ends_with(1, PATIENCE)?;
        let said = member.troubles();
        ensure!(said.contains("the coordinator is dead"), "no reason: {said}");
    }
    Ok(())
}

/// The endpoint in `session at udp://127.0.0.1:4711`.
pub(super) fn session_of(line: &str) -> Result<String> {
    let endpoint = line.rsplit(' ').next().filter(|word| word.contains("://"));
    endpoint
        .map(str::to_owned)
        .with_context(|| format!("no endpoint in `{line}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_of_a_session_is_its_last_word() {
        assert_eq!(
            session_of("session at udp://127.0.0.1:4711").unwrap(),
            "udp://127.0.0.1:4711"
        );
        assert!(session_of("nothing").is_err());
    }
}
