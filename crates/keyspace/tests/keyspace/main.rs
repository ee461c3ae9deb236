//! The keyspace through its public door: etcd's rules, images of it, leases, and slow twins.

mod client;
mod compaction;
mod draw;
mod etcd_tables;
mod image;
mod lessor;
mod revision_bump;
mod stored;
mod transactions;
mod twin;
