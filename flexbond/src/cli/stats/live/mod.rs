//! A stream live in the terminal, until a key ends it.

mod board;
mod history;

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;

use super::super::Failure;
use super::super::output::Stop;
use super::notices::Notices;
use super::view::Wish;
use crate::stream::Stream;

use board::Board;

/// How long the thread that reads keys waits before it looks whether it is still needed.
const KEYS: Duration = Duration::from_millis(100);

/// The terminal and what is shown in it. Dropping it leaves the terminal as it was.
pub(super) struct Live {
    terminal: DefaultTerminal,
    events: mpsc::Receiver<io::Result<Event>>,
    board: Board,
}

impl Live {
    /// Takes over the terminal.
    pub(super) fn start(source: &str) -> Result<Self, Failure> {
        if !io::stdout().is_terminal() {
            return Err(
                Failure::usage("--tui shows the stream in a terminal, and standard output is none")
                    .hint("leave --tui out, or take --json where a program reads"),
            );
        }
        let failed = |error: io::Error| Failure::new(format!("cannot use the terminal: {error}"));
        let terminal = match ratatui::try_init() {
            Ok(terminal) => terminal,
            Err(error) => {
                // Half of it may have been done.
                let _ = ratatui::try_restore();
                return Err(failed(error));
            }
        };
        let (tx, events) = mpsc::channel(16);
        let live = Live {
            terminal,
            events,
            board: Board::new(source),
        };
        std::thread::Builder::new()
            .name("flexbond-keys".to_owned())
            .spawn(move || read(&tx))
            .map_err(failed)?;
        Ok(live)
    }

    /// An interval is over: there is one more bar.
    pub(super) fn tick(&mut self, stream: &Stream, notices: &mut Notices) -> Result<(), Stop> {
        let now = Instant::now();
        self.board.tick(now, &stream.statistics().snapshot(now));
        self.show(stream, notices)
    }

    /// Draws it anew.
    pub(super) fn show(&mut self, stream: &Stream, notices: &mut Notices) -> Result<(), Stop> {
        notices.take().for_each(|notice| self.board.tell(notice));
        let now = Instant::now();
        let snapshot = stream.statistics().snapshot(now);
        let board = &self.board;
        let drawn = self.terminal.draw(|frame| board.draw(frame, now, &snapshot));
        match drawn {
            Ok(_) => Ok(()),
            Err(error) => Err(Stop::Failure(Failure::new(format!(
                "cannot draw in the terminal: {error}"
            )))),
        }
    }

    /// Waits for a key that ends it, or for another size of the terminal. Cancel safe.
    pub(super) async fn wish(&mut self) -> Wish {
        loop {
            match self.events.recv().await {
                Some(Ok(Event::Key(key))) if ends(key) => return Wish::End,
                Some(Ok(Event::Resize(..))) => return Wish::Show,
                Some(Ok(_)) => {}
                // Without keys nobody could end it: in this state of the terminal Ctrl-C is one.
                Some(Err(_)) | None => return Wish::End,
            }
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // There is nobody left to be told.
        let _ = ratatui::try_restore();
    }
}

fn ends(key: KeyEvent) -> bool {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press
        && match key.code {
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => true,
            KeyCode::Char('c') => is_control,
            _ => false,
        }
}

/// Hands over what the terminal reports, until nobody takes it any more.
fn read(tx: &mpsc::Sender<io::Result<Event>>) {
    while !tx.is_closed() {
        let event = match event::poll(KEYS) {
            Ok(false) => continue,
            Ok(true) => event::read(),
            Err(error) => Err(error),
        };
        let failed = event.is_err();
        if tx.blocking_send(event).is_err() || failed {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_escape_and_ctrl_c_end_it() {
        let key = |code, modifiers| KeyEvent::new(code, modifiers);
        assert!(ends(key(KeyCode::Char('q'), KeyModifiers::NONE)));
        assert!(ends(key(KeyCode::Esc, KeyModifiers::NONE)));
        assert!(ends(key(KeyCode::Char('c'), KeyModifiers::CONTROL)));
        assert!(!ends(key(KeyCode::Char('c'), KeyModifiers::NONE)));
        assert!(!ends(key(KeyCode::Char('x'), KeyModifiers::CONTROL)));
    }
}
