//! What the live view shows: rates and their history, gaps, types, sources.

use std::time::{Duration, Instant};

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Row, Sparkline, Table, Wrap};

use super::history::History;
use crate::cli::printable::printable;
use crate::cli::quantity;
use crate::stream::{Snapshot, Totals};

/// A stream from which nothing came for so long is silent.
const SILENT: Duration = Duration::from_secs(2);
/// How long a gap is worth a colour.
const RECENT: Duration = Duration::from_secs(10);
/// Notices that are shown.
const NOTICES: usize = 3;

/// What is shown, but for the numbers of the moment.
pub(super) struct Board {
    source: String,
    began: Instant,
    /// Bytes per second, for each interval.
    rates: History,
    /// Frames that went missing in each interval.
    gaps: History,
    totals: Totals,
    last_message: Option<Instant>,
    last_trouble: Option<Instant>,
    notices: Vec<String>,
}

/// How a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    /// Nothing came yet.
    Waiting,
    /// Nothing came for a while.
    Silent(Duration),
    /// Messages come, and some were missing, doubled or malformed a moment ago.
    Troubled,
    Good,
}

impl Board {
    pub(super) fn new(source: &str) -> Self {
        Board {
            source: printable(source).into_owned(),
            began: Instant::now(),
            rates: History::default(),
            gaps: History::default(),
            totals: Totals::default(),
            last_message: None,
            last_trouble: None,
            notices: Vec::new(),
        }
    }

    /// An interval is over.
    pub(super) fn tick(&mut self, now: Instant, snapshot: &Snapshot) {
        let totals = snapshot.totals;
        let before = std::mem::replace(&mut self.totals, totals);
        // Late frames are taken off the lost ones again.
        let lost = totals.lost_frames.saturating_sub(before.lost_frames);
        self.rates.push(snapshot.rates.bytes_per_second as u64);
        self.gaps.push(lost);
        if (totals.messages, totals.malformed) != (before.messages, before.malformed) {
            self.last_message = Some(now);
        }
        let is_troubled = lost > 0
            || totals.malformed > before.malformed
            || totals.duplicates > before.duplicates
            || totals.reordered > before.reordered;
        if is_troubled {
            self.last_trouble = Some(now);
        }
    }

    /// Adds a notice; the last ones are shown.
    pub(super) fn tell(&mut self, notice: String) {
        if self.notices.len() == NOTICES {
            self.notices.remove(0);
        }
        self.notices.push(notice);
    }

    fn health(&self, now: Instant) -> Health {
        let since = |then: Instant| now.saturating_duration_since(then);
        match (self.last_message, self.last_trouble) {
            (None, _) => Health::Waiting,
            (Some(last), _) if since(last) >= SILENT => Health::Silent(since(last)),
            (_, Some(trouble)) if since(trouble) < RECENT => Health::Troubled,
            _ => Health::Good,
        }
    }

    /// Draws it all.
    pub(super) fn draw(&self, frame: &mut Frame<'_>, now: Instant, snapshot: &Snapshot) {
        let notices = match self.notices.len() {
            0 => 0,
            // Long ones take two lines.
            count => 2 + 2 * count as u16,
        };
        let [head, rates, gaps, tables, foot] = Layout::vertical([
            Constraint::Length(5),
            Constraint::Min(4),
            Constraint::Length(5),
            Constraint::Min(5),
            Constraint::Length(notices),
        ])
        .areas(frame.area());
        self.draw_head(frame, head, now, snapshot);
        self.draw_rates(frame, rates);
        self.draw_gaps(frame, gaps, snapshot);
        let [types, sources] =
            Layout::horizontal([Constraint::Percentage(40), Constraint::Percentage(60)]).areas(tables);
        draw_types(frame, types, snapshot);
        draw_sources(frame, sources, snapshot);
        if notices > 0 {
            let lines: Vec<Line<'_>> = self
                .notices
                .iter()
                .map(|notice| Line::from(notice.as_str()))
                .collect();
            let text = Paragraph::new(lines).wrap(Wrap { trim: true });
            frame.render_widget(text.block(Block::bordered().title(" Notices ")).yellow(), foot);
        }
    }

    fn draw_head(&self, frame: &mut Frame<'_>, area: Rect, now: Instant, snapshot: &Snapshot) {
        let (text, colour) = match self.health(now) {
            Health::Waiting => ("waiting for the first message".to_owned(), Color::Gray),
            Health::Silent(time) => (format!("nothing for {} s", time.as_secs()), Color::Red),
            Health::Troubled => ("running, with trouble a moment ago".to_owned(), Color::Yellow),
            Health::Good => ("running".to_owned(), Color::Green),
        };
        let totals = &snapshot.totals;
        let seconds = now.saturating_duration_since(self.began).as_secs();
        let lines = vec![
            Line::from(vec![
                Span::styled("● ", Style::new().fg(colour)),
                Span::from(text),
            ]),
            Line::from(snapshot.rates.to_string()).bold(),
            Line::from(format!(
                "{}, {} in {seconds} s",
                quantity::messages(totals.messages),
                quantity::bytes(totals.bytes as f64)
            )),
        ];
        let block = Block::bordered()
            .title(format!(" {} ", self.source))
            .title(Line::from(" q ends ").right_aligned());
        frame.render_widget(Paragraph::new(lines).block(block), area);
    }

    fn draw_rates(&self, frame: &mut Frame<'_>, area: Rect) {
        let values: Vec<u64> = self.rates.last(inner(area)).collect();
        let top = values.iter().copied().max().unwrap_or(0);
        let title = format!(" Data rate, at most {}/s ", quantity::bytes(top as f64));
        let line = Sparkline::default()
            .block(Block::bordered().title(title))
            .max(top.max(1))
            .data(values)
            .green();
        frame.render_widget(line, area);
    }

    fn draw_gaps(&self, frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot) {
        let totals = &snapshot.totals;
        let values: Vec<u64> = self.gaps.last(inner(area)).collect();
        let top = values.iter().copied().max().unwrap_or(0);
        let colour = if totals.lost_frames > 0 {
            Color::Red
        } else {
            Color::Green
        };
        let mut title = format!(" Frames missing: {}", quantity::grouped(totals.lost_frames));
        for (count, what) in [
            (totals.reordered, "out of order"),
            (totals.duplicates, "repeated"),
            (totals.restarts, "restarts"),
            (totals.malformed, "malformed"),
            (totals.unknown, "of unknown type"),
            (totals.undecodable, "of unknown encoding"),
        ] {
            if count > 0 {
                title.push_str(&format!(", {} {what}", quantity::grouped(count)));
            }
        }
        title.push(' ');
        let line = Sparkline::default()
            .block(Block::bordered().title(title).fg(colour))
            .max(top.max(1))
            .data(values);
        frame.render_widget(line, area);
    }
}

/// How many bars fit between the borders.
fn inner(area: Rect) -> usize {
    usize::from(area.width.saturating_sub(2))
}

fn draw_types(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot) {
    let all = snapshot.totals.messages.max(1) as f64;
    let row = |htype: String, messages: u64| {
        let share = 100.0 * messages as f64 / all;
        Row::new(vec![htype, quantity::grouped(messages), format!("{share:.1} %")])
    };
    let mut rows: Vec<Row<'_>> = snapshot
        .htypes
        .iter()
        .map(|count| row(printable(&count.htype).into_owned(), count.messages))
        .collect();
    if snapshot.other_htypes > 0 {
        rows.push(row("others".to_owned(), snapshot.other_htypes));
    }
    let widths = [Constraint::Min(12), Constraint::Length(12), Constraint::Length(8)];
    let table = Table::new(rows, widths)
        .header(Row::new(vec!["type", "messages", "share"]).bold())
        .block(Block::bordered().title(" Types "));
    frame.render_widget(table, area);
}

fn draw_sources(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot) {
    let rows: Vec<Row<'_>> = snapshot
        .sources
        .iter()
        .map(|count| {
            let name = match count.source.as_str() {
                "" => count.numbering.to_string(),
                source => format!("{} {}", printable(source), count.numbering),
            };
            let number =
                |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
            let row = Row::new(vec![
                name,
                number(count.series),
                number(count.last),
                quantity::grouped(count.received),
                quantity::grouped(count.lost),
            ]);
            if count.lost > 0 { row.red() } else { row }
        })
        .collect();
    let widths = [
        Constraint::Min(10),
        Constraint::Length(7),
        Constraint::Length(10),
        Constraint::Length(12),
        Constraint::Length(8),
    ];
    let table = Table::new(rows, widths)
        .header(Row::new(vec!["source", "series", "last", "received", "lost"]).bold())
        .block(Block::bordered().title(" Sources "));
    frame.render_widget(table, area);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::stream::{Header, Statistics};

    /// What a terminal of this size shows, a line each.
    fn drawn(board: &Board, now: Instant, snapshot: &Snapshot, size: (u16, u16)) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
        terminal.draw(|frame| board.draw(frame, now, snapshot)).unwrap();
        let cells = terminal.backend().buffer().content();
        cells
            .chunks(size.0.into())
            .map(|line| line.iter().map(ratatui::buffer::Cell::symbol).collect())
            .collect()
    }

    fn shows(lines: &[String], words: &[&str]) -> bool {
        lines
            .iter()
            .any(|line| words.iter().all(|word| line.contains(word)))
    }

    #[test]
    fn rates_gaps_types_and_sources_are_shown() {
        let start = Instant::now();
        let mut board = Board::new("tcp://127.0.0.1:9999");
        let mut statistics = Statistics::new();
        let lines = drawn(&board, start, &statistics.snapshot(start), (100, 30));
        assert!(shows(&lines, &["waiting for the first message"]), "{lines:#?}");

        let mut now = start;
        for frame in (0..100).filter(|frame| frame % 10 != 5) {
            now = start + Duration::from_millis(10 * frame);
            let header = Header::new(if frame % 2 == 0 {
                "array-1.0"
            } else {
                "evil\u{1b}[2J"
            });
            statistics.handle_message(now, 1_000_000);
            statistics.handle_header(&header.with("frame", frame).with("source", "camera"), 1_000_000);
            board.tick(now, &statistics.snapshot(now));
        }
        board.tell("warning: something is missing".to_owned());
        let snapshot = statistics.snapshot(now);
        let lines = drawn(&board, now, &snapshot, (100, 30));
        for words in [
            &["tcp://127.0.0.1:9999", "q ends"][..],
            &["running, with trouble"],
            &["Data rate: ", " MB/s", "Message rate: ", " Hz"],
            &["90 messages, 90.0 MB"],
            &["Frames missing: 10"],
            &["array-1.0", "50", "55.6 %"],
            &["camera frame", "99", "90", "10"],
            &["warning: something is missing"],
            &["█"],
        ] {
            assert!(shows(&lines, words), "{words:?}: {lines:#?}");
        }
        assert!(!lines.concat().contains('\u{1b}'), "{lines:#?}");
        assert_eq!(
            board.health(now + RECENT - SILENT),
            Health::Silent(RECENT - SILENT)
        );
    }

    #[test]
    fn no_terminal_is_too_small() {
        let now = Instant::now();
        let mut board = Board::new("tcp://127.0.0.1:9999");
        (0..5).for_each(|number| board.tell(number.to_string()));
        assert_eq!(board.notices, ["2", "3", "4"]);
        for size in [(1, 1), (3, 2), (20, 8), (400, 3), (2, 100)] {
            drawn(&board, now, &Statistics::new().snapshot(now), size);
        }
    }

    #[test]
    fn a_good_stream_is_well() {
        let now = Instant::now();
        let mut board = Board::new("");
        let mut statistics = Statistics::new();
        statistics.handle_message(now, 5);
        board.tick(now, &statistics.snapshot(now));
        assert_eq!(board.health(now), Health::Good);
        assert_eq!(board.health(now + SILENT), Health::Silent(SILENT));
    }
}
