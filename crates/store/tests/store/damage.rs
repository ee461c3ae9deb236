//! Damage to what a checkpoint vouches for is reported by file and place, and is never read as data.

use crate::owner::{Chance, Image, begin, checkpoint, image_of, next_write, open, open_whole};
use bytes::Bytes;
use quorate_disk::model::ModelDisk;
use quorate_disk::{Disk, Operation};
use quorate_store::{StoreConfig, StoreError};

const CONFIG: StoreConfig = StoreConfig { slice_bytes: 200, file_bytes: 1200 };
const MANIFEST: &str = "checkpoint-0000000000000002";

/// Two checkpoints over several files, and stale bytes of a third that was cut off in the newest file.
fn written() -> (ModelDisk, Image) {
    let mut chance = Chance(21);
    let items: Vec<Bytes> = (0..160).map(|number| Bytes::from(vec![number; chance.below(50) as usize])).collect();
    let image = image_of(2, &items[..150]);
    let mut disk = ModelDisk::new();
    let (mut store, _) = open_whole(&mut disk, CONFIG);
    checkpoint(&mut store, &mut disk, &image_of(1, &items[..60]));
    checkpoint(&mut store, &mut disk, &image);
    let third = image_of(3, &items);
    assert!(begin(&mut store, &third));
    let cut_off = next_write(&mut store, &third).expect("it has new items");
    disk.perform_all(&cut_off.operations).expect("the disk is healthy");
    open_whole(&mut disk, CONFIG);
    (disk, image)
}

/// How many bytes of each file the image needs.
fn vouched_for(disk: &ModelDisk, image: &Image) -> Vec<(String, u64)> {
    let mut clean = ModelDisk::new();
    let (mut store, _) = open_whole(&mut clean, CONFIG);
    checkpoint(&mut store, &mut clean, &image_of(1, &image.items[..60]));
    checkpoint(&mut store, &mut clean, image);
    let names = disk.list().expect("a model disk lists");
    names
        .into_iter()
        .map(|name| (name.clone(), clean.length(&name).expect("the same run made the same files")))
        .collect()
}

#[test]
fn the_scene_has_several_files_and_stale_bytes() {
    let (disk, image) = written();
    let files = vouched_for(&disk, &image);
    assert!(files.len() >= 4, "{files:?}");
    assert!(files.iter().any(|(name, end)| disk.length(name).unwrap() > *end), "{files:?}");
    assert_eq!(open(&disk, CONFIG).unwrap().image, Some(image));
}

#[test]
fn every_flipped_byte_is_reported_in_its_file_or_does_not_matter() {
    let (disk, image) = written();
    for (name, end) in vouched_for(&disk, &image) {
        for byte in 0..disk.length(&name).unwrap() {
            let mut damaged = disk.clone();
            damaged.flip_bit(&name, byte * 8 + byte % 8).unwrap();
            match open(&damaged, CONFIG) {
                Err(StoreError::Corrupt { file, offset, .. }) => {
                    assert_eq!(file, name, "byte {byte}");
                    assert!(offset <= byte, "{name}: byte {byte} was noticed only at {offset}");
                    assert!(byte < end, "{name}: byte {byte} is nobody's");
                }
                Err(other) => panic!("{name}: byte {byte}: {other}"),
                Ok(opened) => {
                    assert!(byte >= end, "{name}: byte {byte} went unnoticed");
                    assert_eq!(opened.image.as_ref(), Some(&image));
                }
            }
        }
    }
}

#[test]
fn every_cut_is_reported_in_its_file_or_does_not_matter() {
    let (disk, image) = written();
    for (name, end) in vouched_for(&disk, &image) {
        for length in 0..disk.length(&name).unwrap() {
            let mut damaged = disk.clone();
            damaged.truncate(&name, length).unwrap();
            match open(&damaged, CONFIG) {
                Err(StoreError::Corrupt { file, .. }) => {
                    assert!(file == name && length < end, "{name} cut to {length}")
                }
                Err(other) => panic!("{name} cut to {length}: {other}"),
                Ok(opened) => {
                    assert!(length >= end, "{name} cut to {length} went unnoticed");
                    assert_eq!(opened.image.as_ref(), Some(&image));
                }
            }
        }
    }
}

#[test]
fn zeroed_sectors_and_swapped_files_are_reported() {
    let (disk, image) = written();
    for (name, end) in vouched_for(&disk, &image) {
        for sector in 0..end / 512 {
            let contents = disk.read(&name, sector * 512, 512).unwrap();
            let mut damaged = disk.clone();
            let write = Operation::Write { file: name.clone(), offset: sector * 512, parts: vec![vec![0; 512].into()] };
            damaged.perform(&write).unwrap();
            let was_zero = contents.iter().all(|byte| *byte == 0);
            assert_eq!(open(&damaged, CONFIG).is_err(), !was_zero, "{name} sector {sector}");
        }
    }
    let [one, two] = ["items-0000000000000001.rev", "items-0000000000000002.rev"];
    let mut swapped = disk.clone();
    for (from, to) in [(one, "aside"), (two, one), ("aside", two)] {
        swapped.perform(&Operation::Rename { from: from.into(), to: to.into() }).unwrap();
    }
    assert!(matches!(open(&swapped, CONFIG), Err(StoreError::Corrupt { .. })));
}

#[test]
fn an_item_replaced_by_another_with_a_right_checksum_is_reported() {
    // As a write that was lost would: the old bytes are whole, but not the ones that the checkpoint names.
    let (disk, image) = written();
    let mut other = image.clone();
    let changed = other.items.iter().position(|item| item.len() > 3).unwrap();
    other.items[changed] = Bytes::from(vec![b'!'; other.items[changed].len()]);
    let mut elsewhere = ModelDisk::new();
    let (mut store, _) = open_whole(&mut elsewhere, CONFIG);
    checkpoint(&mut store, &mut elsewhere, &image_of(1, &other.items[..60]));

    let file = "items-0000000000000001.rev".to_owned();
    let mut damaged = disk;
    let parts = vec![elsewhere.read(&file, 0, 1 << 20).unwrap()];
    damaged.perform(&Operation::Write { file: file.clone(), offset: 0, parts }).unwrap();
    let error = open(&damaged, CONFIG).unwrap_err();
    assert!(error.to_string().contains("do not have the checksum that the checkpoint names"), "{error}");
}

#[test]
fn every_missing_file_is_reported() {
    let (disk, image) = written();
    for (name, _) in vouched_for(&disk, &image) {
        let mut damaged = disk.clone();
        damaged.perform(&Operation::Unlink { file: name.clone() }).unwrap();
        let error = open(&damaged, CONFIG).unwrap_err();
        let StoreError::Corrupt { file, offset: 0, why } = error else { panic!("{error}") };
        assert!(why.contains("it is missing"), "{why}");
        // The newest manifest is known to have been there by a file that was made after its predecessor's.
        let expected = if name == MANIFEST { "checkpoint-0000000000000001" } else { &name };
        assert_eq!(file, expected);
    }
}

#[test]
fn a_damaged_newest_manifest_is_refused_although_an_older_one_is_whole() {
    let (disk, _) = written();
    let mut older = ModelDisk::new();
    let (mut store, _) = open_whole(&mut older, CONFIG);
    checkpoint(&mut store, &mut older, &image_of(1, &[]));
    let manifest = older.read("checkpoint-0000000000000001", 0, 1 << 20).unwrap();

    let mut damaged = disk.clone();
    let file = "checkpoint-0000000000000001".to_owned();
    damaged.perform(&Operation::Create { file: file.clone(), reserve_bytes: 0 }).unwrap();
    damaged.perform(&Operation::Write { file, offset: 0, parts: vec![manifest] }).unwrap();
    assert!(open(&damaged, CONFIG).is_ok(), "the older one alone does no harm");
    damaged.flip_bit(MANIFEST, 100).unwrap();
    let error = open(&damaged, CONFIG).unwrap_err();
    let StoreError::Corrupt { file, .. } = &error else { panic!("{error}") };
    assert_eq!(file, MANIFEST);
}

#[test]
fn a_manifest_under_another_number_is_refused() {
    let (mut disk, _) = written();
    let to = "checkpoint-0000000000000009".to_owned();
    disk.perform(&Operation::Rename { from: MANIFEST.into(), to }).unwrap();
    let error = open(&disk, CONFIG).unwrap_err();
    assert!(error.to_string().contains("it holds checkpoint 2"), "{error}");
}

#[test]
fn an_unreadable_file_is_the_disks_error() {
    let (mut disk, _) = written();
    disk.faults_mut().unreadable.insert(MANIFEST.into());
    assert!(matches!(open(&disk, CONFIG), Err(StoreError::Disk(_))));
}

/// A disk with one checkpoint, and an item file behind it that no manifest names.
fn with_litter() -> (ModelDisk, String) {
    let mut disk = ModelDisk::new();
    let (mut store, _) = open_whole(&mut disk, CONFIG);
    let items: Vec<Bytes> = (0..60).map(|number| Bytes::from(vec![number; 40])).collect();
    checkpoint(&mut store, &mut disk, &image_of(1, &items[..20]));
    let named = disk.list().expect("the disk is healthy");
    assert!(begin(&mut store, &image_of(2, &items)));
    loop {
        let write = next_write(&mut store, &image_of(2, &items)).expect("it is not done");
        disk.perform_all(&write.operations).expect("the disk is healthy");
        store.completed(write.id);
        let litter = disk.list().expect("the disk is healthy").into_iter().find(|file| !named.contains(file));
        if let Some(litter) = litter {
            return (disk, litter);
        }
    }
}

#[test]
fn litter_that_cannot_be_read_does_not_keep_the_store_from_opening() {
    let (disk, litter) = with_litter();
    assert!(litter.starts_with("items-"), "{litter}");
    let whole = open(&disk, CONFIG).unwrap();
    let mut unreadable = disk.clone();
    unreadable.faults_mut().unreadable.insert(litter.clone());
    let opened = open(&unreadable, CONFIG).unwrap();
    assert_eq!((opened.image, opened.operations), (whole.image, whole.operations.clone()));
    assert!(whole.operations.contains(&Operation::Unlink { file: litter }));
}

#[test]
fn litter_of_another_release_refuses_the_start() {
    let (mut disk, litter) = with_litter();
    let mut header = disk.read(&litter, 0, 36).unwrap().to_vec();
    header[8] = 1;
    let checksum = crc32c::crc32c(&header);
    header.extend_from_slice(&checksum.to_le_bytes());
    disk.perform(&Operation::Write { file: litter.clone(), offset: 0, parts: vec![header.into()] }).unwrap();
    assert_eq!(open(&disk, CONFIG).unwrap_err(), StoreError::Version { file: litter, found: 1, supported: 2 });
}

/// A manifest without items, whole but for what its numbers say.
fn manifest_of(number: u64, applied: u64) -> ModelDisk {
    let mut bytes = b"QRTCHKPT".to_vec();
    bytes.extend_from_slice(&2u32.to_le_bytes());
    for field in [number, applied, 0, 0] {
        quorate_wire::put_u64(field, &mut bytes);
    }
    quorate_wire::put_bytes(b"", &mut bytes);
    quorate_wire::put_bytes(b"", &mut bytes);
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    let mut disk = ModelDisk::new();
    let file = format!("checkpoint-{number:016x}");
    disk.perform(&Operation::Create { file: file.clone(), reserve_bytes: 0 }).expect("the disk is healthy");
    disk.perform(&Operation::Write { file, offset: 0, parts: vec![bytes.into()] }).expect("the disk is healthy");
    disk
}

#[test]
fn numbers_that_leave_none_for_the_next_are_refused() {
    let last = u64::MAX - 1;
    let mut disk = manifest_of(last, last);
    let (mut store, image) = open_whole(&mut disk, CONFIG);
    assert_eq!(image.map(|image| image.applied.0), Some(last));
    checkpoint(&mut store, &mut disk, &image_of(last, &[]));
    for (number, applied) in [(u64::MAX, 1), (1, u64::MAX)] {
        let error = open(&manifest_of(number, applied), CONFIG).unwrap_err();
        assert!(error.to_string().contains("no checkpoint can follow number"), "{error}");
    }
}

#[test]
fn the_message_says_which_file_where_what_and_what_to_do() {
    let (mut disk, _) = written();
    disk.flip_bit("items-0000000000000001.rev", 45 * 8).unwrap();
    let text = open(&disk, CONFIG).unwrap_err().to_string();
    assert_eq!(
        text,
        "the store file items-0000000000000001.rev is damaged at byte 40: an item's checksum does not match (item 0); \
         this node's data cannot be trusted: remove the node from the cluster, empty its data directory and add it \
         again as a new member; a copy of older data would forget what it has promised since"
    );
}

#[test]
fn another_releases_item_file_is_named() {
    let (mut disk, _) = written();
    let file = "items-0000000000000001.rev";
    let mut header = disk.read(file, 0, 36).unwrap().to_vec();
    header[8] = 1;
    let checksum = crc32c::crc32c(&header);
    header.extend_from_slice(&checksum.to_le_bytes());
    disk.perform(&Operation::Write { file: file.into(), offset: 0, parts: vec![header.into()] }).unwrap();
    let error = open(&disk, CONFIG).unwrap_err();
    assert_eq!(error, StoreError::Version { file: file.into(), found: 1, supported: 2 });
}
