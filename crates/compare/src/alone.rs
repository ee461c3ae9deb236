//! One write at a time in an idle cluster whose timers stand still: what a protocol cannot do without.

use crate::contender::Contender;
use crate::matrix::Site;
use crate::stage::{RunError, Setting, broken};
use quorate_keyspace::Keyspace;
use quorate_simulator::Outcome;
use quorate_simulator::swarm::Judged;
use std::time::Duration;

/// What one write of a client at a site took and cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alone {
    /// Where the client stands.
    pub site: Site,
    /// From call to answer.
    pub latency: Duration,
    /// Messages until the cluster was quiet again, those that tell everybody what is decided included.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Flushes of all journals.
    pub flushes: u64,
}

/// One write of 256 bytes at each site, one after the other.
///
/// # Errors
/// See [`RunError`].
pub fn alone<R: Contender>(setting: &Setting) -> Result<Vec<Alone>, RunError> {
    let mut stage = setting.stage::<R>()?;
    let world = &mut stage.world;
    world.set_manual_timers(true);
    world.run_until_quiet(stage.patience);
    let mut writes = Vec::new();
    for site in setting.matrix.sites() {
        let before = world.traffic().clone();
        let key = format!("alone-{}", site.0).into();
        world.submit(stage.seats.node(site), Keyspace::put(&key, &vec![b'v'; 256].into()));
        world.run_until_quiet(stage.patience);
        broken(world)?;
        let results = world.take_results();
        let [result] = results.as_slice() else {
            return Err(RunError::Unanswered { protocol: R::PROTOCOL, calls: 1 });
        };
        if !matches!(result.outcome, Outcome::Reply(_)) {
            return Err(RunError::Unanswered { protocol: R::PROTOCOL, calls: 1 });
        }
        let traffic = world.traffic().since(&before);
        let sent = traffic.total();
        let latency = result.returned_at.since(result.called_at);
        let flushes = traffic.journal_flushes;
        writes.push(Alone { site, latency, messages: sent.messages, bytes: sent.bytes, flushes });
    }
    Ok(writes)
}
