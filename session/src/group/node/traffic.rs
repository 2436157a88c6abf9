//! The messages between all in a session: one flow out, and one in from each of the others.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flexbond_wire::group::{Data, FlowSync, Gap, List, Packet, Status};

use super::NodeSettings;
use super::peers::Peers;
use super::transmit::Outbox;
use crate::group::MemberId;
use crate::group::flow::{
    Budget, Inflow, InflowSettings, Outflow, OutflowSettings, Piece, RecordKind, Refused, Report, Run,
};

/// The messages between all in a session.
#[derive(Debug)]
pub(super) struct Traffic {
    inflow: InflowSettings,
    out: Outflow,
    sources: BTreeMap<MemberId, Inflow>,
    budget: Budget,
    /// Who was read last: the others come first now.
    last_read: MemberId,
    /// Questions that are due.
    asked: Vec<Piece>,
}

/// A message and who sent it.
pub(super) type Popped = Option<(MemberId, RecordKind, Bytes)>;

impl Traffic {
    pub(super) fn new(settings: &NodeSettings) -> Self {
        Traffic {
            inflow: inflow_settings(settings),
            out: Outflow::new(OutflowSettings {
                segment: settings.segment,
                window: settings.window,
                quorum: None,
            }),
            sources: BTreeMap::new(),
            budget: Budget::new(settings.recv_budget),
            last_read: MemberId(0),
            asked: Vec::new(),
        }
    }

    /// The session says how large segments and messages are. Nothing flows yet.
    pub(super) fn resize(&mut self, settings: &NodeSettings) {
        *self = Traffic::new(settings);
    }

    pub(super) fn add_member(&mut self, member: MemberId) {
        self.out.add_receiver(member);
        self.sources
            .entry(member)
            .or_insert_with(|| Inflow::new(self.inflow));
    }

    pub(super) fn remove_member(&mut self, now: Instant, member: MemberId) {
        self.out.remove_receiver(now, member);
        self.forget_source(member);
    }

    /// Takes nothing more of `member`.
    pub(super) fn forget_source(&mut self, member: MemberId) {
        if let Some(mut inflow) = self.sources.remove(&member) {
            inflow.clear(&mut self.budget);
        }
    }

    pub(super) fn handle_data(
        &mut self,
        now: Instant,
        from: MemberId,
        data: &Data<'_>,
    ) -> Result<(), Refused> {
        match self.sources.get_mut(&from) {
            Some(inflow) if data.channel == 0 && !data.point_to_point => {
                inflow.handle_segment(now, data.seq, data.payload, data.answer, &mut self.budget)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn handle_sync(&mut self, now: Instant, from: MemberId, sync: &FlowSync) {
        if let Some(inflow) = self.sources.get_mut(&from)
            && sync.channel == 0
            && !sync.point_to_point
        {
            inflow.handle_sync(now, sync.start, sync.next);
        }
    }

    pub(super) fn handle_status(&mut self, now: Instant, from: MemberId, me: MemberId, status: &Status<'_>) {
        if status.channel != 0 || status.point_to_point || MemberId(status.source) != me {
            return;
        }
        let report = Report {
            unknown: status.unknown,
            next: status.next,
            edge: status.edge,
            missing: status
                .missing
                .iter()
                .map(|gap| Run {
                    start: gap.start,
                    len: gap.len,
                })
                .collect(),
        };
        let echo = (status.echo, Duration::from_micros(status.echo_delay.into()));
        self.out.handle_report(now, from, &report, echo);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.out.handle_timeout(now, &mut self.asked);
    }

    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let work = (self.out.has_work() || !self.asked.is_empty()).then_some(now);
        let reports = self
            .sources
            .values()
            .filter_map(|inflow| inflow.poll_timeout(now));
        reports.chain(work).chain(self.out.poll_timeout()).min()
    }

    pub(super) fn push(&mut self, kind: RecordKind, body: Bytes) -> u64 {
        self.out.push(kind, body)
    }

    /// Whether [`pop`](Self::pop) has something.
    pub(super) fn has_ready(&self) -> bool {
        self.sources.values().any(Inflow::has_ready)
    }

    /// Takes the next message, from one after the other.
    pub(super) fn pop(&mut self, now: Instant) -> Result<Popped, (MemberId, Refused)> {
        let last = self.last_read;
        let ready = |(id, inflow): (&MemberId, &Inflow)| inflow.has_ready().then_some(*id);
        let next = self
            .sources
            .iter()
            .filter(|(id, _)| **id > last)
            .find_map(ready)
            .or_else(|| self.sources.iter().find_map(ready));
        let Some(id) = next else {
            return Ok(None);
        };
        self.last_read = id;
        let Some(inflow) = self.sources.get_mut(&id) else {
            return Ok(None);
        };
        let record = inflow
            .pop(now, &mut self.budget)
            .map_err(|refused| (id, refused))?;
        Ok(record.map(|(kind, body)| (id, kind, body)))
    }

    pub(super) fn settled(&self) -> u64 {
        self.out.settled()
    }

    /// Queues the reports that are due.
    pub(super) fn report(&mut self, now: Instant, peers: &Peers, outbox: &mut Outbox) {
        for (&source, inflow) in &mut self.sources {
            let Some(to) = peers.address(source) else {
                continue;
            };
            let Some(report) = inflow.poll_report(now) else {
                continue;
            };
            let (echo, at) = peers.newest(source).unwrap_or((0, now));
            let missing: Vec<_> = report
                .missing
                .iter()
                .map(|run| Gap {
                    start: run.start,
                    len: run.len,
                })
                .collect();
            let delay = now.saturating_duration_since(at).as_micros();
            let status = Status {
                channel: 0,
                point_to_point: false,
                unknown: report.unknown,
                source: source.0,
                next: report.next,
                edge: report.edge,
                echo,
                echo_delay: u32::try_from(delay).unwrap_or(u32::MAX),
                local_drops: 0,
                missing: List::new(&missing),
            };
            outbox.push(to, &Packet::Status(status));
        }
    }

    /// What is to be sent next.
    pub(super) fn poll_piece(&mut self, now: Instant, number: u64) -> Option<Piece> {
        self.asked.pop().or_else(|| self.out.poll_piece(now, number))
    }

    /// Copies the payload of segment `number` into `out`.
    pub(super) fn copy(&mut self, number: u64, out: &mut [u8]) -> Option<usize> {
        self.out.copy(number, out)
    }
}

fn inflow_settings(settings: &NodeSettings) -> InflowSettings {
    InflowSettings {
        window: settings.window,
        max_message: settings.max_message,
        guard: Duration::from_millis(1),
        report_every: (settings.window / 8).max(16),
        report_delay: Duration::from_millis(2),
    }
}
