//! The binomial tree: a value goes from a root to everybody, or from everybody to a root.

use crate::{Rank, RankError};

/// One member's place in the binomial tree of a given root.
///
/// *Broadcast*: wait for the value from the [`parent`](Tree::parent) (the root has it), then send it to each of the
/// [`children`](Tree::children) in their order, the one with the largest subtree first.
///
/// *Reduce*: the other way round. Receive from the children in reverse order, combining as you go, then send the
/// result to the parent. Seen from the root on (root, root + 1, … round the group) the subtree of a member is the run of ranks
/// that begins with it, and its children's subtrees in reverse order are the runs that follow. So with
/// "mine, then the child's" the operands stay in that order, and the operation need not be commutative when the
/// root is rank 0.
///
/// ```
/// use flexbond_collectives::{Size, schedule::Tree};
///
/// let size = Size::new(8)?;
/// let root = size.rank(0)?;
/// let children: Vec<u32> = Tree::new(root, root)?.children().map(|child| child.index()).collect();
/// assert_eq!(children, [4, 2, 1]);
/// # Ok::<(), flexbond_collectives::RankError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tree {
    rank: Rank,
    root: Rank,
}

impl Tree {
    /// The place of `rank` in the tree that hangs from `root`.
    ///
    /// # Errors
    /// [`RankError::OtherGroup`] when the two are of groups of different sizes.
    pub fn new(rank: Rank, root: Rank) -> Result<Self, RankError> {
        if rank.size() == root.size() {
            Ok(Tree { rank, root })
        } else {
            Err(RankError::OtherGroup {
                left: rank.size(),
                right: root.size(),
            })
        }
    }

    /// The place of a rank in the tree of a root that is known to be of the same group.
    #[cfg(feature = "communicator")]
    pub(crate) fn of(rank: Rank, root: Rank) -> Self {
        debug_assert_eq!(rank.size(), root.size());
        Tree { rank, root }
    }

    /// The place of `rank` in the tree that hangs from rank 0.
    #[cfg(feature = "communicator")]
    pub(crate) fn from_first(rank: Rank) -> Self {
        Tree {
            rank,
            root: rank.behind(rank.index()),
        }
    }

    /// How many members get their value through `child`, itself included.
    #[cfg(feature = "communicator")]
    pub(crate) fn subtree_of(&self, child: Rank) -> u32 {
        Tree {
            rank: child,
            root: self.root,
        }
        .subtree()
    }

    /// The member next to the root on the way there; none for the root itself.
    #[must_use]
    pub fn parent(&self) -> Option<Rank> {
        let place = self.place();
        // The parent's place lacks the lowest one-bit.
        (place != 0).then(|| self.at(place & (place - 1)))
    }

    /// The members next to this one on the way from the root, the one with the largest subtree first.
    pub fn children(&self) -> impl DoubleEndedIterator<Item = Rank> + use<> {
        let tree = *self;
        let place = tree.place();
        let bits = if place == 0 {
            tree.rank.size().doublings()
        } else {
            place.trailing_zeros()
        };
        let size = tree.rank.size().get();
        (0..bits)
            .rev()
            .map(move |bit| place + (1 << bit))
            .filter(move |child| *child < size)
            .map(move |child| tree.at(child))
    }

    /// How many members get their value through this one, itself included: those from it on, counted round the
    /// group.
    #[must_use]
    pub fn subtree(&self) -> u32 {
        let place = self.place();
        let left = self.rank.size().get() - place;
        if place == 0 {
            left
        } else {
            left.min(1 << place.trailing_zeros())
        }
    }

    /// How far this member is from the root, counted round the group.
    fn place(&self) -> u32 {
        self.rank.behind(self.root.index()).index()
    }

    fn at(&self, place: u32) -> Rank {
        self.root.ahead(place)
    }
}
