//! The bounds and delays around a protocol.

use std::time::Duration;

/// Settings of a [`crate::Machine`]. A count of 0 is taken as 1. Nodes of one cluster may differ in all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineConfig {
    /// Writes of this node's clients without an answer; more are refused.
    pub max_outstanding_writes: usize,
    /// The payloads of those together, in bytes; more are refused.
    pub max_outstanding_bytes: usize,
    /// The largest payload of one command.
    pub max_payload_bytes: usize,
    /// How far sequences may run ahead of the lowest outstanding one. Bounds what every replica remembers of this session.
    pub session_window: u64,
    /// Commands in one slot.
    pub max_batch_commands: usize,
    /// Payload bytes in one slot; a single larger command has a slot to itself.
    pub max_batch_bytes: usize,
    /// Batches proposed here and undecided. While so many are, commands gather for larger batches.
    pub max_proposals_in_flight: usize,
    /// While a batch proposed here is undecided, the next one gathers commands for up to so long after its first, unless it is full
    /// before. 0: whatever is at hand goes at once.
    pub max_batch_wait: Duration,
    /// Commands of other nodes that wait here, at the leader, to be proposed; more are refused.
    pub max_forwarded_commands: usize,
    /// The payloads of those together, in bytes.
    pub max_forwarded_bytes: usize,
    /// Errands of this node's clients without an answer; more are refused.
    pub max_outstanding_errands: usize,
    /// Errands of all nodes that wait here, at the leader, for an answer; more are refused.
    pub max_held_errands: usize,
    /// Reads of this node's clients without an answer; more are refused.
    pub max_outstanding_reads: usize,
    /// Read rounds under way at the same time.
    pub max_read_rounds: usize,
    /// How long a client waits at most.
    pub request_timeout: Duration,
    /// After how long without news a forwarded write, an errand or a read round is tried again. Doubles with every try of a
    /// write or errand, up to 16 times.
    pub retry_after: Duration,
    /// How often time-outs and retries are looked after while anything waits.
    pub request_tick: Duration,
    /// What a former leader's duty proposed may be decided in its successor's time: the protocol's word, which the node passes on.
    pub late_proposals: bool,
}

impl Default for MachineConfig {
    fn default() -> MachineConfig {
        MachineConfig {
            max_outstanding_writes: 16 * 1024,
            max_outstanding_bytes: 64 << 20,
            max_payload_bytes: 3 << 19,
            session_window: 64 * 1024,
            max_batch_commands: 1024,
            max_batch_bytes: 1 << 20,
            max_proposals_in_flight: 64,
            max_batch_wait: Duration::ZERO,
            max_forwarded_commands: 32 * 1024,
            max_forwarded_bytes: 128 << 20,
            max_outstanding_errands: 16 * 1024,
            max_held_errands: 64 * 1024,
            max_outstanding_reads: 64 * 1024,
            max_read_rounds: 2,
            request_timeout: Duration::from_secs(5),
            retry_after: Duration::from_millis(300),
            request_tick: Duration::from_millis(50),
            late_proposals: false,
        }
    }
}
