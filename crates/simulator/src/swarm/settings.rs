//! Settings of drawn nodes: legal, and often much too small.

use super::plan::Plan;
use super::subject::{Pace, Subject};
use crate::random::{Chance, Random};
use quorate_journal::JournalConfig;
use quorate_machine::MachineConfig;
use quorate_machine::transfer::TransferConfig;
use quorate_node::{CheckpointConfig, NodeConfig};
use quorate_store::StoreConfig;
use std::time::Duration;

/// The settings of every node of a plan.
pub(super) fn draw_node<R: Subject>(random: &mut Random, plan: &Plan) -> NodeConfig<R> {
    let patience = plan.patience;
    let mut node = NodeConfig::new(R::draw_config(random, Pace { patience }));
    node.machine = draw_machine(random, plan);
    node.journal = JournalConfig {
        segment_bytes: random.log_uniform(4 << 10, 64 << 10),
        batch_bytes_max: size(random, 256, 64 << 10),
    };
    node.checkpoint = CheckpointConfig {
        every: Duration::from_nanos(random.log_uniform(1, 64)) + patience * count(random, 1, 30),
        after_bytes: random.log_uniform(256, 1 << 20),
        after_slots: random.log_uniform(1, 200),
    };
    node.journal_idle = patience / count(random, 2, 100);
    node.tracing = plan.tracing;
    node.tidy_every = patience / count(random, 10, 1000);
    let chunk_bytes = size(random, 16, 64 << 10);
    node.transfer = TransferConfig {
        chunk_bytes,
        window_bytes: random.log_uniform(chunk_bytes as u64, 1 << 18),
        bytes_per_second: random.log_uniform(1 << 18, 1 << 26),
        max_sent_at_once: size(random, 1, 4),
        resend_after: patience / count(random, 1, 4),
        abandon_after: patience * count(random, 2, 20),
        tick: patience / count(random, 20, 100),
    };
    node.store = StoreConfig { slice_bytes: size(random, 64, 64 << 10), file_bytes: random.log_uniform(256, 1 << 20) };
    node
}

fn draw_machine(random: &mut Random, plan: &Plan) -> MachineConfig {
    let tiny = random.happens(Chance::percent(20));
    let usual = MachineConfig::default();
    MachineConfig {
        max_outstanding_writes: if tiny { size(random, 1, 8) } else { usual.max_outstanding_writes },
        max_outstanding_reads: if tiny { size(random, 1, 8) } else { usual.max_outstanding_reads },
        session_window: random.log_uniform(2, 4096),
        max_batch_commands: size(random, 1, 64),
        max_batch_bytes: size(random, 16, 1 << 16),
        max_proposals_in_flight: size(random, 1, 64),
        max_forwarded_commands: if tiny { size(random, 1, 8) } else { usual.max_forwarded_commands },
        max_read_rounds: size(random, 1, 4),
        request_timeout: plan.longest_call,
        retry_after: plan.patience / count(random, 1, 20),
        request_tick: plan.patience / count(random, 4, 40),
        ..usual
    }
}

fn size(random: &mut Random, low: u64, high: u64) -> usize {
    usize::try_from(random.log_uniform(low, high)).unwrap_or(usize::MAX)
}

fn count(random: &mut Random, low: u64, high: u64) -> u32 {
    u32::try_from(random.log_uniform(low, high)).unwrap_or(u32::MAX)
}
