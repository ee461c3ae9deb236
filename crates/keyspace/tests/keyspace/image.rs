//! The durable image, the digest, and bytes that are not what they should be.

use crate::client::{CONTEXT, Client, copy};
use bytes::Bytes;
use proptest::prelude::*;
use quorate_keyspace::{
    Change, ChangeKind, DeleteRangeRequest, Keyspace, KeyspaceError, PutRequest, Reply, Request, Revision,
};
use quorate_machine::{RestoreError, StateMachine};
use quorate_wire::{decode_exact, encode_to_bytes, put_u64};
use std::collections::BTreeMap;

fn items_of(keyspace: &Keyspace) -> Vec<Bytes> {
    (0..keyspace.item_count()).filter_map(|number| keyspace.item(number)).collect()
}

fn restore(head: Bytes, items: &[Bytes]) -> Result<Keyspace, RestoreError> {
    Keyspace::restore(head, &mut (0..).zip(items.iter().cloned()))
}

/// A history that has everything: overwrites, tombstones, keys that come back, a delete of many, a large value.
fn eventful() -> Vec<Request> {
    let put = |key: &str, value: Vec<u8>| {
        Request::Put(PutRequest { key: copy(key), value: copy(value), ..PutRequest::default() })
    };
    let delete = |key: &str, range_end: &str| {
        Request::DeleteRange(DeleteRangeRequest { key: copy(key), range_end: copy(range_end), prev_kv: false })
    };
    vec![
        put("a", vec![1]),
        put("b", vec![]),
        put("a", vec![2; 300]),
        delete("a", "z"),
        delete("a", "z"),
        put("b", vec![3]),
        put("large", vec![4; 200_000]),
        put("c", vec![5]),
        delete("b", ""),
        put("b", vec![6]),
    ]
}

#[test]
fn the_image_at_every_cut_restores_an_equal_state() {
    let mut client = Client::new();
    let mut cuts = vec![(client.keyspace.head(), client.keyspace.clone())];
    for request in eventful() {
        client.apply(&request);
        cuts.push((client.keyspace.head(), client.keyspace.clone()));
    }
    // Items are taken from the last state: those of an earlier cut must still be the same bytes.
    let items = items_of(&client.keyspace);
    for (head, state) in cuts {
        let count = usize::try_from(state.item_count()).unwrap();
        let restored = restore(head, &items[..count]).unwrap();
        assert_eq!(restored, state);
        assert_eq!(restored.digest(), state.digest());
        assert_eq!(restored.history_bytes(), state.history_bytes());
        assert_eq!(items_of(&restored), items[..count]);
    }
}

#[test]
fn a_restored_state_goes_on_as_if_it_had_never_stopped() {
    let requests = eventful();
    for cut in 0..requests.len() {
        let mut whole = Client::new();
        requests[..cut].iter().for_each(|request| drop(whole.apply(request)));
        let restored = restore(whole.keyspace.head(), &items_of(&whole.keyspace)).unwrap();
        let mut resumed = Client { keyspace: restored };
        for request in &requests[cut..] {
            assert_eq!(resumed.apply(request), whole.apply(request));
        }
        assert_eq!(resumed.keyspace, whole.keyspace);
    }
}

#[test]
fn histories_that_outgrow_a_chunk_and_a_page_restore_too() {
    let mut client = Client::new();
    for number in 0..10_000u32 {
        client.put(format!("key-{:04}", number % 5_000), vec![b'v'; number as usize % 700]);
    }
    let restored = restore(client.keyspace.head(), &items_of(&client.keyspace)).unwrap();
    assert_eq!(restored, client.keyspace);
    assert_eq!(restored.live_keys(), 5_000);
    assert_eq!(client.get("key-0042").unwrap().mod_revision, 5_044);
}

fn put_change(revision: (i64, u32), key: &str, (create_revision, version, lease): (i64, i64, i64)) -> Change {
    let kind = ChangeKind::Put { create_revision, version, lease, value: copy("v") };
    Change { revision: Revision { main: revision.0, sub: revision.1 }, key: copy(key), kind }
}

/// Restores hand-made changes, with the head that the refusal of a wrong one tells nothing about: the right digest is
/// found by asking a state that has the same items.
fn restore_changes(changes: &[Change]) -> Result<Keyspace, RestoreError> {
    let items: Vec<Bytes> = changes.iter().map(encode_to_bytes).collect();
    let revision = changes.last().map_or(1, |change| change.revision.main);
    let live: BTreeMap<_, _> = changes.iter().map(|change| (&change.key, change.is_delete())).collect();
    let live_keys = live.values().filter(|is_delete| !*is_delete).count() as u64;
    restore(head(3, revision.unsigned_abs(), items.len() as u64, live_keys, digest_of(&items)), &items)
}

/// The documented rolling hash, written out a second time.
fn digest_of(items: &[Bytes]) -> u64 {
    let step = |state: u64, word: u64| {
        let state = state ^ word;
        let state = (state ^ (state >> 32)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        (state ^ (state >> 32)).wrapping_mul(0x94d0_49bb_1331_11eb)
    };
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for item in items {
        let mut words = Vec::new();
        for chunk in item.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            words.push(u64::from_le_bytes(word));
        }
        state = step(state, item.len() as u64);
        let in_lanes = if item.len() < 64 { 0 } else { item.len() / 32 * 4 };
        if in_lanes > 0 {
            let seeds = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89];
            for (place, seed) in seeds.into_iter().enumerate() {
                let lane = words[..in_lanes].iter().skip(place).step_by(4);
                state = step(state, lane.fold(seed, |lane, word| step(lane, *word)));
            }
        }
        state = words[in_lanes..].iter().fold(state, |state, word| step(state, *word));
    }
    state
}

/// The head of a state without compaction, leases and alarms.
fn head(version: u64, revision: u64, item_count: u64, live_keys: u64, digest: u64) -> Bytes {
    let mut out = Vec::new();
    for number in [version, revision, 0, item_count, live_keys, digest, digest_of(&[]), 0, 0] {
        put_u64(number, &mut out);
    }
    sealed(out)
}

fn sealed(mut fields: Vec<u8>) -> Bytes {
    fields.extend_from_slice(&crc32c::crc32c(&fields).to_le_bytes());
    Bytes::from(fields)
}

#[test]
fn impossible_histories_are_refused_with_a_reason() {
    let a = put_change((2, 0), "a", (2, 1, 0));
    let gone = |main| Change { revision: Revision { main, sub: 0 }, key: copy("a"), kind: ChangeKind::Delete };
    let table: [(&[Change], &str); 10] = [
        (&[put_change((3, 0), "a", (3, 1, 0))], "item 0: revision 3.0 cannot follow revision 1"),
        (&[put_change((2, 1), "a", (2, 1, 0))], "item 0: revision 2.1 cannot follow revision 1"),
        (&[a.clone(), put_change((4, 0), "b", (4, 1, 0))], "item 1: revision 4.0 cannot follow revision 2"),
        (&[a.clone(), put_change((2, 0), "b", (2, 1, 0))], "item 1: revision 2.0 cannot follow revision 2"),
        (&[a.clone(), put_change((2, 2), "b", (2, 1, 0))], "item 1: revision 2.2 cannot follow revision 2"),
        (&[put_change((2, 0), "", (2, 1, 0))], "item 0: its key is empty"),
        (&[gone(2)], "item 0: it deletes a key that does not exist"),
        (&[a.clone(), gone(3), gone(4)], "item 2: it deletes a key that does not exist"),
        (&[a.clone(), put_change((3, 0), "a", (3, 1, 0))], "create revision 3 and version 1 do not follow"),
        (&[a.clone(), put_change((3, 0), "a", (2, 3, 0))], "create revision 2 and version 3 do not follow"),
    ];
    for (changes, why) in table {
        let error = restore_changes(changes).unwrap_err();
        assert!(error.why.contains(why), "{error} should say: {why}");
    }
}

#[test]
fn a_head_that_does_not_fit_the_items_is_refused() {
    let long = "long".repeat(50);
    let client = Client::with(&[("a", &long), ("b", "2")]);
    let items = items_of(&client.keyspace);
    let digest = digest_of(&items);
    assert_eq!(restore(head(3, 3, 2, 2, digest), &items).unwrap(), client.keyspace);
    for (head, why) in [
        (head(2, 3, 2, 2, digest), "version 2"),
        (head(4, 3, 2, 2, digest), "version 4"),
        (head(3, 4, 2, 2, digest), "revision 4"),
        (head(3, 3, 3, 2, digest), "names 3 items and there are 2"),
        (head(3, 3, 2, 1, digest), "names 1 live keys and there are 2"),
        (head(3, 3, 2, 2, digest ^ 1), "digest"),
        (Bytes::new(), "shorter than its checksum"),
        (copy([&client.keyspace.head()[..], &[0]].concat()), "the head does not have its checksum"),
        (sealed(vec![]), "the head: the input ends"),
        (sealed([3, 3, 0, 2, 2, 7, 7, 0, 0, 9].to_vec()), "the head: 1 bytes are left"),
    ] {
        let error = restore(head, &items).unwrap_err();
        assert!(error.why.contains(why), "{error} should say: {why}");
    }
    let head = client.keyspace.head();
    assert!(restore(head.clone(), &items[..1]).is_err());
    assert!(restore(head, &[items[1].clone(), items[0].clone()]).is_err());
}

#[test]
fn every_flipped_bit_of_an_image_is_noticed() {
    let mut client = Client::with(&[("a", "1"), ("b", "22"), ("a", "333")]);
    client.delete("a", "");
    let (head, items) = (client.keyspace.head(), items_of(&client.keyspace));
    let flip = |bytes: &Bytes, bit: usize| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        Bytes::from(flipped)
    };
    for bit in 0..head.len() * 8 {
        assert!(restore(flip(&head, bit), &items).is_err(), "bit {bit} of the head");
    }
    for number in 0..items.len() {
        for bit in 0..items[number].len() * 8 {
            let mut damaged = items.clone();
            damaged[number] = flip(&items[number], bit);
            assert!(restore(head.clone(), &damaged).is_err(), "bit {bit} of item {number}");
        }
    }
}

#[test]
fn the_digest_tells_histories_apart_that_end_alike() {
    let digest = |pairs: &[(&str, &str)]| Client::with(pairs).keyspace.digest();
    let digests = [
        digest(&[]),
        digest(&[("a", "1")]),
        digest(&[("a", "2"), ("a", "1")]),
        digest(&[("a", "1"), ("b", "1")]),
        digest(&[("b", "1"), ("a", "1")]),
    ];
    for (place, one) in digests.iter().enumerate() {
        assert!(!digests[place + 1..].contains(one), "{place} of {digests:x?}");
    }
    let mut deleted = Client::with(&[("a", "1")]);
    deleted.delete("a", "");
    assert_ne!(deleted.keyspace.digest(), digest(&[]));
    assert_eq!(digest(&[("a", "1")]), digest(&[("a", "1")]));
}

#[test]
fn requests_and_changes_keep_their_bytes() {
    let put = Request::Put(PutRequest {
        key: copy("k"),
        value: copy("vw"),
        lease: -1,
        prev_kv: true,
        ignore_value: false,
        ignore_lease: true,
    });
    let max = 0xff;
    let golden = [1, 5, 1, b'k', 2, b'v', b'w', max, max, max, max, max, max, max, max, max, 1];
    assert_eq!(encode_to_bytes(&put)[..], golden);
    assert_eq!(decode_exact::<Request>(copy(golden)).unwrap(), put);

    let delete = DeleteRangeRequest { key: copy("k"), range_end: copy("l"), prev_kv: true };
    let golden = [2, 1, 1, b'k', 1, b'l'];
    assert_eq!(encode_to_bytes(&Request::DeleteRange(delete))[..], golden);

    let change = put_change((300, 2), "k", (4, 1, 5));
    assert_eq!(encode_to_bytes(&change)[..], [1, 0xac, 2, 2, 1, b'k', 4, 1, 5, 1, b'v']);
    let gone = Change { kind: ChangeKind::Delete, ..change };
    assert_eq!(encode_to_bytes(&gone)[..], [2, 0xac, 2, 2, 1, b'k']);
}

#[test]
fn requests_of_later_versions_are_refused_by_name() {
    let mut client = Client::new();
    for (payload, text) in [
        (&[99u8][..], "unknown kind 99 of request"),
        (&[1, 8, 1, b'k', 0, 0], "put flags is out of range"),
        (&[2, 2, 1, b'k', 0], "delete flags is out of range"),
        (&[1, 0, 1, b'k', 0, 0, 0], "1 bytes are left over"),
        (&[], "the input ends inside request kind"),
    ] {
        let reply = client.keyspace.apply(&CONTEXT, &copy(payload));
        let Reply::Error(error @ KeyspaceError::Malformed { .. }) = reply else { panic!("{reply:?}") };
        assert!(error.to_string().contains(text), "{error} should say: {text}");
    }
    assert_eq!(client.keyspace, Keyspace::empty());
}

proptest! {
    #[test]
    fn random_payloads_never_panic_and_refused_ones_change_nothing(
        payloads in prop::collection::vec(prop::collection::vec(prop_oneof![0..6u8, any::<u8>()], 0..12), 1..20),
    ) {
        let mut keyspace = Keyspace::empty();
        for payload in payloads {
            let before = keyspace.clone();
            if let Reply::Error(_) = keyspace.apply(&CONTEXT, &copy(payload)) {
                prop_assert_eq!(&keyspace, &before);
            }
        }
    }

    #[test]
    fn damaged_payloads_never_panic(request in 0usize..10, at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut payload = encode_to_bytes(&eventful()[request]).to_vec();
        let at = at.index(payload.len().min(64));
        payload[at] = byte;
        let mut keyspace = Keyspace::empty();
        let reply = keyspace.apply(&CONTEXT, &Bytes::from(payload));
        let changed = matches!(reply, Reply::Put { .. });
        prop_assert_eq!(changed, keyspace != Keyspace::empty());
    }

    #[test]
    fn random_images_never_panic(
        head in prop::collection::vec(any::<u8>(), 0..12),
        items in prop::collection::vec(prop::collection::vec(prop_oneof![0..6u8, any::<u8>()], 0..12), 0..4),
    ) {
        let items: Vec<Bytes> = items.into_iter().map(Bytes::from).collect();
        let outcome = restore(Bytes::from(head), &items);
        prop_assert!(outcome.is_err(), "a random digest does not fit: {:?}", outcome);
    }
}
