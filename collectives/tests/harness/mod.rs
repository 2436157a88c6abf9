//! Runs all ranks in one thread, in an order that a seed decides; who waits for ever is found at once.

#![allow(dead_code, reason = "every test takes what it needs")]

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use flexbond_collectives::{Communicator, Fabric, LocalFabric, LocalOptions, Tuning};

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Polls the futures until all are done, always one of those that were woken. Panics when none is.
pub(crate) fn run_all<'a, T>(seed: u64, futures: Vec<Pin<Box<dyn Future<Output = T> + 'a>>>) -> Vec<T> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut tasks: Vec<_> = futures
        .into_iter()
        .map(|future| (Some(future), Arc::new(Flag(AtomicBool::new(true)))))
        .collect();
    let mut results: Vec<Option<T>> = tasks.iter().map(|_| None).collect();
    while tasks.iter().any(|(future, _)| future.is_some()) {
        let woken: Vec<usize> = (0..tasks.len())
            .filter(|at| tasks[*at].0.is_some() && tasks[*at].1.0.load(Ordering::Relaxed))
            .collect();
        let waiting = tasks.iter().filter(|(future, _)| future.is_some()).count();
        assert!(
            !woken.is_empty(),
            "{waiting} ranks wait for ever with seed {seed}: {:?}",
            (0..tasks.len())
                .filter(|at| tasks[*at].0.is_some())
                .collect::<Vec<_>>()
        );
        let at = woken[random.usize(..woken.len())];
        let (slot, flag) = &mut tasks[at];
        flag.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(flag));
        let Some(future) = slot else { continue };
        if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            results[at] = Some(result);
            *slot = None;
        }
    }
    results.into_iter().map(Option::unwrap).collect()
}

/// What `work` gives at every rank of a fabric. Ranks that are done stay, so that who waits for them waits for ever.
pub(crate) fn on_fabric<F: Fabric, T>(
    seed: u64,
    fabrics: Vec<F>,
    tuning: &Tuning,
    work: impl AsyncFn(Communicator<F>) -> T,
) -> Vec<T> {
    let fabrics: Vec<Arc<F>> = fabrics.into_iter().map(Arc::new).collect();
    run_shared(seed, fabrics.clone(), tuning, work)
}

/// As [`on_fabric`], but ranks leave when they are done.
pub(crate) fn leaving<F: Fabric, T>(
    seed: u64,
    fabrics: Vec<F>,
    tuning: &Tuning,
    work: impl AsyncFn(Communicator<F>) -> T,
) -> Vec<T> {
    run_shared(seed, fabrics.into_iter().map(Arc::new).collect(), tuning, work)
}

fn run_shared<F: Fabric, T>(
    seed: u64,
    fabrics: Vec<Arc<F>>,
    tuning: &Tuning,
    work: impl AsyncFn(Communicator<F>) -> T,
) -> Vec<T> {
    let work = &work;
    let futures = fabrics.into_iter().map(|fabric| {
        Box::pin(async move {
            let communicator = Communicator::with_tuning(fabric, tuning.clone()).await;
            work(communicator.expect("all meet")).await
        }) as Pin<Box<dyn Future<Output = T>>>
    });
    run_all(seed, futures.collect())
}

/// What `work` gives at every rank of `size`, where one message at a time fits between two ranks.
pub(crate) fn on_ranks<T>(
    size: usize,
    tuning: &Tuning,
    work: impl AsyncFn(Communicator<LocalFabric>) -> T,
) -> Vec<T> {
    on_local(false, size, tuning, work)
}

/// As [`on_ranks`], with or without a multicast.
pub(crate) fn on_local<T>(
    multicast: bool,
    size: usize,
    tuning: &Tuning,
    work: impl AsyncFn(Communicator<LocalFabric>) -> T,
) -> Vec<T> {
    let fabrics = LocalOptions::new().capacity(0).multicast(multicast).build(size);
    on_fabric(size as u64, fabrics, tuning, work)
}

/// An element that no other place has.
pub(crate) fn element(rank: usize, at: usize) -> u64 {
    (rank as u64 + 1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(at as u64)
        .wrapping_mul(0xbf58_476d_1ce4_e5b9)
        | 1
}

pub(crate) fn elements(rank: usize, len: usize) -> Vec<u64> {
    (0..len).map(|at| element(rank, at)).collect()
}
