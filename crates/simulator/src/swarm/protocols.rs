//! The protocols of this workspace, as subjects.

use super::subject::{Pace, Subject};
use crate::random::{Random, nanos};
use quorate_paxos::{AcceptedTo, Config, Paxos};

impl Subject for Paxos {
    const ONE_LEADER_PER_ERA: bool = false;
    const SLOTS: Option<u64> = Some(1);

    fn draw_config(random: &mut Random, pace: Pace) -> quorate_paxos::Config {
        let patience_ms = nanos(pace.patience) / 1_000_000;
        let back_off_base_ms = random.log_uniform(1, patience_ms / 4);
        quorate_paxos::Config {
            accepted_to: *random.pick(&[AcceptedTo::Proposer, AcceptedTo::Everybody]).unwrap_or(&AcceptedTo::Proposer),
            back_off_base_ms,
            back_off_cap_ms: random.log_uniform(back_off_base_ms, patience_ms * 2),
            resend_after_ms: random.log_uniform(1, patience_ms),
            resends_per_ballot: random.between(1, 8) as u32,
            inquire_after_ms: random.log_uniform(1, patience_ms),
            waiting_limit: 64,
            compact_after_records: Config::COMPACT_AFTER_RECORDS_LEAST,
            ..Config::default()
        }
    }
}
