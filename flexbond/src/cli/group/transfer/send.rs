//! `flexbond group send`: files and folders to any number of receivers at once.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;

use super::bar::bar;
use super::protocol::{Control, Entry, MOST_RECEIVERS, encode, shortened};
use super::receivers::{PATIENCE, Receivers};
use super::scan::{Offer, Place};
use super::source::{Source, first_missing};
use super::summary;
use crate::cli::argument;
use crate::cli::failure::{explain, note};
use crate::cli::group::show::Show;
use crate::cli::group::{Access, GROUP, Holding, listen_for_signals, start_failure};
use crate::cli::interrupt::Interrupt;
use crate::cli::{Exit, Failure};
use crate::group::{BroadcastSender, Coordinator, Options, SendError, SlowMember};

/// Send files and folders to any number of receivers at once.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(in crate::cli::group) struct Send {
    #[command(flatten)]
    access: Access,

    /// What to send; folders with all that is in them
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Begin when so many receivers are there; nobody else is let in then
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MOST_RECEIVERS as i64))]
    receivers: u16,

    /// Give up (exit code 3) when they are not there after this long
    #[arg(long, value_name = "SECONDS", value_parser = argument::positive_seconds, allow_negative_numbers = true)]
    timeout: Option<Duration>,

    #[command(flatten)]
    holding: Holding,
}

const HELP: &str = "Each receiver runs `flexbond group recv` with the endpoint that is printed. What
is sent goes to all of them at once; with --multicast it crosses the network
once. Folders keep their structure, files their permission bits and the time of
their last change. Symbolic links in folders, and what is neither file nor
folder, are left out. A folder `.` is sent as what is in it.

A transfer that broke off goes on where it was when both sides are started
again: what the receivers have is checked with BLAKE3 and not sent again if all
of them have it. A receiver that dies, that holds up all others for a minute, or
that for a minute does not get on with what it has to check or to write, is
reported and left behind. Who gets on is waited for, however long it takes.

Exit codes:
  0         every receiver has everything
  1         failed: a receiver has not got everything, a file cannot be read, ...
  2         usage
  3         not all receivers were there in time
  128 + n   ended by signal n; 130 is Ctrl-C

Examples:
  A folder to three machines of the local network:
    flexbond group send udp://*:12345 photos --receivers 3 \\
      --multicast 239.1.2.3:5000 --interface eth0
  and on each of them:
    flexbond group recv udp://192.168.0.5:12345 incoming
  On one machine, to try it:
    flexbond group send udp://127.0.0.1:12345 README.md --receivers 1
    flexbond group recv udp://127.0.0.1:12345 incoming";

impl Send {
    pub(in crate::cli::group) fn run(&self) -> Result<Exit, Failure> {
        let options = self.access.options()?;
        let offer = Offer::scan(&self.files)?;
        for left_out in &offer.left_out {
            note(&format!("not sent: {left_out}"));
        }
        crate::cli::beside_connections(self.send(options, &offer))
    }

    async fn send(&self, options: Options, offer: &Offer) -> Result<Exit, Failure> {
        let mut interrupt = listen_for_signals()?;
        let options = self
            .holding
            .apply(options)
            .max_members(usize::from(self.receivers))
            .slow_member(SlowMember::EvictAfter(PATIENCE));
        let coordinator = Coordinator::bind(self.access.endpoint.clone(), options)
            .await
            .map_err(|error| start_failure(&error))?;
        let mut show = Show::new()?;
        show.line(&format!("session at {}", coordinator.endpoint()));
        let ended = self
            .transfer(&coordinator, offer, &mut show, &mut interrupt)
            .await;
        // A second signal ends the process while this waits.
        coordinator.close().await;
        show.finish().await;
        ended
    }

    async fn transfer(
        &self,
        coordinator: &Coordinator,
        offer: &Offer,
        show: &mut Show,
        interrupt: &mut Interrupt,
    ) -> Result<Exit, Failure> {
        let list = offer
            .manifest
            .encode()
            .map_err(|error| Failure::usage(error.to_string()))?;
        let group = coordinator
            .create_broadcast(GROUP)
            .map_err(|error| Failure::new(explain(&error)))?;
        let mut receivers = Receivers::new(coordinator);
        let patience = async {
            match self.timeout {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        let count = usize::from(self.receivers);
        let gathered = tokio::select! {
            gathered = receivers.gather(count, &group, show) => Some(gathered),
            number = interrupt.wait() => return Ok(Exit::Signal(number)),
            () = patience => None,
        };
        match gathered {
            Some(gathered) => gathered?,
            None => {
                return Err(Failure::timed_out(format!(
                    "{} of {count} receivers are there after {} s",
                    receivers.count(),
                    self.timeout.unwrap_or_default().as_secs_f64()
                ))
                .hint("start the others, or give a longer --timeout"));
            }
        }
        let mut sending = Sending {
            offer,
            group,
            receivers,
            show,
            bar: bar(offer.manifest.bytes()),
            moved: 0,
            unsent: 0,
        };
        let begin = Instant::now();
        let sent = tokio::select! {
            sent = sending.all(list) => sent,
            number = interrupt.wait() => return Ok(Exit::Signal(number)),
        };
        sending.bar.finish_and_clear();
        sent?;
        sending.conclude(begin.elapsed()).await
    }
}

/// A transfer that runs.
struct Sending<'a> {
    offer: &'a Offer,
    group: BroadcastSender,
    receivers: Receivers<'a>,
    show: &'a mut Show,
    bar: ProgressBar,
    moved: u64,
    unsent: usize,
}

impl Sending<'_> {
    async fn all(&mut self, list: Vec<u8>) -> Result<(), Failure> {
        let manifest = &self.offer.manifest;
        let mut stream = self.group.stream().await;
        stream.send(list).await.map_err(|error| send_failure(&error))?;
        let ended = stream.finish("").await;
        ended.map_err(|error| send_failure(&error))?;
        self.receivers.claims(manifest, self.show).await?;
        for (number, entry, size) in manifest.files() {
            if !self.receivers.look(manifest, self.show).await? {
                // Nobody is left to send to; why is said of each.
                return Ok(());
            }
            self.bar.set_message(entry.path.to_string());
            let before = self.bar.position();
            let place = &self.offer.places[number as usize];
            if let Err(reason) = self.file(number, entry, size, place).await? {
                let text = format!("cannot send {}: {reason}", place.path.display());
                self.bar.suspend(|| note(&text));
                self.unsent += 1;
            }
            self.bar.set_position(before.saturating_add(size));
        }
        self.say(&Control::Finished).await?;
        self.bar.set_message("waiting for the receivers");
        self.receivers.reports(manifest, self.show).await
    }

    /// Sends a file, or says why not: first to those who wait for it, then to the caller.
    async fn file(
        &mut self,
        number: u32,
        entry: &Entry,
        size: u64,
        place: &Place,
    ) -> Result<Result<(), String>, Failure> {
        let prepared = self.prepare(number, entry, size, place).await;
        let (mut source, from, known) = match prepared {
            Ok(prepared) => prepared,
            Err(reason) => {
                let file = number;
                let missing = Control::Missing {
                    file,
                    reason: shortened(&reason),
                };
                self.say(&missing).await?;
                return Ok(Err(reason));
            }
        };
        self.say(&Control::File {
            file: number,
            from,
            known,
        })
        .await?;
        self.bar.inc(from);
        let mut broken = None;
        let mut deserted = false;
        if from < size {
            let mut stream = self.group.stream().await;
            loop {
                match source.next() {
                    Ok(Some(piece)) => {
                        let length = piece.len() as u64;
                        stream.send(piece).await.map_err(|error| send_failure(&error))?;
                        self.moved += length;
                        self.bar.inc(length);
                    }
                    Ok(None) => break,
                    Err(reason) => {
                        broken = Some(reason);
                        break;
                    }
                }
                if !self.receivers.look(&self.offer.manifest, self.show).await? {
                    deserted = true;
                    break;
                }
            }
            let ended = stream.finish("").await;
            ended.map_err(|error| send_failure(&error))?;
        }
        if deserted {
            // Said of each of them; the file is not to blame.
            return Ok(Ok(()));
        }
        let ended = broken.map_or_else(|| source.finish(), Err);
        let (control, ended) = match ended {
            Ok(digest) => (Control::End { digest }, Ok(())),
            Err(reason) => (
                Control::Abort {
                    reason: shortened(&reason),
                },
                Err(reason),
            ),
        };
        self.say(&control).await?;
        Ok(ended)
    }

    /// Opens a file and finds out from where it has to be sent.
    async fn prepare(
        &self,
        number: u32,
        entry: &Entry,
        size: u64,
        place: &Place,
    ) -> Result<(Source, u64, Vec<(u64, [u8; 32])>), String> {
        let mut source = Source::open(place, entry, size)?;
        let mut lengths: Vec<u64> = self
            .receivers
            .claims_of(number)
            .flatten()
            .map(|claim| claim.length)
            .collect();
        lengths.sort_unstable();
        lengths.dedup();
        let known = source.digests(&lengths).await?;
        let from = first_missing(self.receivers.claims_of(number), &known);
        source.go_to(from)?;
        Ok((source, from, known))
    }

    async fn say(&self, control: &Control) -> Result<(), Failure> {
        let sent = self.group.send(encode(control)).await;
        sent.map(drop).map_err(|error| send_failure(&error))
    }

    async fn conclude(self, time: Duration) -> Result<Exit, Failure> {
        let manifest = &self.offer.manifest;
        let count = self.receivers.count();
        let complete = self.receivers.conclude(manifest, self.show).await;
        let text = summary(manifest.files().count(), manifest.bytes(), self.moved, time);
        self.show.line(&format!(
            "{text}; {complete} of {count} receivers have everything"
        ));
        match (self.unsent, complete == count) {
            (0, true) => Ok(Exit::Done),
            (0, false) => Err(Failure::new(format!(
                "{} of {count} receivers have not got everything",
                count - complete
            ))
            .hint("start both sides again: what is there is not sent again")),
            (unsent, _) => Err(Failure::new(format!(
                "{unsent} of {} files could not be sent",
                manifest.files().count()
            ))),
        }
    }
}

fn send_failure(error: &SendError) -> Failure {
    Failure::new(explain(error))
}
