//! Publishing over storage that fails: whatever goes wrong, and whoever dies when, each run is in
//! the warehouse once and whole in the end, and no reader sees half of one on the way. Each row of a
//! journal's source is there once, too.
//!
//! `PLIMSOLL_FAULT_ROUNDS` sets how many random rounds are run; `cargo xtask torture` sets many.

mod creating;
mod deaths;
mod journals;
mod place;
mod random;
mod thrift;
