//! Who belongs to a session, without any I/O.
//!
//! The coordinator's [`Roster`] admits members, watches over them and says in numbered views who is in; an
//! [`Enrolment`] at each member asks to be admitted and watches over the coordinator.

mod attention;
mod enrolment;
mod roster;

#[cfg(test)]
mod tests;

pub(crate) use attention::Attention;
pub(crate) use enrolment::{Enrolment, EnrolmentEvent, EnrolmentSettings, Said};
pub(crate) use roster::{Applicant, Departure, Reply, Roster, RosterEvent, RosterSettings};
