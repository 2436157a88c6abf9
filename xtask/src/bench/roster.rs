//! All groups of cases, and who is measured in them.

use std::path::Path;

use anyhow::Result;

use super::build::{self, Contender, OPENMPI, PEERS, Programs};
use super::case::{Case, Heading};
use super::contest::{self, Contest, Timing};
use super::federation::FederationCase;
use super::lab::LabCase;
use super::ranks::{self, RanksCase};
use super::record::Report;
use super::streams::{self, StreamCase};
use super::{OURS, collectives, federation, groups, rpc, sockets};
use crate::workspace::Workspace;

/// Cases of one kind.
pub(super) struct Group {
    pub(super) name: &'static str,
    /// Whom flexbond is set beside, in the order of reports.
    pub(super) peers: &'static [&'static str],
    /// The programs that are built for it, where sockets, rpc and federation do not bring theirs.
    programs: &'static [&'static str],
    cases: fn(quick: bool) -> Vec<AnyCase>,
}

/// All groups, in the order in which they are measured.
pub(super) const GROUPS: [Group; 6] = [
    Group {
        name: "sockets",
        peers: &PEERS,
        programs: &[],
        cases: |_| sockets::cases().into_iter().map(AnyCase::Sockets).collect(),
    },
    Group {
        name: "groups",
        peers: &["camure"],
        programs: &groups::PROGRAMS,
        cases: |quick| groups::cases(quick).into_iter().map(AnyCase::Lab).collect(),
    },
    Group {
        name: "collectives",
        peers: &[OPENMPI],
        programs: &[ranks::PROGRAM, OPENMPI],
        cases: |quick| {
            collectives::cases(quick)
                .into_iter()
                .map(AnyCase::Ranks)
                .collect()
        },
    },
    Group {
        name: "streams",
        peers: &streams::PEERS,
        programs: &streams::PROGRAMS,
        cases: |quick| streams::cases(quick).into_iter().map(AnyCase::Streams).collect(),
    },
    Group {
        name: "rpc",
        peers: &rpc::PEERS,
        programs: &[],
        cases: |_| rpc::cases().into_iter().map(AnyCase::Rpc).collect(),
    },
    Group {
        name: "federation",
        peers: &federation::PEERS,
        programs: &[],
        cases: |_| federation::cases().into_iter().map(AnyCase::Federation).collect(),
    },
];

/// A case of any group.
#[derive(Debug)]
pub(super) enum AnyCase {
    Sockets(Case),
    Lab(LabCase),
    Ranks(RanksCase),
    Streams(StreamCase),
    Rpc(Case),
    Federation(FederationCase),
}

/// The cases of one group, or of all.
pub(super) fn cases(group: Option<&str>, quick: bool) -> Vec<AnyCase> {
    GROUPS
        .iter()
        .filter(|known| group.is_none_or(|group| group == known.name))
        .flat_map(|known| (known.cases)(quick))
        .collect()
}

/// What was built for a number of groups.
pub(super) struct Field {
    pub(super) contenders: Vec<Contender>,
    /// Those of remote calls.
    pub(super) callers: Vec<Contender>,
    /// Those of parties that talk by a server.
    pub(super) parties: Vec<Contender>,
    pub(super) programs: Programs,
}

impl Field {
    /// Builds what the groups that `is_wanted` need; what fails is noted in the report.
    ///
    /// # Errors
    /// When the sockets of flexbond itself do not build.
    pub(super) fn build(
        workspace: &Workspace,
        is_wanted: impl Fn(&Group) -> bool,
        report: &mut Report,
    ) -> Result<Field> {
        let mut field = Field {
            contenders: Vec::new(),
            callers: Vec::new(),
            parties: Vec::new(),
            programs: Programs::new(),
        };
        for group in GROUPS.iter().filter(|group| is_wanted(group)) {
            match group.name {
                "sockets" => field.contenders = build::sockets(workspace, report)?,
                "rpc" => field.callers = build::contenders(workspace, &rpc::PROGRAMS, report)?,
                "federation" => field.parties = federation::contenders(workspace, report)?,
                _ => {
                    let programs = build::programs(workspace, group.programs, report);
                    field.programs.extend(programs);
                }
            }
        }
        report.facts.extend(build::versions(workspace));
        Ok(field)
    }
}

/// How cases are measured.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    pub(super) quick: bool,
    pub(super) runs: usize,
}

impl Manner {
    fn timing(self) -> Timing {
        if self.quick { Timing::QUICK } else { Timing::FULL }
    }

    /// What is equal for all contenders of a group, in a line for the report.
    pub(super) fn rules(self, group: &str) -> String {
        match group {
            "groups" => groups::rules(self.quick, self.runs),
            "collectives" => collectives::rules(self.runs),
            "streams" => streams::rules(self.quick, self.runs),
            "rpc" => rpc::rules(self.runs, self.timing().window_ms),
            "federation" => federation::rules(self.runs, self.timing().window_ms),
            _ => contest::rules(self.runs, self.timing()),
        }
    }
}

impl AnyCase {
    pub(super) fn heading(&self) -> &Heading {
        match self {
            AnyCase::Sockets(case) | AnyCase::Rpc(case) => &case.heading,
            AnyCase::Federation(case) => &case.case.heading,
            AnyCase::Lab(case) => &case.heading,
            AnyCase::Ranks(case) => &case.heading,
            AnyCase::Streams(case) => case.heading(),
        }
    }

    /// Measures all contenders and adds records to the report. Returns whether flexbond could be measured, if it had
    /// a part.
    pub(super) fn hold(&self, field: &Field, manner: Manner, folder: &Path, report: &mut Report) -> bool {
        let runs = manner.runs;
        match self {
            AnyCase::Sockets(case) => contest(case, field.contenders.iter(), manner, folder, report),
            AnyCase::Rpc(case) => contest(case, field.callers.iter(), manner, folder, report),
            AnyCase::Federation(case) => {
                let players = field.parties.iter();
                let players = players.filter(|contender| case.players.contains(&contender.name));
                contest(&case.case, players, manner, folder, report)
            }
            AnyCase::Lab(case) => case.hold(&field.programs, runs, report),
            AnyCase::Ranks(case) => case.hold(&field.programs, runs, report),
            AnyCase::Streams(case) => case.hold(&field.programs, runs, folder, report),
        }
    }
}

/// Measures contenders that have settings of their own.
fn contest<'a>(
    case: &Case,
    contenders: impl Iterator<Item = &'a Contender>,
    manner: Manner,
    folder: &Path,
    report: &mut Report,
) -> bool {
    let contenders: Vec<&Contender> = contenders.collect();
    let contest = Contest::new(case, &contenders, manner.timing(), folder);
    let held = contest.hold(manner.runs, report);
    if let Err(error) = &held {
        report.miss(&case.heading, OURS, &format!("{error:#}"));
    }
    held.is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_case_belongs_to_its_group_and_has_a_title_of_its_own() {
        let mut titles = BTreeSet::new();
        for group in &GROUPS {
            let cases = cases(Some(group.name), false);
            assert!(!cases.is_empty());
            for case in cases {
                assert_eq!(case.heading().group, group.name);
                assert!(
                    titles.insert(case.heading().title()),
                    "{}",
                    case.heading().title()
                );
            }
        }
        assert_eq!(titles.len(), cases(None, true).len());
    }
}
