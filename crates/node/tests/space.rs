//! A disk that fills up: it is said through the log in time, once, and what was reserved ahead outlasts it.

mod rig;

use quorate_node::{Lane, NodeInput};
use rig::Rig;
use rig::solo::{Solo, SoloConfig};

const LOW_WATER: u64 = 1_000;

fn rig() -> Rig<Solo> {
    let mut rig = Rig::off(1, SoloConfig::default());
    rig.config.low_space_bytes = LOW_WATER;
    rig.start().expect("empty disks boot");
    rig.complete_all();
    rig
}

fn tell(rig: &mut Rig<Solo>, free_bytes: u64) {
    rig.inputs([NodeInput::FreeSpace { free_bytes }]);
}

#[test]
fn a_disk_below_the_mark_is_told_through_the_log_once_and_no_client_hears_of_it() {
    let mut rig = rig();
    tell(&mut rig, LOW_WATER);
    rig.complete_all();
    assert_eq!(rig.items(), [""; 0], "at the mark there is room");
    tell(&mut rig, LOW_WATER - 1);
    tell(&mut rig, LOW_WATER - 1);
    rig.complete_all();
    tell(&mut rig, 0);
    rig.complete_all();
    assert_eq!(rig.items(), ["low"]);
    assert_eq!(rig.replies, []);
    assert_eq!(rig.node().status().free_bytes, Some(0));
}

#[test]
fn an_alarm_that_was_cleared_while_space_is_still_short_is_raised_again() {
    let mut rig = rig();
    tell(&mut rig, 0);
    rig.complete_all();
    rig.write(1, "room");
    rig.complete_all();
    tell(&mut rig, LOW_WATER + 1);
    rig.complete_all();
    assert_eq!(rig.items(), ["low", "room"], "there is room: nothing to say");
    tell(&mut rig, 0);
    rig.complete_all();
    assert_eq!(rig.items(), ["low", "room", "low"]);
}

#[test]
fn without_a_low_water_mark_nothing_is_ever_said() {
    let mut rig = Rig::off(1, SoloConfig::default());
    rig.config.low_space_bytes = 0;
    rig.start().expect("empty disks boot");
    tell(&mut rig, 0);
    rig.complete_all();
    assert_eq!(rig.items(), [""; 0]);
}

#[test]
fn a_full_disk_still_takes_what_fits_the_segment_that_was_reserved_ahead() {
    let mut rig = Rig::off(1, SoloConfig::default());
    rig.config.journal.segment_bytes = 16 * 1024;
    rig.start().expect("empty disks boot");
    rig.complete_all();
    tell(&mut rig, 1 << 30);
    rig.complete_all();
    let reserved = rig.node().status().journal_bytes;
    let journal = rig.disk(Lane::Journal);
    journal.faults_mut().capacity_bytes = Some(reserved);
    tell(&mut rig, 0);
    rig.complete_all();
    assert_eq!(rig.items(), ["low"]);
    // More than is left of the first segment.
    for _ in 0..8 {
        rig.write(1, "drop");
        rig.complete_all();
    }
    assert_eq!(rig.replies.len(), 8);
    assert_eq!(rig.node().status().journal_bytes, reserved, "it rolled into what was reserved");
}
