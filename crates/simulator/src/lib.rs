//! Virtual network, disk, clock and faults; scenario scripts.
