//! `plimsoll`: measures how much load a model server may safely carry, and keeps the answers in
//! open tables.
//!
//! This file parses the command line, hands it to its command and reports how that ended. Start
//! reading at [`cli`] for what can be typed, at [`commands`] for what is done about it.

mod cli;
mod commands;
mod failure;
mod interrupt;
mod logging;
mod nearest;
mod server;
mod settings;
mod terminal;

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Gives memory back that nobody uses: the system's allocator held on to twice as much
/// (`docs/decisions/0005-an-allocator.md`).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let ended = cli::parse(std::env::args_os()).and_then(commands::execute);
    let exit = ended.unwrap_or_else(|failure| {
        terminal::tell_failure(&failure);
        failure.exit()
    });
    exit.into()
}
