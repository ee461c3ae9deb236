//! The negative twin: Paxos as *Paxos Made Simple* reads literally, where an acceptance does not raise the promise.
//!
//! It shows that rule 4 is needed and that our checks would notice. It is a wrapper, not a switch: the product has no code for it. After
//! every accept request it puts the promise back to what it was; everything else is the real replica. What would catch the
//! flaw early is switched off, so that it is seen to end in disagreement: invariant I1 and the durability ghost.

#[path = "../tests/script/mod.rs"]
mod script;

use crate::{Ballot, Config, Message, NoAnchor, Paxos, Record, Timer};
use quorate_explorer::{Bounds, Disks, Explorable, Explorer};
use quorate_protocol::testbed::Testbed;
use quorate_protocol::{Durable, Env, Input, OpenError, Outbox, Output, Replica, Setup, Status, Violation};
use quorate_types::{Member, MemberRole, Membership, NodeId, Slot};
use script::Script;

/// Paxos without "promised := b" in rule 4.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Literal(Paxos);

impl Replica for Literal {
    type Message = Message;
    type Record = Record;
    type Anchor = NoAnchor;
    type Timer = Timer;
    type Config = Config;

    const PROTOCOL: &'static str = "paxos-literal";
    const TIMERS: &'static [(&'static str, Timer)] = Paxos::TIMERS;

    fn open(
        setup: &Setup,
        config: &Config,
        found: Durable<Literal>,
        out: &mut Outbox<Literal>,
    ) -> Result<Literal, OpenError> {
        let found = Durable { records: found.records, anchor: found.anchor, applied: found.applied };
        let mut inner = Outbox::new(out.last_ticket(), true);
        let paxos = Paxos::open(setup, config, found, &mut inner)?;
        pass_on(inner, out);
        Ok(Literal(paxos))
    }

    fn step(&mut self, env: &mut dyn Env, input: Input<Literal>, out: &mut Outbox<Literal>) {
        let mut inner = Outbox::new(out.last_ticket(), true);
        let promised = self.0.acceptor.promised;
        let is_accept = matches!(&input, Input::Receive { message: Message::Accept { .. }, .. });
        self.0.step(env, for_paxos(input), &mut inner);
        if is_accept {
            self.0.acceptor.promised = promised;
        }
        pass_on(inner, out);
    }

    fn settle(&mut self, env: &mut dyn Env, out: &mut Outbox<Literal>) {
        let mut inner = Outbox::new(out.last_ticket(), true);
        self.0.settle(env, &mut inner);
        pass_on(inner, out);
    }

    fn check_invariants(&self) -> Result<(), Violation> {
        Ok(())
    }

    fn status(&self) -> Status {
        self.0.status()
    }

    fn anchored(anchor: &NoAnchor) -> Slot {
        match *anchor {}
    }

    fn kind(message: &Message) -> &'static str {
        message.kind()
    }

    fn vouches(&self, _: NodeId, _: &Message) -> bool {
        true
    }
}

/// The inputs that the stories use.
fn for_paxos(input: Input<Literal>) -> Input<Paxos> {
    match input {
        Input::Receive { from, message } => Input::Receive { from, message },
        Input::Expired(timer) => Input::Expired(timer),
        Input::Persisted(ticket) => Input::Persisted(ticket),
        Input::Propose { request, batch } => Input::Propose { request, batch },
        Input::Applied { through, durable, digest } => Input::Applied { through, durable, digest },
        other => panic!("the stories have no {other:?}"),
    }
}

/// Repeats outputs, in order, so that tickets stay what they were.
fn pass_on(mut inner: Outbox<Paxos>, out: &mut Outbox<Literal>) {
    for output in inner.take() {
        match output {
            Output::Persist { records, .. } => drop(out.persist(records)),
            Output::Send { to, message, after } => out.send_after(after, to, message),
            Output::SetTimer { timer, at_least, at_most } => out.set_timer(timer, at_least, at_most),
            Output::CancelTimer(timer) => out.cancel_timer(timer),
            Output::Decide { slot, decision } => out.decide(slot, decision),
            Output::Refuse { refused, why } => out.refuse(refused, why),
            Output::Lead { era, who, ready, settled } => out.lead(era, who, ready, settled),
            Output::Members { members, change } => out.members(members, change),
            Output::Trace(event) => out.trace(|| event),
            other => panic!("the stories have no {other:?}"),
        }
    }
}

/// P1, P2 and P3 propose and accept nothing; A, B and C are the acceptors 4, 5 and 6.
fn cluster<R: Replica<Config = Config>>() -> Testbed<R> {
    let proposer = |id| Member { role: MemberRole::Learner, ..Member::voter(NodeId(id)) };
    let acceptors = (4..=6).map(|id| Member::voter(NodeId(id)));
    let members = Membership::new((1..=3).map(proposer).chain(acceptors));
    Testbed::with_members(members, Config::default()).without_ghost()
}

/// Lets a proposer know of a round, so that its next ballot is above it.
fn hears_of_round(script: &mut Script<Literal>, name: &str, id: u64, round: u64) {
    let (ballot, promised) = (Ballot::question(NodeId(id)), Ballot::new(round, NodeId(3)));
    let message = Message::Nack { ballot, promised };
    script.told(name, &format!("hears of round {round}"), Input::Receive { from: NodeId(4), message });
}

fn prepare(script: &mut Script<Literal>, proposer: &str, acceptors: [&str; 2]) {
    for acceptor in acceptors {
        script.deliver("prepare", proposer, acceptor);
        script.deliver("promise", acceptor, proposer);
    }
}

#[test]
fn without_raising_the_promise_two_values_are_chosen() {
    let names = [(1, "P1"), (2, "P2"), (3, "P3"), (4, "A"), (5, "B"), (6, "C")];
    let title = "The negative twin: an acceptance does not raise the promise, and two values are chosen";
    let mut script = Script::<Literal>::new(title, cluster(), &names);
    script.say("P1 prepares ballot 1 and P2 ballot 100, both with A and B");
    script.propose("P1", "a");
    script.deliver("prepare", "P1", "A");
    script.deliver("prepare", "P1", "B");
    hears_of_round(&mut script, "P2", 2, 99);
    script.propose("P2", "b");
    prepare(&mut script, "P2", ["A", "B"]);
    script.say("P2's accept reaches B and C: b is chosen");
    script.deliver("accept", "P2", "B");
    script.deliver("accept", "P2", "C");
    script.say("P1's late accept reaches C, which takes it: its promise was put back, it never promised 100");
    script.deliver("promise", "A", "P1");
    script.deliver("promise", "B", "P1");
    script.deliver("accept", "P1", "C");
    script.say("P3 prepares ballot 1000 with A and C, sees only a, and gets it chosen too");
    hears_of_round(&mut script, "P3", 3, 999);
    script.propose("P3", "c");
    prepare(&mut script, "P3", ["A", "C"]);
    script.deliver("accept", "P3", "A");
    script.deliver("accept", "P3", "C");
    script.deliver("accepted", "A", "P3");
    script.deliver("accepted", "C", "P3");
    script.deliver("accepted", "B", "P2");
    script.deliver("accepted", "C", "P2");
    let violation = script.testbed.violation().expect("two values are chosen");
    assert_eq!(violation.invariant, "Agreement");
    script.say(&format!("The end: {violation}"));
    script.matches("negative_twin_chooses_twice");
}

/// Searches from the moment when P1 and P2 have their promises and P3 has not begun.
fn search<R: Explorable + Replica<Config = Config, Timer = Timer>>() -> Explorer<R> {
    let mut root = cluster::<R>();
    let quiet = |testbed: &mut Testbed<R>| {
        for id in testbed.ids().collect::<Vec<_>>() {
            testbed.complete_writes(id, usize::MAX);
        }
    };
    quiet(&mut root);
    for (proposer, value) in [(1, "a"), (2, "b")] {
        root.propose(NodeId(proposer), 1, value);
        quiet(&mut root);
        for acceptor in [4, 5] {
            let at =
                root.flights().iter().position(|flight| flight.to == NodeId(acceptor)).expect("prepare is in flight");
            root.deliver(at);
            quiet(&mut root);
        }
        // C is out of reach for now.
        root.lose_where(|flight| flight.to == NodeId(6));
    }
    for _ in 0..4 {
        let at = root.flights().iter().position(|flight| R::kind(&flight.message) == "promise").expect("four promises");
        root.deliver(at);
    }
    let bounds = Bounds { disks: Disks::StallBeforeCrash, max_states: 400_000, ..Bounds::default() };
    // P3 never reaches B, so its quorum is A and C; nobody need be told of a decision.
    Explorer::new(root, bounds).propose(NodeId(3), "c").only_messages(|flight| {
        let with_p3 = flight.from == NodeId(3) || flight.to == NodeId(3);
        let with_b = flight.from == NodeId(5) || flight.to == NodeId(5);
        !(with_p3 && with_b) && R::kind(&flight.message) != "chosen"
    })
}

#[test]
fn the_explorer_finds_the_flaw_by_itself_and_finds_none_in_ours() {
    let found = search::<Literal>().explore();
    let counterexample = found.violation.expect("two values can be chosen");
    assert_eq!(counterexample.property, "Agreement", "{counterexample}");
    let ours = search::<Paxos>().sometimes("decided", |cluster| cluster.chosen().contains_key(&Slot(1))).explore();
    assert!(ours.violation.is_none() && ours.happened("decided"), "{ours}");
    assert!(ours.unique_states < 400_000, "the search ended by itself: {ours}");
}

#[test]
fn our_own_invariant_would_stop_the_flawed_acceptor_at_once() {
    let mut testbed = cluster::<Literal>();
    let accept = Message::Accept { ballot: Ballot::new(1, NodeId(1)), value: "a".into() };
    testbed.input(NodeId(6), Input::Receive { from: NodeId(1), message: accept });
    let violation = testbed.replica(NodeId(6)).0.check_invariants().unwrap_err();
    assert_eq!(violation.invariant, "I1 AcceptedLePromised");
}
