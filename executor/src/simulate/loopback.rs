//! The server as a client on loopback sees it.

mod client;
mod faults;
mod serving;
mod truth;
