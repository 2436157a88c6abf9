//! A command line of `key=value` words, for peers whose traffic is not that of sockets.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::Result;

/// The words after the role. Each is asked for once; those that nobody asked for are an error.
#[derive(Debug, Default)]
pub struct Words(BTreeMap<String, String>);

impl Words {
    /// Reads the program's command line: the role, and the words.
    ///
    /// # Errors
    /// When a word is not `key=value`, or there is no role.
    pub fn read() -> Result<(String, Words)> {
        Self::parse(std::env::args().skip(1))
    }

    fn parse(mut words: impl Iterator<Item = String>) -> Result<(String, Words)> {
        let role = words.next().ok_or("no role is given")?;
        let mut found = BTreeMap::new();
        for word in words {
            let (key, value) = word
                .split_once('=')
                .ok_or_else(|| format!("`{word}` is not key=value"))?;
            found.insert(key.to_owned(), value.to_owned());
        }
        Ok((role, Words(found)))
    }

    /// The value of `key`, if it is given.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn take<T: FromStr>(&mut self, key: &str) -> Result<Option<T>> {
        let Some(value) = self.0.remove(key) else {
            return Ok(None);
        };
        match value.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(format!("`{value}` is no value for `{key}`").into()),
        }
    }

    /// The value of `key`, or `default`.
    ///
    /// # Errors
    /// As [`take`](Words::take).
    pub fn get<T: FromStr>(&mut self, key: &str, default: T) -> Result<T> {
        Ok(self.take(key)?.unwrap_or(default))
    }

    /// The value of `key`, or of the environment's `variable`.
    ///
    /// # Errors
    /// As [`take`](Words::take), and when neither is there.
    pub fn need<T: FromStr>(&mut self, key: &str, variable: &str) -> Result<T> {
        if let Some(value) = self.take(key)? {
            return Ok(value);
        }
        let value = std::env::var(variable)
            .map_err(|_| format!("neither {key}= nor the variable {variable} is set"))?;
        value
            .parse()
            .map_err(|_| format!("`{value}` is no value for {variable}").into())
    }

    /// Once everything was asked for.
    ///
    /// # Errors
    /// Names a word that nobody knows.
    pub fn finish(self) -> Result<()> {
        match self.0.keys().next() {
            Some(key) => Err(format!("unknown key `{key}`").into()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_asked_for() {
        let line = ["member", "size=7", "mode=tokio", "other=1"];
        let (role, mut words) = Words::parse(line.into_iter().map(str::to_owned)).unwrap();
        assert_eq!(role, "member");
        assert_eq!(words.get("size", 1).unwrap(), 7);
        assert_eq!(words.get("rounds", 3).unwrap(), 3);
        assert!(words.take::<u32>("mode").is_err());
        assert!(words.finish().unwrap_err().to_string().contains("other"));
        assert!(Words::parse(["x".to_owned(), "y".to_owned()].into_iter()).is_err());
    }
}
