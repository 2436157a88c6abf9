//! Runs every schedule among simulated members and checks what each of them ends with.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use flexbond_collectives::schedule::{Barrier, Doubling, DoublingStep, Ring, Tree};
use flexbond_collectives::{Rank, RankError, Size};
use proptest::prelude::*;

/// What one member does next.
enum Action<V> {
    Send(Rank, V),
    Recv(Rank),
}

/// A member: makes its next action from what it has, and takes what it received.
trait Member {
    type Value;
    fn next(&mut self) -> Option<Action<Self::Value>>;
    fn take(&mut self, from: Rank, value: Self::Value);
}

/// Lets members act, in the order of `picks` as long as that lasts, until all are done. Between each two members
/// messages keep their order. Panics when nobody can go on, or a message is left over.
fn simulate<M: Member>(mut members: Vec<(Rank, M)>, picks: &[usize]) -> Vec<(Rank, M)> {
    let count = members.len();
    let mut mail: BTreeMap<(Rank, Rank), VecDeque<M::Value>> = BTreeMap::new();
    let mut waiting: Vec<Option<Rank>> = vec![None; count];
    let mut done = vec![false; count];
    let mut picks = picks.iter().map(|pick| pick % count).chain((0..count).cycle());
    let mut idle = 0;
    while !done.iter().all(|done| *done) {
        let at = picks.next().expect("the cycle has no end");
        let (rank, member) = &mut members[at];
        let went_on = if let Some(from) = waiting[at] {
            let value = mail.get_mut(&(from, *rank)).and_then(VecDeque::pop_front);
            value.is_some_and(|value| {
                waiting[at] = None;
                member.take(from, value);
                true
            })
        } else {
            match member.next() {
                Some(Action::Send(to, value)) => mail.entry((*rank, to)).or_default().push_back(value),
                Some(Action::Recv(from)) => waiting[at] = Some(from),
                None => done[at] = true,
            }
            true
        };
        idle = if went_on { 0 } else { idle + 1 };
        assert!(idle <= 200 + 2 * count, "everybody waits for somebody");
    }
    assert!(
        mail.values().all(VecDeque::is_empty),
        "a message was not received"
    );
    members
}

/// A member that works off a list of actions made up front, and keeps what `combine` makes of what it has and gets.
struct Scripted<V, P> {
    script: VecDeque<P>,
    value: V,
    send: fn(&V, &P) -> Option<Action<V>>,
    combine: fn(&mut V, Rank, V),
}

impl<V, P> Member for Scripted<V, P> {
    type Value = V;

    fn next(&mut self) -> Option<Action<V>> {
        while let Some(step) = self.script.pop_front() {
            if let Some(action) = (self.send)(&self.value, &step) {
                return Some(action);
            }
        }
        None
    }

    fn take(&mut self, from: Rank, value: V) {
        (self.combine)(&mut self.value, from, value);
    }
}

#[derive(Clone, Copy)]
enum Do {
    Send(Rank),
    Recv(Rank),
}

fn whole_value<V: Clone>(value: &V, step: &Do) -> Option<Action<V>> {
    Some(match step {
        Do::Send(to) => Action::Send(*to, value.clone()),
        Do::Recv(from) => Action::Recv(*from),
    })
}

fn sizes() -> impl Strategy<Value = Size> {
    prop_oneof![1_u32..=17, Just(31), Just(32), Just(33), 1_u32..=70]
        .prop_map(|size| Size::new(size).unwrap())
}

fn picks() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(any::<usize>(), 0..200)
}

/// A value that remembers, in order, whose contributions went into it.
fn own(rank: Rank) -> Vec<u32> {
    vec![rank.index()]
}

proptest! {
    #[test]
    fn nobody_leaves_a_barrier_before_all_have_entered(size in sizes(), picks in picks()) {
        let members = size.ranks().map(|rank| {
            let script = Barrier::new(rank)
                .flat_map(|round| [Do::Send(round.send_to), Do::Recv(round.recv_from)])
                .collect();
            let heard = BTreeSet::from([rank]);
            (rank, Scripted { script, value: heard, send: whole_value, combine: |heard, _, more| heard.extend(more) })
        });
        for (_, member) in simulate(members.collect(), &picks) {
            prop_assert_eq!(member.value.len(), size.get() as usize);
        }
    }

    #[test]
    fn a_broadcast_reaches_everybody_once(size in sizes(), root in any::<u32>(), picks in picks()) {
        let root = size.rank(root % size.get()).unwrap();
        let members = size.ranks().map(|rank| {
            let tree = Tree::new(rank, root).unwrap();
            let script = tree.parent().map(Do::Recv).into_iter().chain(tree.children().map(Do::Send)).collect();
            let value = if rank == root { vec![7_u32] } else { Vec::new() };
            (rank, Scripted { script, value, send: whole_value, combine: |have, _, got| have.extend(got) })
        });
        for (rank, member) in simulate(members.collect(), &picks) {
            prop_assert_eq!(member.value, [7], "rank {}", rank);
        }
    }

    #[test]
    fn a_reduce_combines_everybody_once_in_order(size in sizes(), root in any::<u32>(), picks in picks()) {
        let root = size.rank(root % size.get()).unwrap();
        let members = size.ranks().map(|rank| {
            let tree = Tree::new(rank, root).unwrap();
            let script = tree.children().rev().map(Do::Recv).chain(tree.parent().map(Do::Send)).collect();
            (rank, Scripted { script, value: own(rank), send: whole_value, combine: |have, _, got| have.extend(got) })
        });
        for (rank, member) in simulate(members.collect(), &picks) {
            let expected: Vec<u32> = (0..Tree::new(rank, root).unwrap().subtree())
                .map(|place| (rank.index() + place) % size.get())
                .collect();
            prop_assert_eq!(&member.value, &expected, "rank {}", rank);
            prop_assert!(rank != root || expected.len() == size.get() as usize);
        }
    }

    #[test]
    fn doubling_gives_everybody_everything_in_rank_order(size in sizes(), picks in picks()) {
        let members = size.ranks().map(|rank| {
            let mut script = VecDeque::new();
            for step in Doubling::new(rank) {
                match step {
                    DoublingStep::FoldSend { to } | DoublingStep::UnfoldSend { to } => script.push_back(Do::Send(to)),
                    DoublingStep::FoldRecv { from } | DoublingStep::UnfoldRecv { from } => {
                        script.push_back(Do::Recv(from));
                    }
                    DoublingStep::Exchange { with } => script.extend([Do::Send(with), Do::Recv(with)]),
                    other => unreachable!("a new kind of step: {other:?}"),
                }
            }
            (rank, Scripted { script, value: (rank, own(rank)), send: whole_value, combine: in_rank_order })
        });
        let all: Vec<u32> = (0..size.get()).collect();
        for (rank, member) in simulate(members.collect(), &picks) {
            prop_assert_eq!(&member.value.1, &all, "rank {}", rank);
        }
    }

    #[test]
    fn an_allgather_gives_everybody_every_block_once(size in sizes(), picks in picks()) {
        let members = size.ranks().map(|rank| {
            let value = Blocks { moving: None, blocks: BTreeMap::from([(rank, own(rank))]) };
            (rank, on_the_ring(rank, Ring::new(rank).allgather(), value))
        });
        for (rank, member) in simulate(members.collect(), &picks) {
            let blocks = &member.value.blocks;
            prop_assert_eq!(blocks.len(), size.get() as usize, "rank {}", rank);
            for (owner, block) in blocks {
                prop_assert_eq!(block, &own(*owner));
            }
        }
    }

    #[test]
    fn a_reduce_scatter_gives_everybody_its_whole_block(size in sizes(), picks in picks()) {
        let members = size.ranks().map(|rank| {
            let blocks = size.ranks().map(|block| (block, own(rank))).collect();
            (rank, on_the_ring(rank, Ring::new(rank).reduce_scatter(), Blocks { moving: None, blocks }))
        });
        let all: Vec<u32> = (0..size.get()).collect();
        for (rank, member) in simulate(members.collect(), &picks) {
            let mut block = member.value.blocks[&rank].clone();
            block.sort_unstable();
            prop_assert_eq!(&block, &all, "rank {}", rank);
        }
    }

    #[test]
    fn a_schedule_is_as_long_as_its_docs_say(size in sizes()) {
        let rounds = f64::from(size.get()).log2();
        for rank in size.ranks() {
            prop_assert_eq!(Barrier::new(rank).len(), rounds.ceil() as usize);
            prop_assert!(Doubling::new(rank).count() <= rounds.floor() as usize + 2);
            prop_assert_eq!(Ring::new(rank).allgather().len(), size.get() as usize - 1);
            prop_assert!(Tree::new(rank, rank).unwrap().children().count() <= rounds.ceil() as usize);
        }
    }
}

/// Keeps the operands in the order of the ranks that they come from; the first part of a value is its lowest rank.
fn in_rank_order(have: &mut (Rank, Vec<u32>), from: Rank, got: (Rank, Vec<u32>)) {
    // Only the result for one that sat out holds its own value already.
    if got.1.contains(&have.0.index()) {
        assert_eq!(have.1, own(have.0), "a value came twice");
        assert_eq!(from.index(), have.0.index() + 1, "a value came twice");
        have.1 = got.1;
        return;
    }
    if got.0 < have.0 {
        have.1.splice(0..0, got.1);
    } else {
        have.1.extend(got.1);
    }
}

/// The blocks that a member has, and the one that is on its way.
struct Blocks {
    moving: Option<(Rank, Vec<u32>)>,
    blocks: BTreeMap<Rank, Vec<u32>>,
}

enum OnRing {
    Send { to: Rank, block: Rank },
    Recv { from: Rank },
}

fn on_the_ring(
    rank: Rank,
    steps: impl Iterator<Item = flexbond_collectives::schedule::RingStep>,
    value: Blocks,
) -> Scripted<Blocks, OnRing> {
    let ring = Ring::new(rank);
    let (to, from) = (ring.next(), ring.previous());
    let script = steps
        .flat_map(|step| {
            let block = step.send_block;
            [OnRing::Send { to, block }, OnRing::Recv { from }]
        })
        .collect();
    Scripted {
        script,
        value,
        send: |value, step| {
            Some(match step {
                OnRing::Recv { from } => Action::Recv(*from),
                OnRing::Send { to, block } => {
                    // Fails when a schedule sends a block before it has come.
                    let content = value.blocks[block].clone();
                    let moving = Some((*block, content));
                    Action::Send(
                        *to,
                        Blocks {
                            moving,
                            blocks: BTreeMap::new(),
                        },
                    )
                }
            })
        },
        combine: |have, _, got| {
            let (owner, content) = got.moving.expect("every message carries a block");
            have.blocks.entry(owner).or_default().extend(content);
        },
    }
}

#[test]
fn ring_neighbours_agree_on_the_block_of_each_step() {
    for size in 1..20 {
        let size = Size::new(size).unwrap();
        for rank in size.ranks() {
            let next = Ring::new(Ring::new(rank).next());
            let pairs = [
                (
                    Ring::new(rank).allgather().collect::<Vec<_>>(),
                    next.allgather().collect::<Vec<_>>(),
                ),
                (
                    Ring::new(rank).reduce_scatter().collect(),
                    next.reduce_scatter().collect(),
                ),
            ];
            for (sender, receiver) in pairs {
                for (sent, received) in sender.iter().zip(&receiver) {
                    assert_eq!((sent.step, sent.send_block), (received.step, received.recv_block));
                }
            }
        }
    }
}

#[test]
fn a_root_of_another_group_is_refused() {
    let (three, four) = (Size::new(3).unwrap(), Size::new(4).unwrap());
    assert_eq!(
        Tree::new(three.rank(0).unwrap(), four.rank(0).unwrap()),
        Err(RankError::OtherGroup {
            left: three,
            right: four
        })
    );
}

#[test]
fn the_largest_group_is_served() {
    let size = Size::new(Size::MAX).unwrap();
    let last = size.rank(Size::MAX - 1).unwrap();
    let tree = Tree::new(last, size.rank(Size::MAX / 2).unwrap()).unwrap();
    assert!(tree.parent().is_some());
    assert_eq!(Barrier::new(last).count(), 20);
    assert_eq!(Doubling::new(last).count(), 20);
    assert_eq!(Ring::new(last).reduce_scatter().len(), Size::MAX as usize - 1);
}
