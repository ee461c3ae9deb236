//! Random schedules against the obvious twin: a list of what was appended.

use crate::chance::crashed;
use crate::driver::{Node, config};
use proptest::prelude::*;
use quorate_journal::Journal;

#[derive(Clone, Debug)]
enum Step {
    Append {
        records: usize,
        length: usize,
    },
    Compact {
        back: u64,
    },
    Write,
    Idle,
    /// Writes, and crashes after this many of the operations.
    CrashWithin {
        operations: usize,
        seed: u64,
    },
    /// The process dies after this many of the operations; the disk does not.
    KillWithin {
        operations: usize,
    },
    /// Crashes, and crashes again while opening.
    CrashTwice {
        operations: usize,
        seed: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0usize..4, 0usize..900).prop_map(|(records, length)| Step::Append { records, length }),
        2 => (0u64..12).prop_map(|back| Step::Compact { back }),
        6 => Just(Step::Write),
        2 => Just(Step::Idle),
        2 => (0usize..14, any::<u64>()).prop_map(|(operations, seed)| Step::CrashWithin { operations, seed }),
        1 => (0usize..14).prop_map(|operations| Step::KillWithin { operations }),
        1 => (0usize..10, any::<u64>()).prop_map(|(operations, seed)| Step::CrashTwice { operations, seed }),
    ]
}

fn write_some(node: &mut Node, operations: usize) {
    if let Some(write) = node.journal.next_write() {
        let count = operations.min(write.operations.len());
        node.perform_all(&write.operations[..count]).unwrap();
    }
}

fn run(node: Node, step: Step) -> Node {
    let mut node = node;
    node.film.clear();
    match step {
        Step::Append { records, length } => {
            node.append(records, length);
        }
        Step::Compact { back } => {
            let next = node.history.appended.len() as u64 + 1;
            node.compact(next.saturating_sub(back));
        }
        Step::Write => {
            if let Some(write) = node.journal.next_write() {
                node.finish(&write);
            }
        }
        Step::Idle => node.idle(),
        Step::CrashWithin { operations, seed } => {
            write_some(&mut node, operations);
            return Node::open(crashed(&node.disk, seed), node.history, node.config);
        }
        Step::KillWithin { operations } => {
            write_some(&mut node, operations);
            let mut disk = node.disk;
            let flushes = Journal::flush_before_open(&disk).unwrap();
            quorate_disk::Disk::perform_all(&mut disk, &flushes).unwrap();
            return Node::open(disk, node.history, node.config);
        }
        Step::CrashTwice { operations, seed } => {
            write_some(&mut node, operations);
            let (mut opening, all) = Node::opening(crashed(&node.disk, seed), node.history, node.config);
            opening.perform_all(&all[..operations.min(all.len())]).unwrap();
            return Node::open(crashed(&opening.disk, seed ^ 1), opening.history, opening.config);
        }
    }
    node
}

proptest! {
    #[test]
    fn any_schedule_keeps_every_promise(sectors in 1u64..20, steps in prop::collection::vec(step(), 1..60)) {
        let mut node = Node::create(config(sectors));
        for step in steps {
            node = run(node, step);
            let segments = node.journal.segments();
            prop_assert!(segments.windows(2).all(|pair| pair[0].number + 1 == pair[1].number));
            let dropped = node.history.drop_before(node.journal.durable().0);
            prop_assert!(segments[0].first_ticket <= dropped.max(quorate_types::Ticket(1)));
        }
        Node::open(node.disk.synced_image(), node.history, node.config);
    }
}
