//! A store that answers a retry with something else than it answered at first: what the simulator must find.

use bytes::Bytes;
use quorate_keyspace::{Keyspace, Query, Reply};
use quorate_machine::{ApplyContext, KeptReplies, RestoreError, StateMachine};
use quorate_simulator::swarm::{Judged, Meaning, Versioned};

/// A keyspace whose kept replies come back with the revision after the one they had.
#[derive(Debug)]
pub struct MisremembersReplies(Keyspace);

impl StateMachine for MisremembersReplies {
    type Query = Query;
    type Reply = Reply;
    type Duty = ();

    const KEPT_REPLIES: Option<KeptReplies<Reply>> = Some(KeptReplies {
        encode: |reply| match reply {
            Reply::Put { revision, prev_kv } => {
                quorate_wire::encode_to_bytes(&Reply::Put { revision: revision + 1, prev_kv: prev_kv.clone() })
            }
            other => quorate_wire::encode_to_bytes(other),
        },
        decode: quorate_wire::decode_exact,
        opened: |client, window| Reply::SessionOpened { client, window },
        closed: || Reply::SessionClosed,
    });

    fn empty() -> Self {
        MisremembersReplies(Keyspace::empty())
    }
    fn apply(&mut self, context: &ApplyContext, payload: &Bytes) -> Reply {
        self.0.apply(context, payload)
    }
    fn query(&self, query: &Query) -> Reply {
        self.0.query(query)
    }
    fn digest(&self) -> u64 {
        self.0.digest()
    }
    fn head(&self) -> Bytes {
        self.0.head()
    }
    fn item_count(&self) -> u64 {
        self.0.item_count()
    }
    fn item(&self, number: u64) -> Option<Bytes> {
        self.0.item(number)
    }
    fn restore(head: Bytes, items: &mut dyn Iterator<Item = (u64, Bytes)>) -> Result<Self, RestoreError> {
        Ok(MisremembersReplies(Keyspace::restore(head, items)?))
    }
}

impl Judged for MisremembersReplies {
    fn put(key: &Bytes, value: &Bytes) -> Bytes {
        <Keyspace as Judged>::put(key, value)
    }
    fn delete(key: &Bytes) -> Bytes {
        <Keyspace as Judged>::delete(key)
    }
    fn get(key: Option<&Bytes>) -> Query {
        <Keyspace as Judged>::get(key)
    }
    fn meaning(reply: &Reply) -> Meaning {
        <Keyspace as Judged>::meaning(reply)
    }
    fn revision(&self) -> u64 {
        Judged::revision(&self.0)
    }
    fn contents_at(&self, revision: u64) -> Result<Vec<Versioned>, String> {
        self.0.contents_at(revision)
    }
}
