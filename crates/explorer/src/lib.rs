//! Bounded exhaustive search over a protocol's own replicas.
