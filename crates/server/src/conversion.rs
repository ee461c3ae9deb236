//! Protobuf messages to the keyspace's requests.

use quorate_keyspace::{
    Compare, CompareOperator, CompareTarget, DeleteRangeRequest, KeyspaceError, Operation, PutRequest, RangeRequest,
    SortOrder, SortTarget, TxnRequest,
};

use crate::errors::BackendError;
use crate::proto::etcdserverpb::{self as pb, compare, request_op};

impl TryFrom<pb::RangeRequest> for RangeRequest {
    type Error = BackendError;

    fn try_from(request: pb::RangeRequest) -> Result<RangeRequest, BackendError> {
        if request.key.is_empty() {
            return Err(KeyspaceError::KeyNotProvided.into());
        }
        Ok(RangeRequest {
            sort_order: SortOrder::try_from(request.sort_order)?,
            sort_target: SortTarget::try_from(request.sort_target)?,
            key: request.key,
            range_end: request.range_end,
            limit: request.limit,
            revision: request.revision,
            keys_only: request.keys_only,
            count_only: request.count_only,
            min_mod_revision: request.min_mod_revision,
            max_mod_revision: request.max_mod_revision,
            min_create_revision: request.min_create_revision,
            max_create_revision: request.max_create_revision,
        })
    }
}

impl From<pb::PutRequest> for PutRequest {
    fn from(request: pb::PutRequest) -> PutRequest {
        let pb::PutRequest { key, value, lease, prev_kv, ignore_value, ignore_lease } = request;
        PutRequest { key, value, lease, prev_kv, ignore_value, ignore_lease }
    }
}

impl From<pb::DeleteRangeRequest> for DeleteRangeRequest {
    fn from(request: pb::DeleteRangeRequest) -> DeleteRangeRequest {
        let pb::DeleteRangeRequest { key, range_end, prev_kv } = request;
        DeleteRangeRequest { key, range_end, prev_kv }
    }
}

/// A transaction and what only its protobuf form says.
pub(crate) struct ConvertedTxn {
    pub(crate) txn: TxnRequest,
    /// There are ranges in it, and all may be answered from local state. (etcd answers one without any range from local state too,
    /// however stale what it compares.)
    pub(crate) serializable: bool,
}

impl ConvertedTxn {
    /// Checked as etcd checks it. `operations_max` bounds the longest list; nested transactions share what it leaves.
    pub(crate) fn new(request: pb::TxnRequest, operations_max: usize) -> Result<ConvertedTxn, BackendError> {
        let mut all_serializable = None;
        let txn = txn(request, operations_max, &mut all_serializable)?;
        txn.check(operations_max)?;
        Ok(ConvertedTxn { txn, serializable: all_serializable == Some(true) })
    }
}

/// `all_serializable` is about the ranges seen so far, if any.
fn txn(
    request: pb::TxnRequest,
    operations_max: usize,
    all_serializable: &mut Option<bool>,
) -> Result<TxnRequest, BackendError> {
    let longest = request.compare.len().max(request.success.len()).max(request.failure.len());
    // First of all, so that an endless list costs nothing.
    let left = operations_max.checked_sub(longest).ok_or(KeyspaceError::TooManyOperations)?;
    let compares: Result<Vec<Compare>, BackendError> = request.compare.into_iter().map(compare_of).collect();
    let mut branch = |operations: Vec<pb::RequestOp>| -> Result<Vec<Operation>, BackendError> {
        operations.into_iter().map(|operation| operation_of(operation, left, all_serializable)).collect()
    };
    Ok(TxnRequest { compares: compares?, success: branch(request.success)?, failure: branch(request.failure)? })
}

fn operation_of(
    operation: pb::RequestOp,
    operations_left: usize,
    all_serializable: &mut Option<bool>,
) -> Result<Operation, BackendError> {
    match operation.request {
        Some(request_op::Request::RequestRange(range)) => {
            *all_serializable = Some(all_serializable.unwrap_or(true) && range.serializable);
            Ok(Operation::Range(range.try_into()?))
        }
        Some(request_op::Request::RequestPut(put)) => Ok(Operation::Put(put.into())),
        Some(request_op::Request::RequestDeleteRange(delete)) => Ok(Operation::DeleteRange(delete.into())),
        Some(request_op::Request::RequestTxn(nested)) => {
            Ok(Operation::Txn(txn(nested, operations_left, all_serializable)?))
        }
        // Odd, but etcd's word for an operation with nothing in it.
        None => Err(KeyspaceError::KeyNotFound.into()),
    }
}

/// An operand that does not fit the target, or none, counts as 0 or empty, as in etcd.
fn compare_of(request: pb::Compare) -> Result<Compare, BackendError> {
    let unknown = |what: &str, number: i32| BackendError::Malformed(format!("unknown compare {what} {number}"));
    let operator = CompareOperator::try_from(request.result).map_err(|_| unknown("result", request.result))?;
    let target = compare::CompareTarget::try_from(request.target).map_err(|_| unknown("target", request.target))?;
    let operand = request.target_union;
    let target = match target {
        compare::CompareTarget::Version => CompareTarget::Version(match operand {
            Some(compare::TargetUnion::Version(number)) => number,
            _ => 0,
        }),
        compare::CompareTarget::Create => CompareTarget::CreateRevision(match operand {
            Some(compare::TargetUnion::CreateRevision(number)) => number,
            _ => 0,
        }),
        compare::CompareTarget::Mod => CompareTarget::ModRevision(match operand {
            Some(compare::TargetUnion::ModRevision(number)) => number,
            _ => 0,
        }),
        compare::CompareTarget::Value => CompareTarget::Value(match operand {
            Some(compare::TargetUnion::Value(value)) => value,
            _ => bytes::Bytes::new(),
        }),
        compare::CompareTarget::Lease => CompareTarget::Lease(match operand {
            Some(compare::TargetUnion::Lease(number)) => number,
            _ => 0,
        }),
    };
    Ok(Compare { key: request.key, range_end: request.range_end, operator, target })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> pb::TxnRequest {
        (1..depth).fold(pb::TxnRequest::default(), |inner, _| pb::TxnRequest {
            success: vec![pb::RequestOp { request: Some(request_op::Request::RequestTxn(inner)) }],
            ..pb::TxnRequest::default()
        })
    }

    #[test]
    fn nested_transactions_share_one_budget_of_operations() {
        assert!(ConvertedTxn::new(nested(9), 8).is_ok());
        let refused = ConvertedTxn::new(nested(10), 8).err();
        assert_eq!(refused, Some(KeyspaceError::TooManyOperations.into()));
    }

    #[test]
    fn an_operation_with_nothing_in_it_is_refused_in_the_words_of_etcd() {
        let request = pb::TxnRequest { failure: vec![pb::RequestOp { request: None }], ..pb::TxnRequest::default() };
        assert_eq!(ConvertedTxn::new(request, 8).err(), Some(KeyspaceError::KeyNotFound.into()));
    }

    #[test]
    fn an_operand_of_another_kind_counts_as_none() {
        let request = pb::Compare {
            target: compare::CompareTarget::Mod.into(),
            target_union: Some(compare::TargetUnion::Version(7)),
            ..pb::Compare::default()
        };
        assert_eq!(compare_of(request).unwrap().target, CompareTarget::ModRevision(0));
        let unknown = pb::Compare { target: 9, ..pb::Compare::default() };
        assert_eq!(compare_of(unknown), Err(BackendError::Malformed("unknown compare target 9".to_owned())));
    }
}
