//! The server's part of the control protocol: who is in, who lives, and which epoch it is. Without I/O.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use flexbond_transport::Endpoint;

use super::error::Refusal;
use super::notice::{Application, Entry, MAX_RANKS, Notice, Request};

/// A control connection, by a number that the driver gives.
pub(super) type LineId = u64;

/// What the driver is to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Send(LineId, Notice),
    /// After everything that was sent.
    Close(LineId),
}

#[derive(Debug)]
pub(super) struct Registrar {
    heartbeat: Duration,
    dead_after: Duration,
    session: u64,
    /// Of the server's endpoint.
    scheme: String,
    size: Option<u32>,
    /// The living, by id.
    seats: BTreeMap<u32, Seat>,
    lines: HashMap<LineId, u32>,
    next_id: u32,
    /// Zero before the first.
    epoch: u32,
    /// Ids of the epoch by rank, the dead among them.
    members: Vec<u32>,
    /// The epoch has ended by a death.
    failed: bool,
    suspicions: Vec<Suspicion>,
    next_beat: Instant,
    effects: VecDeque<Effect>,
}

#[derive(Debug)]
struct Seat {
    line: LineId,
    wanted: Option<u32>,
    name: String,
    endpoint: String,
    heard: Instant,
    /// Waits for the epoch after this one.
    done_with: Option<u32>,
}

#[derive(Debug)]
struct Suspicion {
    by: u32,
    id: u32,
    until: Instant,
}

impl Registrar {
    pub(super) fn new(
        now: Instant,
        session: u64,
        scheme: &str,
        size: Option<u32>,
        heartbeat: Duration,
        dead_after: Duration,
    ) -> Self {
        Registrar {
            heartbeat,
            dead_after,
            session,
            scheme: scheme.to_owned(),
            size,
            seats: BTreeMap::new(),
            lines: HashMap::new(),
            next_id: 0,
            epoch: 0,
            members: Vec::new(),
            failed: false,
            suspicions: Vec::new(),
            next_beat: now + heartbeat,
            effects: VecDeque::new(),
        }
    }

    /// How many ranks live.
    pub(super) fn living(&self) -> usize {
        self.seats.len()
    }

    /// Whether any rank has ever been in.
    pub(super) fn has_admitted(&self) -> bool {
        self.next_id > 0
    }

    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(super) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// A connection has applied.
    pub(super) fn handle_join(&mut self, now: Instant, line: LineId, application: Application) {
        match self.admit(&application) {
            Err(refusal) => {
                self.effects
                    .push_back(Effect::Send(line, Notice::Refused(refusal)));
                self.effects.push_back(Effect::Close(line));
            }
            Ok(()) => {
                let id = self.next_id;
                self.next_id += 1;
                let seat = Seat {
                    line,
                    wanted: application.rank,
                    name: application.name,
                    endpoint: application.endpoint,
                    heard: now,
                    done_with: None,
                };
                self.seats.insert(id, seat);
                self.lines.insert(line, id);
                let welcome = Notice::Welcome {
                    session: self.session,
                    id,
                    heartbeat: self.heartbeat,
                    dead_after: self.dead_after,
                };
                self.effects.push_back(Effect::Send(line, welcome));
                self.advance();
            }
        }
    }

    fn admit(&mut self, application: &Application) -> Result<(), Refusal> {
        if self.seats.len() >= MAX_RANKS || self.next_id == u32::MAX {
            return Err(Refusal::Full {
                limit: MAX_RANKS as u32,
            });
        }
        let endpoint = application.endpoint.parse::<Endpoint>();
        if endpoint.map_err(|_| Refusal::Malformed)?.scheme() != self.scheme {
            return Err(Refusal::OtherScheme);
        }
        if self.epoch > 0 {
            return Ok(());
        }
        let size = self.size.or(application.size).unwrap_or(1);
        if let Some(wanted) = application.size
            && wanted != size
        {
            return Err(Refusal::SizeMismatch {
                wanted,
                expected: size,
            });
        }
        if size == 0 || size as usize > MAX_RANKS {
            return Err(Refusal::Malformed);
        }
        if let Some(rank) = application.rank {
            if rank >= size {
                return Err(Refusal::RankOutOfRange { rank, size });
            }
            if self.seats.values().any(|seat| seat.wanted == Some(rank)) {
                return Err(Refusal::RankTaken { rank });
            }
        }
        self.size = Some(size);
        Ok(())
    }

    /// A connection whose application was heard says something.
    pub(super) fn handle_request(&mut self, now: Instant, line: LineId, request: &Request) {
        let Some(&id) = self.lines.get(&line) else {
            return;
        };
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.heard = now;
        }
        match *request {
            Request::Join(_) => self.bury(&[id], true),
            Request::Beat => {}
            // Another may have overtaken it, and meant the present one.
            Request::Advance { epoch } if epoch != self.epoch => {}
            Request::Advance { epoch } => {
                if let Some(seat) = self.seats.get_mut(&id) {
                    seat.done_with = Some(epoch);
                }
                self.advance();
            }
            Request::Suspect { epoch, id: suspect } => self.suspect(now, id, epoch, suspect),
            Request::Knock { id: at } => {
                if let Some(seat) = self.seats.get(&at) {
                    self.effects
                        .push_back(Effect::Send(seat.line, Notice::Knock { id }));
                }
            }
            Request::Leave => self.leave(id),
        }
    }

    /// The connection is gone.
    pub(super) fn handle_closed(&mut self, line: LineId) {
        if let Some(&id) = self.lines.get(&line) {
            self.bury(&[id], false);
        }
    }

    /// What is due at `now`.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if now >= self.next_beat {
            // Where this very process stood still, it has not listened either: nobody dies of that.
            let late = now - self.next_beat;
            if late > self.heartbeat {
                for seat in self.seats.values_mut() {
                    seat.heard = (seat.heard + late).min(now);
                }
            }
            self.next_beat = now + self.heartbeat;
            for seat in self.seats.values() {
                self.effects.push_back(Effect::Send(seat.line, Notice::Beat));
            }
        }
        let mut dead: Vec<u32> = self
            .seats
            .iter()
            .filter(|(_, seat)| now >= seat.heard + self.dead_after)
            .map(|(id, _)| *id)
            .collect();
        for suspicion in &self.suspicions {
            let by_the_living = self.seats.contains_key(&suspicion.by) && !dead.contains(&suspicion.by);
            if now >= suspicion.until && by_the_living && !dead.contains(&suspicion.id) {
                dead.push(suspicion.id);
            }
        }
        self.suspicions.retain(|suspicion| now < suspicion.until);
        if !dead.is_empty() {
            self.bury(&dead, true);
        }
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        let silent = self.seats.values().map(|seat| seat.heard + self.dead_after);
        let suspected = self.suspicions.iter().map(|suspicion| suspicion.until);
        silent
            .chain(suspected)
            .min()
            .map_or(self.next_beat, |due| due.min(self.next_beat))
    }

    /// Whose connections break is most often dead, and its control connection tells so. Where it goes on to live until
    /// the deadline, it cannot be reached by one of the others, and a computation with both is no longer possible.
    fn suspect(&mut self, now: Instant, by: u32, epoch: u32, id: u32) {
        let concerns = epoch == self.epoch && self.members.contains(&by) && self.members.contains(&id);
        // Of two that complain about each other the first stays. Those of different ranks about one are all kept: who
        // complained first may be gone when it is decided.
        let known = self
            .suspicions
            .iter()
            .any(|other| [(other.by, other.id), (other.id, other.by)].contains(&(by, id)));
        if concerns && by != id && self.seats.contains_key(&id) && !known {
            let until = now + self.dead_after;
            self.suspicions.push(Suspicion { by, id, until });
        }
    }

    fn leave(&mut self, id: u32) {
        let Some(seat) = self.remove(id) else {
            return;
        };
        self.effects.push_back(Effect::Send(seat.line, Notice::Goodbye));
        self.effects.push_back(Effect::Close(seat.line));
        if self.members.contains(&id) {
            self.tell(&Notice::Left { id });
        }
        self.advance();
    }

    /// Takes the dead out. The first death of an epoch is its outcome for all; who dies later is not in the next one.
    fn bury(&mut self, dead: &[u32], tell_them: bool) {
        for id in dead {
            if let Some(seat) = self.remove(*id) {
                if tell_them {
                    self.effects.push_back(Effect::Send(seat.line, Notice::Expelled));
                }
                self.effects.push_back(Effect::Close(seat.line));
            }
        }
        let mut ranks: Vec<u32> = dead
            .iter()
            .filter_map(|id| self.members.iter().position(|member| member == id))
            .map(|rank| rank as u32)
            .collect();
        if !ranks.is_empty() && !self.failed {
            self.failed = true;
            ranks.sort_unstable();
            let epoch = self.epoch;
            self.tell(&Notice::Failed { epoch, ranks });
        }
        self.advance();
    }

    fn remove(&mut self, id: u32) -> Option<Seat> {
        let seat = self.seats.remove(&id)?;
        self.lines.remove(&seat.line);
        self.suspicions
            .retain(|suspicion| suspicion.id != id && suspicion.by != id);
        Some(seat)
    }

    /// Tells the living members of the epoch.
    fn tell(&mut self, notice: &Notice) {
        let lines = self
            .members
            .iter()
            .filter_map(|id| self.seats.get(id))
            .map(|seat| Effect::Send(seat.line, notice.clone()));
        self.effects.extend(lines);
    }

    /// Begins the next epoch if its time has come.
    fn advance(&mut self) {
        if self.seats.is_empty() {
            return;
        }
        let members = if self.epoch == 0 {
            let size = self.size.unwrap_or(1) as usize;
            if self.seats.len() < size {
                return;
            }
            self.first_members()
        } else {
            let is_done = |id: &u32| {
                let seat = self.seats.get(id);
                seat.is_none_or(|seat| seat.done_with == Some(self.epoch))
            };
            if !self.members.iter().all(is_done) {
                return;
            }
            let stay = self.members.iter().filter(|id| self.seats.contains_key(id));
            let come = self.seats.keys().filter(|id| !self.members.contains(id));
            stay.chain(come).copied().collect()
        };
        let Some(number) = self.epoch.checked_add(1) else {
            return;
        };
        self.epoch = number;
        self.members = members;
        self.failed = false;
        self.suspicions.clear();
        let entries = self
            .members
            .iter()
            .filter_map(|id| Some((id, self.seats.get(id)?)))
            .map(|(id, seat)| Entry {
                id: *id,
                name: seat.name.clone(),
                endpoint: seat.endpoint.clone(),
            })
            .collect();
        self.tell(&Notice::Epoch {
            number,
            members: entries,
        });
    }

    /// Who wants a rank has it; the others fill the gaps in the order in which they came.
    fn first_members(&self) -> Vec<u32> {
        let mut places = vec![None; self.seats.len()];
        for (id, seat) in &self.seats {
            if let Some(place) = seat.wanted.and_then(|rank| places.get_mut(rank as usize)) {
                *place = Some(*id);
            }
        }
        let mut others = self
            .seats
            .iter()
            .filter(|(id, _)| !places.contains(&Some(**id)))
            .map(|(id, _)| *id)
            .collect::<VecDeque<_>>();
        let fill = |place: &Option<u32>| place.or_else(|| others.pop_front());
        places.iter().filter_map(fill).collect()
    }
}

#[cfg(test)]
mod tests;
