//! The commands in the README's shell blocks.

/// What exists.
pub(super) struct Known {
    /// Commands of `cargo xtask`.
    pub(super) tasks: Vec<String>,
    /// Packages of the workspace.
    pub(super) packages: Vec<String>,
    /// Programs that the workspace builds.
    pub(super) programs: Vec<String>,
}

// Cargo's own commands, as far as a README has use for them.
const CARGO: [&str; 16] = [
    "add", "bench", "build", "check", "clean", "clippy", "doc", "fetch", "fmt", "install", "new", "package",
    "run", "test", "tree", "update",
];

/// Complaints about commands in shell blocks of `readme` that do not exist; `has` knows the program's subcommands.
pub(super) fn check(readme: &str, known: &Known, mut has: impl FnMut(&str) -> bool) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, line) in shell_lines(readme) {
        for words in simple_commands(&line) {
            if let Err(complaint) = check_one(&words, known, &mut has) {
                complaints.push(format!("README.md:{number}: {complaint}"));
            }
        }
    }
    complaints
}

/// The lines of shell blocks with their numbers; continued lines are joined.
fn shell_lines(readme: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut inside = None;
    let mut joined = String::new();
    for (index, line) in readme.lines().enumerate() {
        let trimmed = line.trim();
        if let Some(language) = trimmed.strip_prefix("```") {
            inside = match inside {
                None => Some(["sh", "bash", "shell", "console"].contains(&language.trim())),
                Some(_) => None,
            };
            continue;
        }
        if inside != Some(true) {
            continue;
        }
        let text = trimmed.strip_prefix("$ ").unwrap_or(trimmed);
        match text.strip_suffix('\\') {
            Some(part) => joined.push_str(part),
            None => {
                joined.push_str(text);
                found.push((index + 1, std::mem::take(&mut joined)));
            }
        }
    }
    found
}

/// The words of each command in a line: between pipes and the like, without comments and variables set in front.
fn simple_commands(line: &str) -> Vec<Vec<&str>> {
    let words = line.split_whitespace().take_while(|word| !word.starts_with('#'));
    let words: Vec<&str> = words.collect();
    words
        .split(|word| ["|", "&&", "||", ";", "&"].contains(word))
        .map(|command| {
            let command = command.iter().copied();
            command
                .skip_while(|word| word.contains('=') && !word.starts_with('-'))
                .collect()
        })
        .collect()
}

fn check_one(words: &[&str], known: &Known, has: &mut impl FnMut(&str) -> bool) -> Result<(), String> {
    match words {
        ["cargo", rest @ ..] => {
            let rest = if rest.first().is_some_and(|word| word.starts_with('+')) {
                &rest[1..]
            } else {
                rest
            };
            check_cargo(rest, known, has)
        }
        ["flexbond", rest @ ..] => check_flexbond(rest, has),
        [program, ..] if program.starts_with("m_") && !known.programs.iter().any(|name| name == program) => {
            Err(format!("no program is called `{program}`"))
        }
        _ => Ok(()),
    }
}

fn check_cargo(words: &[&str], known: &Known, has: &mut impl FnMut(&str) -> bool) -> Result<(), String> {
    let Some(command) = words.first() else {
        return Ok(());
    };
    if *command == "xtask" {
        return match words.get(1) {
            Some(task) if task.starts_with('-') || known.tasks.iter().any(|name| name == task) => Ok(()),
            Some(task) => Err(format!("`cargo xtask` has no command `{task}`")),
            None => Ok(()),
        };
    }
    if !command.starts_with('-') && !CARGO.contains(command) {
        return Err(format!("`cargo {command}` is not one of cargo's own commands"));
    }
    let own = words.split(|word| *word == "--").next().unwrap_or_default();
    let value = |names: [&str; 2]| {
        own.windows(2)
            .find(|pair| names.contains(&pair[0]))
            .map(|pair| pair[1])
    };
    let package = value(["-p", "--package"]);
    // `add` and `install` name packages of a registry.
    if let Some(package) = package.filter(|package| !known.packages.iter().any(|name| name == package)) {
        return Err(format!("no package is called `{package}`"));
    }
    let program = value(["--bin", "--bin"]);
    if let Some(program) = program.filter(|program| !known.programs.iter().any(|name| name == program)) {
        return Err(format!("no program is called `{program}`"));
    }
    if *command == "run" && package == Some("flexbond") && program.is_none_or(|program| program == "flexbond")
    {
        return check_flexbond(words.get(own.len() + 1..).unwrap_or_default(), has);
    }
    Ok(())
}

fn check_flexbond(words: &[&str], has: &mut impl FnMut(&str) -> bool) -> Result<(), String> {
    match words.first() {
        Some(subcommand) if !subcommand.starts_with('-') && !has(subcommand) => {
            Err(format!("`flexbond` has no command `{subcommand}`"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(block: &str) -> Vec<String> {
        let known = Known {
            tasks: vec!["ci".to_owned(), "tidy".to_owned()],
            packages: vec!["flexbond".to_owned(), "flexbond-session".to_owned()],
            programs: vec!["flexbond".to_owned(), "m_stats".to_owned()],
        };
        check(&format!("text\n```sh\n{block}\n```\n"), &known, |name| {
            ["demo", "socket"].contains(&name)
        })
    }

    #[test]
    fn commands_that_exist_pass() {
        for line in [
            "cargo run --release -p flexbond -- demo",
            "cargo xtask ci --only tidy",
            "cargo add flexbond",
            "cargo +nightly test -p flexbond-session",
            "cargo run -p flexbond --bin m_stats -- tcp://localhost:1",
            "RUST_LOG=debug flexbond socket push --bind tcp://*:0 # cargo nonsense",
            "echo '[\"a\"]' | flexbond socket push && m_stats x",
            "flexbond --version",
            "cargo run -p flexbond -- \\\n  demo",
        ] {
            assert_eq!(complaints(line), Vec::<String>::new(), "{line}");
        }
    }

    #[test]
    fn commands_that_do_not_exist_are_named() {
        for line in [
            "cargo run --release -p flexbond -- dmo",
            "cargo xtask cii",
            "cargo frobnicate",
            "cargo test -p flexbond-sessions",
            "cargo run -p flexbond --bin m_nothing",
            "echo x | flexbond sockt",
            "$ m_nothing",
            "cargo build && flexbond dmo",
        ] {
            let found = complaints(line);
            assert_eq!(found.len(), 1, "{line}");
            assert!(found[0].starts_with("README.md:3: "), "{}", found[0]);
        }
    }

    #[test]
    fn other_blocks_are_left_alone() {
        let known = Known {
            tasks: vec![],
            packages: vec![],
            programs: vec![],
        };
        assert!(
            check(
                "```text\nflexbond nothing\n```\nflexbond nothing\n",
                &known,
                |_| false
            )
            .is_empty()
        );
    }
}
