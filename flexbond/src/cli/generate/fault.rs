//! Faults on purpose: what receivers must be able to bear, the same for the same seed.

use serde_json::{Value, json};

use crate::transport::{Frame, Message};

/// A fault, and how often it happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fault {
    kind: Kind,
    /// From 0 to 1: of each image, or of each series.
    probability: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Drop,
    Duplicate,
    Reorder,
    Truncate,
    AbortSeries,
}

impl Fault {
    /// `drop=0.01`; without a number it always happens.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (name, probability) = text.split_once('=').unwrap_or((text, "1"));
        let kind = match name {
            "drop" => Kind::Drop,
            "duplicate" => Kind::Duplicate,
            "reorder" => Kind::Reorder,
            "truncate" => Kind::Truncate,
            "abort-series" => Kind::AbortSeries,
            _ => return Err("not one of drop, duplicate, reorder, truncate and abort-series".to_owned()),
        };
        match probability.parse::<f64>() {
            Ok(probability) if (0.0..=1.0).contains(&probability) => Ok(Fault { kind, probability }),
            _ => Err(format!("{name} has a probability from 0 to 1, as in {name}=0.01")),
        }
    }

    /// Whether it needs series that have an end.
    pub(super) fn is_about_series(self) -> bool {
        self.kind == Kind::AbortSeries
    }
}

/// Does to messages what was asked for, and counts it.
pub(super) struct Faults {
    drop: f64,
    duplicate: f64,
    reorder: f64,
    truncate: f64,
    abort: f64,
    rng: fastrand::Rng,
    /// The image that waits to be overtaken.
    held: Option<Message>,
    counts: FaultCounts,
}

/// How often each fault happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FaultCounts {
    pub(super) dropped: u64,
    pub(super) duplicated: u64,
    pub(super) reordered: u64,
    pub(super) truncated: u64,
    pub(super) aborted_series: u64,
}

impl Faults {
    /// Of two faults of the same kind the last one counts.
    pub(super) fn new(faults: &[Fault], seed: u64) -> Self {
        let of = |kind: Kind| {
            let last = faults.iter().rev().find(|fault| fault.kind == kind);
            last.map_or(0.0, |fault| fault.probability)
        };
        Faults {
            drop: of(Kind::Drop),
            duplicate: of(Kind::Duplicate),
            reorder: of(Kind::Reorder),
            truncate: of(Kind::Truncate),
            abort: of(Kind::AbortSeries),
            rng: fastrand::Rng::with_seed(seed),
            held: None,
            counts: FaultCounts::default(),
        }
    }

    /// What was done so far.
    pub(super) fn counts(&self) -> FaultCounts {
        self.counts
    }

    /// Gives an image to `send`: not at all, as it is, shortened, twice, or after the next one.
    pub(super) fn apply(&mut self, mut message: Message, mut send: impl FnMut(Message)) {
        if self.happens(self.drop) {
            self.counts.dropped += 1;
            return;
        }
        if self.happens(self.truncate) {
            self.counts.truncated += 1;
            message = shortened(message);
        }
        if self.held.is_none() && self.happens(self.reorder) {
            self.held = Some(message);
            return;
        }
        if self.happens(self.duplicate) {
            self.counts.duplicated += 1;
            send(message.clone());
        }
        send(message);
        if let Some(held) = self.held.take() {
            self.counts.reordered += 1;
            send(held);
        }
    }

    /// Gives the image that waits to be overtaken to `send`: no other one comes.
    pub(super) fn release(&mut self, send: impl FnMut(Message)) {
        self.held.take().into_iter().for_each(send);
    }

    /// Where a series of so many images breaks off, if it is to: before the image of that number, from 1 on.
    pub(super) fn abort_at(&mut self, images: u64) -> Option<u64> {
        (images > 0 && self.happens(self.abort)).then(|| 1 + self.rng.u64(0..images))
    }

    /// Notes that the series breaks off. An image that waits is gone with it.
    pub(super) fn abort(&mut self) {
        self.counts.aborted_series += 1;
        self.counts.dropped += u64::from(self.held.take().is_some());
    }

    fn happens(&mut self, probability: f64) -> bool {
        // Most often nothing was asked for, and nothing is to be paid for that.
        probability > 0.0 && self.rng.f64() < probability
    }
}

impl FaultCounts {
    pub(super) fn to_json(self) -> Value {
        json!({
            "dropped": self.dropped,
            "duplicated": self.duplicated,
            "reordered": self.reordered,
            "truncated": self.truncated,
            "aborted_series": self.aborted_series,
        })
    }
}

/// Without its last part; where that is the only one beside the header, or the only one at all, with half of it.
fn shortened(message: Message) -> Message {
    let mut parts = message.into_frames();
    let last = parts.pop();
    if parts.len() < 2
        && let Some(last) = last
    {
        let half = last.len() / 2;
        parts.push(Frame::from(last.into_bytes().slice(..half)));
    }
    Message::from(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(faults: &[&str], images: u64) -> (Vec<u64>, FaultCounts) {
        let faults: Vec<Fault> = faults.iter().map(|text| Fault::parse(text).unwrap()).collect();
        let mut faults = Faults::new(&faults, 7);
        let mut sent = Vec::new();
        let mut send = |message: Message| sent.push(message.frames()[0].to_str().unwrap().parse().unwrap());
        for number in 0..images {
            faults.apply(Message::from(number.to_string()), &mut send);
        }
        faults.release(&mut send);
        (sent, faults.counts())
    }

    #[test]
    fn nothing_happens_unless_asked_for() {
        assert_eq!(run(&[], 100), ((0..100).collect(), FaultCounts::default()));
        assert_eq!(run(&["drop=0"], 100).0.len(), 100);
    }

    #[test]
    fn faults_are_counted_and_the_same_for_the_same_seed() {
        let (sent, counts) = run(&["drop=0.1"], 1000);
        assert!((50..150).contains(&counts.dropped), "{counts:?}");
        assert_eq!(sent.len() as u64, 1000 - counts.dropped);
        assert_eq!(run(&["drop=0.1"], 1000).0, sent);

        let (sent, counts) = run(&["duplicate=0.1"], 1000);
        assert_eq!(sent.len() as u64, 1000 + counts.duplicated);
        assert!(sent.is_sorted() && counts.duplicated > 50, "{counts:?}");

        let (sent, counts) = run(&["reorder=0.1"], 1000);
        let backwards = sent.windows(2).filter(|pair| pair[0] > pair[1]).count() as u64;
        assert_eq!((sent.len(), backwards), (1000, counts.reordered));
        assert!(counts.reordered > 50, "{counts:?}");
    }

    #[test]
    fn what_is_shortened_lacks_its_end() {
        let cut = |parts: &[&str]| {
            let parts: Vec<Frame> = parts.iter().map(|&part| part.into()).collect();
            let message = shortened(Message::from(parts));
            let parts = message.frames().iter();
            parts
                .map(|part| part.to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(cut(&["header", "description", "data"]), ["header", "description"]);
        assert_eq!(cut(&["header", "data"]), ["header", "da"]);
        assert_eq!(cut(&["data"]), ["da"]);
    }

    #[test]
    fn a_series_breaks_off_after_its_first_image() {
        let mut faults = Faults::new(&[Fault::parse("abort-series=0.5").unwrap()], 3);
        let places: Vec<Option<u64>> = (0..200).map(|_| faults.abort_at(4)).collect();
        let aborted = places.iter().flatten();
        assert!((60..140).contains(&aborted.clone().count()), "{places:?}");
        for place in 1..=4 {
            assert!(aborted.clone().any(|&at| at == place), "{place}");
        }
        assert_eq!(faults.abort_at(0), None);
    }

    #[test]
    fn what_is_no_fault_is_told() {
        assert_eq!(
            Fault::parse("drop=0.25"),
            Ok(Fault {
                kind: Kind::Drop,
                probability: 0.25
            })
        );
        assert!(Fault::parse("abort-series").unwrap().is_about_series());
        for text in [
            "",
            "loss=0.1",
            "drop=",
            "drop=2",
            "drop=-1",
            "drop=nan",
            "reorder=x",
        ] {
            assert!(Fault::parse(text).is_err(), "{text}");
        }
    }
}
