//! Those who receive, as the sender knows them: who is there, what each has, and how it ended for each.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::assembly::Assembly;
use super::protocol::{Answer, Claim, LONGEST_CONTROL, Manifest, ProtocolError, Report, decode, shortened};
use crate::cli::Failure;
use crate::cli::group::show::Show;
use crate::cli::group::{accept_failure, over_failure};
use crate::cli::printable::printable;
use crate::group::{
    BroadcastSender, Coordinator, Event, Gone, MemberId, Over, Part, Received, RecvError, Session,
};

/// Who keeps all others waiting for so long is left behind: that takes nothing of what is sent, or says nothing of getting
/// on where it is asked for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Notices that wait to be read.
const WAITING: usize = 64;
/// So many bytes of a long answer are a sign of getting on, too.
const STEP: usize = 64 << 10;

/// Something that happened to a receiver.
enum Notice {
    Event(Event),
    Received(Received),
    Over(Over),
}

/// Somebody who receives.
struct Receiver {
    state: State,
    /// What has come of its next answer.
    assembly: Assembly,
    /// How much of that since `heard`.
    unheard: usize,
    /// When it was last known to get on.
    heard: Instant,
    /// How much it has done by its own account.
    done: u64,
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
    receivers: BTreeMap<MemberId, Receiver>,
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
            receivers: BTreeMap::new(),
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
        while self.receivers.len() < count {
            tokio::select! {
                biased;
                notice = self.notices.recv() => {
                    self.handle(notice, &Manifest::default(), show).await?;
                    // Before it begins, whoever has gone can be replaced.
                    self.receivers.retain(|_, receiver| !matches!(receiver.state, State::Lost(_)));
                }
                member = group.accept() => {
                    let member = member.map_err(|error| accept_failure(&error))?;
                    if self.coordinator.members().contains(&member) {
                        self.receivers.insert(member, Receiver::asked());
                    }
                }
            }
        }
        self.closed = true;
        Ok(())
    }

    /// How many are there.
    pub(super) fn count(&self) -> usize {
        self.receivers.len()
    }

    /// Waits until everybody who is still there, and gets on, has said what it has.
    pub(super) async fn claims(&mut self, manifest: &Manifest, show: &mut Show) -> Result<(), Failure> {
        self.answers(|state| matches!(state, State::Asked), manifest, show)
            .await
    }

    /// Waits until everybody who is still there, and gets on, has said what it has in the end.
    pub(super) async fn reports(&mut self, manifest: &Manifest, show: &mut Show) -> Result<(), Failure> {
        self.answers(
            |state| matches!(state, State::Asked | State::Has(_)),
            manifest,
            show,
        )
        .await
    }

    /// Waits for those who owe an answer, and leaves behind who does not get on with it.
    async fn answers(
        &mut self,
        owes: fn(&State) -> bool,
        manifest: &Manifest,
        show: &mut Show,
    ) -> Result<(), Failure> {
        let asked = Instant::now();
        for receiver in self.receivers.values_mut() {
            receiver.heard = asked;
        }
        loop {
            let owing = self.receivers.values().filter(|receiver| owes(&receiver.state));
            let Some(due) = owing.map(|receiver| receiver.heard + PATIENCE).min() else {
                return Ok(());
            };
            tokio::select! {
                biased;
                notice = self.notices.recv() => self.handle(notice, manifest, show).await?,
                () = sleep_until(due) => self.leave_behind(owes),
            }
        }
    }

    fn leave_behind(&mut self, owes: fn(&State) -> bool) {
        let now = Instant::now();
        for (member, receiver) in &mut self.receivers {
            if owes(&receiver.state) && now >= receiver.heard + PATIENCE {
                receiver.lose(&format!("it has not got on for {} s", PATIENCE.as_secs()));
                self.coordinator.evict(*member);
            }
        }
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
        self.receivers
            .values()
            .filter_map(move |receiver| match &receiver.state {
                State::Has(claims) => Some(claims.get(&file)),
                State::Asked | State::Got(_) | State::Lost(_) => None,
            })
    }

    /// A line about each, and how many have everything.
    pub(super) async fn conclude(self, manifest: &Manifest, show: &mut Show) -> usize {
        let mut complete = 0;
        for (member, receiver) in self.receivers {
            let name = show.roll.name(member);
            let end = match receiver.state {
                State::Got(report) if report.failed == 0 => {
                    complete += 1;
                    "complete".to_owned()
                }
                State::Got(report) => describe(&report, manifest),
                State::Lost(why) => format!("failed: {why}"),
                State::Asked | State::Has(_) => "failed: it did not come to the end".to_owned(),
            };
            show.line(&format!("{name}: {end}"));
        }
        complete
    }

    fn any(&self, test: impl Fn(&State) -> bool) -> bool {
        self.receivers.values().any(|receiver| test(&receiver.state))
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
                    Event::Joined { member, .. } if self.closed && !self.receivers.contains_key(member) => {
                        self.coordinator.evict(*member);
                    }
                    _ => {}
                }
                show.event(Ok(event))?;
            }
            Some(Notice::Received(received)) => {
                if let Err(error) = self.hear(&received, manifest) {
                    self.lose(received.from, &error.to_string());
                    self.coordinator.evict(received.from);
                }
            }
            Some(Notice::Over(over)) => return Err(over_failure(&over)),
            None => return Err(Failure::new("the session has ended")),
        }
        Ok(())
    }

    /// Takes what somebody has said, or a part of that.
    fn hear(&mut self, received: &Received, manifest: &Manifest) -> Result<(), ProtocolError> {
        match self.receivers.get_mut(&received.from) {
            Some(receiver) => receiver.hear(received.part, &received.body, manifest),
            None => Err(ProtocolError::Order("an answer from somebody who was not asked")),
        }
    }

    fn lose(&mut self, member: MemberId, why: &str) {
        if let Some(receiver) = self.receivers.get_mut(&member) {
            receiver.lose(why);
        }
    }
}

impl Receiver {
    /// One that is about to be asked.
    fn asked() -> Self {
        Receiver {
            state: State::Asked,
            assembly: Assembly::default(),
            unheard: 0,
            heard: Instant::now(),
            done: 0,
        }
    }

    /// It has to be no more than what it can have to say now.
    fn hear(&mut self, part: Part, body: &[u8], manifest: &Manifest) -> Result<(), ProtocolError> {
        let limit = match self.state {
            State::Asked => manifest.longest_claims(),
            State::Has(_) | State::Got(_) | State::Lost(_) => LONGEST_CONTROL,
        };
        self.unheard += body.len();
        if self.unheard >= STEP {
            self.get_on();
        }
        match self.assembly.push(part, body, limit)? {
            Some(bytes) => self.take(decode(&bytes)?, manifest),
            None => Ok(()),
        }
    }

    fn take(&mut self, answer: Answer, manifest: &Manifest) -> Result<(), ProtocolError> {
        self.state = match (&self.state, answer) {
            (State::Asked | State::Has(_), Answer::Busy { done }) => {
                if done > self.done {
                    self.done = done;
                    self.get_on();
                }
                return Ok(());
            }
            (State::Asked, Answer::Has(claims)) => State::Has(checked(claims, manifest)?),
            (State::Has(_), Answer::Got(report)) => State::Got(report),
            (State::Asked | State::Has(_), Answer::Refused(why)) => State::Lost(shortened(&why)),
            _ => return Err(ProtocolError::Order("an answer that was not asked for")),
        };
        Ok(())
    }

    fn get_on(&mut self) {
        self.heard = Instant::now();
        self.unheard = 0;
    }

    fn lose(&mut self, why: &str) {
        self.assembly = Assembly::default();
        match &mut self.state {
            // Who has told everything may go.
            State::Got(_) | State::Lost(_) => {}
            state => *state = State::Lost(why.to_owned()),
        }
    }
}

fn checked(claims: Vec<Claim>, manifest: &Manifest) -> Result<HashMap<u32, Claim>, ProtocolError> {
    let is_possible = |claim: &Claim| {
        let file = manifest.file(claim.file);
        file.is_some_and(|(_, size)| claim.length <= size)
    };
    match claims.len() <= manifest.files().count() && claims.iter().all(is_possible) {
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
            text += &format!("; {}: {}", entry.path, printable(why));
        }
    }
    if report.failed > 3 {
        text += "; …";
    }
    text
}

/// Passes on what happens in a session. What a member has said comes before that it has gone.
async fn listen(session: Session, notices: mpsc::Sender<Notice>) {
    loop {
        let mut passed = Vec::new();
        tokio::select! {
            biased;
            received = session.recv() => match received {
                Ok(received) => passed.push(Notice::Received(received)),
                Err(RecvError::Over(over)) => passed.push(Notice::Over(over)),
                Err(_) => return,
            },
            event = session.event() => {
                while let Ok(received) = session.try_recv() {
                    passed.push(Notice::Received(received));
                }
                passed.push(match event {
                    Ok(event) => Notice::Event(event),
                    Err(over) => Notice::Over(over),
                });
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
    use super::super::protocol::{Entry, Kind, encode};
    use super::*;
    use crate::cli::group::GROUP;
    use crate::group::{Member, Options};

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
        assert!(checked(vec![claim(1, 9), claim(1, 8)], &manifest()).is_err());
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

    #[test]
    fn nobody_says_more_than_it_can_have_to_say() {
        let manifest = manifest();
        let most = manifest.longest_claims();
        for (state, good) in [(State::Asked, true), (State::Has(HashMap::new()), false)] {
            let mut receiver = Receiver::asked();
            receiver.state = state;
            let part = vec![0; LONGEST_CONTROL];
            assert_eq!(receiver.hear(Part::First, &part, &manifest), Ok(()));
            let more = receiver.hear(Part::More, &[0; 10], &manifest);
            assert_eq!(more.is_ok(), good, "{more:?}");
            let more = receiver.hear(Part::First, &vec![0; most + 1], &manifest);
            assert_eq!(
                more,
                Err(ProtocolError::TooLong(if good { most } else { LONGEST_CONTROL }))
            );
        }
    }

    /// A coordinator, and a member that says what it is to say every now and then until it is sent away.
    async fn hold(name: &str, says: impl Fn(u64) -> Answer + Send + 'static) -> Coordinator {
        let endpoint = format!("inproc://{name}");
        let coordinator = Coordinator::bind(&*endpoint, Options::new()).await.unwrap();
        let member = Member::join(&*endpoint, Options::new()).await.unwrap();
        tokio::spawn(async move {
            let _group = member.join_broadcast(GROUP).await.unwrap();
            for number in 0.. {
                tokio::time::sleep(PATIENCE / 2).await;
                if member.send(encode(&says(number))).await.is_err() {
                    return;
                }
            }
        });
        coordinator
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_get_on_is_left_behind() {
        let coordinator = hold("no progress", |_| Answer::Busy { done: 1 }).await;
        let group = coordinator.create_broadcast(GROUP).unwrap();
        let mut show = Show::new().unwrap();
        let mut receivers = Receivers::new(&coordinator);
        receivers.gather(1, &group, &mut show).await.unwrap();
        let begin = Instant::now();
        receivers.claims(&manifest(), &mut show).await.unwrap();
        assert!(begin.elapsed() >= PATIENCE && begin.elapsed() < 2 * PATIENCE);
        let states: Vec<_> = receivers
            .receivers
            .values()
            .map(|receiver| &receiver.state)
            .collect();
        assert!(matches!(states[..], [State::Lost(why)] if why == "it has not got on for 60 s"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_gets_on_is_waited_for() {
        let coordinator = hold("progress", |number| match number {
            20 => Answer::Has(Vec::new()),
            done => Answer::Busy { done: done + 1 },
        })
        .await;
        let group = coordinator.create_broadcast(GROUP).unwrap();
        let mut show = Show::new().unwrap();
        let mut receivers = Receivers::new(&coordinator);
        receivers.gather(1, &group, &mut show).await.unwrap();
        let begin = Instant::now();
        receivers.claims(&manifest(), &mut show).await.unwrap();
        assert!(begin.elapsed() > 9 * PATIENCE);
        assert!(receivers.any(|state| matches!(state, State::Has(_))));
    }
}
