//! Creating and opening: identity, incarnations, refusals in plain words.

use crate::driver::{Node, config, identity, open};
use bytes::Bytes;
use quorate_disk::model::ModelDisk;
use quorate_disk::{Disk, DiskErrorKind, Operation};
use quorate_journal::{Expected, Identity, Journal, JournalConfig, JournalError};
use quorate_types::{ClusterId, DiskId, Incarnation, NodeId, Ticket};

fn refusal(disk: &ModelDisk, expected: &Expected) -> JournalError {
    Journal::open(disk, expected, config(8)).unwrap_err()
}

#[test]
fn each_open_is_a_new_incarnation_and_tickets_go_on() {
    let mut node = Node::create(config(4));
    for incarnation in 2..12 {
        node.append_and_write(1, 20);
        node = Node::open(node.disk, node.history, node.config);
        assert_eq!(node.journal.incarnation(), Incarnation(incarnation));
        assert_eq!(node.journal.durable(), Ticket(incarnation - 1));
    }
    assert!(node.journal.segments().len() > 3, "openings take space and roll segments as well");
}

#[test]
fn an_empty_directory_has_no_journal() {
    let disk = ModelDisk::new();
    assert!(!Journal::exists(&disk).unwrap());
    assert_eq!(refusal(&disk, &Expected::default()), JournalError::Missing);
}

#[test]
fn creating_over_a_journal_is_refused() {
    let node = Node::create(config(4));
    assert!(Journal::exists(&node.disk).unwrap());
    let error = Journal::create(&node.disk, identity(), config(4)).unwrap_err();
    assert_eq!(error, JournalError::Exists { file: "journal-0000000000000000.seg".to_owned() });
}

#[test]
fn a_protocol_name_that_does_not_fit_is_refused() {
    let long = Identity { protocol: "p".repeat(256), ..identity() };
    let error = Journal::create(&ModelDisk::new(), long, config(4)).unwrap_err();
    assert_eq!(error, JournalError::ProtocolName { length: 256 });
}

#[test]
fn other_files_in_the_directory_are_left_alone() {
    let mut disk = ModelDisk::new();
    for file in ["store-1", "journal.txt", "journal-xyz.seg"] {
        disk.perform(&Operation::Create { file: file.to_owned(), reserve_bytes: 7 }).unwrap();
    }
    let node = Node::create_on(disk, config(4));
    let node = Node::open(node.disk, node.history, node.config);
    assert_eq!(node.disk.list().unwrap().len(), 4);
}

#[test]
fn what_was_expected_is_found() {
    let node = Node::create(config(8));
    let Identity { cluster, node: id, disk, protocol } = identity();
    let expected = Expected { cluster: Some(cluster), node: Some(id), disk: Some(disk), protocol: Some(protocol) };
    let found = Journal::open(&node.disk, &expected, config(8)).unwrap().found;
    assert_eq!(found.identity, identity());
}

#[test]
fn another_clusters_nodes_disks_or_protocols_journal_is_refused_in_plain_words() {
    let disk = Node::create(config(8)).disk;
    let nothing = Expected::default;
    let said = |expected: &Expected| refusal(&disk, expected).to_string();
    assert_eq!(
        said(&Expected { cluster: Some(ClusterId(7)), ..nothing() }),
        "journal-0000000000000000.seg belongs to cluster c1, not to cluster 7"
    );
    assert_eq!(
        said(&Expected { node: Some(NodeId(7)), ..nothing() }),
        "journal-0000000000000000.seg belongs to node n2, not to node n7"
    );
    assert_eq!(
        said(&Expected { disk: Some(DiskId(7)), ..nothing() }),
        "journal-0000000000000000.seg belongs to disk d15c, not to disk 7"
    );
    assert_eq!(
        said(&Expected { protocol: Some("zab".to_owned()), ..nothing() }),
        "journal-0000000000000000.seg holds records of the protocol raft, not of zab"
    );
}

#[test]
fn segments_of_two_journals_do_not_mix() {
    let mut node = Node::create(config(2));
    let mut other = ModelDisk::new();
    let (mut journal, operations) =
        Journal::create(&other, Identity { disk: DiskId(0xbad), ..identity() }, config(2)).unwrap();
    other.perform_all(&operations).unwrap();
    for ticket in 1..3 {
        node.append_and_write(1, 300);
        journal.append(Ticket(ticket), vec![Bytes::from("other")]).unwrap();
        let write = journal.next_write().unwrap();
        other.perform_all(&write.operations).unwrap();
        journal.completed(write.id).unwrap();
    }
    let second = "journal-0000000000000001.seg";
    let stolen = other.read(second, 0, 1 << 16).unwrap();
    node.disk.perform(&Operation::Write { file: second.to_owned(), offset: 0, parts: vec![stolen] }).unwrap();
    assert_eq!(
        refusal(&node.disk, &Expected::default()),
        JournalError::WrongDisk { file: second.to_owned(), found: DiskId(0xbad), expected: DiskId(0xd15c) }
    );
}

#[test]
fn a_newer_format_is_refused_by_its_version() {
    let mut disk = Node::create(config(4)).disk;
    let file = "journal-0000000000000000.seg";
    let mut sector = disk.read(file, 0, 512).unwrap().to_vec();
    sector[12] = 9;
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&sector[..8]), &sector[12..]);
    sector[8..12].copy_from_slice(&checksum.to_le_bytes());
    let parts = vec![Bytes::from(sector)];
    disk.perform(&Operation::Write { file: file.to_owned(), offset: 0, parts }).unwrap();
    let error = refusal(&disk, &Expected::default());
    assert!(matches!(&error, JournalError::UnknownVersion { what: "segment", version: 9, known: 1, .. }), "{error}");
    assert!(error.to_string().contains("version 9"), "{error}");
}

#[test]
fn before_reading_everything_is_to_be_flushed() {
    let mut node = Node::create(config(2));
    node.append_and_write(1, 700);
    node.append(1, 10);
    let write = node.journal.next_write().unwrap();
    let unflushed: Vec<Operation> =
        write.operations.into_iter().filter(|operation| !matches!(operation, Operation::Flush { .. })).collect();
    node.perform_all(&unflushed).unwrap();
    assert!(!node.disk.unsynced().is_empty());
    let operations = Journal::flush_before_open(&node.disk).unwrap();
    node.disk.perform_all(&operations).unwrap();
    assert!(node.disk.unsynced().is_empty());
}

#[test]
fn a_disk_that_cannot_be_read_is_no_damage() {
    let mut disk = Node::create(config(4)).disk;
    disk.faults_mut().unreadable.insert("journal-0000000000000000.seg".to_owned());
    assert!(
        matches!(refusal(&disk, &Expected::default()), JournalError::Disk(error) if error.kind == DiskErrorKind::Medium)
    );
}

#[test]
fn the_bounds_may_change_from_one_open_to_the_next() {
    let mut node = Node::create(config(2));
    node.append_and_write(1, 300);
    let large = JournalConfig { segment_bytes: 1 << 20, batch_bytes_max: 1 << 16 };
    let mut node = Node::open(node.disk, node.history, large);
    node.append_and_write(5, 3000);
    let tiny = JournalConfig { segment_bytes: 0, batch_bytes_max: 0 };
    let mut node = Node::open(node.disk, node.history, tiny);
    node.append_and_write(5, 3000);
    node.append_and_write(1, 1);
    let node = Node::open(node.disk, node.history, config(2));
    assert_eq!(open(&node.disk, &node.config).unwrap().found.last_ticket, Ticket(4));
}
