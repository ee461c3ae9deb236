//! `--protocol`: which protocol the lab runs.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use quorate_keyspace::Keyspace;
use quorate_simulator::swarm::{LogProtocol, OnProtocol, Options, Report, Scripted, run_seed};

/// Takes the name of a protocol that serves a store of keys.
pub fn protocol_named() -> impl TypedValueParser<Value = LogProtocol> {
    let names = LogProtocol::ALL.map(LogProtocol::name);
    let known = |name: String| LogProtocol::named(&name).ok_or("no such protocol");
    PossibleValuesParser::new(names).try_map(known)
}

/// Runs one seed.
pub struct RunSeed {
    /// Which.
    pub seed: u64,
    /// What to keep of it.
    pub options: Options,
}

impl OnProtocol for RunSeed {
    type Output = Report;

    fn run<R: Scripted>(self) -> Report {
        run_seed::<R, Keyspace>(self.seed, &self.options)
    }
}
