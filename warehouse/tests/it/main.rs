//! The warehouse over real Delta tables in temporary folders.

mod check;
mod figures;
mod formats;
mod guards;
mod names;
mod place;
mod reading;
mod statistics;
mod summaries;
mod views;
mod visibility;
