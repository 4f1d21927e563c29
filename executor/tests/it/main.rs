//! The executor as a whole: jobs against the simulator, over real sockets,
//! into real tables.

mod connections;
mod faults;
mod jobs;
mod orchestra;
mod orchestrated;
mod stops;
mod world;
