//! When a configuration is to be read again: at SIGHUP, and when its file has changed.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

/// How often a file that is watched is looked at. Reading it works on every file system, which notifications do not.
const LOOK: Duration = Duration::from_millis(500);
/// The longest configuration, in bytes.
const MAX_SIZE: u64 = 8 << 20;

/// The text of a file, or why there is none.
pub(super) type Text = Result<String, String>;

/// New texts of a configuration.
pub(super) struct Reloads {
    texts: Option<mpsc::Receiver<Text>>,
}

impl Reloads {
    /// None will come.
    pub(super) fn none() -> Self {
        Reloads { texts: None }
    }

    /// Reads a file again at SIGHUP, and with `watch` whenever it has changed since it had the text `now`.
    ///
    /// # Errors
    /// The signal cannot be listened to.
    pub(super) fn of(path: PathBuf, now: String, watch: bool) -> io::Result<Self> {
        let mut hangup = signal(SignalKind::hangup())?;
        let (tx, texts) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut watcher = Watcher::new(now);
            let mut looks = interval(LOOK);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                let asked = tokio::select! {
                    () = tx.closed() => return,
                    _ = hangup.recv() => true,
                    _ = looks.tick(), if watch => false,
                };
                let path = path.clone();
                // A file of a network may take its time.
                let Ok(text) = tokio::task::spawn_blocking(move || read(&path)).await else {
                    return;
                };
                let new = match asked {
                    true => Some(watcher.take(text)),
                    false => watcher.look(text),
                };
                if let Some(text) = new
                    && tx.send(text).await.is_err()
                {
                    return;
                }
            }
        });
        Ok(Reloads { texts: Some(texts) })
    }

    /// Waits for the next text; for ever where none will come. Cancel safe.
    pub(super) async fn next(&mut self) -> Text {
        let next = match &mut self.texts {
            Some(texts) => texts.recv().await,
            None => None,
        };
        match next {
            Some(text) => text,
            None => std::future::pending().await,
        }
    }
}

/// The text of a file.
pub(super) fn read(path: &Path) -> Text {
    let mut text = String::new();
    let file = File::open(path).and_then(|file| file.take(MAX_SIZE + 1).read_to_string(&mut text));
    match file {
        Ok(_) if text.len() as u64 > MAX_SIZE => {
            Err(format!("longer than {} MiB, so no configuration", MAX_SIZE >> 20))
        }
        Ok(_) => Ok(text),
        Err(error) => Err(error.to_string()),
    }
}

/// Notices that a file is another one, once it has come to rest: a program that writes it may not be done.
struct Watcher {
    known: Text,
    before: Text,
}

impl Watcher {
    fn new(known: String) -> Self {
        Watcher {
            before: Ok(known.clone()),
            known: Ok(known),
        }
    }

    /// A text that counts, whatever it is.
    fn take(&mut self, text: Text) -> Text {
        self.known.clone_from(&text);
        self.before.clone_from(&text);
        text
    }

    /// A text that counts if it is new, and the same as at the look before.
    fn look(&mut self, text: Text) -> Option<Text> {
        if text != self.known && text == self.before {
            return Some(self.take(text));
        }
        self.before = text;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_counts_when_it_has_come_to_rest() {
        let text = |text: &str| Ok(text.to_owned());
        let mut watcher = Watcher::new("a".to_owned());
        for (seen, counts) in [
            (text("a"), false),
            (text("b, half wri"), false),
            (text("b, whole"), false),
            (text("b, whole"), true),
            (text("b, whole"), false),
            // Replaced by way of nothing.
            (Err("gone".to_owned()), false),
            (text("c"), false),
            (text("c"), true),
            (Err("gone".to_owned()), false),
            (Err("gone".to_owned()), true),
            (Err("gone".to_owned()), false),
            (text("c"), false),
            (text("c"), true),
        ] {
            assert_eq!(watcher.look(seen.clone()), counts.then_some(seen));
        }
        assert_eq!(watcher.take(text("c")), text("c"));
    }

    #[test]
    fn files_are_read_up_to_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("split.json");
        assert!(read(&path).is_err());
        std::fs::write(&path, "{}").unwrap();
        assert_eq!(read(&path), Ok("{}".to_owned()));
        std::fs::write(&path, [0xff]).unwrap();
        assert!(read(&path).is_err());
        File::create(&path).unwrap().set_len(1 << 30).unwrap();
        assert!(read(&path).unwrap_err().contains("8 MiB"));
    }
}
