//! What multicast brings, and ranks that call the same operations over a fabric that changes messages on their way. Each operation ends in a value, an
//! error or not at all; none may panic, or take more memory than a value may have.
#![no_main]

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use bytes::Bytes;
use flexbond_collectives::{
    CollectiveError, Communicator, Fabric, FabricError, LocalFabric, Max, Sum, Tuning,
};
use flexbond_wire_fuzz::Script;
use futures_util::future::{BoxFuture, FutureExt, join_all};
use libfuzzer_sys::fuzz_target;

const MAX_VALUE: usize = 1 << 12;

fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    match choice % 2 {
        0 => operations(Script(data)),
        _ => flexbond_collectives::fuzz::intake(data),
    }
});

fn operations(mut script: Script<'_>) {
    let size = 2 + usize::from(script.byte() % 4);
    let operations: Vec<u8> = (0..1 + script.byte() % 3).map(|_| script.byte()).collect();
    let count = usize::from(script.byte() % 64);
    let changes: VecDeque<Change> = (0..count).map(|_| Change::read(&mut script)).collect();
    let changes = Arc::new(Mutex::new(changes));
    let ranks = LocalFabric::new(size).into_iter().map(|inner| {
        let fabric = Liar {
            inner,
            changes: Arc::clone(&changes),
        };
        rank(fabric, operations.clone())
    });
    // Whoever waits for what was changed away waits for ever; whatever can be done is done after so many looks.
    let mut all = Box::pin(join_all(ranks.map(FutureExt::boxed)));
    for _ in 0..64 {
        if all
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
        {
            break;
        }
    }
}

/// What becomes of one message.
#[derive(Clone, Debug)]
enum Change {
    None,
    Bit { at: usize, mask: u8 },
    Cut { len: usize },
    Longer { by: Vec<u8> },
    Other { body: Vec<u8> },
}

impl Change {
    fn read(script: &mut Script<'_>) -> Self {
        match script.byte() {
            0..0x80 => Change::None,
            0x80..0xb0 => Change::Bit {
                at: script.word(),
                mask: script.byte(),
            },
            0xb0..0xc0 => Change::Cut { len: script.word() },
            0xc0..0xe0 => {
                let len = script.byte();
                Change::Longer {
                    by: script.take(usize::from(len)).to_vec(),
                }
            }
            _ => {
                let len = script.byte();
                Change::Other {
                    body: script.take(usize::from(len)).to_vec(),
                }
            }
        }
    }

    fn apply(self, mut body: Vec<u8>) -> Vec<u8> {
        match self {
            Change::None => {}
            Change::Bit { at, mask } if !body.is_empty() => {
                let at = at % body.len();
                body[at] ^= mask;
            }
            Change::Bit { .. } => {}
            Change::Cut { len } => body.truncate(len % (body.len() + 1)),
            Change::Longer { by } => body.extend(by),
            Change::Other { body: other } => body = other,
        }
        body
    }
}

/// A fabric whose messages are changed when they are sent.
struct Liar {
    inner: LocalFabric,
    changes: Arc<Mutex<VecDeque<Change>>>,
}

impl Fabric for Liar {
    fn rank(&self) -> usize {
        self.inner.rank()
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn epoch(&self) -> u64 {
        self.inner.epoch()
    }

    async fn send(&self, to: usize, tag: u64, body: &[u8]) -> Result<(), FabricError> {
        let change = self.changes.lock().expect("nobody panics").pop_front();
        let body = change.unwrap_or(Change::None).apply(body.to_vec());
        self.inner.send(to, tag, &body).await
    }

    async fn recv(&self, from: usize, tag: u64, into: &mut [u8]) -> Result<usize, FabricError> {
        self.inner.recv(from, tag, into).await
    }

    async fn recv_bytes(&self, from: usize, tag: u64) -> Result<Bytes, FabricError> {
        self.inner.recv_bytes(from, tag).await
    }

    async fn next_epoch(&self) -> Result<(), FabricError> {
        self.inner.next_epoch().await
    }
}

async fn rank(fabric: Liar, operations: Vec<u8>) {
    let mut tuning = Tuning::default();
    tuning.max_value = MAX_VALUE;
    tuning.segment = 1 << 10;
    let Ok(communicator) = Communicator::with_tuning(Arc::new(fabric), tuning).await else {
        return;
    };
    for operation in operations {
        // What comes after an error is nobody's business, but does no harm either.
        let _ = call(&communicator, operation).await;
    }
}

fn call(all: &Communicator<Liar>, operation: u8) -> BoxFuture<'_, Result<(), CollectiveError>> {
    let (rank, size) = (all.rank(), all.size());
    // Small ones and some that are sent in segments.
    let len = [3, 40, 700][usize::from(operation >> 5) % 3];
    let root = usize::from(operation >> 4) % size;
    let text = format!("what rank {rank} says");
    async move {
        let mut numbers = vec![rank as u64; len];
        match operation % 16 {
            0 => drop(all.broadcast_value(root, (rank == root).then_some(text)).await?),
            1 => {
                let values = all.gather_value(root, &text).await?;
                assert!(values.is_none_or(|values| values.len() == size));
            }
            2 => drop(
                all.scatter_value(root, (rank == root).then(|| vec![text; size]))
                    .await?,
            ),
            3 => {
                let values = all.allgather_value(&text).await?;
                assert!(values.len() == size && values[rank] == text);
                assert!(values.iter().map(String::len).sum::<usize>() <= MAX_VALUE);
            }
            4 => drop(all.allreduce_value(vec![text], joined).await?),
            5 => drop(all.reduce_value(root, vec![text], joined).await?),
            6 => {
                let values = all.alltoall_value(vec![text; size]).await?;
                assert_eq!(values.len(), size);
            }
            7 => {
                if let Some(part) = all.split(Some(operation.into()), -1).await? {
                    assert!(part.size() <= size && part.rank() < part.size());
                    part.barrier().await?;
                }
            }
            8 => {
                let agreement = all.agree(operation & 0x10 == 0).await?;
                assert!(agreement.failed.iter().all(|failed| *failed < size));
            }
            9 => all.broadcast(root, &mut numbers).await?,
            10 => all.allreduce(&mut numbers, Sum).await?,
            11 => {
                let counts: Vec<usize> = (0..size).map(|rank| rank * len).collect();
                let mut gathered = vec![0; counts.iter().sum()];
                all.gatherv(root, &vec![7_u64; rank * len], &counts, &mut gathered)
                    .await?;
            }
            12 => all.scan(&mut numbers, Max).await?,
            13 if rank == root => {
                let mut sink = all.broadcast_sink()?;
                sink.send(text.as_bytes()).await?;
                sink.finish().await?;
            }
            13 => {
                let mut stream = all.broadcast_stream(root)?;
                while stream.next().await?.is_some() {}
            }
            14 => {
                let with = rank ^ 1;
                if with < size {
                    drop(all.swap_value(with, 7, &text).await?);
                }
            }
            _ => all.barrier().await?,
        }
        Ok(())
    }
    .boxed()
}

fn joined(mut first: Vec<String>, second: Vec<String>) -> Vec<String> {
    first.extend(second);
    first
}
