//! The API over real connections: a server on the loopback address, a client
//! of few lines over hyper, and warehouses in temporary folders.

mod client;
mod health;
mod jobs;
mod life;
mod place;
mod problems;
mod reports;
mod runs;
mod schedules;
mod server;
mod sql;
