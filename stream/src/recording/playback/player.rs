//! Hands messages out when they are due, and sends them.

use std::io;
use std::thread;
use std::time::Instant;

use thiserror::Error;
use tokio::sync::{mpsc, watch};

use super::{Pace, Pacer, Playlist, SourceError};
use crate::recording::Recorded;
use crate::{SendError, Stream};

/// Why playing ended early.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PlayError {
    /// The recording, or a message of it, cannot be read. Where [`SourceError::is_passed`], playing can go on.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A message cannot be sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The thread that reads cannot be started; nothing was played, and it may be possible later.
    #[error("the thread that reads the recording cannot be started")]
    Thread {
        /// Why.
        source: io::Error,
    },
}

/// What was played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Played {
    /// Messages that were handed out.
    pub messages: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Messages that were left out because they cannot be read.
    pub unreadable: u64,
    /// Rounds that were begun.
    pub rounds: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Play,
    Pause,
    Stop,
}

/// Pauses, resumes and stops a [`Player`], from any task.
#[derive(Clone, Debug)]
pub struct Control(watch::Sender<Order>);

impl Control {
    /// Hands out nothing until [`resume`](Self::resume); a message that waits for its time waits on.
    pub fn pause(&self) {
        self.set(Order::Pause);
    }

    /// Goes on; what follows is as much later as the pause was long.
    pub fn resume(&self) {
        self.set(Order::Play);
    }

    /// Ends playing: the next message is `None`.
    pub fn stop(&self) {
        self.set(Order::Stop);
    }

    fn set(&self, order: Order) {
        // What was stopped stays so.
        self.0.send_if_modified(|now| {
            let changes = *now != Order::Stop && *now != order;
            if changes {
                *now = order;
            }
            changes
        });
    }
}

/// Plays a [`Playlist`] at a [`Pace`]: a thread reads ahead, and [`next`](Self::next) hands out each message when it is
/// due.
#[derive(Debug)]
pub struct Player {
    groups: mpsc::Receiver<Group>,
    group: std::vec::IntoIter<Item>,
    // Read, and waiting until it is due.
    waiting: Option<(Recorded, Instant)>,
    pacer: Pacer,
    control: Control,
    orders: watch::Receiver<Order>,
    played: Played,
}

type Item = (u64, Result<Recorded, SourceError>);
type Group = Vec<Item>;

// What is read ahead: four groups, each of so many messages or, of longer ones, so many bytes and one more message.
const GROUPS: usize = 4;
const GROUP_MESSAGES: usize = 64;
const GROUP_BYTES: usize = 4 << 20;

impl Player {
    /// Begins to read. Nothing is due before the first [`next`](Self::next).
    ///
    /// # Errors
    /// [`PlayError::Thread`].
    pub fn start(playlist: Playlist, pace: Pace) -> Result<Self, PlayError> {
        let (sender, groups) = mpsc::channel(GROUPS);
        thread::Builder::new()
            .name("flexbond-play".to_owned())
            .spawn(move || read_ahead(playlist, &sender))
            .map_err(|source| PlayError::Thread { source })?;
        let (control, orders) = watch::channel(Order::Play);
        Ok(Player {
            groups,
            group: Vec::new().into_iter(),
            waiting: None,
            pacer: Pacer::new(pace),
            control: Control(control),
            orders,
            played: Played::default(),
        })
    }

    /// Pauses, resumes and stops this player.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// What was played so far.
    #[must_use]
    pub fn played(&self) -> Played {
        self.played
    }

    /// Waits until the first message was read, and says whether there is none to be played: neither one nor the error of
    /// one that cannot be read. No time counts before the first [`next`](Self::next).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn is_empty(&mut self) -> bool {
        if self.waiting.is_none() && self.group.len() == 0 {
            match self.groups.recv().await {
                Some(group) => self.group = group.into_iter(),
                None => return true,
            }
        }
        false
    }

    /// Waits until the next message is due; `None` when all are played, or it was stopped.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the message for the next call.
    ///
    /// # Errors
    /// [`SourceError`]; where [`SourceError::is_passed`], the next call goes on after it. Others end the player.
    pub async fn next(&mut self) -> Result<Option<Recorded>, SourceError> {
        let Some(due) = self.prepare().await? else {
            return Ok(None);
        };
        if !self.wait(due).await {
            return Ok(None);
        }
        let Some((recorded, _)) = self.waiting.take() else {
            return Ok(None);
        };
        self.played.messages += 1;
        self.played.bytes += recorded.message.size() as u64;
        Ok(Some(recorded))
    }

    /// Sends everything that is left to `stream`, leaving out and counting what cannot be read.
    ///
    /// # Cancel safety
    /// Dropping the future may lose the message that is being sent; no part of a message is sent without the others.
    ///
    /// # Errors
    /// [`PlayError`]: the recording cannot be read any more, or a message cannot be sent; that one is in the error.
    pub async fn send_to(&mut self, stream: &mut Stream) -> Result<Played, PlayError> {
        loop {
            match self.next().await {
                Ok(Some(recorded)) => stream.send(recorded.message).await?,
                Ok(None) => return Ok(self.played),
                Err(error) if error.is_passed() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Has a message wait, and says when it is due; `None` at the end.
    async fn prepare(&mut self) -> Result<Option<Instant>, SourceError> {
        if let Some((_, due)) = &self.waiting {
            return Ok(Some(*due));
        }
        let (round, read) = loop {
            if let Some(item) = self.group.next() {
                break item;
            }
            match self.groups.recv().await {
                Some(group) => self.group = group.into_iter(),
                None => return Ok(None),
            }
        };
        self.played.rounds = round + 1;
        let recorded = read.inspect_err(|_| self.played.unreadable += 1)?;
        let due = self.pacer.due(now(), round, recorded.time);
        self.waiting = Some((recorded, due));
        Ok(Some(due))
    }

    /// Waits until `due` and for the end of every pause; `false` when it was stopped.
    async fn wait(&mut self, mut due: Instant) -> bool {
        loop {
            let order = *self.orders.borrow_and_update();
            match order {
                Order::Stop => return false,
                Order::Pause => {
                    self.pacer.pause(now());
                    // The sender is here, so this ends with the next order only.
                    let _ = self.orders.changed().await;
                }
                Order::Play => {
                    let pause = self.pacer.resume(now());
                    if let Some((_, waiting)) = &mut self.waiting {
                        *waiting += pause;
                        due = *waiting;
                    }
                    if due <= now() {
                        return true;
                    }
                    tokio::select! {
                        () = tokio::time::sleep_until(due.into()) => {}
                        _ = self.orders.changed() => {}
                    }
                }
            }
        }
    }
}

/// Tokio's clock, which tests stop.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn read_ahead(mut playlist: Playlist, groups: &mpsc::Sender<Group>) {
    let mut over = false;
    while !over {
        let mut group = Group::with_capacity(GROUP_MESSAGES);
        let mut bytes = 0;
        while group.len() < GROUP_MESSAGES && bytes < GROUP_BYTES {
            let Some(read) = playlist.next_message().transpose() else {
                over = true;
                break;
            };
            bytes += read.as_ref().map_or(0, |recorded| recorded.message.size());
            over = read.as_ref().is_err_and(|error| !error.is_passed());
            group.push((playlist.round(), read));
            if over {
                break;
            }
        }
        // The player may be gone.
        if !group.is_empty() && groups.blocking_send(group).is_err() {
            return;
        }
    }
}
