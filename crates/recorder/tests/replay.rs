//! A small cluster is run, written down and run again.

mod taped;

use bytes::Bytes;
use quorate_protocol::{Input, Recordable, Taped};
use quorate_raft::Raft;
use quorate_recorder::{
    BatchMark, Fact, Heard, LifeError, NamedSegment, Note, SceneKind, Segment, SegmentEnd, SegmentError, lives,
};
use quorate_types::{Slot, Time};
use taped::{Run, SECRET};

fn named(files: Vec<Vec<u8>>) -> Vec<NamedSegment> {
    let read = |(number, file): (usize, Vec<u8>)| NamedSegment {
        file: format!("segment {number}"),
        segment: Segment::read(Bytes::from(file)).expect("what was written can be read"),
    };
    files.into_iter().enumerate().map(read).collect()
}

#[test]
fn every_member_says_the_same_again() {
    let run = Run::of_members(3, 4000, false);
    for (id, files) in &run.files {
        assert!(files.len() >= 3, "{id} wrote several segments");
        let lives = lives(named(files.clone()));
        assert_eq!(lives.len(), 1);
        let mut guards = 0;
        let node = lives[0]
            .replay::<Raft>(|scene| {
                if let SceneKind::Moment(moment) = &scene.kind {
                    guards += moment.events.len();
                }
            })
            .expect("the same code says the same");
        assert!(guards > 100, "a replay tells reasons that were not recorded");
        assert!(node.replica().commit() > Slot(100), "something was committed: {}", node.replica().commit());
        assert_eq!(node.replica().term(), run.replica(*id).term());
        assert_eq!(node.replica().commit(), run.replica(*id).commit());
        assert_eq!(node.replica().log().last(), run.replica(*id).log().last());
    }
}

#[test]
fn a_replay_may_begin_at_any_segment() {
    let run = Run::of_members(3, 4000, false);
    for files in run.files.values() {
        for first in 0..files.len() {
            let lives = lives(named(files[first..].to_vec()));
            lives[0].replay::<Raft>(|_| {}).expect("every segment begins with a picture");
        }
    }
}

#[test]
fn no_byte_of_a_command_is_recorded_unless_asked_for() {
    let holds_secret = |files: &Vec<Vec<u8>>| {
        files.iter().any(|file| file.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()))
    };
    let without = Run::of_members(3, 1500, false);
    assert!(!without.files.values().any(holds_secret));
    let with = Run::of_members(3, 1500, true);
    assert!(with.files.values().all(holds_secret));
    let lives = lives(named(with.files.values().next().expect("three members ran").clone()));
    let mut marks = Vec::new();
    let node = lives[0].replay::<Raft>(|scene| {
        if let SceneKind::Values(values) = &scene.kind {
            marks.extend(values.iter().map(|batch| BatchMark::of(batch)));
        }
    });
    assert!(node.is_ok() && !marks.is_empty());
}

#[test]
fn a_changed_byte_is_found_wherever_it_is() {
    let run = Run::of_members(3, 600, false);
    let file = &run.files.values().next().expect("three members ran")[0];
    let whole = Segment::read(Bytes::from(file.clone())).expect("what was written can be read");
    let step = (file.len() / 997).max(1);
    for at in (0..file.len()).step_by(step) {
        let mut changed = file.clone();
        changed[at] ^= 0x10;
        let read = Segment::read(Bytes::from(changed));
        let is_found = matches!(read, Err(SegmentError::Damaged { .. } | SegmentError::Foreign));
        assert!(is_found, "byte {at} of {}: {:?}", file.len(), read.map(|read| read == whole));
    }
}

#[test]
fn a_frame_taken_out_is_found() {
    let run = Run::of_members(3, 600, false);
    let file = run.files.values().next().expect("three members ran")[0].clone();
    let mut begins = vec![0];
    while let Some(begin) = begins.last().copied().filter(|begin| *begin < file.len()) {
        let length = u32::from_le_bytes([file[begin], file[begin + 1], file[begin + 2], file[begin + 3]]);
        begins.push(begin + 12 + length as usize);
    }
    assert!(begins.len() > 6);
    for taken in 2..begins.len() - 2 {
        let shorter = [&file[..begins[taken]], &file[begins[taken + 1]..]].concat();
        assert!(matches!(Segment::read(Bytes::from(shorter)), Err(SegmentError::Damaged { .. })), "frame {taken}");
    }
}

#[test]
fn a_file_that_ends_early_is_read_up_to_there() {
    let run = Run::of_members(3, 600, false);
    let file = run.files.values().next().expect("three members ran").last().expect("there is a segment").clone();
    let (mut calls, mut torn) = (0, 0);
    for length in (0..file.len()).step_by(61) {
        match Segment::read(Bytes::from(file[..length].to_vec())) {
            Err(error) => assert_eq!(error, SegmentError::Empty, "{length} bytes"),
            Ok(segment) => {
                torn += usize::from(segment.torn_bytes > 0);
                let lives = lives(vec![NamedSegment { file: "cut".to_owned(), segment }]);
                let node = lives[0].replay::<Raft>(|_| {}).expect("what is left is right");
                assert!(node.calls() >= calls, "more bytes tell more");
                calls = node.calls();
            }
        }
    }
    assert!(torn > 0 && calls > 0);
    let zeroed = [&file[..], &[0; 4096]].concat();
    let segment = Segment::read(Bytes::from(zeroed)).expect("zeros behind the end are a cut too");
    assert_eq!(segment.torn_bytes, 4096);
}

#[test]
fn an_early_end_in_the_middle_of_a_life_is_found() {
    let run = Run::of_members(3, 4000, false);
    let mut files = run.files.values().next().expect("three members ran").clone();
    let length = files[0].len() - 5;
    files[0].truncate(length);
    let lives = lives(named(files));
    let error = lives[0].replay::<Raft>(|_| {}).expect_err("calls are missing");
    assert_eq!(error, LifeError::CutOff { file: "segment 0".to_owned(), next: "segment 1".to_owned() });
}

#[test]
fn a_missing_segment_is_a_gap_and_not_an_error() {
    let run = Run::of_members(3, 4000, false);
    let mut files = run.files.values().next().expect("three members ran").clone();
    files.remove(1);
    let mut gaps = 0;
    let lives = lives(named(files));
    lives[0]
        .replay::<Raft>(|scene| gaps += usize::from(matches!(scene.kind, SceneKind::Gap { notes: None })))
        .expect("a picture stands for what is missing");
    assert_eq!(gaps, 1);
}

#[test]
fn a_call_that_is_left_out_shows_as_the_first_step_that_differs() {
    let (mut found, mut left_out) = (0, 0);
    for skipped in 0..40 {
        let run = Run::leaving_out(3, 1500, skipped * 7);
        for files in run.files.values() {
            let lives = lives(named(files.clone()));
            left_out += 1;
            if let Err(LifeError::Diverged { file, why, .. }) = lives[0].replay::<Raft>(|_| {}) {
                assert!(file.starts_with("segment") && why.call > 0 && !why.what.is_empty());
                found += 1;
            }
        }
    }
    // A call that changed nothing may be left out unnoticed; most change something.
    assert!(found * 2 > left_out, "{found} of {left_out}");
}

#[test]
fn facts_and_the_end_come_back_as_they_were_told() {
    let run = Run::of_members(3, 300, false);
    let files = run.files.values().next().expect("three members ran");
    let segments = named(files.clone());
    let notes: Vec<Note<Raft>> =
        segments[0].segment.notes().collect::<Result<_, _>>().expect("what was written can be read");
    let is_fact = |note: &Note<Raft>| matches!(note, Note::Fact { fact: Fact::FreeSpace(7), .. });
    assert!(notes.iter().any(is_fact));
    assert!(matches!(notes.last(), Some(Note::End(SegmentEnd::Full | SegmentEnd::Stopped))));
}

#[test]
fn a_stand_in_keeps_what_a_protocol_looks_at() {
    let batch = Bytes::from_static(b"some commands, as a machine writes them");
    let heard: Heard<Raft> = Heard::Taped(Taped::Step {
        now: Time(5),
        choices: vec![3],
        input: Input::Propose {
            request: quorate_protocol::RequestId(1),
            batch: quorate_protocol::Batch::new(batch.clone()),
        },
    });
    let file = taped::file_of(vec![heard]);
    let segment = Segment::read(Bytes::from(file)).expect("what was written can be read");
    let notes: Vec<Note<Raft>> = segment.notes().collect::<Result<_, _>>().expect("notes decode");
    let Some(Note::Step { now: Time(5), choices, input: Input::Propose { batch: read, .. } }) = notes.first() else {
        panic!("another note: {:?}", notes.first());
    };
    assert_eq!(choices, &[3]);
    assert_eq!(read.commands.len(), batch.len());
    assert_eq!(BatchMark::of_stand_in(&read.commands), BatchMark::of(&batch));
    let replaced = Raft::record_with_batches(quorate_raft::Record::Truncate { from: Slot(3) }, &mut |_| {
        unreachable!("there is no batch in it")
    });
    assert_eq!(replaced, quorate_raft::Record::Truncate { from: Slot(3) });
}
