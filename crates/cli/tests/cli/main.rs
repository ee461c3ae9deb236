//! The built program as a user runs it: real processes, their answers and exit codes.

mod cluster;
mod exit_codes;
mod explore;
mod maelstrom;
mod processes;
mod recording;
mod recovery;
mod refusals;
