//! The warehouse over real Delta tables in temporary folders.

mod answers;
mod capacities;
mod changes;
mod check;
mod comparisons;
mod endless;
mod figures;
mod formats;
mod guards;
mod memory;
mod names;
mod place;
mod reading;
mod sketches;
mod spans;
mod statistics;
mod summaries;
mod sums;
mod trends;
mod views;
mod visibility;
