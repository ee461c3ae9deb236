//! One random schedule.

mod calm;
mod members;
mod snapshots;

pub(super) use snapshots::{Install, Transfer};

use super::dice::{Dice, DiceEnv};
use super::node::{Broken, Node, Write, broken, round_trip};
use super::{Failure, Subject, Tally, garbage};
use crate::testbed::Flight;
use crate::{Batch, Decision, Footprint, Input, LinkState, Outbox, Output, ReadToken, Refused, Replica, RequestId};
use bytes::Bytes;
use quorate_types::{NodeId, Slot, Ticket, Time};
use quorate_wire::{decode_exact, encode_to_bytes};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// More than this in flight, and the oldest is lost: keeps chatty protocols bounded.
const FLIGHTS_MOST: usize = 200;
/// Remembered for garbage.
const SEEN_MOST: usize = 64;
/// One check of garbage, crash images and damage per so many steps.
const DEEP_CHECK_ONE_IN: usize = 16;
/// Where members change, one input of so many asks for that.
const CHANGE_ONE_IN: usize = 30;

/// Which fault classes this seed has: each with even odds.
struct Faults {
    lose: bool,
    duplicate: bool,
    crash: bool,
    slow_disk: bool,
    /// Now and then one node hears nothing while the others get on.
    leave_behind: bool,
}

struct Walk<'a, R: Replica> {
    subject: &'a Subject<R>,
    dice: Dice,
    env: DiceEnv,
    faults: Faults,
    nodes: BTreeMap<NodeId, Node<R>>,
    flights: Vec<Flight<R>>,
    transfers: Vec<Transfer<R>>,
    last_snapshot: u64,
    seen: Vec<R::Message>,
    seen_anchors: Vec<R::Anchor>,
    chosen: BTreeMap<Slot, Decision>,
    proposed: BTreeMap<u64, Bytes>,
    refused: BTreeSet<Bytes>,
    decided_commands: BTreeSet<Bytes>,
    /// What was decided anywhere when each read came.
    read_floors: BTreeMap<ReadToken, Slot>,
    /// The safety state of a node that never ran.
    fresh: BTreeMap<NodeId, String>,
    next_request: u64,
    /// Whoever was ever wished away.
    left: BTreeSet<NodeId>,
    tally: Tally,
    steps: Option<Vec<String>>,
}

pub(super) fn run<R: Replica>(
    subject: &Subject<R>,
    seed: u64,
    steps: usize,
    logging: bool,
) -> Result<Tally, Box<Failure>> {
    let mut walk = Walk::new(subject, seed, logging);
    let outcome = catch_unwind(AssertUnwindSafe(|| walk.all(steps)));
    let (check, detail) = match outcome {
        Ok(Ok(())) => return Ok(walk.tally),
        Ok(Err(broken)) => broken,
        Err(panic) => ("Total".to_owned(), panic_text(panic.as_ref())),
    };
    Err(Box::new(Failure { seed, check, detail, steps: walk.steps.unwrap_or_default() }))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".to_owned())
}

impl<'a, R: Replica> Walk<'a, R> {
    fn new(subject: &'a Subject<R>, seed: u64, logging: bool) -> Walk<'a, R> {
        let mut dice = Dice::new(seed);
        let env = DiceEnv { dice: Dice::new(dice.next()), now: Time::ZERO };
        let mut on = || dice.one_in(2);
        let faults = Faults { lose: on(), duplicate: on(), crash: on(), slow_disk: on(), leave_behind: on() };
        Walk {
            subject,
            dice,
            env,
            faults,
            nodes: BTreeMap::new(),
            flights: Vec::new(),
            transfers: Vec::new(),
            last_snapshot: 0,
            seen: Vec::new(),
            seen_anchors: Vec::new(),
            chosen: BTreeMap::new(),
            proposed: BTreeMap::new(),
            refused: BTreeSet::new(),
            decided_commands: BTreeSet::new(),
            read_floors: BTreeMap::new(),
            fresh: BTreeMap::new(),
            next_request: 0,
            left: BTreeSet::new(),
            tally: Tally::default(),
            steps: logging.then(Vec::new),
        }
    }

    fn all(&mut self, steps: usize) -> Result<(), Broken> {
        let founders = self.subject.members.members().iter().map(|member| member.id);
        for id in founders.chain(self.subject.newcomers.iter().copied()) {
            let node = Node::closed(self.subject, id);
            match node.ghost(&self.subject.config, Vec::new()) {
                Ok(fresh) => self.fresh.insert(id, (self.subject.safety)(&fresh)),
                Err(error) => return broken("FreshIsRecovery", format!("{id} does not open: {error}")),
            };
            self.nodes.insert(id, node);
            self.restart(id)?;
        }
        for _ in 0..steps {
            self.env.now = self.env.now + Duration::from_micros(self.dice.below(5_000) as u64);
            self.random_action()?;
            if self.dice.one_in(DEEP_CHECK_ONE_IN) {
                self.check_deeper()?;
            }
        }
        if self.subject.heal_rounds > 0 { self.heal() } else { Ok(()) }
    }

    fn log(&mut self, line: impl FnOnce() -> String) {
        if let Some(steps) = &mut self.steps {
            steps.push(line());
        }
    }

    fn random_node(&mut self) -> NodeId {
        let ids: Vec<NodeId> = self.nodes.iter().filter(|(_, node)| !node.retired).map(|(id, _)| *id).collect();
        *self.dice.pick(&ids).expect("not everybody can leave")
    }

    fn random_action(&mut self) -> Result<(), Broken> {
        let id = self.random_node();
        if self.nodes[&id].replica.is_none() {
            return if self.dice.one_in(3) { self.restart(id) } else { Ok(()) };
        }
        match self.dice.below(100) {
            0..3 if self.faults.crash => self.crash(id),
            3..7 if self.faults.lose && !self.flights.is_empty() => {
                let lost = self.flights.swap_remove(self.dice.below(self.flights.len()));
                self.tally.note("message lost");
                self.log(|| format!("lose {} from {} to {}", R::kind(&lost.message), lost.from, lost.to));
                Ok(())
            }
            7..25 if !(self.faults.slow_disk && self.dice.one_in(2)) => self.complete_some_writes(id),
            25..30 => self.checkpoint(id),
            30..36 => self.some_snapshot_action(id),
            36..39 if self.faults.leave_behind => self.leave_behind(id),
            _ => self.feed_some(id),
        }
    }

    /// A batch of one to four inputs, settled at its end.
    fn feed_some(&mut self, id: NodeId) -> Result<(), Broken> {
        let count = if self.dice.one_in(3) { 2 + self.dice.below(3) } else { 1 };
        let mut inputs = Vec::new();
        for _ in 0..count {
            inputs.extend(self.draw_input(id));
        }
        if inputs.len() > 1 {
            self.tally.note("settled late");
        }
        self.feed(id, inputs)
    }

    fn draw_input(&mut self, id: NodeId) -> Option<Input<R>> {
        if !self.subject.newcomers.is_empty() && self.dice.one_in(CHANGE_ONE_IN) {
            return self.draw_change(id);
        }
        match self.dice.below(100) {
            0..60 => self.draw_delivery(id),
            60..72 => self.draw_timer(id),
            72..80 => Some(self.draw_proposal()),
            80..86 => Some(self.draw_read(id)),
            86..94 => self.draw_applied(id),
            94..96 => {
                let peer = self.random_node();
                let state = [LinkState::Up, LinkState::Down, LinkState::Refused][self.dice.below(3)];
                Some(Input::Link { peer, state })
            }
            96..97 => Some(Input::Persisted(self.nodes[&id].gate.durable())),
            97..98 => {
                let to = self.random_node();
                Some(Input::Transfer { request: self.fresh_request(), to })
            }
            _ => self.nodes.get_mut(&id).and_then(|node| node.owed.pop_front()),
        }
    }

    fn draw_delivery(&mut self, id: NodeId) -> Option<Input<R>> {
        let for_me: Vec<usize> = (0..self.flights.len()).filter(|at| self.flights[*at].to == id).collect();
        let at = *self.dice.pick(&for_me)?;
        let copy = self.faults.duplicate && self.dice.one_in(4);
        self.tally.note(if copy { "message repeated" } else { "message delivered" });
        let flight = if copy { self.flights[at].clone() } else { self.flights.remove(at) };
        Some(Input::Receive { from: flight.from, message: flight.message })
    }

    fn draw_timer(&mut self, id: NodeId) -> Option<Input<R>> {
        let armed: Vec<R::Timer> = self.nodes[&id].armed.iter().copied().collect();
        let timer = *self.dice.pick(&armed)?;
        self.nodes.get_mut(&id)?.armed.remove(&timer);
        self.tally.note("timer fired");
        Some(Input::Expired(timer))
    }

    fn fresh_request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    fn draw_proposal(&mut self) -> Input<R> {
        let request = self.fresh_request();
        let commands = Bytes::from(format!("command {}", request.0));
        self.proposed.insert(request.0, commands.clone());
        self.tally.note("proposed");
        Input::Propose { request, batch: Batch::new(commands) }
    }

    fn draw_read(&mut self, id: NodeId) -> Input<R> {
        let number = self.fresh_request().0;
        let token = ReadToken { node: id, incarnation: self.nodes[&id].setup.incarnation, number };
        let floor = self.chosen.keys().next_back().copied().unwrap_or(Slot::ZERO);
        self.read_floors.insert(token, floor);
        Input::Read { token, footprint: Footprint::Everything }
    }

    fn draw_applied(&mut self, id: NodeId) -> Option<Input<R>> {
        let node = self.nodes.get_mut(&id)?;
        if node.applied == node.decided {
            return None;
        }
        node.applied = node.decided;
        let (through, durable) = (node.applied, node.applied_durable);
        Some(Input::Applied { through, durable, digest: node.digest(through) })
    }

    /// What is applied becomes durable in the store.
    fn checkpoint(&mut self, id: NodeId) -> Result<(), Broken> {
        let node = self.nodes.get_mut(&id).expect("ids come from the map");
        let (through, durable) = (node.applied, node.applied);
        if node.applied_durable == durable {
            return Ok(());
        }
        node.applied_durable = durable;
        let digest = node.digest(through);
        self.tally.note("checkpoint");
        self.feed(id, vec![Input::Applied { through, durable, digest }])
    }

    fn feed(&mut self, id: NodeId, inputs: Vec<Input<R>>) -> Result<(), Broken> {
        if inputs.is_empty() {
            return Ok(());
        }
        self.log(|| format!("{id} takes {inputs:?}"));
        let node = self.nodes.get_mut(&id).expect("ids come from the map");
        node.feed(&mut self.env, inputs)?;
        self.carry_out(id)
    }

    fn carry_out(&mut self, id: NodeId) -> Result<(), Broken> {
        let outputs = self.nodes.get_mut(&id).expect("ids come from the map").outbox.take();
        for output in outputs {
            self.carry_out_one(id, output)?;
        }
        Ok(())
    }

    fn carry_out_one(&mut self, id: NodeId, output: Output<R>) -> Result<(), Broken> {
        let node = self.nodes.get_mut(&id).expect("ids come from the map");
        match output {
            Output::Persist { ticket, records } => {
                self.accept_write(id, Write { ticket, records, drop_before: None })?
            }
            Output::Compact { ticket, baseline, drop_before } => {
                self.tally.note("compaction asked");
                self.accept_write(id, Write { ticket, records: baseline, drop_before: Some(drop_before) })?;
            }
            Output::Send { to, message, after } => {
                if to == id {
                    return broken("NeverToYourself", format!("{id} sends itself {message:?}"));
                }
                if after > node.outbox.last_ticket() {
                    return broken("TicketsExist", format!("{id} sends {message:?} after a write nobody asked for"));
                }
                if let Some((to, message)) = node.gate.pass(after, to, message) {
                    self.launch(id, to, message)?;
                }
            }
            Output::SetTimer { timer, at_least, at_most } => {
                if at_least > at_most {
                    return broken("TimerBounds", format!("{id} sets {timer:?} from {at_least:?} to {at_most:?}"));
                }
                node.armed.insert(timer);
            }
            Output::CancelTimer(timer) => {
                node.armed.remove(&timer);
            }
            Output::Decide { slot, decision } => self.note_decision(id, slot, decision)?,
            Output::ReadAt { token, slot } => self.note_read(id, token, slot)?,
            Output::Refuse { refused, .. } => self.note_refusal(refused)?,
            Output::Lead { ready, .. } => self.tally.note(if ready { "ready to lead" } else { "lead changed" }),
            Output::SendSnapshot { to, with_data: false, .. } => {
                return broken("NoWitnessHere", format!("{id} wants to send {to}, which stores data, none"));
            }
            Output::SendSnapshot { to, at_least, with_data: true } => self.pin_snapshot(id, to, at_least)?,
            Output::SnapshotAnchor { id: view, to, anchor } => self.begin_transfer(id, view, to, anchor)?,
            Output::InstallSnapshot { id: snapshot, anchor, after } => {
                self.begin_install(id, snapshot, &anchor, after)?;
            }
            Output::DropSnapshot { id: snapshot } => self.drop_snapshot(id, snapshot)?,
            Output::Trace(event) => self.tally.note_rule(event.rule.id, event.verdict),
            Output::Members { .. } => {}
            Output::Retire { .. } => self.stop_for_good(id)?,
            Output::Evidence { .. } => return broken("Evidence", format!("{id} accuses somebody who is correct")),
        }
        Ok(())
    }

    fn accept_write(&mut self, id: NodeId, write: Write<R>) -> Result<(), Broken> {
        for record in &write.records {
            round_trip(record)?;
        }
        self.nodes.get_mut(&id).expect("ids come from the map").outstanding.push_back(write);
        Ok(())
    }

    /// A message leaves: what it claims must be durable.
    fn launch(&mut self, from: NodeId, to: NodeId, message: R::Message) -> Result<(), Broken> {
        let node = &self.nodes[&from];
        match node.ghost(&self.subject.config, node.records.clone()) {
            Err(error) => return broken("EveryCrashOpens", format!("{from}: {error}")),
            Ok(ghost) if ghost.vouches(to, &message) => {}
            Ok(_) => {
                let detail = format!("{from} sends {message:?} to {to}, which its synced records do not support");
                return broken("DurabilityGhost", detail);
            }
        }
        let message = round_trip(&message)?;
        self.tally.note_sent(R::kind(&message));
        if self.seen.len() == SEEN_MOST {
            self.seen.remove(0);
        }
        self.seen.push(message.clone());
        if self.flights.len() == FLIGHTS_MOST {
            self.flights.remove(0);
        }
        self.flights.push(Flight { from, to, message });
        Ok(())
    }

    fn note_decision(&mut self, id: NodeId, slot: Slot, decision: Decision) -> Result<(), Broken> {
        let node = self.nodes.get_mut(&id).expect("ids come from the map");
        if node.install.is_some() {
            return broken(
                "NothingWhileInstalling",
                format!("{id} decides slot {slot} before its snapshot is installed"),
            );
        }
        if slot != node.decided.next() {
            return broken("DecidedInOrder", format!("{id} decides slot {slot} behind {}", node.decided));
        }
        node.decided = slot;
        node.history.insert(slot, decision.clone());
        self.tally.note("decided");
        if let Decision::Members(members) = &decision {
            self.check_members(id, slot, members)?;
        }
        if let Decision::Commands(commands) = &decision {
            if !self.proposed.values().any(|known| known == commands) {
                return broken("Validity", format!("{id} decides {commands:?}, which nobody proposed"));
            }
            if self.refused.contains(commands) {
                return broken("RefusalIsDefinite", format!("{id} decides {commands:?}, which was refused"));
            }
            self.decided_commands.insert(commands.clone());
        }
        let first = self.chosen.entry(slot).or_insert_with(|| decision.clone());
        if *first != decision {
            return broken("Agreement", format!("slot {slot} is {first:?}, and {id} decides {decision:?}"));
        }
        Ok(())
    }

    fn note_read(&mut self, id: NodeId, token: ReadToken, slot: Slot) -> Result<(), Broken> {
        self.tally.note("read released");
        match self.read_floors.remove(&token) {
            Some(floor) if slot < floor => {
                broken("Linearizable", format!("{id} reads at {slot}, and {floor} was decided when the read came"))
            }
            Some(_) => Ok(()),
            None => broken("Linearizable", format!("{id} answers {token:?}, which does not wait")),
        }
    }

    fn note_refusal(&mut self, refused: Refused) -> Result<(), Broken> {
        self.tally.note("refused");
        match refused {
            Refused::Read(token) => {
                self.read_floors.remove(&token);
            }
            Refused::Request(request) => {
                if let Some(commands) = self.proposed.get(&request.0) {
                    if self.decided_commands.contains(commands) {
                        return broken("RefusalIsDefinite", format!("{commands:?} is refused and was decided"));
                    }
                    self.refused.insert(commands.clone());
                }
            }
        }
        Ok(())
    }

    fn complete_some_writes(&mut self, id: NodeId) -> Result<(), Broken> {
        let outstanding = self.nodes[&id].outstanding.len();
        if outstanding == 0 {
            return Ok(());
        }
        let count = 1 + self.dice.below(outstanding);
        self.complete_writes(id, count)
    }

    /// Completes the oldest writes in one flush.
    fn complete_writes(&mut self, id: NodeId, count: usize) -> Result<(), Broken> {
        let mut durable = Ticket::NONE;
        for _ in 0..count {
            let Some(write) = self.nodes.get_mut(&id).and_then(|node| node.outstanding.pop_front()) else { break };
            durable = write.ticket;
            self.check_compaction(id, &write)?;
            let dropped = if self.dice.one_in(2) { usize::MAX } else { self.dice.below(8) };
            self.nodes.get_mut(&id).expect("ids come from the map").write(write, dropped);
        }
        if durable == Ticket::NONE {
            return Ok(());
        }
        self.tally.note("flush");
        let released = self.nodes.get_mut(&id).expect("ids come from the map").gate.advance(durable);
        for (to, message) in released {
            self.launch(id, to, message)?;
        }
        self.feed(id, vec![Input::Persisted(durable)])
    }

    /// At every crash point of a compaction, what opens has the same safety state.
    fn check_compaction(&mut self, id: NodeId, write: &Write<R>) -> Result<(), Broken> {
        if write.drop_before.is_none() {
            return Ok(());
        }
        self.tally.note("compaction");
        let node = &self.nodes[&id];
        let mut images = vec![node.records.clone()];
        for dropped in 0..=node.records.len() {
            let mut after = node.clone();
            after.write(write.clone(), dropped);
            images.push(after.records);
        }
        let mut first: Option<String> = None;
        for (at, records) in images.into_iter().enumerate() {
            let state = match node.ghost(&self.subject.config, records) {
                Ok(ghost) => (self.subject.safety)(&ghost),
                Err(error) => return broken("CompactionLosesNothing", format!("{id} at crash point {at}: {error}")),
            };
            match &first {
                None => first = Some(state),
                Some(first) if *first == state => {}
                Some(first) => {
                    let detail = format!("{id} before compacting: {first}; at crash point {at}: {state}");
                    return broken("CompactionLosesNothing", detail);
                }
            }
        }
        Ok(())
    }

    fn crash(&mut self, id: NodeId) -> Result<(), Broken> {
        let outstanding = self.nodes[&id].outstanding.len();
        let surviving = self.dice.below(outstanding + 1);
        self.tally.note(if surviving < outstanding { "crash losing writes" } else { "crash" });
        self.log(|| format!("{id} crashes; of {outstanding} writes under way {surviving} survive"));
        let dropped = self.dice.below(8);
        let cut_short = self.dice.one_in(2);
        let node = self.nodes.get_mut(&id).expect("ids come from the map");
        let mut writes = std::mem::take(&mut node.outstanding).into_iter();
        for write in writes.by_ref().take(surviving) {
            node.write(write, usize::MAX);
        }
        // A compaction is cut short in the middle of dropping; its baseline is durable by then.
        if let Some(write) = writes.next().filter(|write| write.drop_before.is_some() && cut_short) {
            node.write(write, dropped);
        }
        node.stop();
        Ok(())
    }

    fn restart(&mut self, id: NodeId) -> Result<(), Broken> {
        self.log(|| format!("{id} opens"));
        self.tally.note("opened");
        let node = self.nodes.get_mut(&id).expect("ids come from the map");
        node.open(&self.subject.config)?;
        if let Some(replica) = node.replica.as_ref().filter(|_| node.records.is_empty()) {
            let state = (self.subject.safety)(replica);
            if self.fresh.get(&id) != Some(&state) {
                return broken("FreshIsRecovery", format!("{id} opens from nothing as {state}"));
            }
        }
        self.carry_out(id)?;
        self.look_at_received(id)
    }

    /// Checks that leave no trace in the schedule: garbage on a copy, every crash image, damaged bytes.
    fn check_deeper(&mut self) -> Result<(), Broken> {
        let id = self.random_node();
        self.check_garbage(id);
        let node = &self.nodes[&id];
        let mut image = node.clone();
        for write in node.outstanding.clone() {
            image.write(write, usize::MAX);
            if let Err(error) = node.ghost(&self.subject.config, image.records.clone()) {
                return broken("EveryCrashOpens", format!("{id}: {error}"));
            }
        }
        self.check_damage();
        Ok(())
    }

    fn check_garbage(&mut self, id: NodeId) {
        let Some(mut copy) = self.nodes[&id].replica.clone() else { return };
        let mut env = self.env.clone();
        let mut outbox = Outbox::new(self.nodes[&id].outbox.last_ticket(), true);
        for _ in 0..6 {
            let input = garbage::draw::<R>(&mut self.dice, id, &self.subject.members, (&self.seen, &self.seen_anchors));
            self.log(|| format!("a copy of {id} takes garbage: {input:?}"));
            copy.step(&mut env, input, &mut outbox);
            self.tally.note("garbage");
        }
        copy.settle(&mut env, &mut outbox);
    }

    /// Whatever the bytes, decoding does not panic. That it may succeed is fine: checksums are the frame's task.
    fn check_damage(&mut self) {
        let Some(message) = self.dice.pick(&self.seen) else { return };
        let mut bytes = encode_to_bytes(message).to_vec();
        let at = self.dice.below(bytes.len());
        match self.dice.below(3) {
            0 => bytes.truncate(at),
            1 => bytes.push(0),
            _ => {
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << self.env.now.0.trailing_zeros().min(7))
            }
        }
        let decoded = decode_exact::<R::Message>(Bytes::from(bytes));
        self.tally.note(if decoded.is_err() { "damage noticed" } else { "damage decoded" });
    }
}
