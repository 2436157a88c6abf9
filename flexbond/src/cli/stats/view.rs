//! How a stream is shown while it runs: as lines, or live in the terminal.

use super::super::output::Stop;
use super::super::report::Report;
use super::super::stderr;
use super::notices::Notices;
use crate::stream::Stream;

#[cfg(feature = "tui")]
use super::super::Failure;
#[cfg(feature = "tui")]
use super::live::Live;

/// Where it is shown.
pub(super) enum View {
    Lines,
    #[cfg(feature = "tui")]
    Live(Box<Live>),
}

/// What the user wants of a live view.
#[cfg_attr(not(feature = "tui"), expect(dead_code, reason = "lines are read, not asked"))]
pub(super) enum Wish {
    End,
    Show,
}

impl View {
    /// In the terminal; `source` is what it is called there.
    #[cfg(feature = "tui")]
    pub(super) fn live(source: &str) -> Result<Self, Failure> {
        Live::start(source).map(|live| View::Live(Box::new(live)))
    }

    pub(super) fn is_lines(&self) -> bool {
        matches!(self, View::Lines)
    }

    /// An interval is over.
    pub(super) fn tick(
        &mut self,
        stream: &Stream,
        report: &mut Report,
        notices: &mut Notices,
    ) -> Result<(), Stop> {
        match self {
            View::Lines => {
                notices.take().for_each(|notice| stderr::line(&notice));
                report.rates_with(stream.statistics(), || notices.fields(stream))
            }
            #[cfg(feature = "tui")]
            View::Live(live) => live.tick(stream, notices),
        }
    }

    /// Shows what there is, as far as that can be done again and again.
    pub(super) fn show(&mut self, _stream: &Stream, _notices: &mut Notices) -> Result<(), Stop> {
        match self {
            View::Lines => Ok(()),
            #[cfg(feature = "tui")]
            View::Live(live) => live.show(_stream, _notices),
        }
    }

    /// Tells what is new, where that does not disturb what is shown.
    pub(super) fn tell(&self, notices: &mut Notices) {
        if self.is_lines() {
            notices.take().for_each(|notice| stderr::line(&notice));
        }
    }

    /// Leaves the terminal as it was.
    pub(super) fn close(self) {
        match self {
            View::Lines => {}
            #[cfg(feature = "tui")]
            View::Live(live) => drop(live),
        }
    }

    /// Waits for what the user wants; lines are not asked. Cancel safe.
    pub(super) async fn wish(&mut self) -> Wish {
        match self {
            View::Lines => std::future::pending().await,
            #[cfg(feature = "tui")]
            View::Live(live) => live.wish().await,
        }
    }
}
