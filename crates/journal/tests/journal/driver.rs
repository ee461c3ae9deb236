//! A driver that performs what the journal asks and remembers what it was promised.

use bytes::Bytes;
use quorate_disk::model::ModelDisk;
use quorate_disk::{Disk, DiskError, Operation, SECTOR_BYTES};
use quorate_journal::{Expected, Found, Identity, Journal, JournalConfig, JournalError, Opened, Write};
use quorate_types::{ClusterId, DiskId, Incarnation, NodeId, Ticket};

/// Where flushes begin in a segment.
pub const FLUSHES_OFFSET: u64 = 12288;

pub fn identity() -> Identity {
    Identity { cluster: ClusterId(0xc1), node: NodeId(2), disk: DiskId(0xd15c), protocol: "raft".to_owned() }
}

/// Segments with room for `sectors` sectors of flushes.
pub fn config(sectors: u64) -> JournalConfig {
    JournalConfig { segment_bytes: FLUSHES_OFFSET + sectors * 512, batch_bytes_max: 4096 }
}

/// A record that names its ticket and place, of `length` bytes or a little more.
pub fn record(ticket: u64, index: usize, length: usize) -> Bytes {
    let mut text = format!("ticket {ticket} record {index} ").into_bytes();
    while text.len() < length {
        text.push(b'a' + (text.len() % 26) as u8);
    }
    Bytes::from(text)
}

/// One ticket as it was appended.
#[derive(Clone, Debug)]
pub struct Appended {
    pub records: Vec<Bytes>,
    pub drop_before: Option<Ticket>,
}

/// What a journal was given, and what it said in return.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Of ticket 1, 2, ...
    pub appended: Vec<Appended>,
    pub acknowledged: Ticket,
    /// The last incarnation that became durable.
    pub incarnation: Incarnation,
}

impl History {
    /// J1, J2, J4: what an open finds is the appended records in order, without a gap, up to at least the
    /// last acknowledged ticket, in a new incarnation.
    pub fn check(&self, found: &Found) {
        let last = found.last_ticket.0;
        assert!(found.last_ticket >= self.acknowledged, "lost {:?}, found {last}", self.acknowledged);
        assert!(last as usize <= self.appended.len(), "invented ticket {last}");
        assert!(found.incarnation > self.incarnation, "{:?} is not new", found.incarnation);
        let drop_before = self.drop_before(last);
        assert_eq!(found.drop_before, drop_before);
        assert_eq!(found.records, self.records(drop_before.0.max(1), last));
    }

    pub fn drop_before(&self, through: u64) -> Ticket {
        let tickets = self.appended.iter().take(through as usize);
        tickets.filter_map(|appended| appended.drop_before).max().unwrap_or_default()
    }

    fn records(&self, from: u64, through: u64) -> Vec<(Ticket, Bytes)> {
        let tickets = (from..=through).flat_map(|ticket| {
            let appended = &self.appended[ticket as usize - 1];
            appended.records.iter().map(move |record| (Ticket(ticket), record.clone()))
        });
        tickets.collect()
    }
}

/// The disk and the promises at one moment: a place to crash.
#[derive(Clone, Debug)]
pub struct Frame {
    pub disk: ModelDisk,
    pub history: History,
}

/// A journal on a disk. Every operation is checked and filmed.
#[derive(Clone, Debug)]
pub struct Node {
    pub disk: ModelDisk,
    pub journal: Journal,
    pub history: History,
    pub config: JournalConfig,
    pub film: Vec<Frame>,
}

impl Node {
    pub fn create(config: JournalConfig) -> Node {
        Node::create_on(ModelDisk::new(), config)
    }

    pub fn create_on(disk: ModelDisk, config: JournalConfig) -> Node {
        let (journal, operations) = Journal::create(&disk, identity(), config.clone()).unwrap();
        let mut node = Node { disk, journal, history: History::default(), config, film: Vec::new() };
        node.perform_all(&operations).unwrap();
        node.history.incarnation = node.journal.incarnation();
        node
    }

    /// Opens what is on `disk` and checks it against `history`.
    pub fn open(disk: ModelDisk, history: History, config: JournalConfig) -> Node {
        let (mut node, operations) = Node::opening(disk, history, config);
        node.perform_all(&operations).unwrap();
        // From here on the node acts on all it found, acknowledged before or not.
        node.history.incarnation = node.journal.incarnation();
        node.history.acknowledged = node.journal.durable();
        node.check_claim();
        node
    }

    /// As [`Node::open`], with the operations still to be performed.
    pub fn opening(disk: ModelDisk, mut history: History, config: JournalConfig) -> (Node, Vec<Operation>) {
        let Opened { journal, operations, found } = open(&disk, &config).unwrap();
        history.check(&found);
        // Whatever was not found is gone for good; its tickets are given out again.
        history.appended.truncate(found.last_ticket.0 as usize);
        history.acknowledged = found.last_ticket.min(history.acknowledged);
        (Node { disk, journal, history, config, film: Vec::new() }, operations)
    }

    pub fn append(&mut self, records: usize, length: usize) -> Ticket {
        let ticket = self.history.appended.len() as u64 + 1;
        let records: Vec<Bytes> = (0..records).map(|index| record(ticket, index, length)).collect();
        self.journal.append(Ticket(ticket), records.clone()).unwrap();
        self.history.appended.push(Appended { records, drop_before: None });
        Ticket(ticket)
    }

    pub fn compact(&mut self, drop_before: u64) -> Ticket {
        let ticket = self.history.appended.len() as u64 + 1;
        let records = vec![Bytes::from(format!("baseline of ticket {ticket}"))];
        let drop_before = Ticket(drop_before);
        self.journal.compact(Ticket(ticket), records.clone(), drop_before).unwrap();
        self.history.appended.push(Appended { records, drop_before: Some(drop_before) });
        Ticket(ticket)
    }

    /// Writes everything queued.
    pub fn write_all(&mut self) {
        while let Some(write) = self.journal.next_write() {
            self.finish(&write);
        }
    }

    pub fn append_and_write(&mut self, records: usize, length: usize) {
        self.append(records, length);
        self.write_all();
    }

    pub fn idle(&mut self) {
        if let Some(write) = self.journal.idle_write() {
            self.finish(&write);
        }
    }

    pub fn finish(&mut self, write: &Write) {
        self.perform_all(&write.operations).unwrap();
        assert_eq!(self.journal.completed(write.id).unwrap(), write.through);
        self.history.acknowledged = write.through;
        self.check_claim();
    }

    /// What was just claimed to be durable can be recovered from the synced bytes alone.
    fn check_claim(&self) {
        let opened = open(&self.disk.synced_image(), &self.config).unwrap();
        assert!(opened.found.last_ticket >= self.history.acknowledged);
        assert_eq!(opened.found.repaired, None, "nothing is half written");
    }

    pub fn perform_all(&mut self, operations: &[Operation]) -> Result<(), DiskError> {
        for operation in operations {
            self.check_operation(operation);
            self.disk.perform(operation)?;
            self.film.push(Frame { disk: self.disk.clone(), history: self.history.clone() });
        }
        Ok(())
    }

    /// Whole sectors, never over bytes that could matter: a torn write has nothing to destroy.
    fn check_operation(&self, operation: &Operation) {
        let Operation::Write { file, offset, parts } = operation else { return };
        let bytes = parts.concat();
        let sector = SECTOR_BYTES as u64;
        assert!(offset.is_multiple_of(sector) && (bytes.len() as u64).is_multiple_of(sector), "{operation:?}");
        assert!(offset + bytes.len() as u64 <= self.disk.length(file).unwrap(), "{file} would grow");
        if *offset >= FLUSHES_OFFSET {
            let before = self.disk.read(file, *offset, bytes.len()).unwrap();
            let zeros = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
            assert!(zeros(&before) || zeros(&bytes), "{file} at {offset} is overwritten");
        }
    }
}

pub fn open(disk: &ModelDisk, config: &JournalConfig) -> Result<Opened, JournalError> {
    Journal::open(disk, &Expected::default(), config.clone())
}
