//! Clients' sessions at whole machines: asked again of other nodes, over crashes and snapshots, and applied once.

use crate::appending::{self, CLOSED, ListMachine, OPENED, Out, answers, at, decide, fresh, items, session};
use bytes::Bytes;
use quorate_machine::{
    ClientBounds, ClientCommand, ClientId, ClientTag, Command, Lead, Machine, MachineConfig, MachineImage,
    MachineOutput, RequestError, Staged, encode_batch,
};
use quorate_protocol::Decision;
use quorate_types::{ClusterId, Incarnation, NodeId, Session, Slot, Time};
use quorate_wire::encode_to_bytes;

const CLUSTER: ClusterId = ClusterId(9);
const BOUNDS: ClientBounds = ClientBounds { sessions_max: 2, window: 4, reply_bytes_max: 8, kept_bytes_max: 64 };

fn client(nonce: u64) -> ClientId {
    ClientId { cluster: CLUSTER, nonce }
}

fn call(client: ClientId, sequence: u64, acked_below: u64, payload: &'static str) -> ClientCommand {
    ClientCommand::Call { client, sequence, acked_below, payload: Bytes::from_static(payload.as_bytes()) }
}

fn open(nonce: u64) -> ClientCommand {
    ClientCommand::Open { client: client(nonce), bounds: BOUNDS, in_order: false }
}

fn open_in_order(nonce: u64) -> ClientCommand {
    ClientCommand::Open { client: client(nonce), bounds: BOUNDS, in_order: true }
}

/// A decided batch of one, of the node's next sequence.
fn of_node(node: u64, sequence: u64, command: &ClientCommand) -> Decision {
    let payload = encode_to_bytes(command);
    let session = session(node);
    Decision::Commands(encode_batch(&[Command { session, sequence, acked_below: 1, stamp: Time::ZERO, payload }]))
}

/// A machine that leads, and what it decides is what it is asked.
struct Alone {
    machine: ListMachine,
    tags: u64,
    nonces: u64,
}

impl Alone {
    fn new() -> Alone {
        let mut machine = fresh(1, MachineConfig::default());
        machine.lead(Lead { era: 1, who: Some(NodeId(1)), ready: true, settled: true }, &mut Out::new());
        Alone { machine, tags: 0, nonces: 0 }
    }

    fn ask(&mut self, payload: Bytes) -> Result<u64, RequestError> {
        self.tags += 1;
        let tag = ClientTag(self.tags);
        let mut out = Out::new();
        self.machine.submit(at(1), tag, payload, &mut out);
        self.machine.settle(at(1), &mut out);
        let proposed = out.iter().find_map(|output| match output {
            MachineOutput::Propose { batch, .. } => Some(batch.commands.clone()),
            _ => None,
        });
        if let Some(commands) = proposed {
            decide(&mut self.machine, Decision::Commands(commands), &mut out);
        }
        let answered = answers(&out).into_iter().find(|(answered, _)| *answered == tag);
        answered.expect("every request is answered").1
    }

    fn tell(&mut self, command: &ClientCommand) -> Result<u64, RequestError> {
        self.ask(encode_to_bytes(command))
    }

    fn open(&mut self) -> ClientId {
        self.nonces += 1;
        let opened = self.tell(&open(self.nonces)).unwrap();
        assert_eq!(opened, OPENED | self.nonces);
        client(self.nonces)
    }
}

#[test]
fn a_session_is_named_by_the_number_that_was_drawn_for_it_and_opening_it_twice_opens_one() {
    let mut alone = Alone::new();
    assert_eq!(alone.tell(&open(70)), Ok(OPENED | 70));
    alone.tell(&call(client(70), 1, 1, "paid")).unwrap();
    assert_eq!(alone.tell(&open(70)), Ok(OPENED | 70));
    assert_eq!(alone.machine.status().client_sessions, 1);
    alone.tell(&call(client(70), 1, 1, "paid")).unwrap();
    assert_eq!(items(&alone.machine), ["paid"]);
    assert_eq!(alone.tell(&open(71)), Ok(OPENED | 71));
    assert_eq!(alone.machine.status().client_sessions, 2);
}

#[test]
fn a_retry_at_another_node_is_answered_with_the_first_reply_and_not_applied() {
    let mut machine = fresh(1, MachineConfig::default());
    let mut out = Out::new();
    machine.lead(Lead { era: 1, who: Some(NodeId(2)), ready: true, settled: true }, &mut out);
    decide(&mut machine, of_node(2, 1, &open(1)), &mut out);
    // Asked of node 2, which crashes before it answers; then of this node.
    decide(&mut machine, of_node(2, 2, &call(client(1), 1, 1, "paid")), &mut out);
    decide(&mut machine, of_node(3, 1, &call(client(1), 2, 1, "else")), &mut out);
    machine.submit(at(1), ClientTag(7), encode_to_bytes(&call(client(1), 1, 1, "paid")), &mut out);
    machine.settle(at(1), &mut out);
    assert_eq!(answers(&out), []);
    decide(&mut machine, of_node(1, 1, &call(client(1), 1, 1, "paid")), &mut out);
    assert_eq!(answers(&out), [(ClientTag(7), Ok(1))]);
    assert_eq!(items(&machine), ["paid", "else"]);
    assert_eq!(machine.status().recalled_replies, 1);
}

#[test]
fn of_two_copies_under_way_at_two_nodes_the_first_decided_is_applied() {
    let mut machine = fresh(1, MachineConfig::default());
    let mut out = Out::new();
    decide(&mut machine, of_node(2, 1, &open(1)), &mut out);
    decide(&mut machine, of_node(3, 1, &call(client(1), 1, 1, "once")), &mut out);
    decide(&mut machine, of_node(2, 2, &call(client(1), 1, 1, "once")), &mut out);
    // And one of an incarnation that is over by now.
    let reborn = Session { owner: 3, incarnation: Incarnation(2) };
    let payload = encode_to_bytes(&call(client(1), 1, 1, "once"));
    let again = Command { session: reborn, sequence: 1, acked_below: 1, stamp: Time::ZERO, payload };
    decide(&mut machine, Decision::Commands(encode_batch(&[again])), &mut out);
    assert_eq!(items(&machine), ["once"]);
    assert_eq!(machine.status().recalled_replies, 2);
}

#[test]
fn a_late_copy_of_what_was_acknowledged_is_dropped_with_a_definite_error() {
    let mut alone = Alone::new();
    let client = alone.open();
    alone.tell(&call(client, 1, 1, "one")).unwrap();
    alone.tell(&call(client, 3, 3, "three")).unwrap();
    assert_eq!(alone.tell(&call(client, 1, 1, "one")), Err(RequestError::Acknowledged));
    assert_eq!(alone.tell(&call(client, 2, 1, "given up")), Err(RequestError::Acknowledged));
    assert_eq!(items(&alone.machine), ["one", "three"]);
    assert_eq!(alone.machine.status().refused_by_sessions, 2);
}

#[test]
fn an_unknown_an_expired_and_a_closed_session_are_never_executed() {
    let mut alone = Alone::new();
    assert_eq!(alone.tell(&call(client(77), 1, 1, "unknown")), Err(RequestError::SessionExpired));
    let [first, second] = [alone.open(), alone.open()];
    alone.tell(&call(first, 1, 1, "first")).unwrap();
    // A third has no room: the second was idle for longest.
    alone.open();
    assert_eq!(alone.tell(&call(second, 1, 1, "expired")), Err(RequestError::SessionExpired));
    assert_eq!(alone.tell(&ClientCommand::Close { client: first }), Ok(CLOSED));
    assert_eq!(alone.tell(&call(first, 1, 1, "closed")), Err(RequestError::SessionExpired));
    let former_life = ClientId { cluster: ClusterId(8), ..client(5) };
    assert_eq!(alone.tell(&call(former_life, 1, 1, "another cluster")), Err(RequestError::SessionExpired));
    assert_eq!(items(&alone.machine), ["first"]);
    assert_eq!(alone.machine.status().expired_sessions, 1);
}

#[test]
fn a_sequence_beyond_the_window_is_refused_for_now() {
    let mut alone = Alone::new();
    let client = alone.open();
    assert_eq!(alone.tell(&call(client, 5, 1, "far ahead")), Err(RequestError::TooManyRequests));
    assert_eq!(alone.tell(&call(client, 5, 2, "in reach")), Ok(1));
}

#[test]
fn in_order_a_call_is_applied_behind_those_before_it_that_are_wanted_and_else_refused_for_now() {
    let mut alone = Alone::new();
    alone.tell(&open_in_order(1)).unwrap();
    let one = client(1);
    assert_eq!(alone.tell(&call(one, 2, 1, "two")), Err(RequestError::BeforeItsTurn));
    assert_eq!(alone.tell(&call(one, 1, 1, "one")), Ok(1));
    assert_eq!(alone.tell(&call(one, 3, 1, "three")), Err(RequestError::BeforeItsTurn));
    assert_eq!(alone.tell(&call(one, 2, 1, "two")), Ok(2));
    // What was refused for now was not the answer; and a repetition is told what the first was told.
    assert_eq!(alone.tell(&call(one, 3, 1, "three")), Ok(3));
    assert_eq!(alone.tell(&call(one, 2, 1, "two")), Ok(2));
    assert_eq!(alone.tell(&call(one, 6, 3, "six")), Err(RequestError::BeforeItsTurn));
    assert_eq!(alone.tell(&call(one, 7, 3, "seven")), Err(RequestError::TooManyRequests));
    assert_eq!(items(&alone.machine), ["one", "two", "three"]);
    assert_eq!((alone.machine.status().recalled_replies, alone.machine.status().refused_by_sessions), (1, 4));
}

#[test]
fn in_order_what_the_client_gave_up_leaves_no_gap_and_a_late_copy_of_it_does_nothing() {
    let mut alone = Alone::new();
    alone.tell(&open_in_order(1)).unwrap();
    alone.tell(&call(client(1), 1, 1, "one")).unwrap();
    assert_eq!(alone.tell(&call(client(1), 3, 2, "three")), Err(RequestError::BeforeItsTurn));
    assert_eq!(alone.tell(&call(client(1), 3, 3, "three")), Ok(2));
    assert_eq!(alone.tell(&call(client(1), 2, 2, "given up")), Err(RequestError::Acknowledged));
    assert_eq!(items(&alone.machine), ["one", "three"]);
}

#[test]
fn the_order_of_one_session_is_no_matter_of_another() {
    let mut alone = Alone::new();
    alone.tell(&open_in_order(1)).unwrap();
    alone.tell(&open(2)).unwrap();
    assert_eq!(alone.tell(&call(client(1), 2, 1, "early")), Err(RequestError::BeforeItsTurn));
    assert_eq!(alone.tell(&call(client(2), 2, 1, "in any order")), Ok(1));
    assert_eq!(alone.tell(&call(client(2), 1, 1, "as before")), Ok(2));
    // Opened again it stays what it is.
    alone.tell(&open(1)).unwrap();
    alone.tell(&open_in_order(2)).unwrap();
    assert_eq!(alone.tell(&call(client(1), 2, 1, "early")), Err(RequestError::BeforeItsTurn));
    assert_eq!(alone.tell(&call(client(2), 4, 2, "in any order")), Ok(3));
    // It ends as any other does: with room for two, the third ends the one that was idle for longest.
    alone.tell(&open(3)).unwrap();
    assert_eq!(alone.tell(&call(client(1), 1, 1, "expired")), Err(RequestError::SessionExpired));
}

#[test]
fn what_claims_to_be_a_clients_command_and_is_none_is_refused_before_the_log_and_behind_it() {
    let mut alone = Alone::new();
    let garbage = Bytes::from_static(b"\xff\x63garbage");
    assert!(matches!(alone.ask(garbage.clone()), Err(RequestError::Unsupported(_))));
    assert_eq!(alone.machine.applied(), Slot::ZERO);
    // One that a member of another version let through.
    let command = Command { session: session(2), sequence: 1, acked_below: 1, stamp: Time::ZERO, payload: garbage };
    decide(&mut alone.machine, Decision::Commands(encode_batch(&[command])), &mut Out::new());
    assert_eq!((items(&alone.machine).len(), alone.machine.applied()), (0, Slot(1)));
}

fn image_of(machine: &ListMachine) -> Staged<appending::AppendingList> {
    let mut items = machine.state().items.iter().cloned().enumerate().map(|(at, item)| (at as u64, item));
    let image = MachineImage {
        applied: machine.applied(),
        meta: machine.meta(),
        head: Bytes::from_static(b"list"),
        items: &mut items,
    };
    Staged::read(image).unwrap()
}

#[test]
fn sessions_and_replies_travel_in_snapshots_and_expire_alike_behind_them() {
    let mut alone = Alone::new();
    let [first, second] = [alone.open(), alone.open()];
    alone.tell(&call(first, 1, 1, "one")).unwrap();
    alone.tell(&call(second, 1, 1, "two")).unwrap();

    let mut laggard = fresh(2, MachineConfig::default());
    let mut out = Out::new();
    laggard.install(image_of(&alone.machine), &mut out);
    assert_eq!(laggard.digest(), alone.machine.digest());
    // The laggard does what the other does: the same digests, also where a session makes room for a new one.
    let steps = [
        (3, call(first, 1, 1, "one")),
        (4, open(3)),
        (5, call(second, 2, 2, "expired")),
        (6, call(first, 2, 2, "three")),
        (7, call(first, 1, 1, "late")),
    ];
    for (sequence, command) in steps {
        let decided = of_node(3, sequence, &command);
        decide(&mut alone.machine, decided.clone(), &mut Out::new());
        decide(&mut laggard, decided, &mut Out::new());
        assert_eq!(laggard.digest(), alone.machine.digest(), "behind {command:?}");
    }
    assert_eq!(items(&laggard), ["one", "two", "three"]);
    assert_eq!((laggard.status().recalled_replies, laggard.status().refused_by_sessions), (1, 2));
    assert_eq!(laggard.meta(), alone.machine.meta());
}

#[test]
fn the_order_of_a_session_travels_in_snapshots() {
    let mut alone = Alone::new();
    alone.tell(&open(1)).unwrap();
    assert_eq!(alone.machine.meta()[0], 3, "without orders an image is what it was before there were any");
    alone.tell(&open_in_order(2)).unwrap();
    alone.tell(&call(client(2), 1, 1, "one")).unwrap();
    let mut laggard = fresh(2, MachineConfig::default());
    laggard.install(image_of(&alone.machine), &mut Out::new());
    let steps = [
        call(client(2), 3, 1, "early"),
        call(client(1), 3, 1, "in any order"),
        call(client(2), 2, 1, "two"),
        call(client(2), 3, 1, "three"),
    ];
    for (sequence, command) in (1..).zip(steps) {
        let decided = of_node(3, sequence, &command);
        decide(&mut alone.machine, decided.clone(), &mut Out::new());
        decide(&mut laggard, decided, &mut Out::new());
        assert_eq!(laggard.digest(), alone.machine.digest(), "behind {command:?}");
    }
    assert_eq!(items(&laggard), ["one", "in any order", "two", "three"]);
    assert_eq!(laggard.meta(), alone.machine.meta());
    assert_eq!(laggard.meta()[0], 4);
}

#[test]
fn an_image_in_which_orders_are_missing_too_many_or_none_is_refused() {
    let mut alone = Alone::new();
    alone.tell(&open_in_order(1)).unwrap();
    let whole = alone.machine.meta().to_vec();
    let opened = |meta: &[u8]| {
        let (meta, head) = (Bytes::copy_from_slice(meta), Bytes::from_static(b"list"));
        let image = MachineImage { applied: Slot(1), meta, head, items: &mut std::iter::empty() };
        let machine: Result<ListMachine, _> =
            Machine::open(NodeId(1), Incarnation(2), MachineConfig::default(), &(), Some(image));
        machine
    };
    assert_eq!(opened(&whole).unwrap().meta(), whole);
    let (order, rest) = whole.split_last().unwrap();
    assert_eq!(*order, 1);
    for damaged in [rest.to_vec(), [rest, &[2]].concat(), [rest, &[1, 0]].concat()] {
        assert!(opened(&damaged).is_err());
    }
}

#[test]
fn a_write_whose_answer_went_by_in_a_snapshot_is_unknown_and_its_retry_is_not() {
    let mut alone = Alone::new();
    let client = alone.open();
    let mut asked = fresh(2, MachineConfig::default());
    let mut out = Out::new();
    asked.lead(Lead { era: 1, who: Some(NodeId(1)), ready: false, settled: false }, &mut out);
    asked.submit(at(1), ClientTag(1), encode_to_bytes(&call(client, 1, 1, "paid")), &mut out);
    asked.settle(at(1), &mut out);
    decide(&mut alone.machine, of_node(2, 1, &call(client, 1, 1, "paid")), &mut Out::new());
    out.clear();
    asked.install(image_of(&alone.machine), &mut out);
    assert_eq!(answers(&out), [(ClientTag(1), Err(RequestError::Unknown))]);
    asked.submit(at(2), ClientTag(2), encode_to_bytes(&call(client, 1, 1, "paid")), &mut out);
    asked.settle(at(2), &mut out);
    decide(&mut asked, of_node(2, 2, &call(client, 1, 1, "paid")), &mut out);
    assert_eq!(answers(&out)[1..], [(ClientTag(2), Ok(1))]);
    assert_eq!(items(&asked), ["paid"]);
}

#[test]
fn a_new_cluster_knows_no_session_of_its_former_life() {
    let mut alone = Alone::new();
    let client = alone.open();
    alone.tell(&call(client, 1, 1, "one")).unwrap();
    let mut founded = fresh(1, MachineConfig::default());
    let state = image_of(&alone.machine).into_state();
    founded.install(Staged::of_new_cluster(state, Slot(1)), &mut Out::new());
    // Restored with the same founders and token it has the same id, and its log comes to the same places again.
    decide(&mut founded, of_node(1, 1, &open(2)), &mut Out::new());
    decide(&mut founded, of_node(1, 2, &call(client, 2, 1, "stale")), &mut Out::new());
    // And where its id is another, the same number is another session.
    let elsewhere = ClientId { cluster: ClusterId(10), nonce: 2 };
    decide(&mut founded, of_node(1, 3, &call(elsewhere, 1, 1, "elsewhere")), &mut Out::new());
    assert_eq!(items(&founded), ["one"]);
    decide(&mut founded, of_node(1, 4, &call(ClientId { nonce: 2, ..client }, 1, 1, "new")), &mut Out::new());
    assert_eq!(items(&founded), ["one", "new"]);
}

#[test]
fn an_image_of_before_there_were_sessions_of_clients_is_read() {
    let mut machine = fresh(1, MachineConfig::default());
    decide(&mut machine, appending::one(session(1), 1, 1, "a"), &mut Out::new());
    let now = machine.meta();
    // Version 2 ends where the clients' table begins: with nobody in it, its bounds and counts.
    let empty_table = encode_to_bytes(&ClientBounds::default()).len() + 4;
    let mut before = now[..now.len() - empty_table].to_vec();
    assert_eq!(before[0], 3);
    before[0] = 2;
    let mut items = [(0, Bytes::from_static(b"a"))].into_iter();
    let image = MachineImage {
        applied: Slot(1),
        meta: Bytes::from(before),
        head: Bytes::from_static(b"list"),
        items: &mut items,
    };
    let read: ListMachine =
        Machine::open(NodeId(1), Incarnation(2), MachineConfig::default(), &(), Some(image)).unwrap();
    assert_eq!((read.digest(), read.meta()), (machine.digest(), now));
}
