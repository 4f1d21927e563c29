//! The executor as a whole: jobs against the simulator, over real sockets,
//! into real tables.

mod faults;
mod jobs;
mod world;
