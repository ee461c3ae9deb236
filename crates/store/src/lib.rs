//! A state machine's durable image: append-only item files and atomic checkpoints, without I/O.
