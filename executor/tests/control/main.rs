//! The control store: the same cases on SQLite and on PostgreSQL, with a clock that the tests set.

mod invariants;
mod places;
mod postgres;
mod queue;
mod world;
