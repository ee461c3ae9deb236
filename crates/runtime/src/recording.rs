//! The flight recorder's way to its files: the loop gathers, a thread of its own writes, and neither waits for the other.
//!
//! The loop hands over what happened, at most every [`HAND_OVER_EVERY`]. If the thread cannot keep up, what does not fit is lost as
//! a whole and the loss is recorded: the next segment begins with a picture of the replica, so that it can be replayed all the same.
//! Nothing is ever flushed: a recording survives the process, not the machine.

use quorate_disk::Operation;
use quorate_machine::StateMachine;
use quorate_node::{Lane, Node, NodeInput, NodeOutput};
use quorate_protocol::{Picture, Recordable, Replica};
use quorate_recorder::{
    ClientCounts, ClockReading, EXTENSION, Fact, Heard, RecordedLane, SegmentEnd, SegmentHeader, SegmentWriter,
};
use quorate_types::Time;
use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a process that is killed loses of its recording, about.
const HAND_OVER_EVERY: Duration = Duration::from_millis(50);
/// More than this is handed over at once.
const GATHERED_MAX: usize = 1024;
/// So many hand-overs may wait for the thread.
const QUEUED_MAX: usize = 64;
/// A recording is so many segments, the oldest of which makes room for the next.
const SEGMENTS: u64 = 8;

/// Where and how much to record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingPlan {
    /// For the segment files. Several nodes may share it.
    pub directory: PathBuf,
    /// How much this node keeps there, in bytes; of more, the oldest segments go. At least [`RecordingPlan::BYTES_LEAST`].
    pub bytes_max: u64,
    /// Whether commands are recorded whole, and not only their lengths and checksums.
    pub with_values: bool,
    /// The node's name for people.
    pub name: String,
    /// The program and its version, for whoever replays.
    pub program: String,
}

impl RecordingPlan {
    /// What [`RecordingPlan::bytes_max`] is unless told otherwise: 256 MiB.
    pub const DEFAULT_BYTES: u64 = 256 << 20;
    /// Less is refused: a few pictures of the replica must fit.
    pub const BYTES_LEAST: u64 = 8 << 20;
}

type Spawn<R> = fn(RecordingPlan, Receiver<HandOver<R>>, Arc<AtomicBool>) -> io::Result<JoinHandle<()>>;

/// A recorder that is not started yet.
pub struct Recorder<R: Replica> {
    plan: RecordingPlan,
    /// Knows what recording asks of the protocol, so that whoever only passes the recorder on need not.
    spawn: Spawn<R>,
}

impl<R: Replica> fmt::Debug for Recorder<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Recorder").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl<R: Recordable + Send> Recorder<R>
where
    R::Message: Send,
    R::Record: Send,
    R::Anchor: Send,
    R::Timer: Send,
{
    /// A recorder of one node's run.
    #[must_use]
    pub fn new(plan: RecordingPlan) -> Recorder<R> {
        Recorder { plan, spawn: spawn::<R> }
    }
}

/// From the loop to the thread.
enum HandOver<R: Replica> {
    Notes(Vec<Heard<R>>),
    /// The replica behind everything handed over before; a new segment begins.
    Picture {
        /// What happened before it and was not handed over.
        lost: u64,
        clock: ClockReading,
        picture: Box<Picture<R>>,
    },
}

/// The loop's end of a recording, if there is one.
pub(crate) struct Recording<R: Replica> {
    active: Option<Active<R>>,
}

struct Active<R: Replica> {
    queue: SyncSender<HandOver<R>>,
    /// Set by the thread when its segment is full.
    wants_picture: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    gathered: Vec<Heard<R>>,
    counts: ClientCounts,
    handed_over: Time,
    /// Gathered and thrown away since the last picture.
    lost: u64,
}

impl<R: Replica> Recording<R> {
    /// Begins a recording of this node, which was just opened, if there is to be one.
    ///
    /// # Errors
    /// When the directory cannot be used, or holds a recording of this very life of the node.
    pub(crate) fn start<S: StateMachine>(
        recorder: Option<Recorder<R>>,
        node: &mut Node<R, S>,
    ) -> io::Result<Recording<R>> {
        let Some(Recorder { plan, spawn }) = recorder else { return Ok(Recording { active: None }) };
        std::fs::create_dir_all(&plan.directory)?;
        refuse_twice(&plan.directory, &node.picture())?;
        tracing::info!(directory = %plan.directory.display(), values = plan.with_values, "this run is recorded");
        let (queue, inbox) = sync_channel(QUEUED_MAX);
        let wants_picture = Arc::new(AtomicBool::new(false));
        let thread = spawn(plan, inbox, Arc::clone(&wants_picture))?;
        let clock = read_clocks(Time::ZERO);
        let first = HandOver::Picture { lost: 0, clock, picture: Box::new(node.picture()) };
        queue.send(first).map_err(|_| io::Error::other("the recorder ended at once"))?;
        node.start_tape();
        let (gathered, counts) = (Vec::new(), ClientCounts::default());
        let active = Active { queue, wants_picture, thread, gathered, counts, handed_over: Time::ZERO, lost: 0 };
        Ok(Recording { active: Some(active) })
    }

    /// The node is about to be told this.
    pub(crate) fn told<S: StateMachine>(&mut self, at: Time, input: &NodeInput<R, S>) {
        let Some(active) = &mut self.active else { return };
        match input {
            NodeInput::DiskDone { lane, write } => {
                active.fact(at, Fact::WriteDone { lane: recorded(*lane), write: *write });
            }
            NodeInput::FreeSpace { free_bytes } => active.fact(at, Fact::FreeSpace(*free_bytes)),
            NodeInput::Write { .. } => active.counts.writes += 1,
            NodeInput::Read { .. } => active.counts.reads += 1,
            _ => {}
        }
    }

    /// The node said this, and it is about to be carried out.
    pub(crate) fn said<S: StateMachine>(&mut self, at: Time, output: &NodeOutput<R, S>) {
        let Some(active) = &mut self.active else { return };
        match output {
            NodeOutput::Disk { lane, write, operations } => {
                let bytes = operations.iter().map(written_bytes).sum();
                active.fact(at, Fact::WriteBegun { lane: recorded(*lane), write: *write, bytes });
            }
            NodeOutput::Reply { result: Ok(_), .. } => active.counts.answered += 1,
            NodeOutput::Reply { result: Err(_), .. } => active.counts.refused += 1,
            _ => {}
        }
    }

    /// A round of the loop is over.
    pub(crate) fn round<S: StateMachine>(&mut self, now: Time, node: &mut Node<R, S>) {
        let Some(active) = &mut self.active else { return };
        active.gathered.extend(node.take_tape().into_iter().map(Heard::Taped));
        let is_due = active.gathered.len() >= GATHERED_MAX || now.since(active.handed_over) >= HAND_OVER_EVERY;
        if is_due && !active.hand_over(now, node) {
            // Why, the thread has said in the log.
            node.stop_tape();
            self.active = None;
        }
    }

    /// The node ends. Waits for the thread, which has only to write what it was given.
    pub(crate) fn end<S: StateMachine>(&mut self, now: Time, node: &mut Node<R, S>, why: String) {
        let Some(mut active) = self.active.take() else { return };
        active.gathered.extend(node.take_tape().into_iter().map(Heard::Taped));
        active.fact(now, Fact::Stopped { why });
        active.hand_over(now, node);
        drop(active.queue);
        // A thread that panicked writes nothing any more.
        let _ = active.thread.join();
    }
}

impl<R: Replica> Active<R> {
    fn fact(&mut self, at: Time, fact: Fact) {
        self.gathered.push(Heard::Fact { at, fact });
    }

    /// Says whether the thread is still there.
    fn hand_over<S: StateMachine>(&mut self, now: Time, node: &Node<R, S>) -> bool {
        self.handed_over = now;
        let counts = std::mem::take(&mut self.counts);
        if !counts.is_empty() {
            self.fact(now, Fact::Clients(counts));
        }
        let clock = read_clocks(now);
        if self.lost == 0 {
            let mut notes = vec![Heard::Clock(clock)];
            notes.append(&mut self.gathered);
            match self.queue.try_send(HandOver::Notes(notes)) {
                Ok(()) => return !self.wants_picture.load(Ordering::Relaxed) || self.hand_over_picture(clock, node),
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(HandOver::Notes(notes))) => {
                    tracing::warn!("the flight recorder cannot keep up: there will be a gap in the recording");
                    self.lost = notes.len() as u64;
                }
                Err(TrySendError::Full(HandOver::Picture { .. })) => {}
            }
            return true;
        }
        self.lost += self.gathered.drain(..).len() as u64;
        self.hand_over_picture(clock, node)
    }

    /// Everything before is handed over, or lost.
    fn hand_over_picture<S: StateMachine>(&mut self, clock: ClockReading, node: &Node<R, S>) -> bool {
        let picture = HandOver::Picture { lost: self.lost, clock, picture: Box::new(node.picture()) };
        match self.queue.try_send(picture) {
            Ok(()) => {
                self.lost = 0;
                self.wants_picture.store(false, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Full(_)) => true,
            Err(TrySendError::Disconnected(_)) => false,
        }
    }
}

fn written_bytes(operation: &Operation) -> u64 {
    match operation {
        Operation::Write { parts, .. } => parts.iter().map(|part| part.len() as u64).sum(),
        _ => 0,
    }
}

fn recorded(lane: Lane) -> RecordedLane {
    match lane {
        Lane::Journal => RecordedLane::Journal,
        Lane::Store => RecordedLane::Store,
    }
}

fn read_clocks(monotonic: Time) -> ClockReading {
    // A clock before 1970 is wrong in any case.
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    ClockReading { monotonic, wall_ns: u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX) }
}

/// Two recordings under one name could not be told apart: the data directory was put back to an earlier state.
fn refuse_twice<R: Replica>(directory: &Path, picture: &Picture<R>) -> io::Result<()> {
    let life = format!("{:016x}-{:010}-", picture.setup.me.0, picture.setup.incarnation.0);
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        if name.to_string_lossy().starts_with(&life) {
            return Err(io::Error::other(format!(
                "{} holds a recording of start {} of this node already, {}: move it away",
                directory.display(),
                picture.setup.incarnation.0,
                name.to_string_lossy()
            )));
        }
    }
    Ok(())
}

fn spawn<R: Recordable + Send>(
    plan: RecordingPlan,
    inbox: Receiver<HandOver<R>>,
    wants_picture: Arc<AtomicBool>,
) -> io::Result<JoinHandle<()>>
where
    R::Message: Send,
    R::Record: Send,
    R::Anchor: Send,
    R::Timer: Send,
{
    std::thread::Builder::new().name("recorder".to_owned()).spawn(move || {
        let directory = plan.directory.display().to_string();
        if let Err(error) = write_all(plan, &inbox, &wants_picture) {
            tracing::error!(directory, %error, "the flight recorder stops; the node goes on without it");
        }
    })
}

fn write_all<R: Recordable>(
    plan: RecordingPlan,
    inbox: &Receiver<HandOver<R>>,
    wants_picture: &AtomicBool,
) -> io::Result<()> {
    let segment_bytes = plan.bytes_max / SEGMENTS;
    let mut ring = Ring { plan, files: VecDeque::new(), open: None, sequence: 0 };
    let mut is_asked_for = false;
    while let Ok(handed_over) = inbox.recv() {
        match handed_over {
            HandOver::Notes(notes) => ring.append(notes)?,
            HandOver::Picture { lost, clock, picture } => {
                let end = if lost == 0 { SegmentEnd::Full } else { SegmentEnd::Lost { notes: lost } };
                ring.end_segment::<R>(end)?;
                ring.begin_segment(clock, *picture)?;
                is_asked_for = false;
            }
        }
        // Once for each segment: the picture comes behind what waits in the queue.
        if !is_asked_for && ring.open.as_ref().is_some_and(|(writer, _)| writer.note_bytes() >= segment_bytes) {
            is_asked_for = true;
            wants_picture.store(true, Ordering::Relaxed);
        }
    }
    ring.end_segment::<R>(SegmentEnd::Stopped)
}

/// The node's segment files.
struct Ring {
    plan: RecordingPlan,
    /// Oldest first, with their sizes; the one being written included.
    files: VecDeque<(PathBuf, u64)>,
    open: Option<(SegmentWriter, File)>,
    sequence: u64,
}

impl Ring {
    fn append<R: Recordable>(&mut self, notes: Vec<Heard<R>>) -> io::Result<()> {
        let Some((writer, file)) = &mut self.open else { return Ok(()) };
        let bytes = writer.append(notes);
        file.write_all(&bytes)?;
        self.grown(bytes.len());
        Ok(())
    }

    fn end_segment<R: Recordable>(&mut self, end: SegmentEnd) -> io::Result<()> {
        let Some((mut writer, mut file)) = self.open.take() else { return Ok(()) };
        let bytes = writer.end::<R>(end);
        file.write_all(&bytes)?;
        self.grown(bytes.len());
        Ok(())
    }

    fn begin_segment<R: Recordable>(&mut self, clock: ClockReading, picture: Picture<R>) -> io::Result<()> {
        self.sequence += 1;
        let header = SegmentHeader {
            protocol: R::PROTOCOL.to_owned(),
            cluster: picture.setup.cluster,
            node: picture.setup.me,
            name: self.plan.name.clone(),
            incarnation: picture.setup.incarnation,
            sequence: self.sequence,
            program: self.plan.program.clone(),
            clock,
            has_values: self.plan.with_values,
        };
        if self.sequence == 1 {
            self.files = earlier_files(&self.plan.directory, &header)?;
        }
        let path = self.plan.directory.join(header.file_name());
        let (writer, bytes) = SegmentWriter::begin(header, picture);
        self.make_room(bytes.len() as u64)?;
        let mut file = File::options().write(true).create_new(true).open(&path)?;
        file.write_all(&bytes)?;
        self.files.push_back((path, bytes.len() as u64));
        self.open = Some((writer, file));
        Ok(())
    }

    fn grown(&mut self, bytes: usize) {
        if let Some((_, size)) = self.files.back_mut() {
            *size += bytes as u64;
        }
    }

    /// Unlinks the oldest until one more segment fits, of which this much is there already.
    fn make_room(&mut self, picture_bytes: u64) -> io::Result<()> {
        let room = self.plan.bytes_max.saturating_sub(self.plan.bytes_max / SEGMENTS + picture_bytes);
        while self.files.iter().map(|(_, bytes)| bytes).sum::<u64>() > room {
            let Some((path, _)) = self.files.pop_front() else { break };
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// What earlier lives of this node left.
fn earlier_files(directory: &Path, header: &SegmentHeader) -> io::Result<VecDeque<(PathBuf, u64)>> {
    let own = format!("{:016x}-", header.node.0);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_segment = Path::new(&name).extension().is_some_and(|extension| extension == EXTENSION);
        if is_segment && name.to_string_lossy().starts_with(&own) {
            files.push((entry.path(), entry.metadata()?.len()));
        }
    }
    // Names sort as they were written.
    files.sort();
    Ok(files.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::{Durable, Gate, Outbox, Setup, Start};
    use quorate_raft::{Config, Raft};
    use quorate_recorder::{NamedSegment, SceneKind, Segment, lives};
    use quorate_types::{ClusterId, DiskId, Incarnation, Membership, NodeId, Ticket};

    fn picture(incarnation: u64) -> Box<Picture<Raft>> {
        let start = Start::Found(Membership::of_voters(3));
        let incarnation = Incarnation(incarnation);
        let setup = Setup { cluster: ClusterId(1), me: NodeId(2), disk: DiskId(3), incarnation, start };
        let mut out = Outbox::new(Ticket::NONE, false);
        let replica = Raft::open(&setup, &Config::default(), Durable::nothing(), &mut out).expect("it opens");
        Box::new(Picture { setup, replica, gate: Gate::new(Ticket::NONE), last_ticket: out.last_ticket() })
    }

    fn plan(directory: &Path, bytes_max: u64) -> RecordingPlan {
        let (name, program) = ("two".to_owned(), "a test".to_owned());
        RecordingPlan { directory: directory.to_owned(), bytes_max, with_values: false, name, program }
    }

    /// Lets the thread's part write these, and says whether it asked for a picture in the end.
    fn write(plan: RecordingPlan, handed_over: Vec<HandOver<Raft>>) -> bool {
        let (queue, inbox) = sync_channel(handed_over.len());
        handed_over.into_iter().for_each(|one| queue.try_send(one).expect("there is room"));
        drop(queue);
        let wants_picture = AtomicBool::new(false);
        write_all(plan, &inbox, &wants_picture).expect("the directory can be written");
        wants_picture.into_inner()
    }

    fn begin(incarnation: u64, lost: u64) -> HandOver<Raft> {
        HandOver::Picture { lost, clock: read_clocks(Time::ZERO), picture: picture(incarnation) }
    }

    fn facts(count: usize) -> HandOver<Raft> {
        HandOver::Notes(vec![Heard::Fact { at: Time(5), fact: Fact::Stopped { why: "x".repeat(100) } }; count])
    }

    fn read(directory: &Path) -> Vec<NamedSegment> {
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(directory).expect("it is there").map(|entry| entry.expect("readable").path()).collect();
        paths.sort();
        let named = |path: PathBuf| NamedSegment {
            file: path.display().to_string(),
            segment: Segment::read(std::fs::read(path).expect("readable").into()).expect("whole"),
        };
        paths.into_iter().map(named).collect()
    }

    #[test]
    fn what_could_not_be_written_is_a_gap_that_says_how_much() {
        let directory = tempfile::tempdir().expect("a scratch directory");
        write(plan(directory.path(), 1 << 20), vec![begin(1, 0), facts(3), begin(1, 77), facts(2)]);
        let lives = lives(read(directory.path()));
        let (mut gaps, mut facts) = (Vec::new(), 0);
        lives[0]
            .replay::<Raft>(|scene| match scene.kind {
                SceneKind::Gap { notes } => gaps.push(notes),
                SceneKind::Fact(_) => facts += 1,
                _ => {}
            })
            .expect("what is there is right");
        assert_eq!((gaps, facts), (vec![Some(77)], 5));
    }

    #[test]
    fn a_full_segment_asks_for_a_picture_and_the_oldest_make_room() {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let bytes_max = 64 * 1024;
        assert!(!write(plan(directory.path(), bytes_max), vec![begin(1, 0), facts(1)]));
        for incarnation in 2..30 {
            assert!(write(plan(directory.path(), bytes_max), vec![begin(incarnation, 0), facts(100)]));
        }
        let kept = read(directory.path());
        let bytes: u64 = kept.iter().map(|named| std::fs::metadata(&named.file).expect("it is there").len()).sum();
        assert!(bytes <= bytes_max && bytes >= bytes_max / 2, "{bytes} bytes are kept");
        assert_eq!(kept.last().map(|named| named.segment.header.incarnation), Some(Incarnation(29)));
    }

    #[test]
    fn the_same_life_is_not_recorded_twice() {
        let directory = tempfile::tempdir().expect("a scratch directory");
        assert!(refuse_twice(directory.path(), &picture(4)).is_ok());
        write(plan(directory.path(), 1 << 20), vec![begin(4, 0)]);
        let error = refuse_twice(directory.path(), &picture(4)).expect_err("it is there");
        assert!(error.to_string().contains("start 4"), "{error}");
        assert!(refuse_twice(directory.path(), &picture(5)).is_ok());
    }
}
