//! The sessions of clients: which of their commands were applied, and what was answered.
//!
//! A function of the decided commands alone, bounds included, and so equal on all replicas; no clock is in it. A session ends when
//! its client closes it, or when it was idle for longest while others needed its place; never for what others keep. It is never revived.

use crate::client_command::{ClientBounds, ClientId};
use crate::sessions::mix;
use bytes::Bytes;
use quorate_wire::{Reader, Wire, WireError, put_u64};
use std::collections::{BTreeMap, BTreeSet};

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
    /// Its session is in order, and a lower sequence that is still wanted is not applied yet.
    BeforeItsTurn,
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
            Verdict::BeforeItsTurn => 5,
        }
    }
}

/// What the digest knows these by.
const OPENED: u64 = 5;
const CLOSED: u64 = 6;
const REPLIED: u64 = 7;
const OPENED_IN_ORDER: u64 = 8;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Client {
    /// When it was used last, in the order of applied commands. Names it in [`ClientTable::by_use`].
    used: u64,
    /// As it was promised when it was opened.
    window: u64,
    /// Whether each sequence waits for those below it. As it was promised, too.
    in_order: bool,
    acked_below: u64,
    /// Replies of applied sequences from `acked_below` on; `None` for one that is not kept.
    replies: BTreeMap<u64, Option<Bytes>>,
    /// Of all those. Follows from them.
    kept_bytes: u64,
}

impl Client {
    /// Of a sequence that is not below the mark.
    fn is_before_its_turn(&self, sequence: u64) -> bool {
        // In order, what was applied leaves no gap behind the mark: the next one's turn follows from how many there are.
        self.in_order && sequence - self.acked_below > self.replies.len() as u64
    }

    /// Drops the oldest reply that is of any length, and says how long it was.
    fn forget_oldest_reply(&mut self) -> Option<u64> {
        let oldest = self.replies.values_mut().find(|reply| length(reply) > 0)?;
        oldest.take().map(|reply| reply.len() as u64)
    }
}

fn length(reply: &Option<Bytes>) -> u64 {
    reply.as_ref().map_or(0, |reply| reply.len() as u64)
}

/// Every client's session.
///
/// `by_use`, `by_kept` and `kept_bytes` follow from the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientTable {
    bounds: ClientBounds,
    by_id: BTreeMap<ClientId, Client>,
    by_use: BTreeMap<u64, ClientId>,
    next_use: u64,
    /// Who keeps any bytes of replies, and how many. Of those that keep as many, the greatest name is the last.
    by_kept: BTreeSet<(u64, ClientId)>,
    kept_bytes: u64,
    /// How many sessions ended because others needed their place.
    expired: u64,
    digest: u64,
}

impl ClientTable {
    /// Opens the session of this name, and makes room for it. One that is open already stays as it is, in order or not.
    pub(crate) fn open(&mut self, client: ClientId, bounds: ClientBounds, in_order: bool) -> u64 {
        self.bounds = bounds;
        let used = self.next_use;
        self.next_use += 1;
        // Sequences begin at 1. Where each waits for those below it, nobody must wait for a 0.
        let acked_below = u64::from(in_order);
        let fresh = || Client { used, window: bounds.window.max(1), in_order, acked_below, ..Client::default() };
        let opened = self.by_id.entry(client).or_insert_with(fresh);
        let (window, in_order) = (opened.window, opened.in_order);
        self.by_use.remove(&std::mem::replace(&mut opened.used, used));
        self.by_use.insert(used, client);
        while self.by_id.len() as u64 > bounds.sessions_max.max(1) {
            self.expire_idlest();
        }
        self.make_room();
        self.fold(&[if in_order { OPENED_IN_ORDER } else { OPENED }, client.cluster.0, client.nonce, window]);
        window
    }

    /// Forgets a session.
    pub(crate) fn close(&mut self, client: ClientId) {
        self.remove(client);
        self.fold(&[CLOSED, client.cluster.0, client.nonce]);
    }

    /// Decides about a call that was decided, and notes what its client has acknowledged.
    pub(crate) fn admit(&mut self, client: ClientId, sequence: u64, acked_below: u64) -> Verdict {
        let verdict = self.judge(client, sequence, acked_below);
        self.fold(&[client.cluster.0, client.nonce, sequence, acked_below, verdict.number()]);
        verdict
    }

    fn judge(&mut self, id: ClientId, sequence: u64, acked_below: u64) -> Verdict {
        let Some(client) = self.by_id.get_mut(&id) else { return Verdict::Expired };
        self.by_use.remove(&client.used);
        client.used = self.next_use;
        self.by_use.insert(client.used, id);
        self.next_use += 1;
        client.acked_below = client.acked_below.max(acked_below);
        let mut forgotten_bytes = 0;
        while let Some(first) = client.replies.first_entry()
            && *first.key() < client.acked_below
        {
            forgotten_bytes += length(&first.remove());
        }
        let verdict = if sequence < client.acked_below {
            Verdict::Acknowledged
        } else if let Some(reply) = client.replies.get(&sequence) {
            Verdict::Repeated(reply.clone())
        } else if sequence - client.acked_below >= client.window {
            Verdict::BeyondWindow
        } else if client.is_before_its_turn(sequence) {
            Verdict::BeforeItsTurn
        } else {
            Verdict::First
        };
        self.note_kept(id, 0, forgotten_bytes);
        verdict
    }

    /// Keeps the reply of a call that was just admitted as the first, as far as there is room.
    pub(crate) fn keep(&mut self, client: ClientId, sequence: u64, reply: &[u8]) {
        let hash = reply.iter().fold(reply.len() as u64, |hash, byte| mix(hash, u64::from(*byte)));
        self.fold(&[REPLIED, hash]);
        let length = reply.len() as u64;
        let fits = length <= self.bounds.reply_bytes_max.max(1) && length <= self.bounds.kept_bytes_max.max(1);
        // Copied: a reply may point into memory that is larger than itself.
        let kept = fits.then(|| Bytes::copy_from_slice(reply));
        let Some(owner) = self.by_id.get_mut(&client) else { return };
        let more = kept.as_ref().map_or(0, |_| length);
        owner.replies.insert(sequence, kept);
        self.note_kept(client, more, 0);
        self.make_room();
    }

    /// Drops replies until the rest fits: the oldest one of whoever keeps most, again and again, so that who keeps little loses
    /// nothing by who keeps much. The fact that their commands were applied stays.
    fn make_room(&mut self) {
        let kept_bytes_max = self.bounds.kept_bytes_max.max(1);
        while self.kept_bytes > kept_bytes_max
            && let Some((_, id)) = self.by_kept.last().copied()
        {
            let oldest = self.by_id.get_mut(&id).and_then(Client::forget_oldest_reply);
            // Who is listed here keeps bytes, so there is one; without it this would not end.
            let Some(bytes) = oldest else { return };
            self.note_kept(id, 0, bytes);
        }
    }

    /// Counts what this session keeps more and less from now on.
    fn note_kept(&mut self, id: ClientId, more: u64, less: u64) {
        let Some(client) = self.by_id.get_mut(&id) else { return };
        let before = client.kept_bytes;
        client.kept_bytes = before + more - less;
        self.kept_bytes = self.kept_bytes + more - less;
        self.by_kept.remove(&(before, id));
        if client.kept_bytes > 0 {
            self.by_kept.insert((client.kept_bytes, id));
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
            self.by_kept.remove(&(client.kept_bytes, id));
            self.kept_bytes -= client.kept_bytes;
        }
    }

    fn fold(&mut self, numbers: &[u64]) {
        self.digest = numbers.iter().copied().fold(self.digest, mix);
    }

    /// Whether any session is in order.
    pub(crate) fn has_orders(&self) -> bool {
        self.by_id.values().any(|client| client.in_order)
    }

    /// Which sessions are in order: one byte each, in the order of names. Stands behind the table in an image, and only where there is any.
    pub(crate) fn encode_orders(&self, out: &mut Vec<u8>) {
        out.extend(self.by_id.values().map(|client| u8::from(client.in_order)));
    }

    /// Makes of a table without orders the one that these belong to.
    pub(crate) fn decode_orders(&mut self, input: &mut Reader) -> Result<(), WireError> {
        for client in self.by_id.values_mut() {
            client.in_order = match input.byte("order of a client's session")? {
                0 => false,
                1 => true,
                kind => return Err(WireError::UnknownKind { what: "order of a client's session", kind }),
            };
        }
        Ok(())
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

    /// How many sessions ended because others needed their place, since the log began.
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
        let kept_bytes = replies.values().map(length).sum();
        Ok(Client { used, window, in_order: false, acked_below, replies, kept_bytes })
    }
}

/// All but which of them are in order: [`ClientTable::encode_orders`].
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
            table.kept_bytes += client.kept_bytes;
            if client.kept_bytes > 0 {
                table.by_kept.insert((client.kept_bytes, id));
            }
            if !is_new || table.by_id.insert(id, client).is_some() {
                return Err(WireError::Malformed { what: "clients' sessions" });
            }
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests;
