//! What is sent when: series of images with their beginnings and ends, pauses between them, and faults.

use std::collections::VecDeque;
use std::time::Duration;

use super::fault::Faults;
use super::source::{Place, Source};
use crate::transport::Message;

/// The next thing to do.
pub(super) enum Step {
    /// Wait until the image of this number since the beginning, or the last pause, is due.
    Due(u64),
    Message(Message),
    Pause(Duration),
}

/// How much is sent.
#[derive(Clone, Copy, Default)]
pub(super) struct Plan {
    /// Images in all; endless if left out.
    pub(super) count: Option<u64>,
    /// Images of a series; all of them in one if left out.
    pub(super) images_per_series: Option<u64>,
    /// Between two series.
    pub(super) pause: Duration,
    /// Whether images have a rate.
    pub(super) paced: bool,
}

/// What a source sends, step by step.
pub(super) struct Script {
    source: Box<dyn Source>,
    faults: Faults,
    plan: Plan,
    /// That of the next image.
    place: Place,
    since_pause: u64,
    state: State,
    steps: VecDeque<Step>,
}

enum State {
    Between,
    Within {
        /// Images that are still to come in the series.
        left: Option<u64>,
        /// The image before which the series breaks off.
        abort_at: Option<u64>,
    },
    Over,
}

impl Script {
    pub(super) fn new(source: Box<dyn Source>, faults: Faults, plan: Plan) -> Self {
        Script {
            source,
            faults,
            plan,
            place: Place::default(),
            since_pause: 0,
            state: State::Between,
            steps: VecDeque::new(),
        }
    }

    /// Whether nothing more is to be done.
    pub(super) fn is_over(&mut self) -> bool {
        self.fill();
        self.steps.is_empty()
    }

    /// Takes the next step.
    pub(super) fn next(&mut self) -> Option<Step> {
        self.fill();
        self.steps.pop_front()
    }

    /// Puts a step back that could not be done yet.
    pub(super) fn put_back(&mut self, step: Step) {
        self.steps.push_front(step);
    }

    /// Ends early, as a detector that is disarmed: the message that ends the running series, where there is one.
    pub(super) fn stop(&mut self) -> Option<Message> {
        self.steps.clear();
        match std::mem::replace(&mut self.state, State::Over) {
            State::Within { .. } => self.source.end(self.place.series),
            State::Between | State::Over => None,
        }
    }

    /// Images that were made, dropped ones included.
    pub(super) fn images(&self) -> u64 {
        self.place.number
    }

    pub(super) fn source(&self) -> &dyn Source {
        &*self.source
    }

    pub(super) fn faults(&self) -> &Faults {
        &self.faults
    }

    fn fill(&mut self) {
        while self.steps.is_empty() && !matches!(self.state, State::Over) {
            self.advance();
        }
    }

    fn advance(&mut self) {
        match self.state {
            State::Between => self.begin(),
            State::Within {
                abort_at: Some(frame),
                ..
            } if frame == self.place.frame => {
                self.faults.abort();
                self.state = State::Between;
            }
            State::Within { left: Some(0), .. } => {
                let steps = &mut self.steps;
                self.faults
                    .release(|message| steps.push_back(Step::Message(message)));
                self.steps
                    .extend(self.source.end(self.place.series).map(Step::Message));
                self.state = State::Between;
            }
            State::Within { left, abort_at } => {
                self.image();
                self.state = State::Within {
                    left: left.map(|left| left - 1),
                    abort_at,
                };
            }
            State::Over => {}
        }
    }

    fn begin(&mut self) {
        let left = self.plan.count.map(|count| count - self.place.number);
        if left == Some(0) {
            self.state = State::Over;
            return;
        }
        if self.place.series > 0 && !self.plan.pause.is_zero() {
            self.steps.push_back(Step::Pause(self.plan.pause));
            self.since_pause = 0;
        }
        self.place.series += 1;
        self.place.frame = 0;
        let images = match (self.plan.images_per_series, left) {
            (Some(images), Some(left)) => Some(images.min(left)),
            (images, left) => images.or(left),
        };
        let message = self.source.begin(self.place.series, images);
        self.steps.extend(message.map(Step::Message));
        self.state = State::Within {
            left: images,
            abort_at: images.and_then(|images| self.faults.abort_at(images)),
        };
    }

    fn image(&mut self) {
        if self.plan.paced {
            self.steps.push_back(Step::Due(self.since_pause));
        }
        let message = self.source.image(self.place);
        let steps = &mut self.steps;
        self.faults
            .apply(message, |message| steps.push_back(Step::Message(message)));
        self.since_pause += 1;
        self.place.frame += 1;
        self.place.number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::generate::fault::Fault;

    /// Says in words what it is asked for.
    struct Words;

    impl Source for Words {
        fn begin(&mut self, series: u64, images: Option<u64>) -> Option<Message> {
            Some(format!("begin {series} {images:?}").into())
        }

        fn image(&mut self, place: Place) -> Message {
            format!("{} {} {}", place.series, place.frame, place.number).into()
        }

        fn end(&mut self, series: u64) -> Option<Message> {
            Some(format!("end {series}").into())
        }

        fn size(&self) -> usize {
            1
        }
    }

    fn script(plan: Plan, faults: &[Fault]) -> Script {
        Script::new(Box::new(Words), Faults::new(faults, 1), plan)
    }

    fn all(mut script: Script) -> Vec<String> {
        std::iter::from_fn(|| script.next())
            .map(|step| match step {
                Step::Due(number) => format!("due {number}"),
                Step::Message(message) => message.frames()[0].to_str().unwrap().to_owned(),
                Step::Pause(time) => format!("pause {time:?}"),
            })
            .collect()
    }

    #[test]
    fn series_follow_each_other_until_all_images_are_sent() {
        let plan = Plan {
            count: Some(3),
            images_per_series: Some(2),
            pause: Duration::from_secs(1),
            paced: true,
        };
        assert_eq!(
            all(script(plan, &[])),
            [
                "begin 1 Some(2)",
                "due 0",
                "1 0 0",
                "due 1",
                "1 1 1",
                "end 1",
                "pause 1s",
                "begin 2 Some(1)",
                "due 0",
                "2 0 2",
                "end 2",
            ]
        );
        assert!(
            all(script(
                Plan {
                    count: Some(0),
                    ..plan
                },
                &[]
            ))
            .is_empty()
        );
    }

    #[test]
    fn aborted_series_have_an_image_and_no_end() {
        let plan = Plan {
            count: Some(20),
            images_per_series: Some(5),
            ..Plan::default()
        };
        let steps = all(script(plan, &[Fault::parse("abort-series").unwrap()]));
        assert_eq!(
            steps.iter().filter(|step| !step.starts_with("begin")).count(),
            20,
            "every image was made: {steps:?}"
        );
        assert!(
            steps
                .windows(2)
                .all(|pair| !pair.iter().all(|step| step.starts_with("begin"))),
            "{steps:?}"
        );
        assert!(!steps.iter().any(|step| step.starts_with("end")), "{steps:?}");
    }

    #[test]
    fn whoever_stops_ends_the_series() {
        let mut script = script(Plan::default(), &[]);
        for _ in 0..4 {
            script.next();
        }
        assert_eq!(script.images(), 3);
        assert_eq!(script.stop(), Some(Message::from("end 1")));
        assert!(script.is_over() && script.stop().is_none());
    }

    #[test]
    fn what_is_put_back_comes_next() {
        let mut script = script(Plan::default(), &[]);
        let first = script.next().unwrap();
        script.put_back(first);
        assert!(
            matches!(script.next(), Some(Step::Message(message)) if message == Message::from("begin 1 None"))
        );
    }
}
