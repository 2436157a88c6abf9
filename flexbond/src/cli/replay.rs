//! `flexbond replay`, `m_replay`: sends what was recorded, as fast or as slowly as is wanted.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::pin::pin;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::argument::{self, Linger};
use super::carriage::Carriage;
use super::closing::close;
use super::contact::Contacts;
use super::failure::{explain, note};
use super::gauge::{Gauge, Tally, amount, say};
use super::interrupt::Interrupt;
use super::metrics::{Exposition, Metrics, MetricsArgument, counters};
use super::span::{self, Span, unreadable};
use super::stats::join_failure;
use super::{Exit, Failure, quantity};
use crate::session::socket::SendErrorKind;
use crate::stream::recording::{Pace, Played, Player, Playlist, Repeat};
use crate::stream::{Attach, ConnectionEvent, ConnectionWatch, Mode, Stream};
use crate::transport::Endpoint;

/// Send what was recorded: a folder of m_dump, or a recording file.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct Replay {
    /// A folder, a recording file, or the name of a rotated recording
    #[arg(value_name = "FOLDER|FILE")]
    folder: PathBuf,

    /// Address to listen at, format `tcp://HOST:PORT` or, with -m pub, `udp://HOST:PORT`
    #[arg(short, long, default_value = "tcp://*:9999")]
    address: Endpoint,

    /// Connect to the address instead of listening
    #[arg(long)]
    connect: bool,

    /// Communication mode
    #[arg(short, long, value_enum, ignore_case = true, default_value_t = Sending::Push)]
    mode: Sending,

    /// As the messages arrived. In a folder, the times are those of the files
    #[arg(long)]
    original: bool,

    /// As they arrived, so many times faster (0.5: half as fast)
    #[arg(long, value_name = "FACTOR", value_parser = positive)]
    speed: Option<f64>,

    /// So many messages a second
    #[arg(long, value_name = "HZ", value_parser = positive, conflicts_with_all = ["original", "speed"])]
    rate: Option<f64>,

    /// Play it so many times; without a number, until Ctrl-C
    #[arg(long = "loop", value_name = "N")]
    repeat: Option<Option<NonZeroU64>>,

    #[command(flatten)]
    span: Span,

    /// Leave out, and report, messages that are missing or damaged, instead of ending there with exit code 1
    #[arg(long)]
    skip_missing: bool,

    /// How long to wait for the first receiver (then exit code 3); -1 or inf: for ever. Default: for ever with push, not
    /// at all with pub
    #[arg(long, value_name = "SECONDS", value_parser = argument::linger, allow_hyphen_values = true)]
    wait: Option<Linger>,

    /// How long the end waits for messages not yet delivered; -1 or inf: for ever
    #[arg(long, value_name = "SECONDS", value_parser = argument::linger, default_value = "30",
          allow_hyphen_values = true)]
    linger: Linger,

    /// Messages that may wait for each receiver
    #[arg(long, value_name = "N", default_value_t = 100)]
    queue_size: usize,

    /// Only the summary, as one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    metrics: MetricsArgument,

    #[command(flatten)]
    carriage: Carriage,
}

const HELP: &str = "Messages go out whole and in order, each with all its parts, byte for byte as
they were recorded. Without --original, --speed or --rate they go as fast as
they are taken, as with mflow.

What cannot be read - a part that is missing in a folder, the last ones too if
the header tells that they are, a damaged place in a file - is named and ends the replay, so that nobody takes a part for the whole;
--skip-missing goes on after it. Ctrl-C ends with a summary.

Exit codes:
  0  done (Ctrl-C too)
  1  failed: the recording cannot be read, something in it is missing, ...
  2  usage
  3  no receiver came, or messages were left when --linger was over

Examples:
  A folder that mflow has dumped, to whoever connects to port 9999:
    m_replay dumped
  An hour of a run in six minutes, for ever:
    m_replay run7.fbr -a tcp://*:9999 --speed 10 --loop
  A thousand messages at 50 Hz, to subscribers, when the first is there:
    m_replay run7.fbr -m pub --wait inf --from 5000 --to 6000 --rate 50
  To many receivers by multicast, at the rate of the recording:
    m_replay run7.fbr -m pub -a udp://192.168.0.5:9999 --multicast 239.1.2.3:5000 --original
  What came in the first minute:
    m_replay run7.fbr --to +60s";

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sending {
    Push,
    Pub,
}

/// How playing ended.
enum End {
    Done,
    Interrupted,
    Failed(Failure),
}

/// For ever, for a wait that has to have a number.
const YEARS: Duration = Duration::from_secs(10 * 365 * 86_400);
/// A subscription comes right after its subscriber.
const SUBSCRIPTION: Duration = Duration::from_millis(200);
/// How often to look whether there is a receiver that lets this end in.
const LOOK: Duration = Duration::from_secs(1);
/// Reports of what cannot be read, before they are only counted.
const REPORTS: u64 = 20;

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if number > 0.0 && f64::is_finite(number) => Ok(number),
        _ => Err("not a number above zero".to_owned()),
    }
}

impl Replay {
    pub(crate) fn run(&self) -> Result<Exit, Failure> {
        super::with_connections(self.replay())
    }

    fn pace(&self) -> Pace {
        match (self.rate, self.speed, self.original) {
            (Some(rate), _, _) => Pace::Rate(rate),
            (None, Some(speed), _) => Pace::Original(speed),
            (None, None, true) => Pace::Original(1.0),
            (None, None, false) => Pace::Unpaced,
        }
    }

    async fn replay(&self) -> Result<Exit, Failure> {
        let options = self.carriage.options([&self.address])?;
        let mut interrupt = Interrupt::listen()
            .map_err(|error| Failure::new(format!("cannot listen for signals: {error}")))?;
        let mut recording = span::open(&self.folder)?;
        if recording.is_empty() {
            self.summarize_nothing();
            return Err(Failure::new(format!(
                "{} has no message to send",
                self.folder.display()
            )));
        }
        let range = self.span.range(&mut recording)?;
        let repeat = match self.repeat {
            None => Repeat::ONCE,
            Some(None) => Repeat::Forever,
            Some(Some(times)) => Repeat::Times(times),
        };
        let options = options
            .mode(match self.mode {
                Sending::Push => Mode::Push,
                Sending::Pub => Mode::Pub,
            })
            .attach(if self.connect {
                Attach::Connect
            } else {
                Attach::Bind
            })
            .linger(self.linger.0)
            .queue_size(self.queue_size);
        let playlist = Playlist::new(recording, range, repeat);
        let mut player =
            Player::start(playlist, self.pace()).map_err(|error| Failure::new(explain(&error)))?;
        // Nobody need come for nothing. A long folder is looked through for times.
        let is_empty = tokio::select! {
            _ = interrupt.wait() => return Ok(Exit::Done),
            is_empty = player.is_empty() => is_empty,
        };
        if is_empty {
            self.summarize_nothing();
            let held = span::extent(&self.folder).map(|held| format!(": it has {held}"));
            return Err(Failure::new(format!(
                "{} has no message to send in that part{}",
                self.folder.display(),
                held.unwrap_or_default()
            )));
        }
        let mut metrics = self.metrics.serve("replay").await?;
        let mut stream = Stream::connect(&self.address, options)
            .await
            .map_err(|error| join_failure(&error))?;
        self.announce(&stream);
        let mut contacts = Contacts::default();
        let waited = self.wait(&player, &stream, &mut metrics, &mut interrupt, &mut contacts);
        let is_there = waited.await;
        let tally = Tally::default();
        let gauge = Gauge::new(true);
        let end = match is_there {
            Ok(true) => {
                let playing = self.play(
                    &mut player,
                    &mut stream,
                    &tally,
                    &mut metrics,
                    &mut interrupt,
                    &mut contacts,
                );
                gauge.watch(&tally, playing).await
            }
            Ok(false) => End::Interrupted,
            Err(failure) => End::Failed(failure),
        };
        let seconds = gauge.seconds();
        let dropped = stream.socket_stats().dropped;
        let undelivered = close(stream, self.linger, &mut interrupt).await;
        self.summarize(&player, &tally, seconds, dropped, undelivered);
        match end {
            End::Failed(failure) => Err(failure),
            End::Interrupted => Ok(Exit::Done),
            End::Done if undelivered == 0 => Ok(Exit::Done),
            End::Done => Err(Failure::timed_out(format!(
                "{} not delivered",
                quantity::messages(undelivered)
            ))
            .hint("a longer --linger waits longer for a receiver to take them")),
        }
    }

    fn announce(&self, stream: &Stream) {
        if self.json {
            return;
        }
        let pace = match self.pace() {
            Pace::Rate(rate) => format!("at {rate} Hz"),
            Pace::Original(1.0) => "as it came".to_owned(),
            Pace::Original(speed) => format!("{speed} times as fast as it came"),
            _ => "as fast as it is taken (--original, --speed or --rate: slower)".to_owned(),
        };
        let mode = match self.mode {
            Sending::Push => "push",
            Sending::Pub => "pub",
        };
        say(&format!(
            "Replaying {} {pace}, {mode} at {}",
            self.folder.display(),
            stream.endpoint()
        ));
    }

    /// Waits for the first receiver: whether it came before a signal.
    async fn wait(
        &self,
        player: &Player,
        stream: &Stream,
        metrics: &mut Metrics,
        interrupt: &mut Interrupt,
        contacts: &mut Contacts,
    ) -> Result<bool, Failure> {
        let mut receiver = pin!(self.receiver(stream));
        let mut looks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                _ = interrupt.wait() => return Ok(false),
                scrape = metrics.scraped() => scrape.answer(|exposition| expose(exposition, stream, player)),
                there = &mut receiver => return match (there, contacts.trouble(stream)) {
                    (Ok(()), _) => Ok(true),
                    (Err(failure), Some(trouble)) => Err(failure.hint(trouble)),
                    (Err(failure), None) => Err(failure),
                },
                _ = looks.tick() => contacts.poll(stream).iter().for_each(|trouble| note(trouble)),
            }
        }
    }

    /// Waits for the first receiver.
    async fn receiver(&self, stream: &Stream) -> Result<(), Failure> {
        let limit = match (self.wait, self.mode) {
            (Some(Linger(limit)), _) => limit,
            (None, Sending::Push) => None,
            (None, Sending::Pub) => Some(Duration::ZERO),
        };
        if limit == Some(Duration::ZERO) {
            return Ok(());
        }
        let mut watch = ConnectionWatch::new(stream, limit.unwrap_or(YEARS));
        while watch.clients() == 0 {
            match watch.next().await {
                Some(ConnectionEvent::Abandoned { alone }) => {
                    return Err(Failure::timed_out(format!(
                        "no receiver came within {:.1} s",
                        alone.as_secs_f64()
                    )));
                }
                Some(ConnectionEvent::Missed) => watch.resync(stream),
                Some(_) => {}
                None => return Err(Failure::new("the socket is closed")),
            }
        }
        if self.mode == Sending::Pub {
            tokio::time::sleep(SUBSCRIPTION).await;
        }
        Ok(())
    }

    async fn play(
        &self,
        player: &mut Player,
        stream: &mut Stream,
        tally: &Tally,
        metrics: &mut Metrics,
        interrupt: &mut Interrupt,
        contacts: &mut Contacts,
    ) -> End {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            let played = tokio::select! {
                biased;
                _ = interrupt.wait() => return End::Interrupted,
                scrape = metrics.scraped() => {
                    scrape.answer(|exposition| expose(exposition, stream, player));
                    continue;
                }
                _ = looks.tick() => {
                    contacts.poll(stream).iter().for_each(|trouble| note(trouble));
                    continue;
                }
                played = player.next() => played,
            };
            let recorded = match played {
                Ok(Some(recorded)) => recorded,
                Ok(None) => return End::Done,
                Err(error) if error.is_passed() && self.skip_missing => {
                    match player.played().unreadable {
                        n if n <= REPORTS => note(&format!("left out: {}", explain(&error))),
                        n if n == REPORTS + 1 => note("more is left out, and counted in the summary"),
                        _ => {}
                    }
                    continue;
                }
                Err(error) if error.is_passed() => {
                    return End::Failed(
                        unreadable(&error)
                            .hint("--skip-missing leaves such messages out and plays the others"),
                    );
                }
                Err(error) => return End::Failed(unreadable(&error)),
            };
            if let Some(part) = recorded.lacks {
                match tally.add_short() {
                    n if n <= REPORTS => note(&format!(
                        "message {} has no part {part}, for which its header calls: sent as it is",
                        recorded.number
                    )),
                    n if n == REPORTS + 1 => note("more lack parts, and are counted in the summary"),
                    _ => {}
                }
            }
            let size = recorded.message.size();
            let mut sent = stream.try_send(recorded.message);
            while let Err(error) = sent {
                if *error.kind() != SendErrorKind::WouldBlock {
                    return End::Failed(Failure::new(explain(&error)));
                }
                let message = error.into_message();
                sent = tokio::select! {
                    biased;
                    _ = interrupt.wait() => return End::Interrupted,
                    scrape = metrics.scraped() => {
                        scrape.answer(|exposition| expose(exposition, stream, player));
                        stream.try_send(message)
                    }
                    // Parts are shared, not copied.
                    sent = stream.send(message.clone()) => sent,
                };
            }
            tally.add(size);
            if tally.messages().is_multiple_of(64) {
                let round = player.played().rounds;
                tally.say((round > 1).then(|| format!("round {round}")));
                // A PUB always has room; its connections need this thread now and then.
                tokio::task::yield_now().await;
            }
        }
    }

    /// For programs, which count on a summary, where there is nothing to play.
    fn summarize_nothing(&self) {
        if self.json {
            say(&summary_json(0.0, &Tally::default(), &Played::default(), [0, 0]).to_string());
        }
    }

    fn summarize(&self, player: &Player, tally: &Tally, seconds: f64, dropped: u64, undelivered: u64) {
        let played = player.played();
        if self.json {
            say(&summary_json(seconds, tally, &played, [dropped, undelivered]).to_string());
            return;
        }
        say(&format!(
            "Sent: {}",
            amount(tally.messages(), tally.bytes(), seconds)
        ));
        if played.rounds > 1 {
            say(&format!("Rounds: {}", quantity::grouped(played.rounds)));
        }
        for (count, what) in [
            // Otherwise the first such place was the end, and the error is about it.
            (
                if self.skip_missing { played.unreadable } else { 0 },
                "Places that cannot be read, left out",
            ),
            (tally.shorts(), "Messages that lack parts, sent as they are"),
            (dropped, "Messages dropped for subscribers that were too slow"),
            (undelivered, "Messages that nobody took"),
        ] {
            if count > 0 {
                say(&format!("{what}: {}", quantity::grouped(count)));
            }
        }
    }
}

/// What was sent, and what of it was dropped or not delivered.
fn summary_json(seconds: f64, tally: &Tally, played: &Played, [dropped, undelivered]: [u64; 2]) -> Value {
    json!({
        "summary": {
            "elapsed_s": seconds,
            "messages": tally.messages(),
            "bytes": tally.bytes(),
            "rounds": played.rounds,
            "unreadable": played.unreadable,
            "short": tally.shorts(),
            "dropped": dropped,
            "undelivered": undelivered,
        }
    })
}

/// What was sent so far, as metrics.
fn expose(exposition: &mut Exposition, stream: &Stream, player: &Player) {
    let address = stream.endpoint().to_string();
    let labels = [("address", &*address), ("role", "output")];
    counters::stream(exposition, &labels, &stream.statistics().snapshot(Instant::now()));
    counters::socket(exposition, &labels, &stream.socket_stats());
    let played = player.played();
    for (name, help, value) in [
        ("flexbond_replay_rounds", "Rounds that were begun.", played.rounds),
        (
            "flexbond_replay_unreadable_messages",
            "Messages left out because they cannot be read.",
            played.unreadable,
        ),
    ] {
        exposition.counter(name, help, &labels, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_above_zero() {
        assert_eq!(positive("0.5"), Ok(0.5));
        for bad in ["0", "-1", "nan", "inf", "fast"] {
            assert!(positive(bad).is_err(), "{bad}");
        }
    }
}
