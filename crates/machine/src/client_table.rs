//! The sessions of clients: which of their commands were applied, and what was answered.
//!
//! A function of the decided commands alone, bounds included, and so equal on all replicas; no clock is in it. A session ends when
//! its client closes it, or when it was idle for longest while others needed the room. It is never revived.

use crate::client_command::{ClientBounds, ClientId};
use crate::sessions::mix;
use bytes::Bytes;
use quorate_wire::{Reader, Wire, WireError, put_u64};
use std::collections::BTreeMap;

/// What to do with a decided call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Apply it, and hand its reply to [`ClientTable::keep`].
    First,
    /// It was applied before: this was its reply, if it was kept.
    Repeated(Option<Bytes>),
    /// Its client has said that it waits for it no more.
    Acknowledged,
    /// It runs too far ahead of what is acknowledged.
    BeyondWindow,
    /// There is no such session, or not any more: applying it could apply it twice.
    Expired,
}

impl Verdict {
    fn number(&self) -> u64 {
        match self {
            Verdict::First => 0,
            Verdict::Repeated(_) => 1,
            Verdict::Acknowledged => 2,
            Verdict::BeyondWindow => 3,
            Verdict::Expired => 4,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Client {
    /// When it was used last, in the order of applied commands. Names it in [`ClientTable::by_use`].
    used: u64,
    /// As it was promised when it was opened.
    window: u64,
    acked_below: u64,
    /// Replies of applied sequences from `acked_below` on; `None` for one too long to keep.
    replies: BTreeMap<u64, Option<Bytes>>,
}

impl Client {
    fn kept_bytes(&self) -> u64 {
        self.replies.values().map(length).sum()
    }
}

fn length(reply: &Option<Bytes>) -> u64 {
    reply.as_ref().map_or(0, |reply| reply.len() as u64)
}

/// Every client's session.
///
/// `by_use` and `kept_bytes` follow from the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientTable {
    bounds: ClientBounds,
    by_id: BTreeMap<ClientId, Client>,
    by_use: BTreeMap<u64, ClientId>,
    next_use: u64,
    kept_bytes: u64,
    /// How many sessions ended because others needed the room.
    expired: u64,
    digest: u64,
}

impl ClientTable {
    /// Opens the session of this name, and makes room for it.
    pub(crate) fn open(&mut self, client: ClientId, bounds: ClientBounds) -> u64 {
        self.bounds = bounds;
        let window = bounds.window.max(1);
        while self.by_id.len() as u64 >= bounds.sessions_max.max(1) {
            self.expire_idlest();
        }
        let used = self.next_use;
        self.next_use += 1;
        self.by_id.insert(client, Client { used, window, acked_below: 0, replies: BTreeMap::new() });
        self.by_use.insert(used, client);
        self.make_room_beside(client);
        self.fold(&[5, client.cluster.0, client.slot.0, u64::from(client.index), window]);
        window
    }

    /// Forgets a session.
    pub(crate) fn close(&mut self, client: ClientId) {
        self.remove(client);
        self.fold(&[6, client.cluster.0, client.slot.0, u64::from(client.index)]);
    }

    /// Decides about a call that was decided, and notes what its client has acknowledged.
    pub(crate) fn admit(&mut self, client: ClientId, sequence: u64, acked_below: u64) -> Verdict {
        let verdict = self.judge(client, sequence, acked_below);
        let place = [client.cluster.0, client.slot.0, u64::from(client.index)];
        self.fold(&place);
        self.fold(&[sequence, acked_below, verdict.number()]);
        verdict
    }

    fn judge(&mut self, id: ClientId, sequence: u64, acked_below: u64) -> Verdict {
        let Some(client) = self.by_id.get_mut(&id) else { return Verdict::Expired };
        self.by_use.remove(&client.used);
        client.used = self.next_use;
        self.by_use.insert(client.used, id);
        self.next_use += 1;
        client.acked_below = client.acked_below.max(acked_below);
        while let Some(first) = client.replies.first_entry()
            && *first.key() < client.acked_below
        {
            self.kept_bytes -= length(&first.remove());
        }
        if sequence < client.acked_below {
            return Verdict::Acknowledged;
        }
        if let Some(reply) = client.replies.get(&sequence) {
            return Verdict::Repeated(reply.clone());
        }
        if sequence - client.acked_below >= client.window { Verdict::BeyondWindow } else { Verdict::First }
    }

    /// Keeps the reply of a call that was just admitted as the first, whatever else has to go for it.
    pub(crate) fn keep(&mut self, client: ClientId, sequence: u64, reply: &[u8]) {
        let hash = reply.iter().fold(reply.len() as u64, |hash, byte| mix(hash, u64::from(*byte)));
        self.fold(&[7, hash]);
        let length = reply.len() as u64;
        let fits = length <= self.bounds.reply_bytes_max.max(1) && length <= self.bounds.kept_bytes_max.max(1);
        // Copied: a reply may point into memory that is larger than itself.
        let kept = fits.then(|| Bytes::copy_from_slice(reply));
        let Some(owner) = self.by_id.get_mut(&client) else { return };
        self.kept_bytes += kept.as_ref().map_or(0, |_| length);
        owner.replies.insert(sequence, kept);
        self.make_room_beside(client);
    }

    /// Ends the idlest sessions until the replies fit. The last one, in use, loses its oldest replies instead, but never the fact
    /// that their commands were applied.
    fn make_room_beside(&mut self, client: ClientId) {
        let kept_bytes_max = self.bounds.kept_bytes_max.max(1);
        while self.kept_bytes > kept_bytes_max {
            if self.by_id.len() > 1 {
                self.expire_idlest();
                continue;
            }
            let Some(owner) = self.by_id.get_mut(&client) else { return };
            let Some(oldest) = owner.replies.values_mut().find(|reply| reply.is_some()) else { return };
            self.kept_bytes -= length(oldest);
            *oldest = None;
        }
    }

    fn expire_idlest(&mut self) {
        if let Some((_, idlest)) = self.by_use.first_key_value() {
            self.remove(*idlest);
            self.expired += 1;
        }
    }

    fn remove(&mut self, id: ClientId) {
        if let Some(client) = self.by_id.remove(&id) {
            self.by_use.remove(&client.used);
            self.kept_bytes -= client.kept_bytes();
        }
    }

    fn fold(&mut self, numbers: &[u64]) {
        self.digest = numbers.iter().copied().fold(self.digest, mix);
    }

    /// A rolling hash of everything decided here; 0 as long as nothing was.
    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    /// How many sessions there are.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Bytes of all kept replies.
    pub(crate) fn kept_bytes(&self) -> u64 {
        self.kept_bytes
    }

    /// How many sessions ended because others needed the room, since the log began.
    pub(crate) fn expired(&self) -> u64 {
        self.expired
    }
}

impl Wire for Client {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(self.used, out);
        put_u64(self.window, out);
        put_u64(self.acked_below, out);
        put_u64(self.replies.len() as u64, out);
        for (sequence, reply) in &self.replies {
            put_u64(*sequence, out);
            reply.encode(out);
        }
    }

    fn decode(input: &mut Reader) -> Result<Client, WireError> {
        let used = input.u64("last use of a client's session")?;
        let window = input.u64("window of a client's session")?;
        let acked_below = input.u64("a client's acknowledged mark")?;
        let mut replies = BTreeMap::new();
        for _ in 0..input.u64("kept replies")? {
            let sequence = input.u64("a client's sequence")?;
            // Copied: kept for long, and cut from the memory of the whole image.
            let reply = Option::<Bytes>::decode(input)?.map(|reply| Bytes::copy_from_slice(&reply));
            replies.insert(sequence, reply);
        }
        Ok(Client { used, window, acked_below, replies })
    }
}

impl Wire for ClientTable {
    fn encode(&self, out: &mut Vec<u8>) {
        self.bounds.encode(out);
        put_u64(self.next_use, out);
        put_u64(self.expired, out);
        put_u64(self.digest, out);
        put_u64(self.by_id.len() as u64, out);
        for (id, client) in &self.by_id {
            id.encode(out);
            client.encode(out);
        }
    }

    fn decode(input: &mut Reader) -> Result<ClientTable, WireError> {
        let mut table = ClientTable {
            bounds: ClientBounds::decode(input)?,
            next_use: input.u64("next use of a client's session")?,
            expired: input.u64("expired sessions")?,
            digest: input.u64("digest of clients' sessions")?,
            ..ClientTable::default()
        };
        for _ in 0..input.u64("clients' sessions")? {
            let id = ClientId::decode(input)?;
            let client = Client::decode(input)?;
            let is_new = table.by_use.insert(client.used, id).is_none() && client.used < table.next_use;
            table.kept_bytes += client.kept_bytes();
            if !is_new || table.by_id.insert(id, client).is_some() {
                return Err(WireError::Malformed { what: "clients' sessions" });
            }
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use quorate_types::{ClusterId, Slot};
    use std::collections::BTreeSet;

    const BOUNDS: ClientBounds = ClientBounds { sessions_max: 3, window: 4, reply_bytes_max: 8, kept_bytes_max: 20 };

    fn id(slot: u64) -> ClientId {
        ClientId { cluster: ClusterId(1), slot: Slot(slot), index: 0 }
    }

    fn table_of(clients: u64, bounds: ClientBounds) -> ClientTable {
        let mut table = ClientTable::default();
        (1..=clients).for_each(|slot| {
            table.open(id(slot), bounds);
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
    fn one_session_too_many_ends_the_one_idle_for_longest() {
        let mut table = table_of(3, BOUNDS);
        call(&mut table, 1, 1, 1, b"used");
        table.open(id(4), BOUNDS);
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
        // Session 1 was idle for longest, and had to go.
        assert_eq!((table.len(), table.kept_bytes(), table.expired()), (1, 16, 1));
        // The only one left loses its oldest reply, but the command is not applied again.
        assert_eq!(call(&mut table, 2, 3, 1, b"12345678"), Verdict::First);
        assert_eq!(call(&mut table, 2, 1, 1, b""), Verdict::Repeated(None));
        assert_eq!(call(&mut table, 2, 2, 1, b""), kept(b"12345678"));
        assert_eq!(table.kept_bytes(), 16);
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
            table.open(id(4), ClientBounds { sessions_max: 0, window: 0, reply_bytes_max: 0, kept_bytes_max: 0 });
        assert_eq!((window, table.len(), table.expired()), (1, 1, 3));
        assert_eq!(call(&mut table, 4, 1, 1, b"1"), Verdict::First);
        assert_eq!(call(&mut table, 4, 1, 1, b""), kept(b"1"));
        table.open(id(5), BOUNDS);
        assert_eq!(call(&mut table, 4, 2, 1, b""), Verdict::BeyondWindow);
    }

    /// The slow twin: a list of sessions in order of use, and of everything that each ever applied.
    #[derive(Default)]
    struct Everything(Vec<(ClientId, u64, BTreeSet<u64>)>);

    impl Everything {
        fn open(&mut self, client: ClientId, sessions_max: usize) {
            while self.0.len() >= sessions_max {
                self.0.remove(0);
            }
            self.0.push((client, 0, BTreeSet::new()));
        }

        fn is_first(&mut self, client: ClientId, sequence: u64, acked_below: u64, window: u64) -> bool {
            let Some(at) = self.0.iter().position(|(id, ..)| *id == client) else { return false };
            let (id, acked, mut applied) = self.0.remove(at);
            let acked = acked.max(acked_below);
            let first = (acked..acked.saturating_add(window)).contains(&sequence) && applied.insert(sequence);
            self.0.push((id, acked, applied));
            first
        }
    }

    proptest! {
        #[test]
        fn replicas_agree_with_each_other_over_snapshots_and_with_a_table_that_never_forgets(
            steps in proptest::collection::vec((0u64..9, 0u64..8, 0u64..8, any::<bool>()), 0..150),
        ) {
            let bounds = ClientBounds { kept_bytes_max: 1 << 20, ..BOUNDS };
            let (mut one, mut other, mut twin) = (ClientTable::default(), ClientTable::default(), Everything::default());
            let mut slots = 0;
            for (client, sequence, acked_below, restarts) in steps {
                if client == 0 {
                    slots += 1;
                    twin.open(id(slots), 3);
                    prop_assert_eq!(one.open(id(slots), bounds), other.open(id(slots), bounds));
                } else {
                    let first = twin.is_first(id(client), sequence, acked_below, bounds.window);
                    let verdict = call(&mut one, client, sequence, acked_below, &sequence.to_be_bytes());
                    prop_assert_eq!(verdict == Verdict::First, first);
                    prop_assert_eq!(&verdict, &call(&mut other, client, sequence, acked_below, &sequence.to_be_bytes()));
                    if let Verdict::Repeated(reply) = verdict {
                        prop_assert_eq!(reply, Some(Bytes::copy_from_slice(&sequence.to_be_bytes())));
                    }
                }
                if restarts {
                    other = quorate_wire::decode_exact(quorate_wire::encode_to_bytes(&other)).unwrap();
                }
                prop_assert_eq!(&one, &other);
                prop_assert!(one.len() <= 3);
                let counted: u64 = one.by_id.values().map(Client::kept_bytes).sum();
                prop_assert_eq!(one.kept_bytes(), counted);
            }
        }
    }
}
