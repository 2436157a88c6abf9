//! What counts of instructions depend on besides the code that is counted.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use toml::{Table, Value};

use crate::process;
use crate::workspace::Workspace;

/// What counts can be compared under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    values: [String; NAMES.len()],
}

const NAMES: [&str; 5] = ["rustc", "host", "cpu", "libc", "valgrind"];

impl Setting {
    /// The one of this machine.
    pub(super) fn here(workspace: &Workspace) -> Result<Self> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let rustc = process::output(Command::new(rustc).current_dir(&workspace.root).arg("-vV"))?;
        let (version, host) = compiler(&rustc).context("`rustc -vV` does not say what it is")?;
        let valgrind = process::output(Command::new("valgrind").arg("--version"))?;
        let libc = process::output(Command::new("getconf").arg("GNU_LIBC_VERSION"))
            .unwrap_or_else(|_| "another".to_owned());
        // A system without this file has a processor without this choice.
        let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Ok(Setting {
            values: [
                version,
                host,
                cpu(&flags).to_owned(),
                libc.trim().to_owned(),
                valgrind.trim().to_owned(),
            ],
        })
    }

    pub(super) fn from_table(table: &Table) -> Result<Self> {
        let mut setting = Setting {
            values: Default::default(),
        };
        for (name, value) in NAMES.into_iter().zip(&mut setting.values) {
            let text = table.get(name).and_then(Value::as_str);
            *value = text
                .with_context(|| format!("`{name}` is not a text"))?
                .to_owned();
        }
        Ok(setting)
    }

    /// Names and values, in the order of the file.
    pub(super) fn lines(&self) -> impl Iterator<Item = (&'static str, &str)> {
        NAMES.into_iter().zip(self.values.iter().map(String::as_str))
    }

    /// What differs `here`, in words.
    pub(super) fn differences(&self, here: &Setting) -> Vec<String> {
        self.lines()
            .zip(here.lines())
            .filter(|((_, there), (_, here))| there != here)
            .map(|((name, there), (_, here))| format!("{name}: {there} there, {here} here"))
            .collect()
    }

    #[cfg(test)]
    pub(super) fn example() -> Self {
        Setting {
            values: NAMES.map(|name| format!("{name} 1.2")),
        }
    }
}

/// The version and the host that the compiler tells.
fn compiler(text: &str) -> Option<(String, String)> {
    let version = text.lines().next()?.strip_prefix("rustc ")?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "))?;
    Some((version.trim().to_owned(), host.trim().to_owned()))
}

/// What the C library looks at when it chooses how to copy, as far as valgrind lets it see.
fn cpu(info: &str) -> &'static str {
    let flags = info.lines().find(|line| line.starts_with("flags"));
    let flags: Vec<&str> = flags
        .map(|line| line.split_whitespace().collect())
        .unwrap_or_default();
    ["avx2", "avx"]
        .into_iter()
        .find(|name| flags.contains(name))
        .unwrap_or("baseline")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_is_recognised() {
        let text =
            "rustc 1.95.0 (abc 2026-04-14)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: 1.95.0\n";
        assert_eq!(
            compiler(text),
            Some((
                "1.95.0 (abc 2026-04-14)".to_owned(),
                "x86_64-unknown-linux-gnu".to_owned()
            ))
        );
        assert_eq!(compiler("clang 1\n"), None);
        assert_eq!(compiler(""), None);
    }

    #[test]
    fn the_processor_is_what_copying_depends_on() {
        assert_eq!(cpu("model : x\nflags\t\t: fpu avx avx2 avx512f\n"), "avx2");
        assert_eq!(cpu("flags : fpu avx\n"), "avx");
        assert_eq!(cpu("Features : asimd\n"), "baseline");
        assert_eq!(cpu(""), "baseline");
    }

    #[test]
    fn differences_are_named() {
        let there = Setting::example();
        assert_eq!(there.differences(&there), Vec::<String>::new());
        let mut here = there.clone();
        here.values[0] = "rustc 1.3".to_owned();
        assert_eq!(
            there.differences(&here),
            ["rustc: rustc 1.2 there, rustc 1.3 here"]
        );
    }
}
