//! Backend types to protobuf messages.

use crate::backend::{DeleteAnswer, Header, KeyValue, Member, NodeDetail, PeerDetail, PutAnswer, RangeAnswer};
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

impl From<PeerDetail> for etcdserverpb::PeerDetail {
    fn from(peer: PeerDetail) -> Self {
        let PeerDetail { id, state, matched_index, active } = peer;
        Self { id, state, matched_index, active }
    }
}

impl From<NodeDetail> for etcdserverpb::NodeDetail {
    fn from(detail: NodeDetail) -> Self {
        Self {
            name: detail.name,
            protocol: detail.protocol,
            role: detail.role,
            incarnation: detail.incarnation,
            first_index: detail.first_index,
            last_index: detail.last_index,
            durable_index: detail.durable_index,
            checkpointed_index: detail.checkpointed_index,
            journal_bytes: detail.journal_bytes,
            writes_outstanding: detail.writes_outstanding,
            messages_dropped: detail.messages_dropped,
            peers: detail.peers.into_iter().map(Into::into).collect(),
        }
    }
}
