//! What a transaction may not say.

use crate::case::Case;
use crate::differences::DELETION_TO_THE_END_OVER_A_PUT;
use crate::expect::{Outcome, equal, refused};
use crate::proto::etcdserverpb::compare::CompareResult::Equal;
use crate::proto::etcdserverpb::compare::TargetUnion::Version;
use crate::proto::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse};
use crate::target::{Target, always, delete_op, put_op, range_op, txn_op};
use bytes::Bytes;
use tonic::{Code, Status};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::shared(as_many_steps_as_allowed_are_done),
        Case::shared(one_step_too_many_is_refused),
        Case::shared(one_condition_too_many_is_refused),
        Case::shared(one_step_too_many_in_the_branch_not_taken_is_refused),
        Case::shared(nested_steps_count_against_the_outer_budget),
        Case::shared(a_nested_transaction_of_nothing_costs_its_own_step_only),
        Case::shared(sibling_transactions_do_not_share_their_budgets),
        Case::shared(a_key_put_twice_is_refused),
        Case::shared(a_key_put_twice_in_the_branch_not_taken_is_refused),
        Case::shared(a_key_may_be_put_in_both_branches),
        Case::shared(a_key_put_and_deleted_is_refused),
        Case::shared(a_key_put_and_deleted_by_a_range_is_refused),
        Case::exclusive(a_key_put_and_deleted_with_all_later_keys_is_refused),
        Case::shared(a_put_beside_a_deleted_range_is_fine),
        Case::shared(deletions_may_overlap),
        Case::shared(a_key_put_outside_and_inside_is_refused),
        Case::shared(a_key_may_be_put_in_both_branches_of_a_nested_transaction),
        Case::shared(a_key_put_by_two_siblings_is_refused),
        Case::shared(a_key_put_in_different_branches_of_two_siblings_is_refused),
        Case::shared(an_outer_deletion_over_an_inner_put_is_refused),
        Case::shared(an_inner_deletion_over_an_outer_put_is_refused),
        Case::shared(a_deletion_in_an_earlier_sibling_over_a_put_in_a_later_one_is_refused),
        Case::shared(a_put_in_an_earlier_sibling_under_a_deletion_in_a_later_one_is_done),
        Case::shared(a_put_and_a_deletion_in_different_branches_of_one_nested_transaction_are_fine),
        Case::shared(a_step_of_nothing_is_refused),
        Case::shared(empty_keys_are_refused_in_every_step),
        Case::shared(mistakes_of_a_put_are_refused_in_a_step),
        Case::shared(too_many_steps_are_named_before_other_mistakes),
        Case::shared(an_empty_key_is_named_before_duplicates),
    ]
}

/// Steps that a transaction may have, by default.
const MOST: usize = 128;
const TOO_MANY: &str = "etcdserver: too many operations in txn request";
const DUPLICATE: &str = "etcdserver: duplicate key given in txn request";
const NO_KEY: &str = "etcdserver: key is not provided";

fn reads(target: &Target, count: usize) -> Vec<RequestOp> {
    vec![target.get_op("a"); count]
}

fn in_failure(failure: Vec<RequestOp>) -> TxnRequest {
    TxnRequest { failure, ..TxnRequest::default() }
}

fn nested(success: Vec<RequestOp>) -> RequestOp {
    txn_op(always(success))
}

fn too_many(what: &str, answer: Result<TxnResponse, Status>) -> Outcome {
    refused(what, answer, Code::InvalidArgument, TOO_MANY)
}

async fn duplicate(target: &Target, what: &str, steps: Vec<RequestOp>) -> Outcome {
    refused(what, target.txn(always(steps)).await, Code::InvalidArgument, DUPLICATE)?;
    equal("nothing is done", target.range(target.all_request()).await?.count, 0)
}

async fn as_many_steps_as_allowed_are_done(target: Target) -> Outcome {
    let steps = (0..MOST).map(|count| target.put_op(&format!("{count:03}"), "x")).collect();
    equal("answers", target.txn(always(steps)).await?.responses.len(), MOST)?;
    equal("keys", target.range(target.all_request()).await?.count, MOST as i64)
}

async fn one_step_too_many_is_refused(target: Target) -> Outcome {
    too_many("129 steps", target.txn(always(reads(&target, MOST + 1))).await)
}

async fn one_condition_too_many_is_refused(target: Target) -> Outcome {
    let compare = vec![target.compare("a", Equal, Version(0)); MOST + 1];
    too_many("129 conditions", target.txn(TxnRequest { compare, ..TxnRequest::default() }).await)?;
    let compare = vec![target.compare("a", Equal, Version(0)); MOST];
    let request = TxnRequest { compare, success: reads(&target, MOST), failure: reads(&target, MOST) };
    equal("128 of each", target.txn(request).await?.succeeded, true)
}

async fn one_step_too_many_in_the_branch_not_taken_is_refused(target: Target) -> Outcome {
    too_many("129 steps", target.txn(in_failure(reads(&target, MOST + 1))).await)
}

async fn nested_steps_count_against_the_outer_budget(target: Target) -> Outcome {
    let request = always(vec![nested(reads(&target, MOST - 1))]);
    equal("1 around 127", target.txn(request).await?.responses.len(), 1)?;
    too_many("1 around 128", target.txn(always(vec![nested(reads(&target, MOST))])).await)?;
    let mut steps = reads(&target, MOST - 1);
    steps.push(nested(reads(&target, 1)));
    too_many("128 around 1", target.txn(always(steps)).await)
}

async fn a_nested_transaction_of_nothing_costs_its_own_step_only(target: Target) -> Outcome {
    let mut steps = reads(&target, MOST - 1);
    steps.push(nested(vec![]));
    equal("answers", target.txn(always(steps)).await?.responses.len(), MOST)
}

async fn sibling_transactions_do_not_share_their_budgets(target: Target) -> Outcome {
    let siblings = vec![nested(reads(&target, MOST - 2)), nested(reads(&target, MOST - 2))];
    equal("2 around 126 each", target.txn(always(siblings)).await?.responses.len(), 2)
}

async fn a_key_put_twice_is_refused(target: Target) -> Outcome {
    duplicate(&target, "twice", vec![target.put_op("a", "1"), target.get_op("a"), target.put_op("a", "2")]).await
}

async fn a_key_put_twice_in_the_branch_not_taken_is_refused(target: Target) -> Outcome {
    let answer = target.txn(in_failure(vec![target.put_op("a", "1"), target.put_op("a", "2")])).await;
    refused("twice", answer, Code::InvalidArgument, DUPLICATE)
}

async fn a_key_may_be_put_in_both_branches(target: Target) -> Outcome {
    let request = TxnRequest {
        success: vec![target.put_op("a", "1")],
        failure: vec![target.put_op("a", "2")],
        ..TxnRequest::default()
    };
    target.txn(request).await?;
    equal("done", target.value("a").await?, Some("1".to_owned()))
}

async fn a_key_put_and_deleted_is_refused(target: Target) -> Outcome {
    duplicate(&target, "put, delete", vec![target.put_op("a", "1"), target.delete_op("a")]).await?;
    duplicate(&target, "delete, put", vec![target.delete_op("a"), target.put_op("a", "1")]).await
}

async fn a_key_put_and_deleted_by_a_range_is_refused(target: Target) -> Outcome {
    let deletion = delete_op(DeleteRangeRequest { range_end: target.key("c"), ..target.delete_request("a") });
    duplicate(&target, "within", vec![target.put_op("b", "1"), deletion.clone()]).await?;
    duplicate(&target, "at its start", vec![target.put_op("a", "1"), deletion]).await
}

async fn a_key_put_and_deleted_with_all_later_keys_is_refused(target: Target) -> Outcome {
    let above_all = |name: &str| -> Bytes { [&[0xff, 0xff], &target.key(name)[..]].concat().into() };
    let put = PutRequest { key: above_all("b"), ..PutRequest::default() };
    let to_the_end =
        DeleteRangeRequest { key: above_all("a"), range_end: Bytes::from_static(&[0]), ..Default::default() };
    let answer = target.txn(always(vec![put_op(put), delete_op(to_the_end)])).await;
    if target.differing(&DELETION_TO_THE_END_OVER_A_PUT, true, false) {
        return equal("succeeded", answer?.succeeded, true);
    }
    refused("a deletion over the put", answer, Code::InvalidArgument, DUPLICATE)
}

async fn a_put_beside_a_deleted_range_is_fine(target: Target) -> Outcome {
    let deletion = delete_op(DeleteRangeRequest { range_end: target.key("c"), ..target.delete_request("a") });
    target.txn(always(vec![target.put_op("c", "1"), deletion])).await?;
    equal("done", target.value("c").await?, Some("1".to_owned()))
}

async fn deletions_may_overlap(target: Target) -> Outcome {
    target.write_all(&[("a", "1"), ("b", "2")]).await?;
    let steps = vec![target.delete_op("a"), delete_op(target.delete_all_request()), target.delete_op("b")];
    let answer = target.txn(always(steps)).await?;
    let deleted: Vec<i64> = answer
        .responses
        .iter()
        .filter_map(|response| match response.response.as_ref() {
            Some(crate::proto::etcdserverpb::response_op::Response::ResponseDeleteRange(delete)) => {
                Some(delete.deleted)
            }
            _ => None,
        })
        .collect();
    equal("deleted by each", deleted, vec![1, 1, 0])
}

async fn a_key_put_outside_and_inside_is_refused(target: Target) -> Outcome {
    duplicate(&target, "outside first", vec![target.put_op("a", "1"), nested(vec![target.put_op("a", "2")])]).await?;
    let inner = txn_op(in_failure(vec![target.put_op("a", "1")]));
    duplicate(&target, "inside first, in the other branch", vec![inner, target.put_op("a", "2")]).await
}

async fn a_key_may_be_put_in_both_branches_of_a_nested_transaction(target: Target) -> Outcome {
    let inner = TxnRequest {
        compare: vec![target.compare("a", Equal, Version(7))],
        success: vec![target.put_op("a", "1")],
        failure: vec![target.put_op("a", "2")],
    };
    target.txn(always(vec![txn_op(inner)])).await?;
    equal("done", target.value("a").await?, Some("2".to_owned()))
}

async fn a_key_put_by_two_siblings_is_refused(target: Target) -> Outcome {
    let siblings = vec![nested(vec![target.put_op("a", "1")]), nested(vec![target.put_op("a", "2")])];
    duplicate(&target, "both succeed", siblings).await
}

async fn a_key_put_in_different_branches_of_two_siblings_is_refused(target: Target) -> Outcome {
    let siblings = vec![nested(vec![target.put_op("a", "1")]), txn_op(in_failure(vec![target.put_op("a", "2")]))];
    duplicate(&target, "one succeeds", siblings).await
}

async fn an_outer_deletion_over_an_inner_put_is_refused(target: Target) -> Outcome {
    let steps = vec![nested(vec![target.put_op("a", "1")]), delete_op(target.delete_all_request())];
    duplicate(&target, "deletion outside", steps).await
}

async fn an_inner_deletion_over_an_outer_put_is_refused(target: Target) -> Outcome {
    let steps = vec![target.put_op("a", "1"), nested(vec![delete_op(target.delete_all_request())])];
    duplicate(&target, "deletion inside", steps).await
}

async fn a_deletion_in_an_earlier_sibling_over_a_put_in_a_later_one_is_refused(target: Target) -> Outcome {
    let siblings = vec![nested(vec![target.delete_op("a")]), nested(vec![target.put_op("a", "1")])];
    duplicate(&target, "deletion first", siblings).await
}

async fn a_put_in_an_earlier_sibling_under_a_deletion_in_a_later_one_is_done(target: Target) -> Outcome {
    let siblings = vec![nested(vec![target.put_op("a", "1")]), nested(vec![target.delete_op("a")])];
    equal("succeeded", target.txn(always(siblings)).await?.succeeded, true)?;
    equal("put, then deleted", target.value("a").await?, None)
}

async fn a_put_and_a_deletion_in_different_branches_of_one_nested_transaction_are_fine(target: Target) -> Outcome {
    let inner = TxnRequest { failure: vec![target.delete_op("a")], ..always(vec![target.put_op("a", "1")]) };
    target.txn(always(vec![txn_op(inner)])).await?;
    equal("done", target.value("a").await?, Some("1".to_owned()))
}

async fn a_step_of_nothing_is_refused(target: Target) -> Outcome {
    let answer = target.txn(always(vec![target.put_op("a", "1"), RequestOp { request: None }])).await;
    refused("nothing", answer, Code::InvalidArgument, "etcdserver: key not found")?;
    equal("nothing is done", target.value("a").await?, None)
}

async fn empty_keys_are_refused_in_every_step(target: Target) -> Outcome {
    for step in [
        range_op(RangeRequest::default()),
        put_op(PutRequest::default()),
        delete_op(DeleteRangeRequest::default()),
        nested(vec![put_op(PutRequest::default())]),
    ] {
        let answer = target.txn(always(vec![target.put_op("a", "1"), step])).await;
        refused("no key", answer, Code::InvalidArgument, NO_KEY)?;
    }
    equal("nothing is done", target.value("a").await?, None)
}

async fn mistakes_of_a_put_are_refused_in_a_step(target: Target) -> Outcome {
    let with_value = PutRequest { ignore_value: true, ..target.put_request("a", "1") };
    let answer = target.txn(in_failure(vec![put_op(with_value)])).await;
    refused("a value", answer, Code::InvalidArgument, "etcdserver: value is provided")?;
    let with_lease = PutRequest { ignore_lease: true, lease: 7, ..target.put_request("a", "1") };
    let answer = target.txn(in_failure(vec![put_op(with_lease)])).await;
    refused("a lease", answer, Code::InvalidArgument, "etcdserver: lease is provided")
}

async fn too_many_steps_are_named_before_other_mistakes(target: Target) -> Outcome {
    let mut steps = reads(&target, MOST);
    steps.push(put_op(PutRequest::default()));
    too_many("129 steps, one without key", target.txn(always(steps)).await)
}

async fn an_empty_key_is_named_before_duplicates(target: Target) -> Outcome {
    let steps = vec![target.put_op("a", "1"), target.put_op("a", "2"), put_op(PutRequest::default())];
    refused("both mistakes", target.txn(always(steps)).await, Code::InvalidArgument, NO_KEY)
}
