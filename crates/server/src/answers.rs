//! The keyspace's replies to protobuf messages.

use bytes::Bytes;
use quorate_keyspace::{Alarm, KeyValue, Reply};

use crate::backend::{Header, Member, NodeDetail, PeerDetail};
use crate::errors::BackendError;
use crate::proto::{etcdserverpb as pb, mvccpb};

impl From<Header> for pb::ResponseHeader {
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

impl From<Alarm> for pb::AlarmMember {
    fn from(alarm: Alarm) -> Self {
        Self { member_id: alarm.member, alarm: i32::from(alarm.kind.number()) }
    }
}

/// The keyspace answered something else than it was asked: a defect, told as one.
pub(crate) fn mismatch(reply: &Reply) -> BackendError {
    BackendError::Other(format!("the keyspace gave an answer to another question: {reply:?}"))
}

/// `header` knows who answers; the reply knows the revision.
pub(crate) fn range_response(header: pb::ResponseHeader, reply: Reply) -> Result<pb::RangeResponse, BackendError> {
    let Reply::Range { revision, kvs, more, count } = reply else { return Err(mismatch(&reply)) };
    let kvs = kvs.into_iter().map(Into::into).collect();
    Ok(pb::RangeResponse { header: Some(pb::ResponseHeader { revision, ..header }), kvs, more, count })
}

pub(crate) fn put_response(header: pb::ResponseHeader, reply: Reply) -> Result<pb::PutResponse, BackendError> {
    let Reply::Put { revision, prev_kv } = reply else { return Err(mismatch(&reply)) };
    let prev_kv = prev_kv.map(Into::into);
    Ok(pb::PutResponse { header: Some(pb::ResponseHeader { revision, ..header }), prev_kv })
}

pub(crate) fn delete_response(
    header: pb::ResponseHeader,
    reply: Reply,
) -> Result<pb::DeleteRangeResponse, BackendError> {
    let Reply::Delete { revision, deleted, prev_kvs } = reply else { return Err(mismatch(&reply)) };
    let prev_kvs = prev_kvs.into_iter().map(Into::into).collect();
    Ok(pb::DeleteRangeResponse { header: Some(pb::ResponseHeader { revision, ..header }), deleted, prev_kvs })
}

/// The headers within carry only a revision, and that of a nested transaction is there but empty, as in etcd.
pub(crate) fn txn_response(header: pb::ResponseHeader, reply: Reply) -> Result<pb::TxnResponse, BackendError> {
    let Reply::Txn { revision, succeeded, responses } = reply else { return Err(mismatch(&reply)) };
    let responses: Result<Vec<pb::ResponseOp>, BackendError> = responses.into_iter().map(response_op).collect();
    let header = Some(pb::ResponseHeader { revision, ..header });
    Ok(pb::TxnResponse { header, succeeded, responses: responses? })
}

fn response_op(reply: Reply) -> Result<pb::ResponseOp, BackendError> {
    use pb::response_op::Response;
    let nobody = pb::ResponseHeader::default();
    let response = match reply {
        Reply::Range { .. } => Response::ResponseRange(range_response(nobody, reply)?),
        Reply::Put { .. } => Response::ResponsePut(put_response(nobody, reply)?),
        Reply::Delete { .. } => Response::ResponseDeleteRange(delete_response(nobody, reply)?),
        Reply::Txn { .. } => {
            let nested = txn_response(nobody, reply)?;
            Response::ResponseTxn(pb::TxnResponse { header: Some(pb::ResponseHeader::default()), ..nested })
        }
        other => return Err(mismatch(&other)),
    };
    Ok(pb::ResponseOp { response: Some(response) })
}

pub(crate) fn alarms_of(reply: Reply) -> Result<(i64, Vec<Alarm>), BackendError> {
    match reply {
        Reply::Alarms { revision, alarms } => Ok((revision, alarms)),
        other => Err(mismatch(&other)),
    }
}

/// Keys of a lease: the time it was granted, and the keys.
pub(crate) fn lease_keys_of(reply: Reply) -> Result<(i64, Vec<Bytes>), BackendError> {
    match reply {
        Reply::LeaseKeys { granted_ttl_seconds, keys, .. } => Ok((granted_ttl_seconds, keys)),
        other => Err(mismatch(&other)),
    }
}

impl From<Member> for pb::Member {
    fn from(member: Member) -> Self {
        let Member { id, name, peer_urls, client_urls, is_learner, is_witness } = member;
        Self { id, name, peer_urls, client_urls, is_learner, quorate_witness: is_witness }
    }
}

impl From<PeerDetail> for pb::PeerDetail {
    fn from(peer: PeerDetail) -> Self {
        let PeerDetail { id, state, matched_index, active } = peer;
        Self { id, state, matched_index, active }
    }
}

impl From<NodeDetail> for pb::NodeDetail {
    fn from(detail: NodeDetail) -> Self {
        let particulars = detail.particulars.into_iter().map(|(name, value)| pb::ParticularDetail { name, value });
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
            particulars: particulars.collect(),
        }
    }
}
