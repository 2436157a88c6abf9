//! Values of any type, and broadcasts in chunks.

mod harness;

use std::collections::BTreeMap;

use flexbond_collectives::{
    AllgatherAlgorithm, BroadcastAlgorithm, CollectiveError, LocalFabric, Table, Tuning,
};
use harness::{on_fabric, on_local, on_ranks};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Report {
    name: String,
    counts: BTreeMap<String, Option<i64>>,
}

fn report(rank: usize) -> Report {
    Report {
        name: "r".repeat(rank * 700 + 1),
        counts: (0..rank)
            .map(|at| (at.to_string(), (at % 2 == 0).then_some(-5)))
            .collect(),
    }
}

#[test]
fn values_go_everywhere() {
    let mut tuning = Tuning::default();
    tuning.multicast_broadcast = Table::always(BroadcastAlgorithm::Multicast);
    for multicast in [false, true] {
        for size in 1..=17 {
            on_local(multicast, size, &tuning, async |communicator| {
                let rank = communicator.rank();
                let everybody: Vec<Report> = (0..size).map(report).collect();
                for root in [0, size / 2, size - 1] {
                    let is_root = rank == root;
                    let value = is_root.then(|| report(root));
                    assert_eq!(
                        communicator.broadcast_value(root, value).await.unwrap(),
                        report(root)
                    );
                    let gathered = communicator.gather_value(root, &report(rank)).await.unwrap();
                    assert_eq!(gathered, is_root.then(|| everybody.clone()));
                    let scattered = communicator.scatter_value(root, gathered).await.unwrap();
                    assert_eq!(scattered, report(rank));
                    let text = communicator
                        .reduce_value(root, rank.to_string(), |left, right| left + " " + &right)
                        .await
                        .unwrap();
                    let expected = (0..size)
                        .map(|rank| rank.to_string())
                        .collect::<Vec<_>>()
                        .join(" ");
                    assert_eq!(text, is_root.then_some(expected));
                }
                assert_eq!(
                    communicator.allgather_value(&report(rank)).await.unwrap(),
                    everybody
                );
                let text = communicator.allreduce_value(rank.to_string(), |left, right| left + " " + &right);
                let expected = (0..size)
                    .map(|rank| rank.to_string())
                    .collect::<Vec<_>>()
                    .join(" ");
                assert_eq!(text.await.unwrap(), expected);
                let values = (0..size).map(|to| (rank, to, report(to))).collect();
                let expected: Vec<_> = (0..size).map(|from| (from, rank, report(rank))).collect();
                assert_eq!(communicator.alltoall_value(values).await.unwrap(), expected);
            });
        }
    }
}

#[test]
fn values_are_bounded() {
    let mut tuning = Tuning::default();
    tuning.max_value = 200;
    let errors = on_ranks(3, &tuning, async |communicator| {
        // Each is within the limit, all together are not.
        let value = vec![7_u8; 90];
        let all = communicator.allgather_value(&value).await.unwrap_err();
        let long = (communicator.rank() == 1).then(|| vec![7_u8; 300]);
        let one = communicator.broadcast_value(1, long).await.unwrap_err();
        communicator.barrier().await.unwrap();
        (all, one)
    });
    for (rank, (all, one)) in errors.iter().enumerate() {
        assert!(
            matches!(all, CollectiveError::ValueTooLong { len: 273, limit: 200 }),
            "{all}"
        );
        match one {
            CollectiveError::ValueTooLong { len: 302, limit: 200 } => assert_eq!(rank, 1),
            CollectiveError::Abandoned { rank: 1 } => assert_ne!(rank, 1),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn another_type_does_not_decode() {
    on_ranks(2, &Tuning::default(), async |communicator| {
        if communicator.rank() == 0 {
            communicator.send_value(1, 3, &1_u8).await.unwrap();
        } else {
            let error = communicator.recv_value::<String>(0, 3).await.unwrap_err();
            assert!(
                matches!(error, CollectiveError::Decode { rank: 0, .. }),
                "{error}"
            );
        }
    });
}

#[test]
fn a_root_without_a_value_is_told() {
    let errors = on_ranks(3, &Tuning::default(), async |communicator| {
        let error = communicator.broadcast_value::<u8>(0, None).await.unwrap_err();
        communicator.barrier().await.unwrap();
        error
    });
    assert!(matches!(errors[0], CollectiveError::MissingValue));
    for error in &errors[1..] {
        assert!(matches!(error, CollectiveError::Abandoned { rank: 0 }), "{error}");
    }
}

#[test]
fn chunks_come_in_order() {
    for algorithm in [
        BroadcastAlgorithm::Binomial,
        BroadcastAlgorithm::Chain,
        BroadcastAlgorithm::Multicast,
    ] {
        let mut tuning = Tuning::default();
        tuning.broadcast = Table::always(algorithm);
        tuning.multicast_stream = Table::always(algorithm);
        tuning.allgather = Table::always(AllgatherAlgorithm::Ring);
        for (multicast, size) in [false, true]
            .into_iter()
            .flat_map(|on| (1..=9).map(move |size| (on, size)))
        {
            on_local(multicast, size, &tuning, async |communicator| {
                for root in 0..size {
                    let chunks: Vec<Vec<u8>> = (0..10_usize).map(|at| vec![at as u8; 1 + at * 900]).collect();
                    if communicator.rank() == root {
                        let mut sink = communicator.broadcast_sink().unwrap();
                        for chunk in &chunks {
                            sink.send(chunk).await.unwrap();
                            sink.send(&[]).await.unwrap();
                        }
                        sink.finish().await.unwrap();
                        continue;
                    }
                    let mut stream = communicator.broadcast_stream(root).unwrap();
                    let mut received = Vec::new();
                    while let Some(chunk) = stream.next().await.unwrap() {
                        received.push(chunk.to_vec());
                    }
                    assert_eq!(received, chunks);
                    assert_eq!(stream.next().await.unwrap(), None);
                }
            });
        }
    }
}

#[test]
fn a_stream_that_is_given_up_ends_with_an_error() {
    let results = on_fabric(3, LocalFabric::new(5), &Tuning::default(), async |communicator| {
        let result = if communicator.rank() == 2 {
            let mut sink = communicator.broadcast_sink().unwrap();
            sink.send(b"first").await.unwrap();
            drop(sink);
            Ok(())
        } else {
            let mut stream = communicator.broadcast_stream(2).unwrap();
            assert_eq!(stream.next().await.unwrap().as_deref(), Some(&b"first"[..]));
            let error = stream.next().await.unwrap_err();
            assert!(matches!(stream.next().await, Err(CollectiveError::Closed)));
            Err(error)
        };
        communicator.barrier().await.unwrap();
        result
    });
    for (rank, result) in results.into_iter().enumerate() {
        match result {
            Ok(()) => assert_eq!(rank, 2),
            Err(error) => assert!(matches!(error, CollectiveError::Abandoned { rank: 2 }), "{error}"),
        }
    }
}
