//! Scan: each rank gets what the ranks up to it have, combined.

use futures_util::future::try_join;

use super::Communicator;
use super::channel::Channel;
use super::reduce::{recv_unless_empty, send_unless_empty};
use crate::call::{Call, Operation};
use crate::element::Element;
use crate::error::CollectiveError;
use crate::fabric::Fabric;
use crate::reduction::{Reduction, Side, combine_into};

impl<F: Fabric> Communicator<F> {
    /// Combines at each rank the `data` of the ranks up to and with it, element by element. All slices have the same
    /// length.
    ///
    /// # Errors
    /// [`CollectiveError`].
    ///
    /// # Cancel safety
    /// See [`Communicator`](Communicator#cancel-safety).
    pub fn scan<'a, T: Element, R: Reduction<T> + 'a>(
        &'a self,
        data: &'a mut [T],
        reduction: R,
    ) -> impl Future<Output = Result<(), CollectiveError>> + Send + 'a {
        self.run_scan(Operation::Scan, data, reduction)
    }

    /// Combines at each rank the `data` of the ranks before it, element by element. All slices have the same length.
    /// Rank 0, which has none before it, keeps its `data` as it is.
    ///
    /// # Errors
    /// [`CollectiveError`].
    ///
    /// # Cancel safety
    /// See [`Communicator`](Communicator#cancel-safety).
    pub fn exscan<'a, T: Element, R: Reduction<T> + 'a>(
        &'a self,
        data: &'a mut [T],
        reduction: R,
    ) -> impl Future<Output = Result<(), CollectiveError>> + Send + 'a {
        self.run_scan(Operation::Exscan, data, reduction)
    }

    fn run_scan<'a, T: Element, R: Reduction<T> + 'a>(
        &'a self,
        operation: Operation,
        data: &'a mut [T],
        reduction: R,
    ) -> impl Future<Output = Result<(), CollectiveError>> + Send + 'a {
        let channel = self.open(Call::combination(operation, data, &reduction));
        async move {
            let channel = channel?;
            let work = async {
                match operation {
                    Operation::Exscan => exclusive(&channel, data, &reduction).await,
                    _ => inclusive(&channel, data, &reduction).await,
                }
            };
            let result = channel.watch(work).await;
            channel.finish(result)
        }
    }
}

/// Sends to the rank `distance` further on and receives from the one `distance` back, where there are such. Says
/// whether something was received.
async fn shift<F: Fabric, T: Element>(
    channel: &Channel<'_, F>,
    distance: usize,
    give: &[T],
    take: &mut [T],
) -> Result<bool, CollectiveError> {
    let to = channel.rank() + distance;
    let from = channel.rank().checked_sub(distance);
    try_join(
        async {
            if to < channel.size() {
                send_unless_empty(channel, to, give).await?;
            }
            Ok::<_, CollectiveError>(())
        },
        async {
            if let Some(from) = from {
                recv_unless_empty(channel, from, take).await?;
            }
            Ok(())
        },
    )
    .await?;
    Ok(from.is_some())
}

async fn inclusive<F: Fabric, T: Element, R: Reduction<T>>(
    channel: &Channel<'_, F>,
    data: &mut [T],
    reduction: &R,
) -> Result<(), CollectiveError> {
    let mut scratch = channel.scratch(size_of_val(data));
    let incoming = scratch.elements_mut::<T>();
    let mut distance = 1;
    while distance < channel.size() {
        // So far each rank has combined the `distance` ranks that end with it.
        if shift(channel, distance, data, incoming).await? {
            combine_into(reduction, data, incoming, Side::Left);
        }
        distance *= 2;
    }
    Ok(())
}

async fn exclusive<F: Fabric, T: Element, R: Reduction<T>>(
    channel: &Channel<'_, F>,
    data: &mut [T],
    reduction: &R,
) -> Result<(), CollectiveError> {
    let mut with_own = channel.scratch(size_of_val(data));
    let with_own = with_own.elements_mut::<T>();
    with_own.copy_from_slice(data);
    let mut scratch = channel.scratch(size_of_val(data));
    let incoming = scratch.elements_mut::<T>();
    let mut distance = 1;
    while distance < channel.size() {
        if shift(channel, distance, with_own, incoming).await? {
            combine_into(reduction, with_own, incoming, Side::Left);
            if distance == 1 {
                data.copy_from_slice(incoming);
            } else {
                combine_into(reduction, data, incoming, Side::Left);
            }
        }
        distance *= 2;
    }
    Ok(())
}
