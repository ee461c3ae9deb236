//! A look at a journal: the same records as an opening gives, no byte changed, and of a damaged one what stands before the damage.

use crate::driver::{Node, config, open};
use quorate_disk::model::ModelDisk;
use quorate_journal::{Journal, JournalError};
use quorate_types::Ticket;

fn journal() -> Node {
    let mut node = Node::create(config(4));
    for records in [1, 3, 0, 2, 1, 1, 2] {
        node.append_and_write(records, 150);
    }
    node.compact(2);
    node.write_all();
    node
}

#[test]
fn a_whole_journal_is_shown_as_it_would_open() {
    let node = journal();
    let survey = Journal::survey(&node.disk).unwrap();
    let found = open(&node.disk, &node.config).unwrap().found;
    assert_eq!((&survey.records, survey.last_ticket), (&found.records, found.last_ticket));
    assert_eq!(survey.identity.as_ref(), Some(&found.identity));
    assert_eq!((survey.damage, survey.torn), (None, None));
    assert!(survey.incarnation < found.incarnation, "looking is no opening");
    let known = node.journal.segments();
    assert!(known.len() > 1);
    assert_eq!(survey.segments.len(), known.len());
    for (shown, known) in survey.segments.iter().zip(&known) {
        assert_eq!((&shown.file, shown.used_bytes, &shown.damage), (&known.file, known.used_bytes, &None));
    }
}

#[test]
fn of_a_damaged_journal_it_shows_where_and_a_prefix_of_what_was_written() {
    let node = journal();
    let whole = Journal::survey(&node.disk).unwrap();
    let last = whole.segments.last().unwrap();
    let mut shortest = whole.records.len();
    for segment in &whole.segments[..whole.segments.len() - 1] {
        for byte in (12_288..segment.used_bytes).step_by(37) {
            let mut disk = node.disk.clone();
            disk.flip_bit(&segment.file, byte * 8).unwrap();
            let survey = Journal::survey(&disk).unwrap();
            assert!(matches!(survey.damage, Some(JournalError::Corrupt { .. })), "{} byte {byte}", segment.file);
            let is_of_prefix = |(ticket, _): &&(Ticket, _)| *ticket <= survey.last_ticket;
            let prefix: Vec<_> = whole.records.iter().filter(is_of_prefix).collect();
            let kept: Vec<_> = survey.records.iter().filter(|(ticket, _)| *ticket >= whole.records[0].0).collect();
            assert_eq!(kept, prefix, "{} byte {byte}", segment.file);
            assert_eq!(survey.segments.last(), Some(last), "a segment is judged by itself");
            shortest = shortest.min(prefix.len());
        }
    }
    assert!(shortest < whole.records.len());
}

#[test]
fn where_there_is_no_journal_it_says_so() {
    assert_eq!(Journal::survey(&ModelDisk::new()), Err(JournalError::Missing));
}
