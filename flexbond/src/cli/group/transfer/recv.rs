//! `flexbond group recv`: receives the files that a sender sends to all.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;

use super::assembly::Assembly;
use super::bar::bar;
use super::folder::Folder;
use super::incoming::Incoming;
use super::protocol::{
    Answer, Control, Kind, LONGEST, LONGEST_CONTROL, Manifest, ProtocolError, Report, decode, encode,
    shortened,
};
use super::summary;
use super::survey::{Have, survey};
use crate::cli::failure::{explain, note};
use crate::cli::group::show::Show;
use crate::cli::group::{
    Access, GROUP, Joining, join_failure, join_group_failure, listen_for_signals, over_failure,
};
use crate::cli::{Exit, Failure, quantity};
use crate::group::{BroadcastReceiver, Member, Options, Over, Part, Received, RecvError, SendError, Session};

/// Receive the files and folders that `flexbond group send` sends, into a folder.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(in crate::cli::group) struct Recv {
    #[command(flatten)]
    access: Access,

    /// The folder that they are put into; it is made if it is not there
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    #[command(flatten)]
    joining: Joining,
}

const HELP: &str = "A file has the name .NAME.flexbond-part until all of it is on the disk and its BLAKE3
checksum is right. Started again after a transfer broke off, it goes on from
there. Files of the same name are replaced; nothing is written outside of the
folder, whatever the sender says and wherever symbolic links in the folder lead.

Exit codes:
  0         everything is there
  1         failed: nobody answers, the sender is dead, the disk is full, ...
  2         usage
  128 + n   ended by signal n; 130 is Ctrl-C

Examples:
  From a sender at 192.168.0.5, waiting up to an hour for it to begin:
    flexbond group recv udp://192.168.0.5:12345 incoming --timeout 3600";

/// How often the sender is told that this end gets on, where it may have to wait for that.
const SIGN: Duration = Duration::from_secs(10);

const AGAIN: &str = "what has come is kept: start both sides again to go on from there";

impl Recv {
    pub(in crate::cli::group) fn run(&self) -> Result<Exit, Failure> {
        let options = self.access.options()?;
        let folder = Folder::open(&self.folder)
            .map_err(|error| Failure::new(format!("cannot write to {}: {error}", self.folder.display())))?;
        crate::cli::beside_connections(self.recv(options, &folder))
    }

    async fn recv(&self, options: Options, folder: &Folder) -> Result<Exit, Failure> {
        let mut interrupt = listen_for_signals()?;
        let options = self.joining.apply(options);
        let member = tokio::select! {
            number = interrupt.wait() => return Ok(Exit::Signal(number)),
            joined = Member::join(self.access.endpoint.clone(), options) => {
                joined.map_err(|error| join_failure(&error))?
            }
        };
        let mut show = Show::new()?;
        let id = member.id().map_err(|over| over_failure(&over))?;
        show.line(&format!("in the session at {} as {id}", member.endpoint()));
        // What the others tell the sender comes here too.
        let others = tokio::spawn(pass_by(member.session().clone()));
        let ended = tokio::select! {
            ended = receive(&member, folder, &mut show) => ended,
            number = interrupt.wait() => {
                note(&format!("interrupted; {AGAIN}"));
                Ok(Exit::Signal(number))
            }
        };
        // A second signal ends the process while this waits.
        member.leave().await;
        others.abort();
        show.finish().await;
        ended
    }
}

async fn pass_by(session: Session) {
    while session.recv().await.is_ok() {}
}

async fn receive(member: &Member, folder: &Folder, show: &mut Show) -> Result<Exit, Failure> {
    let group = member
        .join_broadcast(GROUP)
        .await
        .map_err(|error| join_group_failure(&error, "the other side has to be `flexbond group send`"))?;
    let manifest = match next_message(&group, LONGEST)
        .await?
        .map(|list| Manifest::decode(&list))
    {
        Ok(Ok(manifest)) => manifest,
        Ok(Err(error)) | Err(error) => return Err(refuse(member, &error).await),
    };
    let begin = Instant::now();
    let files = manifest.files().count();
    show.line(&format!(
        "receiving {} files, {} bytes",
        quantity::grouped(files as u64),
        quantity::grouped(manifest.bytes())
    ));
    let mut report = Report::default();
    for (entry, number) in manifest.entries.iter().zip(0..) {
        if entry.kind == Kind::Folder
            && let Err(error) = folder.make(&entry.path)
        {
            report.add(number, &error.to_string());
        }
    }
    let mut signs = Signs::new(member);
    let (found, claims) = survey(folder, &manifest, |more| signs.get_on(more)).await;
    answer(member, &Answer::Has(claims)).await?;
    let mut receiving = Receiving {
        group: &group,
        signs,
        folder,
        manifest: &manifest,
        found,
        report,
        bar: bar(manifest.bytes()),
        moved: 0,
    };
    let received = receiving.all().await;
    receiving.bar.finish_and_clear();
    if let Err(stop) = received {
        return Err(match stop {
            Stop::Failure(failure) => failure,
            Stop::Protocol(error) => refuse(member, &error).await,
        });
    }
    let Receiving { report, moved, .. } = receiving;
    answer(member, &Answer::Got(report.clone())).await?;
    let text = summary(files, manifest.bytes(), moved, begin.elapsed());
    let received = match report.failed {
        0 => "received",
        _ => "not received in full:",
    };
    show.line(&format!("{received} {text}"));
    match report.failed {
        0 => Ok(Exit::Done),
        failed => Err(Failure::new(format!(
            "{failed} of {} files and folders failed",
            manifest.entries.len()
        ))
        .hint(AGAIN)),
    }
}

/// Tells the sender every now and then that this end gets on.
struct Signs<'a> {
    member: &'a Member,
    done: u64,
    last: Instant,
}

impl<'a> Signs<'a> {
    fn new(member: &'a Member) -> Self {
        Signs {
            member,
            done: 0,
            last: Instant::now(),
        }
    }

    /// So much more was done.
    fn get_on(&mut self, more: u64) {
        self.done = self.done.saturating_add(more);
        if self.last.elapsed() >= SIGN {
            self.last = Instant::now();
            // The next one serves as well.
            let _ = self.member.try_send(encode(&Answer::Busy { done: self.done }));
        }
    }
}

/// A transfer that runs.
struct Receiving<'a> {
    group: &'a BroadcastReceiver,
    signs: Signs<'a>,
    folder: &'a Folder,
    manifest: &'a Manifest,
    found: std::collections::HashMap<u32, Have>,
    report: Report,
    bar: ProgressBar,
    moved: u64,
}

/// Why a transfer stopped.
enum Stop {
    Failure(Failure),
    Protocol(ProtocolError),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Stop::Failure(failure)
    }
}

impl From<ProtocolError> for Stop {
    fn from(error: ProtocolError) -> Self {
        Stop::Protocol(error)
    }
}

impl Receiving<'_> {
    async fn all(&mut self) -> Result<(), Stop> {
        // A file that does not come is reported once, whatever the reason.
        let mut expected = self.manifest.files().map(|(number, ..)| number);
        loop {
            let control = self.control().await?;
            let file = match &control {
                Control::File { file, .. } | Control::Missing { file, .. } => *file,
                Control::Finished if expected.next().is_none() => break,
                _ => return Err(ProtocolError::Order("something else than a file").into()),
            };
            if expected.next() != Some(file) {
                return Err(ProtocolError::Order("another file than the next one").into());
            }
            let before = self.bar.position();
            let ended = match control {
                Control::File { from, known, .. } => self.file(file, from, &known).await?,
                Control::Missing { reason, .. } => Err(format!("the sender cannot read it: {reason}")),
                _ => Ok(()),
            };
            let (entry, size) = self.manifest.file(file).ok_or(ProtocolError::Malformed)?;
            self.bar.set_position(before.saturating_add(size));
            if let Err(why) = ended {
                let text = format!("{}: {}", entry.path, shortened(&why));
                self.bar.suspend(|| note(&text));
                self.report.add(file, &why);
            }
            self.signs.get_on(1);
        }
        // What is inside comes after what it is in, and must not be shut out before it is done.
        let entries: Vec<_> = self.manifest.entries.iter().zip(0..).collect();
        for (entry, number) in entries.into_iter().rev() {
            if entry.kind == Kind::Folder
                && let Err(error) = self.folder.settle(entry)
            {
                note(&format!("{}: {error}", entry.path));
                self.report.add(number, &error.to_string());
            }
            self.signs.get_on(1);
        }
        Ok(())
    }

    /// Receives a file; the inner error says why it is not there.
    async fn file(
        &mut self,
        number: u32,
        from: u64,
        known: &[(u64, [u8; 32])],
    ) -> Result<Result<(), String>, Stop> {
        let (entry, size) = self.manifest.file(number).ok_or(ProtocolError::Malformed)?;
        self.bar.set_message(entry.path.to_string());
        self.bar.inc(from.min(size));
        let have = self.found.remove(&number);
        let mut incoming = Incoming::begin(self.folder, entry, size, from, known, have).await;
        if from < size {
            self.bytes(&mut incoming).await?;
        }
        match self.control().await? {
            Control::End { digest } => Ok(incoming.end(digest).await),
            Control::Abort { reason } => Ok(Err(format!(
                "the sender stopped at byte {}: {reason}",
                incoming.at()
            ))),
            _ => Err(ProtocolError::Order("no end of a file").into()),
        }
    }

    /// Receives what is sent of a file, and its last part.
    async fn bytes(&mut self, incoming: &mut Incoming<'_>) -> Result<(), Stop> {
        loop {
            let received = take(self.group).await?;
            if received.part == Part::Cut {
                return Err(cut().into());
            }
            let length = received.body.len() as u64;
            incoming.write(&received.body);
            self.moved = self.moved.saturating_add(length);
            self.bar.inc(length);
            self.signs.get_on(length);
            if matches!(received.part, Part::Whole | Part::Last) {
                return Ok(());
            }
        }
    }

    async fn control(&self) -> Result<Control, Stop> {
        let message = next_message(self.group, LONGEST_CONTROL).await??;
        Ok(decode(&message)?)
    }
}

/// The next message as a whole.
async fn next_message(
    group: &BroadcastReceiver,
    limit: usize,
) -> Result<Result<Vec<u8>, ProtocolError>, Failure> {
    let mut assembly = Assembly::default();
    loop {
        let Received { part, body, .. } = take(group).await?;
        if part == Part::Cut {
            return Err(cut());
        }
        match assembly.push(part, &body, limit) {
            Ok(None) => {}
            Ok(Some(message)) => return Ok(Ok(message)),
            Err(error) => return Ok(Err(error)),
        }
    }
}

async fn take(group: &BroadcastReceiver) -> Result<Received, Failure> {
    group.recv().await.map_err(|error| match error {
        RecvError::Over(Over::CoordinatorDead) => {
            Failure::new("the sender is dead: nothing is heard of it any more").hint(AGAIN)
        }
        RecvError::Over(Over::Dismissed { .. }) => Failure::new("the sender has sent this receiver away")
            .hint("the transfer had begun without it, or it did not keep up; start both sides again"),
        _ => cut(),
    })
}

fn cut() -> Failure {
    Failure::new("the sender has ended before everything was here").hint(AGAIN)
}

/// Tells the sender that this receiver cannot take part.
async fn refuse(member: &Member, error: &ProtocolError) -> Failure {
    // It is gone anyway if it does not hear of it.
    let _ = answer(member, &Answer::Refused(shortened(&error.to_string()))).await;
    Failure::new(error.to_string())
}

async fn answer(member: &Member, answer: &Answer) -> Result<(), Failure> {
    let send = async {
        let mut stream = member.stream().await;
        stream.send(encode(answer)).await?;
        stream.finish("").await
    };
    let failure = |error: SendError| match error {
        SendError::Over(over) => over_failure(&over).hint(AGAIN),
        error => Failure::new(explain(&error)),
    };
    send.await.map(drop).map_err(failure)
}
