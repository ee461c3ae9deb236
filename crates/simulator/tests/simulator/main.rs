//! The simulator: what its faults do, that it finds planted flaws, and that the product has none.

mod counterexamples;
mod faults;
mod flawed;
mod ledger;
mod misremembering;
mod planted;
mod rehearsal;
mod scenarios;
mod shrink;
mod sick_machines;
mod swarm;
