//! What people and other programs ask of Plimsoll over the network, and the
//! reports they are given.
//!
//! - [`report`]: the report of one run, a plain value with renderers for a
//!   terminal, Markdown, HTML and JSON.
//! - [`api`]: the HTTP API over a [`plimsoll_warehouse::Warehouse`].
//!
//! This crate must not know how load is made or how tables are stored: it
//! reads the warehouse by SQL. It is the only one that listens to people.

pub mod api;
pub mod report;
