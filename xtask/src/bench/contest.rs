//! A contest: all contenders in one case, in turn.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::case::{Case, Outcome};
use super::record::{Entry, Parts, Report};
use super::series::Series;
use super::{Contender, OURS, RAW, run};

/// The high-water mark of every socket, in messages.
const HWM: usize = 1000;
/// What may wait in a queue at most, so that large messages do not measure how fast memory can be had.
const HWM_BYTES: usize = 64 << 20;

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub(super) warmup_ms: u64,
    pub(super) window_ms: u64,
    /// The window when settings are tried.
    trial_ms: u64,
    /// How often each setting is tried; the best time counts.
    trials: usize,
}

impl Timing {
    pub(super) const FULL: Timing = Timing {
        warmup_ms: 100,
        window_ms: 400,
        trial_ms: 200,
        trials: 2,
    };
    pub(super) const QUICK: Timing = Timing {
        warmup_ms: 60,
        window_ms: 150,
        trial_ms: 100,
        trials: 1,
    };
}

/// One case, and those who take part.
pub(super) struct Contest<'a> {
    case: &'a Case,
    contenders: &'a [&'a Contender],
    timing: Timing,
    folder: &'a Path,
}

/// A contender with its best setting, and what it reached.
struct Entrant {
    name: &'static str,
    program: PathBuf,
    setting: (String, String),
    /// For each metric.
    series: Vec<Series>,
}

impl<'a> Contest<'a> {
    pub(super) fn new(
        case: &'a Case,
        contenders: &'a [&'a Contender],
        timing: Timing,
        folder: &'a Path,
    ) -> Self {
        Contest {
            case,
            contenders,
            timing,
            folder,
        }
    }

    /// Tries all settings, then measures `runs` rounds, and adds a record for each metric to the report.
    ///
    /// # Errors
    /// When flexbond itself fails.
    pub(super) fn hold(&self, runs: usize, report: &mut Report) -> Result<()> {
        fs::create_dir_all(self.folder)?;
        let mut ours = self
            .enter(OURS, self.case.ours, report)?
            .context("flexbond cannot be measured")?;
        let mut others = Vec::new();
        let peers = self.contenders.iter().map(|contender| contender.name);
        for name in peers.filter(|name| ![OURS, RAW].contains(name)) {
            others.extend(self.enter(name, None, report)?);
        }
        // Ping-pong on the runtime that we run on.
        let wanted = format!("tokio-{}", ours.setting.0);
        let mut raw = self.enter(RAW, Some(&wanted), report)?;
        for _ in 0..runs {
            for peer in &mut others {
                self.measure(&mut ours, report)?;
                self.measure(peer, report)?;
            }
            if others.is_empty() {
                self.measure(&mut ours, report)?;
            }
            if let Some(raw) = &mut raw {
                self.measure(raw, report)?;
            }
        }
        for (index, metric) in self.case.metrics.iter().enumerate() {
            let entry = |entrant: &Entrant| Entry {
                name: entrant.name,
                setting: entrant.setting.0.clone(),
                about: entrant.setting.1.clone(),
                series: entrant.series[index].clone(),
            };
            let ours = entry(&ours);
            if ours.series.is_empty() {
                continue;
            }
            let measured = |entry: &Entry| !entry.series.is_empty();
            let parts = Parts {
                ours,
                peers: others.iter().map(entry).filter(measured).collect(),
                raw: raw.as_ref().map(entry).filter(measured),
            };
            report.add(&self.case.heading, metric, index == 0, parts);
        }
        Ok(())
    }

    /// The contender with the setting that is best here; `wanted` decides when it exists.
    fn enter(
        &self,
        name: &'static str,
        wanted: Option<&str>,
        report: &mut Report,
    ) -> Result<Option<Entrant>> {
        let Some(contender) = self.contenders.iter().find(|contender| contender.name == name) else {
            return Ok(None);
        };
        let settings = match run::settings(&contender.program, self.case) {
            Ok(Ok(mut settings)) => {
                settings.retain(|(setting, _)| setting.starts_with(contender.ways));
                settings
            }
            Ok(Err(why)) => {
                report.miss(&self.case.heading, name, &why);
                return Ok(None);
            }
            Err(error) => {
                report.miss(&self.case.heading, name, &format!("{error:#}"));
                return Ok(None);
            }
        };
        let chosen = match settings
            .iter()
            .find(|(setting, _)| Some(setting.as_str()) == wanted)
        {
            Some(setting) => Some(setting.clone()),
            None if settings.len() == 1 => settings.into_iter().next(),
            None => self.best(contender, settings, report),
        };
        Ok(chosen.map(|setting| Entrant {
            name,
            program: contender.program.clone(),
            setting,
            series: vec![Series::default(); self.case.metrics.len()],
        }))
    }

    /// Tries all settings in turn.
    fn best(
        &self,
        contender: &Contender,
        mut settings: Vec<(String, String)>,
        report: &mut Report,
    ) -> Option<(String, String)> {
        let metric = self.case.metrics[0];
        let mut best: Option<(f64, (String, String))> = None;
        for _ in 0..self.timing.trials {
            settings.retain(|setting| {
                let outcome = self.once(&contender.program, &setting.0, self.timing.trial_ms);
                match outcome.map(|outcome| (metric.read)(&outcome)) {
                    Ok(Some(value)) => {
                        report.trial(&self.case.heading, metric.unit, contender.name, &setting.0, value);
                        let wins = |(record, _): &(f64, _)| metric.better.ratio(value, *record) > 1.0;
                        if best.as_ref().is_none_or(wins) {
                            best = Some((value, setting.clone()));
                        }
                        true
                    }
                    Ok(None) => false,
                    Err(error) => {
                        report.miss(
                            &self.case.heading,
                            contender.name,
                            &format!("{}: {error:#}", setting.0),
                        );
                        false
                    }
                }
            });
        }
        best.map(|(_, setting)| setting)
    }

    fn once(&self, program: &Path, setting: &str, window_ms: u64) -> Result<Outcome> {
        let words = [
            format!("setting={setting}"),
            format!("hwm={}", hwm(self.case)),
            format!("warmup_ms={}", self.timing.warmup_ms),
            format!("window_ms={window_ms}"),
        ];
        run::measure(program, self.case, &words, self.folder)
    }

    fn measure(&self, entrant: &mut Entrant, report: &mut Report) -> Result<()> {
        match self.once(&entrant.program, &entrant.setting.0, self.timing.window_ms) {
            Ok(outcome) => {
                for (metric, series) in self.case.metrics.iter().zip(&mut entrant.series) {
                    if let Some(value) = (metric.read)(&outcome).filter(|value| value.is_finite()) {
                        series.add(value);
                    }
                }
            }
            Err(error) if entrant.name == OURS => {
                bail!("{}: {error:#}", entrant.setting.0)
            }
            Err(error) => report.miss(
                &self.case.heading,
                entrant.name,
                &format!("{}: {error:#}", entrant.setting.0),
            ),
        }
        Ok(())
    }
}

/// The high-water mark of every socket in a case.
fn hwm(case: &Case) -> usize {
    HWM.min(HWM_BYTES / case.heading.size.max(1))
}

/// What is equal for all, in a line for the report.
pub(super) fn rules(runs: usize, timing: Timing) -> String {
    format!(
        "{runs} runs of {} ms after {} ms of warm-up. High-water marks {HWM} messages, and {} for 1 MiB; kernel \
         buffers as each library sets them by itself (ipc: flexbond and omq-tokio ask for 1 MiB, and so does raw; the \
         others take the system's); both sides of a contender have the same setting; each message is made for \
         its own send, a copy of the application's bytes that owns its memory; both sides run on this machine",
        timing.window_ms,
        timing.warmup_ms,
        HWM_BYTES >> 20
    )
}
