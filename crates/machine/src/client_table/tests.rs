//! What the table promises to clients, each rule by itself; and all of them beside a table that never forgets.

use super::*;
use proptest::prelude::*;
use quorate_types::ClusterId;
use std::collections::BTreeSet;

const BOUNDS: ClientBounds = ClientBounds { sessions_max: 3, window: 4, reply_bytes_max: 8, kept_bytes_max: 20 };

fn id(nonce: u64) -> ClientId {
    ClientId { cluster: ClusterId(1), nonce }
}

fn table_of(clients: u64, bounds: ClientBounds) -> ClientTable {
    let mut table = ClientTable::default();
    (1..=clients).for_each(|nonce| {
        table.open(id(nonce), bounds, false);
    });
    table
}

/// A call that is applied if it may be.
fn call(table: &mut ClientTable, client: u64, sequence: u64, acked_below: u64, reply: &[u8]) -> Verdict {
    let verdict = table.admit(id(client), sequence, acked_below);
    if verdict == Verdict::First {
        table.keep(id(client), sequence, reply);
    }
    verdict
}

fn kept(reply: &'static [u8]) -> Verdict {
    Verdict::Repeated(Some(Bytes::from_static(reply)))
}

#[test]
fn a_retry_is_answered_what_the_first_was_answered() {
    let mut table = table_of(1, BOUNDS);
    assert_eq!(call(&mut table, 1, 2, 1, b"two"), Verdict::First);
    assert_eq!(call(&mut table, 1, 1, 1, b"one"), Verdict::First);
    assert_eq!(call(&mut table, 1, 2, 1, b"other"), kept(b"two"));
    assert_eq!(call(&mut table, 1, 1, 1, b"other"), kept(b"one"));
}

#[test]
fn what_is_acknowledged_is_forgotten_and_never_applied() {
    let mut table = table_of(1, BOUNDS);
    call(&mut table, 1, 1, 1, b"one");
    assert_eq!(table.kept_bytes(), 3);
    assert_eq!(call(&mut table, 1, 3, 3, b"three"), Verdict::First);
    assert_eq!(table.kept_bytes(), 5);
    assert_eq!(call(&mut table, 1, 1, 1, b"one"), Verdict::Acknowledged);
    assert_eq!(call(&mut table, 1, 2, 1, b"never applied, and given up"), Verdict::Acknowledged);
    assert_eq!(call(&mut table, 1, 5, 9, b"given up by itself"), Verdict::Acknowledged);
}

#[test]
fn a_session_that_is_unknown_or_closed_or_of_another_cluster_applies_nothing() {
    let mut table = table_of(1, BOUNDS);
    assert_eq!(table.admit(id(2), 1, 1), Verdict::Expired);
    let former_life = ClientId { cluster: ClusterId(2), ..id(1) };
    assert_eq!(table.admit(former_life, 1, 1), Verdict::Expired);
    table.close(id(1));
    table.close(id(1));
    assert_eq!(table.admit(id(1), 1, 1), Verdict::Expired);
    assert_eq!((table.len(), table.expired()), (0, 0));
}

#[test]
fn a_session_that_is_opened_twice_stays_one_and_forgets_nothing() {
    let mut table = table_of(3, BOUNDS);
    call(&mut table, 1, 1, 1, b"one");
    table.open(id(2), BOUNDS, false);
    assert_eq!(table.open(id(1), ClientBounds { window: 1, ..BOUNDS }, false), 4, "what was promised");
    assert_eq!((table.len(), table.expired()), (3, 0));
    assert_eq!(call(&mut table, 1, 1, 1, b"again"), kept(b"one"));
    table.open(id(4), BOUNDS, false);
    assert_eq!(table.admit(id(3), 1, 1), Verdict::Expired, "it was idle for longest");
    assert_eq!(table.admit(id(2), 1, 1), Verdict::First);
}

#[test]
fn one_session_too_many_ends_the_one_idle_for_longest() {
    let mut table = table_of(3, BOUNDS);
    call(&mut table, 1, 1, 1, b"used");
    table.open(id(4), BOUNDS, false);
    assert_eq!(call(&mut table, 2, 1, 1, b""), Verdict::Expired);
    assert_eq!(call(&mut table, 1, 1, 1, b""), kept(b"used"));
    assert_eq!((table.len(), table.expired()), (3, 1));
}

#[test]
fn bytes_of_replies_are_bounded() {
    let mut table = table_of(2, BOUNDS);
    assert_eq!(call(&mut table, 1, 1, 1, b"far too long"), Verdict::First);
    assert_eq!(call(&mut table, 1, 1, 1, b""), Verdict::Repeated(None));
    assert_eq!(table.kept_bytes(), 0);
    call(&mut table, 1, 2, 1, b"12345678");
    call(&mut table, 2, 1, 1, b"12345678");
    call(&mut table, 2, 2, 1, b"12345678");
    // Session 2 keeps most and loses its oldest reply, but the command is not applied again.
    assert_eq!((table.len(), table.kept_bytes(), table.expired()), (2, 16, 0));
    assert_eq!(call(&mut table, 2, 1, 1, b""), Verdict::Repeated(None));
    assert_eq!(call(&mut table, 2, 2, 1, b""), kept(b"12345678"));
    assert_eq!(call(&mut table, 1, 2, 1, b""), kept(b"12345678"));
}

#[test]
fn two_sessions_that_keep_much_cost_nobody_else_anything() {
    let bounds = ClientBounds { sessions_max: 100, window: 64, reply_bytes_max: 1_000, kept_bytes_max: 4_000 };
    let mut table = table_of(100, bounds);
    let long = [7; 900];
    for client in 1..=98 {
        assert_eq!(call(&mut table, client, 1, 1, b"ten bytes."), Verdict::First);
    }
    for sequence in 1..=64 {
        for greedy in [99, 100] {
            assert_eq!(call(&mut table, greedy, sequence, 1, &long), Verdict::First);
            assert!(table.kept_bytes() <= 4_000);
        }
    }
    assert_eq!((table.len(), table.expired()), (100, 0));
    for client in 1..=98 {
        assert_eq!(call(&mut table, client, 1, 1, b""), kept(b"ten bytes."));
    }
    for greedy in [99, 100] {
        assert_eq!(call(&mut table, greedy, 1, 1, b""), Verdict::Repeated(None));
        assert_eq!(call(&mut table, greedy, 64, 1, b""), Verdict::Repeated(Some(Bytes::from_static(&[7; 900]))));
    }
}

#[test]
fn a_sequence_beyond_the_window_is_not_applied_until_the_window_has_moved() {
    let mut table = table_of(1, BOUNDS);
    assert_eq!(call(&mut table, 1, 5, 1, b""), Verdict::BeyondWindow);
    assert_eq!(call(&mut table, 1, 4, 1, b""), Verdict::First);
    assert_eq!(call(&mut table, 1, 5, 2, b""), Verdict::First);
}

#[test]
fn the_bounds_are_those_of_the_latest_opening_but_a_window_is_a_promise() {
    let mut table = table_of(3, BOUNDS);
    call(&mut table, 1, 1, 1, b"12345678");
    let window =
        table.open(id(4), ClientBounds { sessions_max: 0, window: 0, reply_bytes_max: 0, kept_bytes_max: 0 }, false);
    assert_eq!((window, table.len(), table.expired()), (1, 1, 3));
    assert_eq!(call(&mut table, 4, 1, 1, b"1"), Verdict::First);
    assert_eq!(call(&mut table, 4, 1, 1, b""), kept(b"1"));
    table.open(id(5), BOUNDS, false);
    assert_eq!(call(&mut table, 4, 2, 1, b""), Verdict::BeyondWindow);
}

fn ordered() -> ClientTable {
    let mut table = ClientTable::default();
    table.open(id(1), BOUNDS, true);
    table
}

#[test]
fn in_order_a_sequence_waits_for_all_below_it_and_is_no_more_than_not_applied() {
    let mut table = ordered();
    assert_eq!(call(&mut table, 1, 2, 1, b"two"), Verdict::BeforeItsTurn);
    assert_eq!(call(&mut table, 1, 3, 0, b"three"), Verdict::BeforeItsTurn);
    assert_eq!(call(&mut table, 1, 1, 0, b"one"), Verdict::First);
    assert_eq!(call(&mut table, 1, 3, 1, b"three"), Verdict::BeforeItsTurn);
    assert_eq!(call(&mut table, 1, 2, 1, b"two"), Verdict::First);
    assert_eq!(call(&mut table, 1, 3, 1, b"far too long"), Verdict::First);
    assert_eq!(call(&mut table, 1, 2, 1, b"other"), kept(b"two"));
    assert_eq!(call(&mut table, 1, 4, 2, b"four"), Verdict::First, "an answer that is not kept was given");
    assert_eq!(call(&mut table, 1, 9, 2, b"nine"), Verdict::BeyondWindow);
    assert_eq!(call(&mut table, 1, 0, 0, b"before the first"), Verdict::Acknowledged);
}

#[test]
fn in_order_what_was_given_up_holds_up_nobody_and_comes_no_more() {
    let mut table = ordered();
    assert_eq!(call(&mut table, 1, 3, 1, b"three"), Verdict::BeforeItsTurn);
    assert_eq!(call(&mut table, 1, 4, 3, b"four"), Verdict::BeforeItsTurn, "three is wanted");
    assert_eq!(call(&mut table, 1, 3, 1, b"three"), Verdict::First, "the others were given up meanwhile");
    assert_eq!(call(&mut table, 1, 2, 1, b"two"), Verdict::Acknowledged);
    assert_eq!(call(&mut table, 1, 4, 3, b"four"), Verdict::First);
    assert_eq!(call(&mut table, 1, 7, 7, b"seven"), Verdict::First, "with all below it");
    assert_eq!(call(&mut table, 1, 8, 7, b"eight"), Verdict::First);
}

#[test]
fn a_session_is_in_order_or_not_as_it_was_first_opened() {
    let mut table = ordered();
    table.open(id(1), BOUNDS, false);
    assert_eq!(call(&mut table, 1, 2, 1, b"two"), Verdict::BeforeItsTurn);
    table.open(id(2), BOUNDS, false);
    table.open(id(2), BOUNDS, true);
    assert_eq!(call(&mut table, 2, 2, 1, b"two"), Verdict::First);
    // Whoever knows no orders must not come to the same.
    assert_ne!(ordered().digest(), table_of(1, BOUNDS).digest());
    table.close(id(1));
    assert!(!table.has_orders());
}

/// The slow twin: a list of sessions in order of use, and of everything that each ever applied.
#[derive(Default)]
struct Everything(Vec<Known>);

struct Known {
    id: ClientId,
    in_order: bool,
    acked: u64,
    applied: BTreeSet<u64>,
}

impl Everything {
    fn open(&mut self, id: ClientId, sessions_max: usize, in_order: bool) {
        while self.0.len() >= sessions_max {
            self.0.remove(0);
        }
        self.0.push(Known { id, in_order, acked: 0, applied: BTreeSet::new() });
    }

    fn is_first(&mut self, client: ClientId, sequence: u64, acked_below: u64, window: u64) -> bool {
        let Some(at) = self.0.iter().position(|known| known.id == client) else { return false };
        let mut known = self.0.remove(at);
        known.acked = known.acked.max(acked_below).max(u64::from(known.in_order));
        let mut below = known.acked..sequence;
        let its_turn = !known.in_order || below.all(|wanted| known.applied.contains(&wanted));
        let in_reach = (known.acked..known.acked.saturating_add(window)).contains(&sequence);
        let first = in_reach && its_turn && known.applied.insert(sequence);
        self.0.push(known);
        first
    }
}

/// As an image gives it back.
fn restored(table: &ClientTable) -> ClientTable {
    let mut bytes = quorate_wire::encode_to_bytes(table).to_vec();
    table.encode_orders(&mut bytes);
    let mut reader = Reader::new(Bytes::from(bytes));
    let mut restored = ClientTable::decode(&mut reader).unwrap();
    restored.decode_orders(&mut reader).unwrap();
    assert_eq!(reader.remaining(), 0);
    restored
}

proptest! {
    #[test]
    fn replicas_agree_with_each_other_over_snapshots_and_with_a_table_that_never_forgets(
        kept_bytes_max in prop_oneof![Just(20u64), Just(1 << 20)],
        steps in proptest::collection::vec((0u64..9, 0u64..8, 0u64..8, any::<bool>()), 0..150),
    ) {
        let bounds = ClientBounds { kept_bytes_max, ..BOUNDS };
        let (mut one, mut other, mut twin) = (ClientTable::default(), ClientTable::default(), Everything::default());
        let mut slots = 0;
        for (client, sequence, acked_below, restarts) in steps {
            if client == 0 {
                slots += 1;
                let in_order = slots % 2 == 0;
                twin.open(id(slots), 3, in_order);
                prop_assert_eq!(one.open(id(slots), bounds, in_order), other.open(id(slots), bounds, in_order));
            } else {
                let first = twin.is_first(id(client), sequence, acked_below, bounds.window);
                let verdict = call(&mut one, client, sequence, acked_below, &sequence.to_be_bytes());
                prop_assert_eq!(verdict == Verdict::First, first);
                prop_assert_eq!(&verdict, &call(&mut other, client, sequence, acked_below, &sequence.to_be_bytes()));
                if let Verdict::Repeated(reply) = verdict {
                    let first = Bytes::copy_from_slice(&sequence.to_be_bytes());
                    prop_assert!(reply == Some(first) || (reply.is_none() && kept_bytes_max == 20));
                }
            }
            if restarts {
                other = restored(&other);
            }
            prop_assert_eq!(&one, &other);
            prop_assert!(one.len() <= 3);
            let counted: u64 = one.by_id.values().flat_map(|client| client.replies.values()).map(length).sum();
            prop_assert_eq!(one.kept_bytes(), counted);
            prop_assert!(counted <= kept_bytes_max);
        }
    }
}
