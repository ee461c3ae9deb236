//! Standard input, standard output and the real clock around a [`Participant`].

use crate::participant::{Participant, Word};
use quorate_node::NodeConfig;
use quorate_protocol::Replica;
use quorate_raft::{Config, Raft};
use quorate_types::Time;
use std::io::{BufRead, Write};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use thiserror::Error;

/// After how long a request without an answer is answered with an error. Maelstrom's clients wait 5 s.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);

/// Lines read ahead of the node; the writer on the other side of the pipe waits while there are more.
const LINES_AHEAD_MAX: usize = 1024;

/// Why serving ended before the input did.
#[derive(Debug, Error)]
pub enum ServeError {
    /// Input or output failed.
    #[error("{0}")]
    Stream(#[from] std::io::Error),
    /// No seed could be drawn.
    #[error("cannot draw a seed: {0}")]
    Seed(getrandom::Error),
    /// The node can serve no longer.
    #[error("the node stopped: {0}")]
    Stopped(String),
}

/// Settings of a node under Raft for a network whose round trips take at most a tenth of `election_timeout`.
#[must_use]
pub fn raft_settings(election_timeout: Duration) -> NodeConfig<Raft> {
    let mut config = NodeConfig::new(Config {
        election_timeout,
        heartbeat_interval: election_timeout / 10,
        read_retry_interval: election_timeout / 2,
        ..Config::default()
    });
    config.machine.request_timeout = REQUEST_TIMEOUT;
    config.machine.retry_after = election_timeout / 3;
    // The disks are memory, and long tests are to run in a bounded amount of it.
    config.journal.segment_bytes = 1 << 20;
    config.checkpoint.after_bytes = 4 << 20;
    config
}

/// Runs a node until its input ends.
///
/// # Errors
/// When a stream fails, or the node stops by itself.
pub fn serve<R: Replica>(
    config: NodeConfig<R>,
    input: impl BufRead + Send + 'static,
    mut output: impl Write,
) -> Result<(), ServeError> {
    let mut participant = Participant::new(config, getrandom::u64().map_err(ServeError::Seed)?);
    let (sender, lines) = sync_channel(LINES_AHEAD_MAX);
    // Reading blocks, and the node has timers: so there is a thread for reading, and nothing else on it.
    std::thread::spawn(move || read_lines(input, &sender));
    let origin = Instant::now();
    let now = || Time::ZERO + origin.elapsed();
    loop {
        let patience = participant.deadline().map_or(Duration::MAX, |deadline| deadline.since(now()));
        match lines.recv_timeout(patience) {
            Ok(first) => {
                for line in std::iter::once(first).chain(lines.try_iter().take(LINES_AHEAD_MAX)) {
                    match String::from_utf8(line?) {
                        Ok(line) => participant.receive(now(), &line),
                        Err(why) => eprintln!("no message ({why})"),
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        participant.settle(now());
        for word in participant.take_words() {
            match word {
                Word::Line(line) => writeln!(output, "{line}")?,
                Word::Remark(text) => eprintln!("{text}"),
            }
        }
        output.flush()?;
        if let Some(why) = participant.stopped() {
            return Err(ServeError::Stopped(why.to_owned()));
        }
    }
}

/// Until the input ends or fails, or nobody wants the lines any more.
fn read_lines(input: impl BufRead, sender: &SyncSender<std::io::Result<Vec<u8>>>) {
    for line in input.split(b'\n') {
        let failed = line.is_err();
        if sender.send(line).is_err() || failed {
            return;
        }
    }
}
