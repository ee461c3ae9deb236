//! Deleting keys.

use crate::case::Case;
use crate::expect::{Outcome, equal, refused};
use crate::proto::etcdserverpb::{DeleteRangeRequest, PutRequest};
use crate::target::{Target, revision};
use bytes::Bytes;
use tonic::Code;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::shared(one_key_is_deleted_and_counted),
        Case::shared(nothing_to_delete_is_fine),
        Case::shared(a_deletion_is_half_open),
        Case::shared(an_empty_range_deletes_nothing),
        Case::exclusive(one_zero_byte_as_range_end_deletes_all_keys_from_there),
        Case::shared(an_empty_key_is_refused),
        Case::shared(pairs_before_are_answered_in_order_if_asked_for),
        Case::shared(pairs_before_are_not_answered_unasked),
        Case::shared(keys_deleted_together_share_one_revision),
        Case::shared(a_deleted_key_is_gone_everywhere),
        Case::shared(a_second_deletion_finds_nothing),
    ]
}

async fn one_key_is_deleted_and_counted(target: Target) -> Outcome {
    let put = target.write_all(&[("a", "1"), ("b", "2")]).await?[1];
    let answer = target.delete(target.delete_request("a")).await?;
    equal("deleted", answer.deleted, 1)?;
    equal("a later revision", revision(answer.header.as_ref()) > put, true)?;
    equal("what is left", target.names(&target.range(target.all_request()).await?.kvs).concat(), "b".to_owned())
}

async fn nothing_to_delete_is_fine(target: Target) -> Outcome {
    let answer = target.delete(DeleteRangeRequest { prev_kv: true, ..target.delete_request("none") }).await?;
    equal("deleted, pairs", (answer.deleted, answer.prev_kvs.len()), (0, 0))
}

async fn a_deletion_is_half_open(target: Target) -> Outcome {
    target.write_all(&[("a", "1"), ("b", "2"), ("c", "3")]).await?;
    let request = DeleteRangeRequest { range_end: target.key("c"), ..target.delete_request("a") };
    equal("deleted", target.delete(request).await?.deleted, 2)?;
    equal("what is left", target.names(&target.range(target.all_request()).await?.kvs).concat(), "c".to_owned())
}

async fn an_empty_range_deletes_nothing(target: Target) -> Outcome {
    target.write_all(&[("a", "1"), ("b", "2")]).await?;
    for end in ["a", "b"] {
        let request = DeleteRangeRequest { range_end: target.key(end), ..target.delete_request("b") };
        equal("deleted", target.delete(request).await?.deleted, 0)?;
    }
    equal("count", target.range(target.all_request()).await?.count, 2)
}

async fn one_zero_byte_as_range_end_deletes_all_keys_from_there(target: Target) -> Outcome {
    // Above all keys that others may have on a used cluster.
    let high = |name: &str| -> Bytes { [&[0xff, 0xff], &target.key(name)[..]].concat().into() };
    for name in ["a", "b", "c"] {
        target.put(PutRequest { key: high(name), ..PutRequest::default() }).await?;
    }
    let from_b =
        DeleteRangeRequest { key: high("b"), range_end: Bytes::from_static(&[0]), ..DeleteRangeRequest::default() };
    equal("deleted", target.delete(from_b).await?.deleted, 2)?;
    let rest = DeleteRangeRequest { key: high("a"), ..DeleteRangeRequest::default() };
    equal("left before it", target.delete(rest).await?.deleted, 1)
}

async fn an_empty_key_is_refused(target: Target) -> Outcome {
    let text = "etcdserver: key is not provided";
    let request = DeleteRangeRequest { range_end: Bytes::from_static(b"z"), ..DeleteRangeRequest::default() };
    refused("no key", target.delete(request).await, Code::InvalidArgument, text)
}

async fn pairs_before_are_answered_in_order_if_asked_for(target: Target) -> Outcome {
    target.write_all(&[("b", "2"), ("a", "1"), ("b", "3")]).await?;
    let before = target.range(target.all_request()).await?.kvs;
    let answer = target.delete(DeleteRangeRequest { prev_kv: true, ..target.delete_all_request() }).await?;
    equal("deleted", answer.deleted, 2)?;
    equal("pairs before", answer.prev_kvs, before)
}

async fn pairs_before_are_not_answered_unasked(target: Target) -> Outcome {
    target.write("a", "1").await?;
    equal("pairs before", target.delete(target.delete_request("a")).await?.prev_kvs, vec![])
}

async fn keys_deleted_together_share_one_revision(target: Target) -> Outcome {
    let last_put = *target.write_all(&[("a", "1"), ("b", "2"), ("c", "3")]).await?.last().unwrap_or(&0);
    let deleted = revision(target.delete(target.delete_all_request()).await?.header.as_ref());
    let at = |at: i64| crate::proto::etcdserverpb::RangeRequest { revision: at, ..target.all_request() };
    equal("before", target.range(at(deleted - 1)).await?.count, 3)?;
    equal("then", target.range(at(deleted)).await?.count, 0)?;
    equal("the deletion is later than the puts", deleted > last_put, true)
}

async fn a_deleted_key_is_gone_everywhere(target: Target) -> Outcome {
    target.write("a", "1").await?;
    target.remove("a").await?;
    for step in 0..target.members() {
        equal("the key elsewhere", target.elsewhere(step).read("a").await?, None)?;
    }
    Ok(())
}

async fn a_second_deletion_finds_nothing(target: Target) -> Outcome {
    target.write("a", "1").await?;
    equal("first", target.delete(target.delete_request("a")).await?.deleted, 1)?;
    equal("second", target.delete(target.delete_request("a")).await?.deleted, 0)
}
