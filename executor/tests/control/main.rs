//! The control store: the same cases on SQLite and on PostgreSQL, with a clock that the tests set.

mod cancels;
mod invariants;
mod losses;
mod places;
mod postgres;
mod queue;
mod ticks;
mod world;
