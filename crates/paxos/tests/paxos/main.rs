//! Paxos through the seam: its rules, known runs, random schedules and every schedule within a bound.

mod conformance;
mod explore;
mod golden;
mod paper;
mod schedules;
mod script;
mod seam;
mod solo;
