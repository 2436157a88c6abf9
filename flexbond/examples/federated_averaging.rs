//! Horizontal federated averaging: three clinics learn one model together, and no patient's data leave a clinic.
//!
//! Each clinic is a process, and they meet at a message server. A clinic has patients of two of the three kinds only, so
//! alone it learns nothing of the third. In each round every clinic trains the common model on its own patients, the
//! first one averages the three by their numbers of patients (McMahan et al., 2017), and all go on with the average.
//!
//! `cargo run --release -p flexbond --example federated_averaging` starts the server and three processes of itself.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use fastrand::Rng;
use flexbond::blocking::Federation;
use flexbond::collectives::federation::{Config, Role, Server, ServerConfig};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const CLINICS: [&str; 3] = ["clinic-a", "clinic-b", "clinic-c"];
const ROUNDS: usize = 25;
/// What is measured of a patient.
const FEATURES: usize = 8;
/// Kinds of patients.
const KINDS: usize = 3;
const SEED: u64 = 2017;

struct Patient {
    features: [f64; FEATURES],
    kind: usize,
}

/// Normally distributed, about.
fn normal(rng: &mut Rng) -> f64 {
    (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0
}

/// Patients of these kinds, drawn from the same three clouds whoever asks.
fn patients(seed: u64, count: usize, kinds: &[usize]) -> Vec<Patient> {
    let mut clouds = Rng::with_seed(SEED);
    let centres: Vec<[f64; FEATURES]> = (0..KINDS)
        .map(|_| std::array::from_fn(|_| 1.2 * normal(&mut clouds)))
        .collect();
    let mut rng = Rng::with_seed(seed);
    let mut patient = || {
        let kind = kinds[rng.usize(..kinds.len())];
        Patient {
            features: std::array::from_fn(|feature| centres[kind][feature] + normal(&mut rng)),
            kind,
        }
    };
    (0..count).map(|_| patient()).collect()
}

/// Multinomial logistic regression: for each kind the weights of the features, and a bias.
#[derive(Clone)]
struct Model(Vec<f64>);

impl Model {
    fn new() -> Self {
        Model(vec![0.0; KINDS * (FEATURES + 1)])
    }

    fn probabilities(&self, patient: &Patient) -> [f64; KINDS] {
        let scores: [f64; KINDS] = std::array::from_fn(|kind| {
            let row = &self.0[kind * (FEATURES + 1)..][..=FEATURES];
            let weighted = row.iter().zip(&patient.features).map(|(weight, x)| weight * x);
            weighted.sum::<f64>() + row[FEATURES]
        });
        let highest = scores.iter().copied().fold(f64::MIN, f64::max);
        let powers = scores.map(|score| (score - highest).exp());
        let sum: f64 = powers.iter().sum();
        powers.map(|power| power / sum)
    }

    /// One pass over all patients.
    fn train(&mut self, patients: &[Patient], rng: &mut Rng) {
        let mut order: Vec<usize> = (0..patients.len()).collect();
        rng.shuffle(&mut order);
        for index in order {
            let patient = &patients[index];
            let probabilities = self.probabilities(patient);
            for (kind, probability) in probabilities.into_iter().enumerate() {
                let error = probability - f64::from(u8::from(kind == patient.kind));
                let row = &mut self.0[kind * (FEATURES + 1)..][..=FEATURES];
                for (weight, x) in row.iter_mut().zip(&patient.features) {
                    *weight -= 0.001 * (error * x + 1e-4 * *weight);
                }
                row[FEATURES] -= 0.001 * error;
            }
        }
    }

    /// How many are told right, from 0 to 1.
    fn accuracy(&self, patients: &[Patient]) -> f64 {
        let right = patients.iter().filter(|patient| {
            let probabilities = self.probabilities(patient);
            let best = (0..KINDS).max_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b]));
            best == Some(patient.kind)
        });
        right.count() as f64 / patients.len() as f64
    }
}

/// What a clinic has found out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) alone: f64,
    pub(crate) together: f64,
}

/// The job of one clinic.
pub(crate) fn clinic(local: &str, server: &str) -> Result<Outcome> {
    let mut config = Config::new("averaging".parse()?, local.parse()?).by_server(server);
    for (index, id) in CLINICS.iter().enumerate() {
        let role = if index == 0 { Role::Guest } else { Role::Host };
        config = config.member(id.parse()?, role);
    }
    let federation = Federation::connect(config)?;
    federation.ready(Duration::from_secs(30))?;

    let number = CLINICS
        .iter()
        .position(|id| *id == local)
        .ok_or("no such clinic")?;
    let own = patients(number as u64, 400 + 100 * number, &[number, (number + 1) % KINDS]);
    let test = patients(99, 3000, &[0, 1, 2]);
    let mut rng = Rng::with_seed(number as u64);

    let mut alone = Model::new();
    for _ in 0..ROUNDS {
        alone.train(&own, &mut rng);
    }
    let alone = alone.accuracy(&test);

    // The sums of weights, and of patients, go to the first clinic and back to all.
    let average = federation.broadcast("average", CLINICS[0], &CLINICS[1..])?;
    let mut model = Model::new();
    for round in 1..=ROUNDS {
        model.train(&own, &mut rng);
        let count = own.len() as f64;
        let weighted: Vec<f64> = model.0.iter().map(|weight| weight * count).collect();
        let (sum, count) = average.allreduce((weighted, count), |(mut a, m), (b, n)| {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
            (a, m + n)
        })?;
        model.0 = sum.into_iter().map(|weight| weight / count).collect();
        if number == 0 && (round == 1 || round % 5 == 0) {
            println!(
                "round {round:2}: {:.3} of all test patients are told right",
                model.accuracy(&test)
            );
        }
    }
    federation.close()?;
    Ok(Outcome {
        alone,
        together: model.accuracy(&test),
    })
}

/// Runs a server and the three clinics, each as the process that `start` gives for its name and the server.
pub(crate) fn run(start: impl Fn(&str, &str) -> Command) -> Result<Vec<Outcome>> {
    let runtime = tokio::runtime::Runtime::new()?;
    let mut config = ServerConfig::new();
    config.listen = vec!["tcp://127.0.0.1:0".parse()?];
    let server = runtime.block_on(Server::bind(config))?;
    let endpoint = server.endpoints()[0].to_string();
    let mut clinics = Vec::new();
    for id in CLINICS {
        clinics.push(start(id, &endpoint).stdout(Stdio::piped()).spawn()?);
    }
    let mut outcomes = Vec::new();
    for (id, mut clinic) in CLINICS.into_iter().zip(clinics) {
        for line in BufReader::new(clinic.stdout.take().ok_or("no output")?).lines() {
            let line = line?;
            match line
                .split_once("outcome ")
                .and_then(|(_, numbers)| numbers.split_once(' '))
            {
                Some((alone, together)) => {
                    let (alone, together) = (alone.parse()?, together.parse()?);
                    println!("{id}: alone {alone:.3}, together {together:.3}");
                    outcomes.push(Outcome { alone, together });
                }
                None => println!("{id}: {line}"),
            }
        }
        if !clinic.wait()?.success() {
            return Err(format!("{id} has failed").into());
        }
    }
    Ok(outcomes)
}

/// What a clinic's process says at its end.
pub(crate) fn told(outcome: Outcome) -> String {
    format!("outcome {} {}", outcome.alone, outcome.together)
}

#[allow(dead_code, reason = "a test runs the rest")]
fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [local, server] = &arguments[..] {
        println!("{}", told(clinic(local, server)?));
        return Ok(());
    }
    let program = std::env::current_exe()?;
    let outcomes = run(|local, server| {
        let mut command = Command::new(&program);
        command.args([local, server]);
        command
    })?;
    let is_better = outcomes
        .iter()
        .all(|outcome| outcome.together > outcome.alone + 0.2);
    match outcomes.len() == CLINICS.len() && is_better {
        true => Ok(()),
        false => Err("together they should be much better than each alone".into()),
    }
}
