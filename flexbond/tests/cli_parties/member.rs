//! A party that is a program of its own: this one, started again with an order.

use std::io::Read;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use flexbond::collectives::federation::{Config, Federation};

use crate::program::Program;
use crate::site::Party;

/// What it is told by: an order, and the file with its configuration.
const ORDER: &str = "FLEXBOND_TEST_MEMBER";
/// How many MiB a large message has: `FLEXBOND_TEST_TENSOR_MIB=256` is for a longer trial.
const SIZE: &str = "FLEXBOND_TEST_TENSOR_MIB";
const BLOCK: usize = 1 << 20;

/// How large a large message is.
pub(crate) fn tensor_bytes() -> usize {
    let given = std::env::var(SIZE).ok();
    given.map_or(16, |given| given.parse::<usize>().expect("a number of MiB")) * BLOCK
}

/// Each block begins with its number.
fn tensor() -> Bytes {
    let mut block = vec![7_u8; BLOCK];
    let mut all = Vec::with_capacity(tensor_bytes());
    for number in 0..tensor_bytes() / BLOCK {
        block[..8].copy_from_slice(&number.to_le_bytes());
        all.extend_from_slice(&block);
    }
    all.into()
}

/// Starts a party that does as it is told: it `hold`s its place, `send`s the tensor, or takes (`recv`) it.
pub(crate) fn start(party: &Party, order: &str) -> Program {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(ORDER, format!("{order} {}", party.file));
    Program::start(
        command,
        &["--exact", "member::a_party_of_its_own_process", "--nocapture"],
    )
}

/// Not a test where nobody asks for a party.
#[test]
fn a_party_of_its_own_process() {
    let Ok(order) = std::env::var(ORDER) else {
        return;
    };
    let (order, file) = order.split_once(' ').unwrap();
    let config = Config::from_file(file).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(obey(order, config));
}

async fn obey(order: &str, config: Config) {
    let others = config.members().iter().map(|member| &member.id);
    let other = others.filter(|id| *id != config.local()).min().unwrap().clone();
    let limits = config.bounds().clone().linger(Duration::from_secs(60));
    let party = Federation::connect(config.limits(limits)).await.unwrap();
    let channel = party.variable("x", &other).unwrap().with_timeout(Duration::MAX);
    match order {
        "send" => {
            // What a process before this one has handed over is not sent again.
            let next = channel.next_offset().await.unwrap();
            eprintln!("begins at {next}");
            if next == 0 {
                channel.send_bytes(tensor()).await.unwrap();
            }
            channel.delivered().await.unwrap();
            eprintln!("delivered");
        }
        "recv" => {
            eprintln!("begins");
            let received = channel.recv_bytes().await.unwrap();
            assert!(
                received == tensor(),
                "{} bytes that are not right",
                received.len()
            );
            eprintln!("received");
        }
        _ => {
            party.ready(Duration::MAX).await.unwrap();
            eprintln!("holds");
            // Until the test has what it wants to see.
            let _ = std::io::stdin().read(&mut [0]);
        }
    }
    party.close().await;
}
