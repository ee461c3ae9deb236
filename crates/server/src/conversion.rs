//! Backend types to protobuf messages.

use crate::backend::{DeleteAnswer, Header, KeyValue, Member, PutAnswer, RangeAnswer};
use crate::proto::{etcdserverpb, mvccpb};

impl From<Header> for etcdserverpb::ResponseHeader {
    fn from(header: Header) -> Self {
        let Header { cluster_id, member_id, revision, raft_term } = header;
        Self { cluster_id, member_id, revision, raft_term }
    }
}

impl From<KeyValue> for mvccpb::KeyValue {
    fn from(pair: KeyValue) -> Self {
        let KeyValue { key, value, create_revision, mod_revision, version, lease } = pair;
        Self { key, value, create_revision, mod_revision, version, lease }
    }
}

impl From<RangeAnswer> for etcdserverpb::RangeResponse {
    fn from(answer: RangeAnswer) -> Self {
        let kvs = answer.pairs.into_iter().map(Into::into).collect();
        Self { header: Some(answer.header.into()), kvs, more: answer.more, count: answer.count }
    }
}

impl From<PutAnswer> for etcdserverpb::PutResponse {
    fn from(answer: PutAnswer) -> Self {
        Self { header: Some(answer.header.into()), prev_kv: answer.previous.map(Into::into) }
    }
}

impl From<DeleteAnswer> for etcdserverpb::DeleteRangeResponse {
    fn from(answer: DeleteAnswer) -> Self {
        let prev_kvs = answer.previous.into_iter().map(Into::into).collect();
        Self { header: Some(answer.header.into()), deleted: answer.deleted, prev_kvs }
    }
}

impl From<Member> for etcdserverpb::Member {
    fn from(member: Member) -> Self {
        let Member { id, name, peer_urls, client_urls, is_learner } = member;
        Self { id, name, peer_urls, client_urls, is_learner }
    }
}
