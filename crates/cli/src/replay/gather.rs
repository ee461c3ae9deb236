//! From the scenes of one life to what an incident wants to know.

use super::Telling;
use quorate_narrator::incident::{Clients, Incident, LifeSpan, LoggedEntry, Word};
use quorate_narrator::{Happening, What};
use quorate_protocol::{Decision, Input, LogChange, Output, Role, Status};
use quorate_recorder::{Doing, Fact, Life, Moment, RecordedLane, Scene, SceneKind, SegmentEnd};
use quorate_service::Served;
use quorate_types::{NodeId, Slot, Time};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// A timer that fires later than this after its last moment was late.
const LATE: Duration = Duration::from_millis(100);
/// Every second the node hears how much space its disk has, so silence for longer means that it did not run.
const SILENCE: Duration = Duration::from_millis(1600);

/// What must be remembered from scene to scene.
pub struct Gather<R: Served> {
    node: NodeId,
    incarnation: u64,
    program: String,
    detail: Telling,
    from: Time,
    to: Time,
    calls: u64,
    outputs: u64,
    /// Those before the last gap: a replay begins anew behind it.
    before_gap: (u64, u64),
    end: Option<SegmentEnd>,
    torn_bytes: usize,
    lead: Option<(u64, Option<NodeId>, bool)>,
    members: Vec<NodeId>,
    /// The last moment of each timer that runs, on the node's clock.
    timers: BTreeMap<R::Timer, Time>,
    /// The latest scene, on both clocks.
    latest: Option<(Time, Time)>,
    /// When the latest scene at another moment was, by the wall clock.
    quiet_since: Time,
    flights: u64,
}

impl<R: Served> Gather<R> {
    /// Nothing yet.
    pub fn new(life: &Life, detail: Telling) -> Gather<R> {
        let header = life.header();
        let begin = Time(header.clock.wall_ns);
        Gather {
            node: header.node,
            incarnation: header.incarnation.0,
            program: header.program.clone(),
            detail,
            from: begin,
            to: begin,
            calls: 0,
            outputs: 0,
            before_gap: (0, 0),
            end: None,
            torn_bytes: 0,
            lead: None,
            members: Vec::new(),
            timers: BTreeMap::new(),
            latest: None,
            quiet_since: begin,
            flights: 0,
        }
    }

    /// How the recording of this life ends.
    pub fn end_words(&self) -> String {
        let torn = match self.torn_bytes {
            0 => String::new(),
            bytes => format!(" ({bytes} bytes of an unfinished frame left out)"),
        };
        match self.end {
            Some(SegmentEnd::Stopped) => format!("it was stopped{torn}"),
            Some(SegmentEnd::StoppedUnseen { notes, .. }) => {
                format!(
                    "it was stopped; the recorder fell behind and the last {notes} calls before that are missing{torn}"
                )
            }
            Some(SegmentEnd::Lost { .. }) => format!("the recorder fell behind and the end is missing{torn}"),
            Some(SegmentEnd::Full) => format!("the next segment is missing{torn}"),
            None => format!("no word of an end: killed, or still running; about its last 50 ms are missing{torn}"),
        }
    }

    /// The life is told.
    pub fn end(self, incident: &mut Incident, end: String, is_whole: bool) {
        if is_whole && self.end.is_none() {
            tell(incident, self.to, self.node, What::Note { text: format!("{} is heard of no more here", self.node) });
        }
        incident.ends(LifeSpan {
            node: self.node,
            incarnation: self.incarnation,
            from: self.from,
            to: self.to,
            end,
            is_whole,
            calls: self.calls,
            outputs: self.outputs,
            program: self.program,
        });
    }

    fn timer(&mut self, incident: &mut Incident, at: Time, wall: Time, timer: R::Timer) {
        let Some(latest) = self.timers.remove(&timer) else { return };
        if at.since(latest) > LATE {
            incident.stood_still(self.node, self.quiet_since, wall);
        }
    }

    fn tell_lead(&mut self, incident: &mut Incident, wall: Time, lead: (u64, Option<NodeId>, bool), is_routine: bool) {
        if self.lead != Some(lead) {
            self.lead = Some(lead);
            let (era, who, ready) = lead;
            let what = What::Lead { era, who, ready };
            incident.happened(&Happening { at: wall, node: Some(self.node), what }, is_routine);
        }
    }

    /// A recording that begins in the middle, or goes on behind a gap, may begin with a leader.
    fn goes_on(&mut self, incident: &mut Incident, wall: Time, status: Status) {
        let leads = status.role == Role::Leader;
        self.tell_lead(incident, wall, (status.era, status.leader, leads), true);
        incident.marks(self.node, wall, status);
    }
}

fn tell(incident: &mut Incident, at: Time, node: NodeId, what: What) {
    incident.happened(&Happening { at, node: Some(node), what }, false);
}

/// Takes in one scene.
pub fn gather<R: Served>(state: &mut Gather<R>, incident: &mut Incident, scene: &Scene<'_, R>) {
    let (node, wall) = (state.node, scene.wall);
    let begins_anew = matches!(
        scene.kind,
        SceneKind::Begins(_)
            | SceneKind::Gap { .. }
            | SceneKind::Ends { end: Some(SegmentEnd::StoppedUnseen { .. }), .. }
    );
    match state.latest {
        Some((at, latest_wall)) if scene.at > at && !begins_anew => {
            state.quiet_since = latest_wall;
            if scene.at.since(at) > SILENCE {
                incident.stood_still(node, latest_wall, wall);
            }
        }
        Some((at, _)) if scene.at <= at => {}
        _ => state.quiet_since = wall,
    }
    state.latest = Some((scene.at, wall));
    state.to = state.to.max(wall);
    if matches!(scene.kind, SceneKind::Gap { .. }) {
        state.before_gap = (state.calls, state.outputs);
    }
    state.calls = state.before_gap.0 + scene.node.calls();
    state.outputs = state.before_gap.1 + scene.node.outputs();
    match &scene.kind {
        SceneKind::Begins(header) => {
            incident.begins(node, wall);
            let applied = scene.node.replica().status().applied;
            if header.sequence == 1 {
                tell(incident, wall, node, What::Started { incarnation: header.incarnation.0, applied });
            } else {
                let text = format!("the recording of {node} begins here; what was before is no longer kept");
                tell(incident, wall, node, What::Note { text });
            }
            state.goes_on(incident, wall, scene.node.replica().status());
        }
        SceneKind::Gap { notes } => {
            incident.begins(node, wall);
            state.timers.clear();
            let how_many = notes.map_or("some".to_owned(), |notes| notes.to_string());
            let text = format!(
                "{how_many} calls of {node} are missing before this: the recorder could not keep up, or a segment is gone"
            );
            tell(incident, wall, node, What::Note { text });
            state.goes_on(incident, wall, scene.node.replica().status());
        }
        SceneKind::Moment(moment) => of_moment(state, incident, scene, moment),
        SceneKind::Fact(fact) => of_fact(state, incident, wall, fact),
        SceneKind::Values(_) => {}
        SceneKind::Ends { end, torn_bytes } => {
            if let Some(SegmentEnd::StoppedUnseen { notes, .. }) = end {
                let text =
                    format!("{node} stopped; {notes} calls before that are missing: the recorder could not keep up");
                tell(incident, wall, node, What::Note { text });
            }
            (state.end, state.torn_bytes) = (*end, *torn_bytes);
        }
    }
}

fn of_moment<R: Served>(state: &mut Gather<R>, incident: &mut Incident, scene: &Scene<'_, R>, moment: &Moment<R>) {
    let (node, wall) = (state.node, scene.wall);
    for event in &moment.events {
        let is_routine = state.detail == Telling::Outline && R::is_routine(event);
        let happening = Happening { at: wall, node: Some(node), what: What::Guard(event.clone()) };
        incident.happened(&happening, is_routine);
    }
    match &moment.doing {
        Doing::Told(input) => of_input(state, incident, scene, input),
        Doing::Settled => incident.marks(node, wall, scene.node.replica().status()),
        Doing::Said(outputs) => {
            for output in outputs {
                of_output(state, incident, scene, output);
            }
        }
    }
    if state.detail == Telling::Everything {
        for (to, message) in &moment.left {
            state.flights += 1;
            let (kind, flight) = (R::kind(message), state.flights);
            tell(incident, wall, node, What::MessageSent { to: *to, kind, flight, bytes: 0 });
        }
    }
    if let Some(violation) = &moment.violation {
        let (property, detail) = (violation.invariant, violation.detail.clone());
        tell(incident, wall, node, What::Violated { property, detail });
    }
}

fn of_input<R: Served>(state: &mut Gather<R>, incident: &mut Incident, scene: &Scene<'_, R>, input: &Input<R>) {
    let (node, wall) = (state.node, scene.wall);
    match input {
        Input::Receive { from, message } => {
            incident.heard(node, *from, wall);
            if state.detail == Telling::Everything {
                state.flights += 1;
                let (kind, flight) = (R::kind(message), state.flights);
                tell(incident, wall, node, What::MessageDelivered { from: *from, kind, flight });
            }
        }
        Input::Expired(timer) => {
            state.timer(incident, scene.at, wall, *timer);
            if state.detail == Telling::Everything {
                let name = R::TIMERS.iter().find(|(_, known)| known == timer).map_or("unknown", |(name, _)| name);
                tell(incident, wall, node, What::TimerFired { timer: name });
            }
        }
        Input::Applied { through, digest, .. } if *through > Slot::ZERO => {
            let what = What::Applied { slot: *through, digest: *digest, first: false };
            incident.happened(&Happening { at: wall, node: Some(node), what }, state.detail < Telling::Everything);
        }
        _ => {}
    }
}

fn of_output<R: Served>(state: &mut Gather<R>, incident: &mut Incident, scene: &Scene<'_, R>, output: &Output<R>) {
    let (node, wall) = (state.node, scene.wall);
    match output {
        Output::Persist { records, .. } => {
            for change in records.iter().filter_map(R::log_change) {
                of_change(incident, scene, change);
            }
        }
        Output::SetTimer { timer, at_most, .. } => {
            state.timers.insert(*timer, scene.at + *at_most);
        }
        Output::CancelTimer(timer) => {
            state.timers.remove(timer);
        }
        Output::Lead { era, who, ready, .. } => {
            // Whom it follows, its guards have said in an outline already.
            let is_routine = state.detail == Telling::Outline && *who != Some(node);
            state.tell_lead(incident, wall, (*era, *who, *ready), is_routine);
        }
        Output::Members { members, .. } => {
            let ids: Vec<NodeId> = members.members().iter().map(|member| member.id).collect();
            if ids != state.members {
                state.members.clone_from(&ids);
                tell(incident, wall, node, What::Members { members: ids });
            }
        }
        _ => {}
    }
}

fn of_change<R: Served>(incident: &mut Incident, scene: &Scene<'_, R>, change: LogChange) {
    let (replica, node, wall) = (scene.node.replica(), scene.node.setup().me, scene.wall);
    let status = replica.status();
    let by = Word { by: status.leader, era: status.era };
    let LogChange { first, decisions, ends_log } = change;
    let behind = Slot(first.0 + decisions.len() as u64);
    let entries = (first.0..)
        .map(Slot)
        .zip(&decisions)
        .map(|(slot, decision)| LoggedEntry { era: replica.era_at(slot), fingerprint: fingerprint(decision) });
    incident.appended(node, wall, first, entries, by);
    if ends_log {
        incident.cut_back(node, wall, behind, by);
    }
}

fn fingerprint(decision: &Decision) -> u64 {
    let mut hasher = DefaultHasher::new();
    decision.hash(&mut hasher);
    hasher.finish()
}

fn of_fact<R: Served>(state: &mut Gather<R>, incident: &mut Incident, wall: Time, fact: &Fact) {
    let node = state.node;
    let lane_name = |lane: RecordedLane| match lane {
        RecordedLane::Journal => "journal",
        RecordedLane::Store => "store",
    };
    match fact {
        Fact::WriteBegun { lane, write, bytes } => {
            incident.write_begun(node, lane_name(*lane), *write, *bytes, wall);
        }
        Fact::WriteDone { lane, write } => {
            incident.write_done(node, lane_name(*lane), *write, wall);
            if state.detail == Telling::Everything {
                tell(incident, wall, node, What::WriteDurable { lane: lane_name(*lane), write: *write });
            }
        }
        Fact::Clients(counts) => {
            let quorate_recorder::ClientCounts { writes, reads, answered, refused } = *counts;
            incident.clients(node, Clients { writes, reads, answered, refused });
        }
        Fact::FreeSpace(_) => {}
        Fact::Stopped { why } => tell(incident, wall, node, What::Stopped { why: why.clone() }),
    }
}
