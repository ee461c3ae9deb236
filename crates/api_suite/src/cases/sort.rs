//! Orders and filters of a range.

use crate::case::Case;
use crate::differences::UNKNOWN_SORT_ORDER;
use crate::expect::{Failure, Outcome, equal, refused};
use crate::proto::etcdserverpb::RangeRequest;
use crate::proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use crate::target::Target;
use tonic::Code;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::shared(by_key_both_ways),
        Case::shared(by_version_both_ways),
        Case::shared(by_create_revision_both_ways),
        Case::shared(by_mod_revision_both_ways),
        Case::shared(by_value_both_ways),
        Case::shared(values_are_ordered_by_unsigned_bytes),
        Case::shared(a_target_without_an_order_ascends),
        Case::shared(a_limit_cuts_the_sorted_list),
        Case::shared(an_order_at_a_past_revision_is_of_that_revision),
        Case::shared(an_order_without_values_still_orders_by_value),
        Case::shared(an_unknown_order_is_refused),
        Case::shared(a_least_mod_revision_is_inclusive),
        Case::shared(a_greatest_mod_revision_is_inclusive),
        Case::shared(a_least_create_revision_is_inclusive),
        Case::shared(a_greatest_create_revision_is_inclusive),
        Case::shared(filters_add_up),
        Case::shared(a_filter_does_not_change_the_count),
        Case::shared(a_limit_cuts_what_the_filter_left),
        Case::shared(a_filter_that_leaves_just_the_limit_says_no_more),
        Case::shared(filters_and_orders_go_together),
    ]
}

/// Three keys whose orders by key, version, create revision, mod revision and value all differ.
/// Revisions in order: b created, c created, a created, b, b, c.
async fn three_keys(target: &Target) -> Result<Vec<i64>, Failure> {
    let writes = [("b", "z"), ("c", "y"), ("a", "m"), ("b", "x"), ("b", "n"), ("c", "k")];
    Ok(target.write_all(&writes).await?)
}

async fn ordered(target: &Target, order: SortOrder, by: SortTarget) -> Result<String, Failure> {
    let request = RangeRequest { sort_order: order.into(), sort_target: by.into(), ..target.all_request() };
    Ok(target.names(&target.range(request).await?.kvs).concat())
}

async fn both_ways(target: &Target, by: SortTarget, ascending: &str) -> Outcome {
    three_keys(target).await?;
    equal("ascending", ordered(target, SortOrder::Ascend, by).await?, ascending.to_owned())?;
    equal("descending", ordered(target, SortOrder::Descend, by).await?, ascending.chars().rev().collect())
}

async fn by_key_both_ways(target: Target) -> Outcome {
    both_ways(&target, SortTarget::Key, "abc").await
}

async fn by_version_both_ways(target: Target) -> Outcome {
    both_ways(&target, SortTarget::Version, "acb").await
}

async fn by_create_revision_both_ways(target: Target) -> Outcome {
    both_ways(&target, SortTarget::Create, "bca").await
}

async fn by_mod_revision_both_ways(target: Target) -> Outcome {
    both_ways(&target, SortTarget::Mod, "abc").await?;
    target.write("a", "last").await?;
    equal("after a write", ordered(&target, SortOrder::Ascend, SortTarget::Mod).await?, "bca".to_owned())
}

async fn by_value_both_ways(target: Target) -> Outcome {
    both_ways(&target, SortTarget::Value, "cab").await
}

async fn values_are_ordered_by_unsigned_bytes(target: Target) -> Outcome {
    for (name, value) in [("a", &[0xff][..]), ("b", b""), ("c", b"a"), ("d", &[0x80]), ("e", b"B")] {
        let request = target.put_request(name, "");
        target.put(crate::proto::etcdserverpb::PutRequest { value: value.to_vec().into(), ..request }).await?;
    }
    equal("ascending", ordered(&target, SortOrder::Ascend, SortTarget::Value).await?, "becda".to_owned())
}

async fn a_target_without_an_order_ascends(target: Target) -> Outcome {
    three_keys(&target).await?;
    equal("by create revision", ordered(&target, SortOrder::None, SortTarget::Create).await?, "bca".to_owned())?;
    equal("by value", ordered(&target, SortOrder::None, SortTarget::Value).await?, "cab".to_owned())?;
    equal("by key", ordered(&target, SortOrder::None, SortTarget::Key).await?, "abc".to_owned())
}

async fn a_limit_cuts_the_sorted_list(target: Target) -> Outcome {
    three_keys(&target).await?;
    let request = RangeRequest {
        sort_order: SortOrder::Descend.into(),
        sort_target: SortTarget::Create.into(),
        limit: 2,
        ..target.all_request()
    };
    let answer = target.range(request).await?;
    equal("keys", target.names(&answer.kvs).concat(), "ac".to_owned())?;
    equal("more, count", (answer.more, answer.count), (true, 3))
}

async fn an_order_at_a_past_revision_is_of_that_revision(target: Target) -> Outcome {
    let revisions = three_keys(&target).await?;
    let request = RangeRequest {
        sort_order: SortOrder::Ascend.into(),
        sort_target: SortTarget::Value.into(),
        revision: revisions[3],
        ..target.all_request()
    };
    equal("by the values then", target.shown(&target.range(request).await?.kvs).join(" "), "a=m b=x c=y".to_owned())
}

async fn an_order_without_values_still_orders_by_value(target: Target) -> Outcome {
    three_keys(&target).await?;
    let request = RangeRequest {
        sort_order: SortOrder::Ascend.into(),
        sort_target: SortTarget::Value.into(),
        keys_only: true,
        ..target.all_request()
    };
    equal("by value", target.shown(&target.range(request).await?.kvs).join(" "), "c= a= b=".to_owned())
}

async fn an_unknown_order_is_refused(target: Target) -> Outcome {
    three_keys(&target).await?;
    let answer = target.range(RangeRequest { sort_order: 9, ..target.all_request() }).await;
    if target.differing(&UNKNOWN_SORT_ORDER, true, false) {
        return equal("unsorted keys", target.names(&answer?.kvs).concat(), "abc".to_owned());
    }
    refused("order 9", answer, Code::InvalidArgument, "etcdserver: invalid sort option")?;
    let unknown_target = RangeRequest { sort_target: 9, ..target.all_request() };
    refused("target 9", target.range(unknown_target).await, Code::InvalidArgument, "etcdserver: invalid sort option")
}

async fn filtered(target: &Target, request: RangeRequest) -> Result<String, Failure> {
    Ok(target.names(&target.range(request).await?.kvs).concat())
}

async fn a_least_mod_revision_is_inclusive(target: Target) -> Outcome {
    let revisions = three_keys(&target).await?;
    let request = RangeRequest { min_mod_revision: revisions[4], ..target.all_request() };
    equal("keys", filtered(&target, request).await?, "bc".to_owned())
}

async fn a_greatest_mod_revision_is_inclusive(target: Target) -> Outcome {
    let revisions = three_keys(&target).await?;
    let request = RangeRequest { max_mod_revision: revisions[4], ..target.all_request() };
    equal("keys", filtered(&target, request).await?, "ab".to_owned())
}

async fn a_least_create_revision_is_inclusive(target: Target) -> Outcome {
    let revisions = three_keys(&target).await?;
    let request = RangeRequest { min_create_revision: revisions[1], ..target.all_request() };
    equal("keys", filtered(&target, request).await?, "ac".to_owned())
}

async fn a_greatest_create_revision_is_inclusive(target: Target) -> Outcome {
    let revisions = three_keys(&target).await?;
    let request = RangeRequest { max_create_revision: revisions[1], ..target.all_request() };
    equal("keys", filtered(&target, request).await?, "bc".to_owned())
}

async fn filters_add_up(target: Target) -> Outcome {
    let revisions = three_keys(&target).await?;
    let request = RangeRequest {
        min_mod_revision: revisions[2],
        max_mod_revision: revisions[4],
        max_create_revision: revisions[0],
        ..target.all_request()
    };
    equal("keys", filtered(&target, request).await?, "b".to_owned())
}

async fn a_filter_does_not_change_the_count(target: Target) -> Outcome {
    let revisions = three_keys(&target).await?;
    let answer = target.range(RangeRequest { min_mod_revision: revisions[5], ..target.all_request() }).await?;
    equal("pairs, count, more", (answer.kvs.len(), answer.count, answer.more), (1, 3, false))
}

async fn a_limit_cuts_what_the_filter_left(target: Target) -> Outcome {
    let revisions = three_keys(&target).await?;
    let answer =
        target.range(RangeRequest { min_mod_revision: revisions[4], limit: 1, ..target.all_request() }).await?;
    equal("keys", target.names(&answer.kvs).concat(), "b".to_owned())?;
    equal("more, count", (answer.more, answer.count), (true, 3))
}

async fn a_filter_that_leaves_just_the_limit_says_no_more(target: Target) -> Outcome {
    let revisions = three_keys(&target).await?;
    let answer =
        target.range(RangeRequest { min_mod_revision: revisions[4], limit: 2, ..target.all_request() }).await?;
    equal("pairs, more", (answer.kvs.len(), answer.more), (2, false))
}

async fn filters_and_orders_go_together(target: Target) -> Outcome {
    let revisions = three_keys(&target).await?;
    let request = RangeRequest {
        sort_order: SortOrder::Descend.into(),
        sort_target: SortTarget::Version.into(),
        max_mod_revision: revisions[4],
        ..target.all_request()
    };
    equal("keys", filtered(&target, request).await?, "ba".to_owned())
}
