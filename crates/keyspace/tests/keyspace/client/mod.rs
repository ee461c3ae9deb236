//! A keyspace with the manners of a client: short calls in, pairs out.
use bytes::Bytes;
use quorate_keyspace::{
    DeleteRangeRequest, KeyValue, Keyspace, KeyspaceError, PutRequest, Query, RangeRequest, Reply, Request,
};
use quorate_machine::{ApplyContext, StateMachine};
use quorate_types::{Slot, Time};
use quorate_wire::encode_to_bytes;

pub const CONTEXT: ApplyContext = ApplyContext { slot: Slot(1), index: 0, stamp: Time::ZERO };

/// What a range answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub revision: i64,
    pub kvs: Vec<KeyValue>,
    pub more: bool,
    pub count: i64,
}

impl Found {
    pub fn keys(&self) -> Vec<&[u8]> {
        self.kvs.iter().map(|pair| &pair.key[..]).collect()
    }
}

pub struct Client {
    pub keyspace: Keyspace,
}

impl Client {
    pub fn new() -> Client {
        Client { keyspace: Keyspace::empty() }
    }

    /// With these pairs put in this order, at revisions 2, 3, ...
    pub fn with(pairs: &[(&str, &str)]) -> Client {
        let mut client = Client::new();
        for (key, value) in pairs {
            client.put(key, value);
        }
        client
    }

    pub fn apply(&mut self, request: &Request) -> Reply {
        self.keyspace.apply(&CONTEXT, &encode_to_bytes(request))
    }

    /// Puts and returns the revision.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> i64 {
        let request = PutRequest { key: copy(key), value: copy(value), ..PutRequest::default() };
        match self.apply(&Request::Put(request)) {
            Reply::Put { revision, prev_kv: None } => revision,
            other => panic!("a plain put answered {other:?}"),
        }
    }

    pub fn put_refused(&mut self, request: PutRequest) -> KeyspaceError {
        let before = self.keyspace.clone();
        let reply = self.apply(&Request::Put(request));
        assert_eq!(self.keyspace, before, "a refused put changes nothing");
        refusal(reply)
    }

    /// Deletes and returns the revision, the number deleted, and the pairs before (asked for).
    pub fn delete(&mut self, key: impl AsRef<[u8]>, range_end: impl AsRef<[u8]>) -> (i64, i64, Vec<KeyValue>) {
        let request = DeleteRangeRequest { key: copy(key), range_end: copy(range_end), prev_kv: true };
        match self.apply(&Request::DeleteRange(request)) {
            Reply::Delete { revision, deleted, prev_kvs } => (revision, deleted, prev_kvs),
            other => panic!("a delete answered {other:?}"),
        }
    }

    pub fn range(&self, request: RangeRequest) -> Found {
        match self.keyspace.query(&Query::Range(request)) {
            Reply::Range { revision, kvs, more, count } => Found { revision, kvs, more, count },
            other => panic!("a range answered {other:?}"),
        }
    }

    pub fn range_refused(&self, request: RangeRequest) -> KeyspaceError {
        refusal(self.keyspace.query(&Query::Range(request)))
    }

    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<KeyValue> {
        self.range(RangeRequest { key: copy(key), ..RangeRequest::default() }).kvs.into_iter().next()
    }
}

/// A range over everything, for the rest to be filled in.
pub fn everything() -> RangeRequest {
    RangeRequest { key: copy(b"\0"), range_end: copy(b"\0"), ..RangeRequest::default() }
}

pub fn copy(bytes: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(bytes.as_ref())
}

fn refusal(reply: Reply) -> KeyspaceError {
    match reply {
        Reply::Error(error) => error,
        other => panic!("expected a refusal and got {other:?}"),
    }
}
