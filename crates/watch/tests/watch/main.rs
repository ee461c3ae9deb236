//! The hub of watchers: etcd's rules, bounds, and slow twins.

mod bounds;
mod etcd_rules;
mod installs;
mod progress_rules;
mod twin;
mod world;
