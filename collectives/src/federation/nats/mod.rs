//! Federated jobs over NATS JetStream.

mod depot;
mod inbound;
mod outbound;
mod partner;
mod record;
mod seat;
mod subject;
