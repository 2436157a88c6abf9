//! Running other programs: shown before they start, failing with what was run.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

/// A command for cargo itself, the one that runs this program.
#[must_use]
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    if std::env::var_os("CI").is_some() {
        // Nobody edits and builds again there: what incremental builds keep costs time and disk for nothing.
        command.env("CARGO_INCREMENTAL", "0");
    }
    command
}

/// The file of this program or, if that was replaced while it ran (a step of CI builds it anew), of its successor.
///
/// # Errors
/// When the system does not tell.
pub fn own_program() -> Result<PathBuf> {
    let program = std::env::current_exe().context("this program does not know its own file")?;
    Ok(successor(program))
}

/// Linux marks the name of a file that is gone.
fn successor(program: PathBuf) -> PathBuf {
    let name = program.to_str().and_then(|name| name.strip_suffix(" (deleted)"));
    match name.map(PathBuf::from) {
        Some(successor) if !program.exists() => successor,
        _ => program,
    }
}

/// The command as one would type it, without its environment.
#[must_use]
pub fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(command.get_program());
    std::iter::once(program)
        .chain(command.get_args())
        .map(quoted)
        .collect::<Vec<_>>()
        .join(" ")
}

/// As [`shown`], cut where it gets long: the whole was printed when it was started.
fn brief(command: &Command) -> String {
    let mut text = shown(command);
    if let Some((end, _)) = text.char_indices().nth(160) {
        text.truncate(end);
        text.push('…');
    }
    text
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+@^%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Shows `command`, runs it with this program's input and outputs, and fails when it fails.
///
/// # Errors
/// When the program cannot be started or does not exit with zero.
pub fn run(command: &mut Command) -> Result<()> {
    announce(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", brief(command));
    }
    Ok(())
}

/// As [`run`], and returns those lines of the output that `keep` picks, without colours.
///
/// # Errors
/// As [`run`]; the message ends with those lines.
pub fn run_keeping(command: &mut Command, keep: fn(&str) -> bool) -> Result<Vec<String>> {
    announce(command);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    let errors = child.stderr.take().context("no standard error")?;
    let output = child.stdout.take().context("no standard output")?;
    let from_errors = thread::spawn(move || tee(errors, io::stderr(), keep));
    let mut kept = tee(output, io::stdout(), keep);
    kept.extend(from_errors.join().unwrap_or_default());
    let status = child.wait()?;
    if !status.success() {
        let kept: String = kept.iter().map(|line| format!("\n  {line}")).collect();
        bail!("`{}` failed: {status}{kept}", brief(command));
    }
    Ok(kept)
}

/// Runs `command` without showing anything and returns its standard output.
///
/// # Errors
/// As [`run`]; the message carries what the program wrote to standard error.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!(
            "`{}` failed: {}\n{}",
            shown(command),
            output.status,
            errors.trim()
        );
    }
    String::from_utf8(output.stdout).context("output is not UTF-8")
}

/// Whether `command` can be started and exits with zero. Shows nothing.
#[must_use]
pub fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn announce(command: &Command) {
    // Standard output may be a file: keep the order with what the program writes.
    let _ = io::stdout().flush();
    eprintln!("$ {}", shown(command));
}

fn tee(from: impl Read, mut to: impl Write, keep: fn(&str) -> bool) -> Vec<String> {
    let mut kept = Vec::new();
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        // A reader of ours that went away must not stop the tests.
        let _ = to.write_all(&line);
        let plain = without_colours(&String::from_utf8_lossy(&line));
        if keep(plain.trim()) {
            kept.push(plain.trim().to_owned());
        }
        line.clear();
    }
    let _ = to.flush();
    kept
}

fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            // ESC [ parameters letter
            let _ = chars.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(c);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_replaced_is_its_successor() {
        let gone = PathBuf::from("/nowhere/program (deleted)");
        assert_eq!(successor(gone), Path::new("/nowhere/program"));
        let here = std::env::current_exe().expect("a program");
        assert_eq!(successor(here.clone()), here);
    }

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let mut command = Command::new("/usr/bin/echo");
        command.args(["--only=a", "not binary(/^x/)", "it's", ""]);
        assert_eq!(shown(&command), r"echo --only=a 'not binary(/^x/)' 'it'\''s' ''");
    }

    #[test]
    fn kept_lines_lose_their_colours() {
        let mut copy = Vec::new();
        let text = "\u{1b}[32;1m     Summary\u{1b}[0m [1s] 3 tests run\nother\n";
        let kept = tee(text.as_bytes(), &mut copy, |line| line.starts_with("Summary"));
        assert_eq!(kept, ["Summary [1s] 3 tests run"]);
        assert_eq!(copy, text.as_bytes(), "everything is passed on as it came");
    }

    #[test]
    fn failure_names_the_command() {
        let error = run(Command::new("false").arg("x")).unwrap_err();
        assert!(error.to_string().starts_with("`false x` failed"), "{error}");
    }
}
