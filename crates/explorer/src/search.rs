//! The search itself: level by level, on one thread or several.

use crate::book::{Book, Successor};
use crate::catalogue::Catalogue;
use crate::counterexample::counterexample;
use crate::explorer::Listener;
use crate::report::{Progress, Report, Size};
use crate::seen::{Seen, held};
use crate::state::State;
use crate::task::{Explorable, Task};
use quorate_protocol::Violation;
use quorate_protocol::testbed::Testbed;
use std::collections::VecDeque;
use std::mem::size_of;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// States are handed to threads in rows of about so many bytes.
const ROW_BYTES: usize = 16 << 10;
/// What a thread remembers of the replicas it has checked: a power of two.
const CHECKED: usize = 1 << 18;
/// Links are 32-bit numbers, and every thread has its share of them.
const STATES_MOST: usize = 1 << 31;

/// Where a state came from, for telling the way there.
#[derive(Clone, Copy)]
pub(crate) struct Link {
    parent: u32,
    /// Which of the parent's successors.
    ordinal: u32,
}

/// What the threads share.
struct Shared {
    seen: Seen,
    /// States of this level not yet looked at.
    waiting: Mutex<VecDeque<Vec<u8>>>,
    /// Different states.
    unique: AtomicUsize,
    /// States looked at.
    looked_at: AtomicUsize,
    transitions: AtomicU64,
    stop: AtomicBool,
    cut_short: AtomicBool,
    found: Mutex<Option<(Link, Violation)>>,
    progress: Option<(usize, Mutex<Listener>)>,
    depth: u32,
    /// States in this level.
    level: usize,
    /// Bytes of the states waiting, this level and the next.
    most_waiting_bytes: usize,
}

/// One thread's part.
struct Worker<'a, R: Explorable> {
    task: &'a Task<R>,
    book: Book<'a, R>,
    number: usize,
    workers: usize,
    links: Vec<Link>,
    next: Vec<Vec<u8>>,
    /// Different states it was the first to see in this level.
    new: usize,
    counts: Vec<u64>,
    /// Replicas checked lately: their fingerprint, and which marks hold.
    checked: Vec<(u128, u32)>,
}

/// Searches.
pub(crate) fn run<R: Explorable>(task: &Task<R>, traced: Testbed<R>, progress: Option<(usize, Listener)>) -> Report<R> {
    let catalogue = Catalogue::empty();
    let count = task.bounds.threads.max(1);
    let mut workers: Vec<Worker<R>> = (0..count).map(|number| Worker::new(task, &catalogue, number, count)).collect();
    let mut shared = Shared {
        seen: Seen::nothing(),
        waiting: Mutex::default(),
        unique: AtomicUsize::new(0),
        looked_at: AtomicUsize::new(0),
        transitions: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        cut_short: AtomicBool::new(task.passes.is_some()),
        found: Mutex::default(),
        progress: progress.map(|(every, listener)| (every, Mutex::new(listener))),
        depth: 0,
        level: 1,
        most_waiting_bytes: 0,
    };
    let root = workers[0].begin(&shared);
    while shared.level > 0 && !shared.stop.load(Ordering::Relaxed) {
        look_at_level(&mut workers, &shared);
        let next: VecDeque<Vec<u8>> = workers.iter_mut().flat_map(|worker| std::mem::take(&mut worker.next)).collect();
        shared.level = workers.iter_mut().map(|worker| std::mem::take(&mut worker.new)).sum();
        let bytes = next.iter().map(Vec::len).sum();
        shared.most_waiting_bytes = shared.most_waiting_bytes.max(bytes);
        shared.waiting = Mutex::new(next);
        shared.depth += u32::from(shared.level > 0);
    }
    report(task, &mut workers, &shared, &catalogue, &root, traced)
}

fn look_at_level<R: Explorable>(workers: &mut [Worker<R>], shared: &Shared) {
    if let [only] = workers {
        return only.work(shared);
    }
    std::thread::scope(|scope| {
        for worker in workers {
            scope.spawn(move || worker.work(shared));
        }
    });
}

fn report<R: Explorable>(
    task: &Task<R>,
    workers: &mut [Worker<R>],
    shared: &Shared,
    catalogue: &Catalogue<R>,
    root: &State,
    traced: Testbed<R>,
) -> Report<R> {
    let found = held(&shared.found).take();
    let count = |at: usize| workers.iter().map(|worker| worker.counts[at]).sum();
    let sometimes = task.sometimes.iter().enumerate().map(|(at, (name, _))| (*name, count(at))).collect();
    let links: usize = workers.iter().map(|worker| worker.links.capacity() * size_of::<Link>()).sum();
    let size = Size {
        replica_states: catalogue.nodes.len(),
        messages: catalogue.flights.len(),
        steps_carried_out: workers.iter().map(|worker| worker.book.carried_out).sum(),
        fingerprint_bytes: shared.seen.bytes() as u64,
        link_bytes: links as u64,
        waiting_bytes_most: shared.most_waiting_bytes as u64,
    };
    let violation = found.map(|(last, violation)| {
        let way = way_to(workers, last);
        counterexample(task, &mut workers[0].book, root, &way, traced, violation)
    });
    Report {
        unique_states: shared.unique.load(Ordering::Relaxed),
        transitions: shared.transitions.load(Ordering::Relaxed),
        max_depth: shared.depth,
        complete: !shared.cut_short.load(Ordering::Relaxed) && violation.is_none(),
        assumptions: Vec::new(),
        violation,
        sometimes,
        size,
    }
}

/// Which successor to take at each step from the root.
fn way_to<R: Explorable>(workers: &[Worker<R>], last: Link) -> Vec<usize> {
    let mut way = Vec::new();
    let mut at = last;
    while at.ordinal != u32::MAX {
        way.push(at.ordinal as usize);
        let (worker, index) = (at.parent as usize % workers.len(), at.parent as usize / workers.len());
        at = workers[worker].links[index];
    }
    way.reverse();
    way
}

impl<'a, R: Explorable> Worker<'a, R> {
    fn new(task: &'a Task<R>, catalogue: &'a Catalogue<R>, number: usize, workers: usize) -> Worker<'a, R> {
        Worker {
            task,
            book: Book::new(task, catalogue),
            number,
            workers,
            links: Vec::new(),
            next: Vec::new(),
            new: 0,
            counts: vec![0; task.sometimes.len()],
            checked: vec![(0, 0); CHECKED],
        }
    }

    /// Puts the root on the way. Its link has no ordinal.
    fn begin(&mut self, shared: &Shared) -> State {
        let root = self.book.root();
        shared.seen.insert(self.book.fingerprint(&root));
        let link = Link { parent: 0, ordinal: u32::MAX };
        if let Some(violation) = self.task.testbed.violation().cloned() {
            end(shared, link, violation);
        }
        self.keep(root.clone(), link, shared);
        let first = std::mem::take(&mut self.next);
        self.new = 0;
        held(&shared.waiting).extend(first);
        root
    }

    /// Looks at states of this level until there are no more.
    fn work(&mut self, shared: &Shared) {
        let mut state = State { nodes: vec![0; self.task.ids.len()], ..State::default() };
        let (mut child, mut successors) = (state.clone(), Vec::new());
        loop {
            let next = held(&shared.waiting).pop_front();
            let Some(row) = next else { return };
            let mut at = 0;
            while at < row.len() {
                if shared.stop.load(Ordering::Relaxed) {
                    return;
                }
                at = state.read(&row, at);
                self.book.look(&state);
                self.expand(&state, &mut successors, &mut child, shared);
                self.tell_progress(shared);
                if shared.unique.load(Ordering::Relaxed) >= self.task.bounds.max_states.min(STATES_MOST) {
                    shared.cut_short.store(true, Ordering::Relaxed);
                    shared.stop.store(true, Ordering::Relaxed);
                }
            }
        }
    }

    /// Tries everything that can happen in one state.
    fn expand(&mut self, state: &State, successors: &mut Vec<Successor>, child: &mut State, shared: &Shared) {
        let is_last = shared.depth >= self.task.bounds.max_depth;
        if is_last && shared.cut_short.load(Ordering::Relaxed) {
            return;
        }
        self.book.successors(state, successors);
        if is_last {
            let leads_on = |next: &Successor| next.violation.is_some() || !shared.seen.contains(next.fingerprint);
            if successors.iter().any(leads_on) {
                shared.cut_short.store(true, Ordering::Relaxed);
            }
            return;
        }
        for (ordinal, next) in successors.iter().enumerate() {
            let link = Link { parent: state.link, ordinal: ordinal as u32 };
            if let Some(violation) = next.violation {
                end(shared, link, self.book.violation(violation));
            } else if shared.seen.insert(next.fingerprint) {
                self.book.build(state, next, child);
                self.keep_checked(child, link, shared);
            }
        }
        shared.transitions.fetch_add(successors.len() as u64, Ordering::Relaxed);
    }

    fn keep(&mut self, mut state: State, link: Link, shared: &Shared) {
        self.keep_checked(&mut state, link, shared);
    }

    /// Checks a new state, counts it, and keeps it for the next level.
    fn keep_checked(&mut self, state: &mut State, link: Link, shared: &Shared) {
        shared.unique.fetch_add(1, Ordering::Relaxed);
        match self.check(state) {
            Ok(marks) => {
                for (at, count) in self.counts.iter_mut().enumerate() {
                    *count += u64::from(marks >> at & 1);
                }
            }
            Err(violation) => end(shared, link, violation),
        }
        state.link = (self.links.len() * self.workers + self.number) as u32;
        self.links.push(link);
        self.new += 1;
        let has_room = self.next.last().is_some_and(|row| row.len() < ROW_BYTES);
        if !has_room {
            self.next.push(Vec::with_capacity(ROW_BYTES + (ROW_BYTES >> 5)));
        }
        if let Some(row) = self.next.last_mut() {
            state.write(row);
        }
    }

    /// Which marks hold, if all properties do.
    fn check(&mut self, state: &State) -> Result<u32, Violation> {
        let task = self.task;
        let with_messages = &task.message_properties;
        if let Some(violation) =
            (!with_messages.is_empty()).then(|| Task::broken(with_messages, &self.book.cluster(state, true))).flatten()
        {
            return Err(violation);
        }
        let print = self.book.fingerprint_of_replicas(state);
        let slot = print as usize % CHECKED;
        if self.checked[slot].0 == print {
            return Ok(self.checked[slot].1);
        }
        let cluster = self.book.cluster(state, false);
        if let Some(violation) = Task::broken(&task.properties, &cluster) {
            return Err(violation);
        }
        let holds = task.sometimes.iter().enumerate().filter(|(_, (_, holds))| holds(&cluster));
        let marks = holds.fold(0, |marks, (at, _)| marks | 1 << at);
        self.checked[slot] = (print, marks);
        Ok(marks)
    }

    fn tell_progress(&self, shared: &Shared) {
        let looked_at = shared.looked_at.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some((every, listener)) = &shared.progress
            && looked_at.is_multiple_of(*every)
        {
            let unique_states = shared.unique.load(Ordering::Relaxed);
            let transitions = shared.transitions.load(Ordering::Relaxed);
            let waiting = unique_states.saturating_sub(looked_at);
            held(listener)(&Progress { unique_states, waiting, transitions, depth: shared.depth });
        }
    }
}

/// Ends the search with the first promise seen broken.
fn end(shared: &Shared, last: Link, violation: Violation) {
    held(&shared.found).get_or_insert((last, violation));
    shared.stop.store(true, Ordering::Relaxed);
}
