//! Segments put in order, and one node's life in them told from beginning to end.

use crate::note::{ClockReading, Fact, Note, SegmentEnd};
use crate::replay::{Divergence, Moment, Replayer};
use crate::segment::{Segment, SegmentError, SegmentHeader};
use bytes::Bytes;
use quorate_protocol::Recordable;
use quorate_types::Time;
use thiserror::Error;

/// A segment and the file it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedSegment {
    /// For errors and reports.
    pub file: String,
    /// What was read.
    pub segment: Segment,
}

/// What is recorded of one life of a node: from its start, or from the oldest segment that is left, to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// In order; never empty.
    segments: Vec<NamedSegment>,
}

/// Why a life cannot be replayed to its end.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LifeError {
    /// A segment cannot be read.
    #[error("{file}: {why}")]
    Segment {
        /// Which.
        file: String,
        /// Why.
        why: SegmentError,
    },
    /// A segment ends early, and the node went on in another: only the last one may.
    #[error(
        "{file}: it ends within a frame or without its end mark, and {next} goes on behind it: its end was cut off later"
    )]
    CutOff {
        /// Which.
        file: String,
        /// The one behind it.
        next: String,
    },
    /// The same code, given the same, says something else.
    #[error("{file}, written by {program}: the replay leaves the recording at {why}")]
    Diverged {
        /// In which segment.
        file: String,
        /// Which program wrote it.
        program: String,
        /// Where and how.
        why: Divergence,
    },
}

/// Something told while a life is replayed.
#[derive(Debug)]
pub struct Scene<'a, R: Recordable> {
    /// When, in nanoseconds since 1970.
    pub wall: Time,
    /// When, on the node's clock.
    pub at: Time,
    /// The node, as it is after this.
    pub node: &'a Replayer<R>,
    /// What.
    pub kind: SceneKind<'a, R>,
}

/// What is told.
#[derive(Debug)]
pub enum SceneKind<'a, R: Recordable> {
    /// The first segment that is left begins here.
    Begins(&'a SegmentHeader),
    /// The replica did something.
    Moment(&'a Moment<R>),
    /// Something happened beside it.
    Fact(&'a Fact),
    /// The batches of the next step, whole.
    Values(&'a [Bytes]),
    /// Something is missing before this: so many notes, or as many as one does not know.
    Gap {
        /// How many, if the recorder said so.
        notes: Option<u64>,
    },
    /// The recording of this life ends.
    Ends {
        /// How; `None` where the process died, or was not stopped yet.
        end: Option<SegmentEnd>,
        /// So many bytes of an unfinished frame were left out.
        torn_bytes: usize,
    },
}

/// Sorts segments by node, life and order.
#[must_use]
pub fn lives(mut segments: Vec<NamedSegment>) -> Vec<Life> {
    let place = |header: &SegmentHeader| (header.cluster, header.node, header.incarnation);
    segments.sort_by_key(|named| (place(&named.segment.header), named.segment.header.sequence));
    let mut lives: Vec<Life> = Vec::new();
    for named in segments {
        match lives.last_mut() {
            Some(life) if place(life.header()) == place(&named.segment.header) => life.segments.push(named),
            _ => lives.push(Life { segments: vec![named] }),
        }
    }
    lives
}

impl Life {
    /// What the first segment that is left says of itself.
    #[must_use]
    pub fn header(&self) -> &SegmentHeader {
        &self.segments[0].segment.header
    }

    /// The segments, in order.
    #[must_use]
    pub fn segments(&self) -> &[NamedSegment] {
        &self.segments
    }

    /// What is left without the segments that end before this time. Where it began, the rest begins with a picture too.
    #[must_use]
    pub fn starting_before(mut self, wall: Time) -> Life {
        let begins_by_then = |named: &NamedSegment| named.segment.header.clock.wall_ns <= wall.0;
        let needless = self.segments.iter().skip(1).take_while(|named| begins_by_then(named)).count();
        self.segments.drain(..needless);
        self
    }

    /// Replays everything, telling `tell` of each scene. Returns the node as it was last.
    ///
    /// # Errors
    /// The first segment that cannot be read or does not fit, or the first call that differs. What was told until then is right.
    pub fn replay<R: Recordable>(&self, mut tell: impl FnMut(Scene<'_, R>)) -> Result<Replayer<R>, LifeError> {
        let mut player = None;
        for (at, named) in self.segments.iter().enumerate() {
            let header = &named.segment.header;
            let mut clock = header.clock;
            let before = at.checked_sub(1).map(|before| &self.segments[before]);
            let mut node = self.begin_segment(player.take(), before, named, clock, &mut tell)?;
            let end = play_segment(named, &mut node, &mut clock, &mut tell)?;
            self.check_end(at, end)?;
            if at + 1 == self.segments.len() {
                let torn_bytes = named.segment.torn_bytes;
                let now = clock.monotonic;
                tell(Scene {
                    wall: clock.wall_at(now),
                    at: now,
                    node: &node,
                    kind: SceneKind::Ends { end, torn_bytes },
                });
            }
            player = Some((node, end));
        }
        let (node, _) = player.expect("a life has at least one segment");
        Ok(node)
    }

    fn begin_segment<R: Recordable>(
        &self,
        player: Option<(Replayer<R>, Option<SegmentEnd>)>,
        before: Option<&NamedSegment>,
        named: &NamedSegment,
        clock: ClockReading,
        tell: &mut impl FnMut(Scene<'_, R>),
    ) -> Result<Replayer<R>, LifeError> {
        let header = &named.segment.header;
        let follows = before.is_some_and(|before| before.segment.header.sequence + 1 == header.sequence);
        let end_before = player.as_ref().map(|(_, end)| *end);
        if let Some((node, Some(SegmentEnd::Full))) = player
            && follows
        {
            if node.picture_bytes() != *named.segment.picture_bytes() {
                let what = "the replica replayed so far is not the one this segment begins with".to_owned();
                return Err(diverged(named, node.divergence(what)));
            }
            return Ok(node);
        }
        let picture = named.segment.picture().map_err(|why| LifeError::Segment { file: named.file.clone(), why })?;
        let node = Replayer::new(picture, clock.monotonic);
        let kind = match end_before {
            None => SceneKind::Begins(header),
            Some(Some(SegmentEnd::Lost { notes })) if follows => SceneKind::Gap { notes: Some(notes) },
            Some(_) => SceneKind::Gap { notes: None },
        };
        tell(Scene { wall: clock.wall_at(clock.monotonic), at: clock.monotonic, node: &node, kind });
        Ok(node)
    }

    /// Only the last segment may end without saying why.
    fn check_end(&self, at: usize, end: Option<SegmentEnd>) -> Result<(), LifeError> {
        match (end, self.segments.get(at + 1)) {
            (None, Some(next)) => {
                Err(LifeError::CutOff { file: self.segments[at].file.clone(), next: next.file.clone() })
            }
            _ => Ok(()),
        }
    }
}

fn diverged(named: &NamedSegment, why: Divergence) -> LifeError {
    LifeError::Diverged { file: named.file.clone(), program: named.segment.header.program.clone(), why }
}

fn play_segment<R: Recordable>(
    named: &NamedSegment,
    node: &mut Replayer<R>,
    clock: &mut ClockReading,
    tell: &mut impl FnMut(Scene<'_, R>),
) -> Result<Option<SegmentEnd>, LifeError> {
    let mut end = None;
    for note in named.segment.notes::<R>() {
        let note = note.map_err(|why| LifeError::Segment { file: named.file.clone(), why })?;
        match note {
            Note::Clock(reading) => *clock = reading,
            Note::End(how) => end = Some(how),
            Note::Fact { at, fact } => {
                tell(Scene { wall: clock.wall_at(at), at, node, kind: SceneKind::Fact(&fact) });
            }
            Note::Values(values) => {
                let at = clock.monotonic;
                tell(Scene { wall: clock.wall_at(at), at, node, kind: SceneKind::Values(&values) });
            }
            call => {
                let moment = node.feed(call).map_err(|why| diverged(named, why))?;
                if let Some(moment) = &moment {
                    let (at, kind) = (moment.at, SceneKind::Moment(moment));
                    tell(Scene { wall: clock.wall_at(at), at, node, kind });
                }
            }
        }
    }
    Ok(end)
}
