//! Federated jobs as strangers will try them: servers and parties are programs, some of them hostile, and some are killed.

#[path = "../certificates/mod.rs"]
mod certificates;
#[path = "../program/mod.rs"]
mod program;

mod clocks;
mod hostile;
mod keys;
mod member;
mod outages;
mod quotas;
mod site;
mod strangers;
