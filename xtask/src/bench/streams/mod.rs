//! Cases of streams: what arrives, what is decompressed, what is recorded, and what a split passes on.

mod decode;
mod dump;
mod flow;
mod processes;
mod split;

use std::path::Path;

use super::build::Programs;
use super::case::Heading;
use super::record::Report;

use decode::DecodeCase;
use dump::DumpCase;
use flow::FlowCase;
use split::SplitCase;

/// Our programs, and a Python for each peer that is one of its packages.
pub(super) const PROGRAMS: [&str; 8] = [GENERATE, STATS, DUMP, SPLIT, PEER, MFLOW, BITSHUFFLE, HDF5PLUGIN];
/// Those that are binaries of the facade.
pub(super) const OWN: [&str; 4] = [GENERATE, STATS, DUMP, SPLIT];
/// Whom flexbond is set beside.
pub(super) const PEERS: [&str; 4] = [MFLOW, BITSHUFFLE, HDF5PLUGIN, NONE_STALLED];
pub(super) const GENERATE: &str = "m_generate";
pub(super) const STATS: &str = "m_stats";
pub(super) const DUMP: &str = "m_dump";
pub(super) const SPLIT: &str = "m_split";
/// What the programs do not show of our streams.
pub(super) const PEER: &str = "flexbond-stream";
/// The name of Python mflow; its program is a Python that has it.
pub(super) const MFLOW: &str = "mflow";
/// Two packages with the C code of bitshuffle; their program is a Python that has both.
pub(super) const BITSHUFFLE: &str = "bitshuffle";
pub(super) const HDF5PLUGIN: &str = "hdf5plugin";
/// The same split, with nobody who stands still.
const NONE_STALLED: &str = "none stalled";

/// One case of any kind.
#[derive(Clone, Debug)]
pub(super) struct StreamCase(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Flow(FlowCase),
    Decode(DecodeCase),
    Dump(DumpCase),
    Split(SplitCase),
}

/// What is measured.
pub(super) fn cases(quick: bool) -> Vec<StreamCase> {
    let flow = flow::cases(quick).into_iter().map(Kind::Flow);
    let decode = decode::cases(quick).into_iter().map(Kind::Decode);
    let dump = dump::cases(quick).into_iter().map(Kind::Dump);
    let split = split::cases(quick).into_iter().map(Kind::Split);
    flow.chain(decode)
        .chain(dump)
        .chain(split)
        .map(StreamCase)
        .collect()
}

/// What is equal for all.
pub(super) fn rules(quick: bool, runs: usize) -> String {
    [
        flow::rules(quick, runs),
        decode::rules(quick, runs),
        dump::rules(quick, runs),
        split::rules(quick, runs),
    ]
    .join("\n- ")
}

impl StreamCase {
    pub(super) fn heading(&self) -> &Heading {
        match &self.0 {
            Kind::Flow(case) => &case.heading,
            Kind::Decode(case) => &case.heading,
            Kind::Dump(case) => &case.heading,
            Kind::Split(case) => &case.heading,
        }
    }

    /// Measures all in turn and adds records to the report; files go into `folder`. Returns whether flexbond was measured.
    pub(super) fn hold(&self, programs: &Programs, runs: usize, folder: &Path, report: &mut Report) -> bool {
        match &self.0 {
            Kind::Flow(case) => case.hold(programs, runs, report),
            Kind::Decode(case) => case.hold(programs, runs, folder, report),
            Kind::Dump(case) => case.hold(programs, runs, folder, report),
            Kind::Split(case) => case.hold(programs, runs, report),
        }
    }
}
