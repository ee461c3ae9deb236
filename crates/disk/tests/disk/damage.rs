//! Damage on purpose: it hits what it is aimed at, on the medium, and nothing else.

use bytes::Bytes;
use quorate_disk::model::{Harm, ModelDisk, Place};
use quorate_disk::{Disk, DiskErrorKind, Operation, SECTOR_BYTES};

fn write(offset: u64, byte: u8, length: usize) -> Operation {
    Operation::Write { file: "a".into(), offset, parts: vec![Bytes::from(vec![byte; length])] }
}

fn flush() -> Operation {
    Operation::Flush { file: "a".into() }
}

/// A file of four sectors of ones, durable with its name.
fn four_sectors() -> ModelDisk {
    let mut disk = ModelDisk::new();
    let create = Operation::Create { file: "a".into(), reserve_bytes: 4 * SECTOR_BYTES as u64 };
    disk.perform_all(&[create, write(0, 1, 4 * SECTOR_BYTES), flush(), Operation::FlushDirectory]).unwrap();
    disk
}

fn place(sector: u64) -> Place {
    Place { file: "a".into(), sector }
}

/// Each sector's bytes, after everything unflushed was lost.
fn sectors(disk: &ModelDisk) -> Vec<Vec<u8>> {
    let bytes = disk.synced().read("a", 0, 4 * SECTOR_BYTES).unwrap();
    bytes.chunks(SECTOR_BYTES).map(<[u8]>::to_vec).collect()
}

#[test]
fn damage_changes_its_sector_on_the_medium_and_no_other() {
    for harm in [Harm::Flip { bit: 4097 }, Harm::Garbage { seed: 5 }, Harm::Zeros] {
        let mut disk = four_sectors();
        let before = sectors(&disk);
        disk.harm(&place(2), harm).unwrap();
        let after = sectors(&disk);
        let changed: Vec<usize> = (0..4).filter(|at| before[*at] != after[*at]).collect();
        assert_eq!(changed, [2], "{harm:?}");
        assert_eq!(disk.read("a", 0, 4 * SECTOR_BYTES).unwrap().to_vec(), after.concat(), "{harm:?} is seen at once");
    }
}

#[test]
fn a_lost_sector_cannot_be_read_until_it_is_written_as_a_whole() {
    let mut disk = four_sectors();
    disk.harm(&place(1), Harm::Lost).unwrap();
    assert_eq!(disk.read("a", 0, SECTOR_BYTES + 1).unwrap_err().kind, DiskErrorKind::Medium);
    assert_eq!(disk.synced().read("a", 600, 1).unwrap_err().kind, DiskErrorKind::Medium);
    assert!(disk.read("a", 0, SECTOR_BYTES).is_ok());
    disk.perform(&write(SECTOR_BYTES as u64, 2, 10)).unwrap();
    assert!(disk.read("a", 520, 1).is_err(), "a part of a sector does not replace it");
    disk.perform(&write(SECTOR_BYTES as u64, 2, SECTOR_BYTES)).unwrap();
    assert!(disk.read("a", 520, 1).is_ok());
}

#[test]
fn a_lost_write_is_reported_as_done_and_a_flush_does_not_bring_it() {
    let mut disk = four_sectors();
    disk.faults_mut().lose_next_write = true;
    disk.perform_all(&[write(0, 9, 10), flush()]).unwrap();
    assert_eq!(sectors(&disk), sectors(&four_sectors()));
    disk.perform_all(&[write(0, 9, 10), flush()]).unwrap();
    assert_eq!(sectors(&disk)[0][..11], [9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 1], "only one is lost");
}

#[test]
fn a_misdirected_write_lands_in_another_sector_of_its_file() {
    let mut disk = four_sectors();
    disk.faults_mut().misdirect_next_write = Some(2);
    disk.perform_all(&[write(0, 9, SECTOR_BYTES), flush()]).unwrap();
    let after: Vec<u8> = sectors(&disk).iter().map(|sector| sector[0]).collect();
    assert_eq!(after, [1, 1, 9, 1]);
    assert_eq!(disk.length("a").unwrap(), 4 * SECTOR_BYTES as u64);
}

#[test]
fn only_what_is_durable_and_not_zero_is_offered_for_damage() {
    let mut disk = four_sectors();
    disk.perform(&write(4 * SECTOR_BYTES as u64, 1, 1)).unwrap();
    disk.perform(&Operation::Create { file: "b".into(), reserve_bytes: 512 }).unwrap();
    assert_eq!(disk.durable_places(), (0..4).map(place).collect::<Vec<_>>());
    assert_eq!(disk.harm(&place(9), Harm::Zeros).unwrap_err().kind, DiskErrorKind::Name);
}

#[test]
fn what_a_failed_flush_left_in_the_cache_is_gone_once_the_cache_is_forgotten() {
    let mut disk = four_sectors();
    disk.perform(&write(0, 9, SECTOR_BYTES)).unwrap();
    disk.fail_next(DiskErrorKind::Medium);
    disk.perform(&flush()).unwrap_err();
    disk.perform_all(&[flush(), write(512, 7, 3)]).unwrap();
    let seen = |disk: &ModelDisk| (disk.read("a", 0, 1).unwrap()[0], disk.read("a", 512, 1).unwrap()[0]);
    assert_eq!(seen(&disk), (9, 7), "the cache shows it as if it were written");
    disk.perform(&Operation::Forget { file: "a".into() }).unwrap();
    assert_eq!(seen(&disk), (1, 7), "the medium never had it; what still waits to be written stays");
}
