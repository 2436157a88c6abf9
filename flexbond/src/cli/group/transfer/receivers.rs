//! Those who receive, as the sender knows them: who is there, what each has, and how it ended for each.

use std::collections::{BTreeMap, HashMap};

use tokio::sync::mpsc;

use super::protocol::{Answer, Assembly, Claim, LONGEST, Manifest, ProtocolError, Report, decode};
use crate::cli::Failure;
use crate::cli::group::show::Show;
use crate::cli::group::{accept_failure, over_failure};
use crate::group::{BroadcastSender, Coordinator, Event, Gone, MemberId, Over, Session};

/// Notices that wait to be read.
const WAITING: usize = 64;

/// Something that happened to a receiver.
enum Notice {
    Event(Event),
    Answer(MemberId, Result<Answer, ProtocolError>),
    Over(Over),
}

/// How it stands with a receiver.
enum State {
    /// It has not said yet what it has.
    Asked,
    /// It has the beginnings of these files, or takes something for them.
    Has(HashMap<u32, Claim>),
    /// It has told what it has in the end.
    Got(Report),
    /// It is not there any more, or of no use.
    Lost(String),
}

/// Those who receive.
pub(super) struct Receivers<'a> {
    coordinator: &'a Coordinator,
    notices: mpsc::Receiver<Notice>,
    states: BTreeMap<MemberId, State>,
    /// Nobody else is taken.
    closed: bool,
}

impl<'a> Receivers<'a> {
    pub(super) fn new(coordinator: &'a Coordinator) -> Self {
        let (tx, notices) = mpsc::channel(WAITING);
        tokio::spawn(listen(coordinator.session().clone(), tx));
        Receivers {
            coordinator,
            notices,
            states: BTreeMap::new(),
            closed: false,
        }
    }

    /// Waits until so many are there, and takes nobody else. Cancel safe.
    pub(super) async fn gather(
        &mut self,
        count: usize,
        group: &BroadcastSender,
        show: &mut Show,
    ) -> Result<(), Failure> {
        while self.states.len() < count {
            tokio::select! {
                biased;
                notice = self.notices.recv() => {
                    self.handle(notice, &Manifest::default(), show).await?;
                    // Before it begins, whoever has gone can be replaced.
                    self.states.retain(|_, state| !matches!(state, State::Lost(_)));
                }
                member = group.accept() => {
                    let member = member.map_err(|error| accept_failure(&error))?;
                    if self.coordinator.members().contains(&member) {
                        self.states.insert(member, State::Asked);
                    }
                }
            }
        }
        self.closed = true;
        Ok(())
    }

    /// How many are there.
    pub(super) fn count(&self) -> usize {
        self.states.len()
    }

    /// Waits until everybody who is still there has said what it has.
    pub(super) async fn claims(&mut self, manifest: &Manifest, show: &mut Show) -> Result<(), Failure> {
        while self.any(|state| matches!(state, State::Asked)) {
            let notice = self.notices.recv().await;
            self.handle(notice, manifest, show).await?;
        }
        Ok(())
    }

    /// Waits until everybody who is still there has said what it has in the end.
    pub(super) async fn reports(&mut self, manifest: &Manifest, show: &mut Show) -> Result<(), Failure> {
        while self.any(|state| matches!(state, State::Asked | State::Has(_))) {
            let notice = self.notices.recv().await;
            self.handle(notice, manifest, show).await?;
        }
        Ok(())
    }

    /// Takes in what has happened by now; false if nobody is there any more.
    pub(super) async fn look(&mut self, manifest: &Manifest, show: &mut Show) -> Result<bool, Failure> {
        while let Ok(notice) = self.notices.try_recv() {
            self.handle(Some(notice), manifest, show).await?;
        }
        Ok(self.any(|state| matches!(state, State::Has(_))))
    }

    /// What each who is still there says that it has of a file.
    pub(super) fn claims_of(&self, file: u32) -> impl Iterator<Item = Option<&Claim>> {
        self.states.values().filter_map(move |state| match state {
            State::Has(claims) => Some(claims.get(&file)),
            State::Asked | State::Got(_) | State::Lost(_) => None,
        })
    }

    /// A line about each, and how many have everything.
    pub(super) async fn conclude(self, manifest: &Manifest, show: &mut Show) -> usize {
        let mut complete = 0;
        for (member, state) in self.states {
            let name = show.roll.name(member);
            let end = match state {
                State::Got(report) if report.failed == 0 => {
                    complete += 1;
                    "complete".to_owned()
                }
                State::Got(report) => describe(&report, manifest),
                State::Lost(why) => format!("failed: {why}"),
                State::Asked | State::Has(_) => "failed: it did not come to the end".to_owned(),
            };
            show.line(&format!("{name}: {end}")).await;
        }
        complete
    }

    fn any(&self, test: impl Fn(&State) -> bool) -> bool {
        self.states.values().any(test)
    }

    async fn handle(
        &mut self,
        notice: Option<Notice>,
        manifest: &Manifest,
        show: &mut Show,
    ) -> Result<(), Failure> {
        match notice {
            Some(Notice::Event(event)) => {
                match &event {
                    Event::Gone { member, why } => self.lose(*member, gone(*why)),
                    // It would not get what was sent before.
                    Event::Joined { member, .. } if self.closed && !self.states.contains_key(member) => {
                        self.coordinator.evict(*member);
                    }
                    _ => {}
                }
                show.event(Ok(event)).await?;
            }
            Some(Notice::Answer(member, answer)) => {
                let accepted = answer.and_then(|answer| self.take(member, answer, manifest));
                if let Err(error) = accepted {
                    self.lose(member, &error.to_string());
                    self.coordinator.evict(member);
                }
            }
            Some(Notice::Over(over)) => return Err(over_failure(&over)),
            None => return Err(Failure::new("the session has ended")),
        }
        Ok(())
    }

    fn take(&mut self, member: MemberId, answer: Answer, manifest: &Manifest) -> Result<(), ProtocolError> {
        let Some(state) = self.states.get_mut(&member) else {
            return Err(ProtocolError::Order("an answer from somebody who was not asked"));
        };
        *state = match (&state, answer) {
            (State::Asked, Answer::Has(claims)) => State::Has(checked(claims, manifest)?),
            (State::Has(_), Answer::Got(report)) => State::Got(report),
            (State::Asked | State::Has(_), Answer::Refused(why)) => {
                State::Lost(why.escape_debug().to_string())
            }
            _ => return Err(ProtocolError::Order("an answer that was not asked for")),
        };
        Ok(())
    }

    fn lose(&mut self, member: MemberId, why: &str) {
        match self.states.get_mut(&member) {
            // Who has told everything may go.
            None | Some(State::Got(_) | State::Lost(_)) => {}
            Some(state) => *state = State::Lost(why.to_owned()),
        }
    }
}

fn checked(claims: Vec<Claim>, manifest: &Manifest) -> Result<HashMap<u32, Claim>, ProtocolError> {
    let is_possible = |claim: &Claim| {
        let file = manifest.file(claim.file);
        file.is_some_and(|(_, size)| claim.length <= size)
    };
    match claims.iter().all(is_possible) {
        true => Ok(claims.into_iter().map(|claim| (claim.file, claim)).collect()),
        false => Err(ProtocolError::Order("it says that it has what there is not")),
    }
}

fn gone(why: Option<Gone>) -> &'static str {
    match why {
        Some(Gone::Left) => "it left",
        Some(Gone::Dead) => "it died",
        Some(Gone::Evicted) => "it was sent away: it did not keep up",
        _ => "it is gone",
    }
}

/// What a receiver lacks.
fn describe(report: &Report, manifest: &Manifest) -> String {
    let mut text = format!("failed: {} of {}", report.failed, manifest.entries.len());
    for (number, why) in report.faults.iter().take(3) {
        if let Some(entry) = manifest.entries.get(*number as usize) {
            text += &format!("; {}: {}", entry.path, why.escape_debug());
        }
    }
    if report.failed > 3 {
        text += "; …";
    }
    text
}

/// Passes on what happens in a session. What a member has said comes before that it has gone.
async fn listen(session: Session, notices: mpsc::Sender<Notice>) {
    let mut assemblies: HashMap<MemberId, Assembly> = HashMap::new();
    loop {
        let mut passed = Vec::new();
        let mut hear = |received: crate::group::Received| {
            let assembly = assemblies.entry(received.from).or_default();
            match assembly.push(received.part, &received.body, LONGEST) {
                Ok(None) => {}
                Ok(Some(bytes)) => passed.push(Notice::Answer(received.from, decode(&bytes))),
                Err(error) => passed.push(Notice::Answer(received.from, Err(error))),
            }
        };
        tokio::select! {
            biased;
            received = session.recv() => match received {
                Ok(received) => hear(received),
                Err(crate::group::RecvError::Over(over)) => passed.push(Notice::Over(over)),
                Err(_) => return,
            },
            event = session.event() => {
                while let Ok(received) = session.try_recv() {
                    hear(received);
                }
                match event {
                    Ok(event) => {
                        if let Event::Gone { member, .. } = &event {
                            assemblies.remove(member);
                        }
                        passed.push(Notice::Event(event));
                    }
                    Err(over) => passed.push(Notice::Over(over)),
                }
            }
        }
        for notice in passed {
            let last = matches!(notice, Notice::Over(_));
            if notices.send(notice).await.is_err() || last {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::path::RelativePath;
    use super::super::protocol::{Entry, Kind};
    use super::*;

    fn manifest() -> Manifest {
        let entry = |path: &str, kind| Entry {
            path: RelativePath::parse(path.into()).unwrap(),
            kind,
            mode: 0,
            modified: (0, 0),
        };
        Manifest {
            entries: vec![entry("d", Kind::Folder), entry("f", Kind::File { size: 9 })],
        }
    }

    #[test]
    fn nobody_has_what_there_is_not() {
        let claim = |file, length| Claim {
            file,
            length,
            digest: [0; 32],
        };
        assert!(checked(vec![claim(1, 9)], &manifest()).is_ok());
        for (file, length) in [(0, 0), (1, 10), (2, 0), (u32::MAX, u64::MAX)] {
            assert!(
                checked(vec![claim(file, length)], &manifest()).is_err(),
                "{file} {length}"
            );
        }
    }

    #[test]
    fn what_is_lacking_is_named() {
        let mut report = Report::default();
        report.add(1, "no space\x1b[2J");
        report.add(77, "of no file");
        assert_eq!(
            describe(&report, &manifest()),
            "failed: 2 of 2; f: no space\\u{1b}[2J"
        );
    }
}
