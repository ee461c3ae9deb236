//! etcd's data model as a deterministic state machine.
