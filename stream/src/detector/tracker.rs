//! What is odd about the order in which the messages of series come: plain state, no clock.

use super::DetectorImage;
use crate::stream2::Event;
use crate::{Body, Header, StreamMessage};

/// Follows the series of one detector, whichever version of the stream it speaks, and says what the user should know.
///
/// Nothing is ever waited for: a series whose end is missing is over when another begins, and a receiver that came after
/// the header has the images all the same. Losses within a series are the business of
/// [`Statistics`](crate::Statistics).
///
/// ```
/// use flexbond_stream::detector::{SeriesEvent, SeriesTracker};
///
/// let mut tracker = SeriesTracker::new();
/// assert_eq!(tracker.handle_start(1), [SeriesEvent::Started { series: 1 }]);
/// assert!(tracker.handle_image(1).is_empty());
/// // The detector was stopped, and the next series begins without an end of the first.
/// assert_eq!(
///     tracker.handle_start(2),
///     [SeriesEvent::Aborted { series: 1, images: 1 }, SeriesEvent::Started { series: 2 }],
/// );
/// assert_eq!(tracker.current(), Some(2));
/// ```
#[derive(Clone, Debug, Default)]
pub struct SeriesTracker {
    current: Option<Series>,
    // The series whose end came last, as long as no other runs.
    over: Option<u64>,
    // The last series that was told to be a stray, so that each is told once and not per image.
    stray: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Series {
    number: u64,
    images: u64,
    header: bool,
}

/// Something that the user of a series should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SeriesEvent {
    /// A header came: a series begins.
    Started {
        /// The number of the series.
        series: u64,
    },
    /// A header came again for the series that is running.
    Restarted {
        /// The number of the series.
        series: u64,
        /// Images that had come before.
        images: u64,
    },
    /// The end of a series came.
    Ended {
        /// The number of the series.
        series: u64,
        /// Images that came.
        images: u64,
        /// Whether its header had come.
        header: bool,
    },
    /// Another series begins and the end of this one never came: it was aborted, or its end was lost.
    Aborted {
        /// The number of the series that is over.
        series: u64,
        /// Images that had come.
        images: u64,
    },
    /// An image came of a series whose header did not: this receiver connected after the detector was armed, or shares
    /// the stream with another one. The images are good; what the header says is not known.
    HeaderMissing {
        /// The number of the series.
        series: u64,
    },
    /// The end came of a series of which nothing else did.
    EndWithoutStart {
        /// The number of the series.
        series: u64,
    },
    /// An image or an end came of a series that is over: several senders, or a detector that emptied its queue late. Told
    /// once for each such series.
    Stray {
        /// The number of the series.
        series: u64,
    },
}

impl SeriesTracker {
    /// Before the first message.
    #[must_use]
    pub fn new() -> Self {
        SeriesTracker::default()
    }

    /// The series that is running.
    #[must_use]
    pub fn current(&self) -> Option<u64> {
        self.current.map(|series| series.number)
    }

    /// Images of the running series that came so far.
    #[must_use]
    pub fn images(&self) -> u64 {
        self.current.map_or(0, |series| series.images)
    }

    /// Whether the header of the running series came.
    #[must_use]
    pub fn has_header(&self) -> bool {
        self.current.is_some_and(|series| series.header)
    }

    /// Follows one message, whatever it is. At most two events, in order.
    pub fn handle_message(&mut self, message: &StreamMessage) -> Vec<SeriesEvent> {
        match &message.body {
            Body::DetectorHeader(header) => self.handle_start(header.series()),
            Body::DetectorImage(image) => self.handle_image(image.series()),
            Body::DetectorEnd(end) => self.handle_end(end.series()),
            Body::Stream2(message) => match (message.event(), message.series_id()) {
                (Event::Start(_), Some(series)) => self.handle_start(series),
                (Event::Image(_), Some(series)) => self.handle_image(series),
                (Event::End(_), Some(series)) => self.handle_end(series),
                _ => Vec::new(),
            },
            // A handler of the user's may have understood what is a detector's all the same.
            Body::Custom(_) => self.handle_header(&message.header),
            _ => Vec::new(),
        }
    }

    fn handle_header(&mut self, header: &Header) -> Vec<SeriesEvent> {
        let Some(series) = header.series() else {
            return Vec::new();
        };
        match header.htype() {
            _ if header.begins_series() => self.handle_start(series),
            _ if header.ends_series() => self.handle_end(series),
            DetectorImage::HTYPE | "stream2-image" => self.handle_image(series),
            _ => Vec::new(),
        }
    }

    /// The header of a series came. Its number may be any: detectors begin anew when they are switched on.
    pub fn handle_start(&mut self, series: u64) -> Vec<SeriesEvent> {
        let last = self.current.replace(Series {
            number: series,
            images: 0,
            header: true,
        });
        (self.over, self.stray) = (None, None);
        match last {
            Some(last) if last.number == series => vec![SeriesEvent::Restarted {
                series,
                images: last.images,
            }],
            Some(last) => vec![aborted(last), SeriesEvent::Started { series }],
            None => vec![SeriesEvent::Started { series }],
        }
    }

    /// An image of a series came.
    pub fn handle_image(&mut self, series: u64) -> Vec<SeriesEvent> {
        match &mut self.current {
            Some(current) if current.number == series => {
                current.images += 1;
                Vec::new()
            }
            // Numbers grow, so a smaller one is a late image and a larger one a series whose header was missed.
            Some(current) if series < current.number => self.stray(series),
            None if self.over == Some(series) => self.stray(series),
            _ => {
                (self.over, self.stray) = (None, None);
                let last = self.current.replace(Series {
                    number: series,
                    images: 1,
                    header: false,
                });
                let missing = SeriesEvent::HeaderMissing { series };
                last.map(aborted).into_iter().chain([missing]).collect()
            }
        }
    }

    /// The end of a series came.
    pub fn handle_end(&mut self, series: u64) -> Vec<SeriesEvent> {
        match self.current {
            Some(current) if current.number == series => {
                self.current = None;
                self.over = Some(series);
                vec![SeriesEvent::Ended {
                    series,
                    images: current.images,
                    header: current.header,
                }]
            }
            Some(current) if series < current.number => self.stray(series),
            None if self.over == Some(series) => self.stray(series),
            _ => {
                let last = self.current.take();
                self.over = Some(series);
                let end = SeriesEvent::EndWithoutStart { series };
                last.map(aborted).into_iter().chain([end]).collect()
            }
        }
    }

    fn stray(&mut self, series: u64) -> Vec<SeriesEvent> {
        match self.stray.replace(series) {
            Some(told) if told == series => Vec::new(),
            _ => vec![SeriesEvent::Stray { series }],
        }
    }
}

fn aborted(series: Series) -> SeriesEvent {
    SeriesEvent::Aborted {
        series: series.number,
        images: series.images,
    }
}

#[cfg(test)]
mod tests {
    use super::SeriesEvent::{Aborted, EndWithoutStart, Ended, HeaderMissing, Restarted, Started, Stray};
    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Start(u64),
        Image(u64),
        End(u64),
    }
    use Step::{End, Image, Start};

    fn run(steps: &[Step]) -> Vec<SeriesEvent> {
        let mut tracker = SeriesTracker::new();
        steps
            .iter()
            .flat_map(|&step| match step {
                Start(series) => tracker.handle_start(series),
                Image(series) => tracker.handle_image(series),
                End(series) => tracker.handle_end(series),
            })
            .collect()
    }

    #[test]
    fn whole_series_start_and_end() {
        let ended = |series, images| Ended {
            series,
            images,
            header: true,
        };
        assert_eq!(
            run(&[
                Start(1),
                Image(1),
                Image(1),
                End(1),
                Start(2),
                End(2),
                Start(1),
                End(1)
            ]),
            [
                Started { series: 1 },
                ended(1, 2),
                Started { series: 2 },
                ended(2, 0),
                Started { series: 1 },
                ended(1, 0)
            ]
        );
    }

    #[test]
    fn an_aborted_series_is_over_when_another_begins() {
        assert_eq!(
            run(&[Start(4), Image(4), Start(5), Image(5), Image(6), End(6)]),
            [
                Started { series: 4 },
                Aborted { series: 4, images: 1 },
                Started { series: 5 },
                Aborted { series: 5, images: 1 },
                HeaderMissing { series: 6 },
                Ended {
                    series: 6,
                    images: 1,
                    header: false
                }
            ]
        );
        assert_eq!(
            run(&[Start(4), Image(4), Start(4)]),
            [Started { series: 4 }, Restarted { series: 4, images: 1 }]
        );
        assert_eq!(
            run(&[Start(4), End(5), Start(6)]),
            [
                Started { series: 4 },
                Aborted { series: 4, images: 0 },
                EndWithoutStart { series: 5 },
                Started { series: 6 }
            ]
        );
    }

    #[test]
    fn connecting_late_is_told_once() {
        assert_eq!(
            run(&[Image(7), Image(7), Image(7), End(7)]),
            [
                HeaderMissing { series: 7 },
                Ended {
                    series: 7,
                    images: 3,
                    header: false
                }
            ]
        );
        assert_eq!(
            run(&[End(7), End(7)]),
            [EndWithoutStart { series: 7 }, Stray { series: 7 }]
        );
    }

    #[test]
    fn late_images_are_strays_and_change_nothing() {
        let mut tracker = SeriesTracker::new();
        tracker.handle_start(8);
        tracker.handle_image(8);
        tracker.handle_start(9);
        assert_eq!(tracker.handle_image(8), [Stray { series: 8 }]);
        assert!(tracker.handle_image(8).is_empty() && tracker.handle_end(8).is_empty());
        assert_eq!(tracker.handle_image(7), [Stray { series: 7 }]);
        assert!(tracker.handle_image(9).is_empty());
        assert_eq!(
            (tracker.current(), tracker.images(), tracker.has_header()),
            (Some(9), 1, true)
        );
        tracker.handle_end(9);
        assert_eq!(tracker.handle_image(9), [Stray { series: 9 }]);
        assert!(tracker.handle_image(9).is_empty());
        assert_eq!(tracker.current(), None);
        // Switched off and on again, and the header missed.
        assert_eq!(tracker.handle_image(1), [HeaderMissing { series: 1 }]);
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_a_header_starts_its_series(steps in proptest::collection::vec((0..3_u8, 0..4_u64), 0..40)) {
            let mut tracker = SeriesTracker::new();
            for (kind, series) in steps {
                let events = match kind {
                    0 => tracker.handle_start(series),
                    1 => tracker.handle_image(series),
                    _ => tracker.handle_end(series),
                };
                proptest::prop_assert!(events.len() <= 2);
                if kind == 0 {
                    proptest::prop_assert_eq!(tracker.current(), Some(series));
                    proptest::prop_assert!(tracker.has_header());
                }
            }
        }
    }
}
