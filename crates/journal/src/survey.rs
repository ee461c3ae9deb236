//! Looking at a journal without opening it: what is there, damage included. For tools, never for a node: what is read here
//! of a damaged journal is no ground to act on as the node that wrote it.

use crate::config::{Expected, Identity};
use crate::error::JournalError;
use crate::format::{FORMAT_VERSION, SegmentHeader};
use crate::journal::Journal;
use crate::names::segment_file;
use crate::open::TornTail;
use crate::scan::{Scan, Walk, read_segment_header, reader_of, scan, segment_numbers};
use bytes::Bytes;
use quorate_disk::Disk;
use quorate_types::{Incarnation, Ticket};

/// A journal as it stands on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Whose it is, by its oldest segment; nothing if that cannot be read.
    pub identity: Option<Identity>,
    /// The last incarnation that wrote to it.
    pub incarnation: Incarnation,
    /// The newest format that this release reads; every segment that is not refused has this one or an older one.
    pub format_version: u32,
    /// Every segment file, ascending.
    pub segments: Vec<SegmentSurvey>,
    /// The records from its beginning to its end or to the first damage, in the order appended. What is compacted away is
    /// left out.
    pub records: Vec<(Ticket, Bytes)>,
    /// The last ticket among them that was written whole.
    pub last_ticket: Ticket,
    /// What a crash left of a write that nobody was told of. Opening cuts it.
    pub torn: Option<TornTail>,
    /// Why a node would refuse to start on it. Whatever stands behind the damage is not among the records.
    pub damage: Option<JournalError>,
}

/// One segment file, judged by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSurvey {
    /// Its name.
    pub file: String,
    /// Its reserved length; 0 if the file cannot be measured.
    pub length_bytes: u64,
    /// Where its last whole flush ends.
    pub used_bytes: u64,
    /// The lowest ticket that can be within.
    pub first_ticket: Ticket,
    /// The last ticket that is whole within; below `first_ticket` if there is none.
    pub last_ticket: Ticket,
    /// How many flushes were followed.
    pub flushes: u64,
    /// What is wrong within. A flush that is missing altogether shows only beside the other segments: see
    /// [`Survey::damage`].
    pub damage: Option<JournalError>,
}

impl Journal {
    /// Reads all there is and changes nothing. Damage is told and is no error.
    ///
    /// # Errors
    /// [`JournalError::Missing`], or that the directory cannot be read.
    pub fn survey(disk: &dyn Disk) -> Result<Survey, JournalError> {
        let numbers = segment_numbers(disk)?;
        let Some(oldest) = numbers.first().copied() else { return Err(JournalError::Missing) };
        let segments = numbers.iter().map(|number| survey_segment(disk, *number)).collect();
        match scan(disk, &Expected::default()) {
            Ok(scan) => Ok(whole(scan, segments)),
            Err(damage) => Ok(damaged(disk, &numbers, oldest, segments, damage)),
        }
    }
}

fn whole(scan: Scan, segments: Vec<SegmentSurvey>) -> Survey {
    let Scan { identity, incarnation, end, records, torn, .. } = scan;
    let torn = torn.map(|torn| TornTail {
        file: segment_file(end.link.segment),
        offset: end.link.offset,
        bytes_cut: torn.end - end.link.offset,
    });
    Survey {
        identity: Some(identity),
        incarnation,
        format_version: FORMAT_VERSION,
        segments,
        records,
        last_ticket: end.ticket,
        torn,
        damage: None,
    }
}

/// What can be read before the damage.
fn damaged(
    disk: &dyn Disk,
    numbers: &[u64],
    oldest: u64,
    segments: Vec<SegmentSurvey>,
    damage: JournalError,
) -> Survey {
    let mut survey = Survey {
        identity: None,
        incarnation: Incarnation::default(),
        format_version: FORMAT_VERSION,
        segments,
        records: Vec::new(),
        last_ticket: Ticket::NONE,
        torn: None,
        damage: Some(damage),
    };
    let Ok(first) = header_of(disk, oldest) else { return survey };
    let mut walk = Walk::from(&first);
    let mut stop = None;
    for number in numbers {
        let Ok(header) = header_of(disk, *number) else { break };
        let Ok(mut reader) = reader_of(disk, *number) else { break };
        if walk.enter_segment(&header, stop).is_err() {
            break;
        }
        match walk.follow(&mut reader, &header) {
            Ok(found) => stop = Some(found),
            Err(_) => break,
        }
    }
    let (end, mut records) = (walk.end, walk.records);
    // A flush that is damaged within may have given some of its records before that showed.
    records.retain(|(ticket, _)| (end.drop_before..=end.ticket).contains(ticket));
    survey.identity = Some(first.identity);
    survey.incarnation = walk.incarnation;
    survey.last_ticket = end.ticket;
    survey.records = records;
    survey
}

fn header_of(disk: &dyn Disk, number: u64) -> Result<SegmentHeader, JournalError> {
    read_segment_header(&mut reader_of(disk, number)?, number)
}

fn survey_segment(disk: &dyn Disk, number: u64) -> SegmentSurvey {
    let file = segment_file(number);
    let mut survey = SegmentSurvey {
        length_bytes: disk.length(&file).unwrap_or(0),
        file,
        used_bytes: 0,
        first_ticket: Ticket::NONE,
        last_ticket: Ticket::NONE,
        flushes: 0,
        damage: None,
    };
    let header = match header_of(disk, number) {
        Ok(header) => header,
        Err(damage) => return SegmentSurvey { damage: Some(damage), ..survey },
    };
    let mut walk = Walk::from(&header);
    let followed = walk.enter_segment(&header, None).and_then(|()| walk.follow(&mut reader_of(disk, number)?, &header));
    survey.damage = followed.err();
    survey.used_bytes = walk.end.link.offset;
    survey.first_ticket = header.first_ticket;
    survey.last_ticket = walk.end.ticket;
    survey.flushes = (walk.end.sequence + 1).saturating_sub(header.first_sequence);
    survey
}
