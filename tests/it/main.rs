//! Tests of the whole product, in one binary: the rules that the workspace keeps, and the built
//! program from the command line to the answer.

mod architecture;
mod bad_places;
mod bad_questions;
mod bad_subjects;
mod bad_usage;
mod between;
mod buckets;
mod chosen;
mod encrypted;
mod held_up;
mod interruptions;
mod judged;
mod killed;
mod killed_jobs;
mod lossy;
mod other_servers;
mod peers;
#[path = "../../executor/tests/control/postgres.rs"]
mod postgres;
mod program;
mod queues;
mod quickstart;
mod served;
mod simulated;
mod skewed;
mod spilled;
mod submitted;
mod tidy;
mod upkeep;
mod whole_path;
mod workspace;
