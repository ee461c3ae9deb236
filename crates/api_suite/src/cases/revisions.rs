//! How revisions count. These cases need the store to themselves.

use crate::case::Case;
use crate::expect::{Failure, Outcome, equal, holds};
use crate::proto::etcdserverpb::compare::CompareResult::Equal;
use crate::proto::etcdserverpb::compare::TargetUnion::Version;
use crate::proto::etcdserverpb::{LeaseGrantRequest, PutRequest, RangeRequest, TxnRequest};
use crate::target::{Target, always, put_op, range_op, revision, txn_op};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::exclusive(a_put_takes_one),
        Case::exclusive(a_deletion_of_several_keys_takes_one),
        Case::exclusive(a_deletion_of_nothing_takes_none),
        Case::exclusive(a_transaction_of_many_writes_takes_one),
        Case::exclusive(a_transaction_that_only_reads_takes_none),
        Case::exclusive(a_transaction_of_nothing_takes_none),
        Case::exclusive(a_transaction_that_deletes_nothing_takes_none),
        Case::exclusive(a_transaction_whose_writes_are_not_taken_takes_none),
        Case::exclusive(a_read_takes_none),
        Case::exclusive(a_refusal_takes_none),
        Case::exclusive(a_lease_takes_none),
        Case::exclusive(a_revocation_with_keys_takes_one),
        Case::exclusive(every_member_tells_the_same),
    ]
}

/// The case must take so many revisions.
async fn takes(target: &Target, before: i64, count: i64) -> Outcome {
    equal("revisions taken", target.revision().await? - before, count)
}

async fn a_put_takes_one(target: Target) -> Outcome {
    let before = target.revision().await?;
    equal("the header", target.write("a", "1").await?, before + 1)?;
    equal("the header, equal value", target.write("a", "1").await?, before + 2)?;
    takes(&target, before, 2).await
}

async fn a_deletion_of_several_keys_takes_one(target: Target) -> Outcome {
    target.write_all(&[("a", "1"), ("b", "2"), ("c", "3")]).await?;
    let before = target.revision().await?;
    let answer = target.delete(target.delete_all_request()).await?;
    equal("the header", revision(answer.header.as_ref()), before + 1)?;
    takes(&target, before, 1).await
}

async fn a_deletion_of_nothing_takes_none(target: Target) -> Outcome {
    let before = target.revision().await?;
    equal("the header", target.remove("none").await?, before)?;
    takes(&target, before, 0).await
}

async fn a_transaction_of_many_writes_takes_one(target: Target) -> Outcome {
    target.write("c", "0").await?;
    let before = target.revision().await?;
    let inner = txn_op(always(vec![target.put_op("b", "2")]));
    let answer = target.txn(always(vec![target.put_op("a", "1"), inner, target.delete_op("c")])).await?;
    equal("the header", revision(answer.header.as_ref()), before + 1)?;
    takes(&target, before, 1).await
}

async fn a_transaction_that_only_reads_takes_none(target: Target) -> Outcome {
    target.write("a", "1").await?;
    let before = target.revision().await?;
    let answer = target.txn(always(vec![target.get_op("a"), range_op(target.all_request())])).await?;
    equal("the header", revision(answer.header.as_ref()), before)?;
    takes(&target, before, 0).await
}

async fn a_transaction_of_nothing_takes_none(target: Target) -> Outcome {
    let before = target.revision().await?;
    let answer = target.txn(TxnRequest::default()).await?;
    equal("the header", revision(answer.header.as_ref()), before)?;
    takes(&target, before, 0).await
}

async fn a_transaction_that_deletes_nothing_takes_none(target: Target) -> Outcome {
    let before = target.revision().await?;
    let answer = target.txn(always(vec![target.delete_op("none"), target.get_op("none")])).await?;
    equal("the header", revision(answer.header.as_ref()), before)?;
    takes(&target, before, 0).await
}

async fn a_transaction_whose_writes_are_not_taken_takes_none(target: Target) -> Outcome {
    let before = target.revision().await?;
    let request = TxnRequest {
        compare: vec![target.compare("a", Equal, Version(7))],
        success: vec![target.put_op("a", "1")],
        failure: vec![target.get_op("a")],
    };
    let answer = target.txn(request).await?;
    equal("succeeded and header", (answer.succeeded, revision(answer.header.as_ref())), (false, before))?;
    takes(&target, before, 0).await
}

async fn a_read_takes_none(target: Target) -> Outcome {
    let before = target.write("a", "1").await?;
    for serializable in [false, true] {
        let answer = target.range(RangeRequest { serializable, ..target.all_request() }).await?;
        equal("the header", revision(answer.header.as_ref()), before)?;
    }
    takes(&target, before, 0).await
}

async fn a_refusal_takes_none(target: Target) -> Outcome {
    let before = target.revision().await?;
    let unknown_lease = PutRequest { lease: 987_654_321, ..target.put_request("a", "1") };
    let missing_key = PutRequest { ignore_value: true, ..target.put_request("a", "") };
    holds("a put is refused", target.put(unknown_lease.clone()).await.is_err(), "an answer")?;
    holds("a put is refused", target.put(missing_key).await.is_err(), "an answer")?;
    let steps = vec![target.put_op("b", "1"), put_op(unknown_lease)];
    holds("a transaction is refused", target.txn(always(steps)).await.is_err(), "an answer")?;
    takes(&target, before, 0).await
}

async fn a_lease_takes_none(target: Target) -> Outcome {
    let before = target.revision().await?;
    let lease = target.lease().lease_grant(LeaseGrantRequest { ttl: 60, id: 0 }).await?.into_inner();
    equal("the header", revision(lease.header.as_ref()), before)?;
    super::lease::revoke(&target, lease.id).await?;
    takes(&target, before, 0).await
}

async fn a_revocation_with_keys_takes_one(target: Target) -> Outcome {
    let lease = super::lease::grant(&target, 60).await?;
    for name in ["a", "b"] {
        target.put(PutRequest { lease, ..target.put_request(name, "1") }).await?;
    }
    let before = target.revision().await?;
    super::lease::revoke(&target, lease).await?;
    takes(&target, before, 1).await
}

async fn every_member_tells_the_same(target: Target) -> Outcome {
    let mut told = Vec::new();
    for step in 0..target.members() {
        told.push(target.elsewhere(step).write("a", "1").await?);
    }
    let first = told.first().copied().ok_or_else(|| Failure("no members".to_owned()))?;
    let expected: Vec<i64> = (first..).take(told.len()).collect();
    equal("revisions", told, expected)
}
