//! The checker through its public door: texts, hand-made anomalies, and slow obvious twins.

mod anomalies;
mod formats;
mod generator;
mod models;
mod simulated;
mod twin;
