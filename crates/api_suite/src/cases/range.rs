//! Reading: which keys, which revision, how many.

use crate::case::Case;
use crate::expect::{Outcome, equal, holds, present, refused};
use crate::proto::etcdserverpb::RangeRequest;
use crate::target::{Target, revision};
use bytes::Bytes;
use tonic::Code;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::shared(one_key_is_answered_with_all_its_fields),
        Case::shared(a_missing_key_is_an_empty_answer),
        Case::shared(an_empty_key_is_refused),
        Case::shared(a_range_is_half_open),
        Case::shared(a_range_end_that_is_not_above_the_key_is_an_empty_range),
        Case::shared(one_zero_byte_as_range_end_means_all_keys_from_there),
        Case::shared(two_zero_bytes_mean_everything),
        Case::shared(keys_are_ordered_by_unsigned_bytes),
        Case::shared(a_prefix_that_ends_in_the_highest_byte_has_an_end),
        Case::shared(a_limit_cuts_and_says_more_but_counts_all),
        Case::shared(a_limit_that_is_just_enough_says_no_more),
        Case::shared(a_negative_limit_is_none),
        Case::shared(count_only_counts_whatever_the_limit),
        Case::shared(count_only_of_a_missing_key_is_zero),
        Case::shared(keys_only_leaves_the_values_out_and_nothing_else),
        Case::shared(a_past_revision_shows_the_past_under_a_present_header),
        Case::shared(a_past_revision_shows_what_was_deleted_since),
        Case::shared(before_its_first_put_a_key_is_not_there),
        Case::shared(a_revision_below_one_means_now),
        Case::shared(a_future_revision_is_refused),
        Case::shared(the_present_revision_can_be_named),
        Case::shared(a_serializable_read_needs_no_agreement_but_sees_own_writes_here),
        Case::shared(every_member_answers_a_linearizable_read_with_the_last_write),
        Case::shared(pages_at_one_revision_cover_everything_once),
        Case::shared(the_header_names_cluster_and_member),
    ]
}

async fn one_key_is_answered_with_all_its_fields(target: Target) -> Outcome {
    let put = target.write("a", "1").await?;
    let answer = target.range(target.get_request("a")).await?;
    equal("count and more", (answer.count, answer.more), (1, false))?;
    let pair = present("the pair", answer.kvs.first())?;
    equal("key and value", (&pair.key, &pair.value), (&target.key("a"), &Bytes::from_static(b"1")))?;
    equal("create, mod", (pair.create_revision, pair.mod_revision), (put, put))?;
    equal("version, lease", (pair.version, pair.lease), (1, 0))
}

async fn a_missing_key_is_an_empty_answer(target: Target) -> Outcome {
    let answer = target.range(target.get_request("none")).await?;
    equal("pairs, count, more", (answer.kvs.len(), answer.count, answer.more), (0, 0, false))?;
    holds("the header has a revision", revision(answer.header.as_ref()) > 0, answer.header)
}

async fn an_empty_key_is_refused(target: Target) -> Outcome {
    let text = "etcdserver: key is not provided";
    refused("no key", target.range(RangeRequest::default()).await, Code::InvalidArgument, text)?;
    let with_end = RangeRequest { range_end: Bytes::from_static(b"z"), ..RangeRequest::default() };
    refused("no key, but an end", target.range(with_end).await, Code::InvalidArgument, text)
}

async fn a_range_is_half_open(target: Target) -> Outcome {
    target.write_all(&[("a", "1"), ("b", "2"), ("c", "3")]).await?;
    let request = RangeRequest { range_end: target.key("c"), ..target.get_request("a") };
    equal("keys", target.names(&target.range(request).await?.kvs), vec!["a".to_owned(), "b".to_owned()])
}

async fn a_range_end_that_is_not_above_the_key_is_an_empty_range(target: Target) -> Outcome {
    target.write_all(&[("a", "1"), ("b", "2"), ("c", "3")]).await?;
    for end in ["b", "a"] {
        let request = RangeRequest { range_end: target.key(end), ..target.get_request("b") };
        let answer = target.range(request).await?;
        equal("pairs and count", (answer.kvs.len(), answer.count), (0, 0))?;
    }
    Ok(())
}

async fn one_zero_byte_as_range_end_means_all_keys_from_there(target: Target) -> Outcome {
    target.write_all(&[("a", "1"), ("b", "2"), ("c", "3")]).await?;
    let request = RangeRequest { range_end: Bytes::from_static(&[0]), limit: 2, ..target.get_request("b") };
    let answer = target.range(request).await?;
    equal("keys", target.names(&answer.kvs), vec!["b".to_owned(), "c".to_owned()])?;
    holds("count goes beyond", answer.count >= 2, answer.count)
}

async fn two_zero_bytes_mean_everything(target: Target) -> Outcome {
    target.write("a", "1").await?;
    let zero = Bytes::from_static(&[0]);
    let everything = RangeRequest { key: zero.clone(), range_end: zero, count_only: true, ..RangeRequest::default() };
    let all = target.range(everything).await?.count;
    holds("it has the key just written", all >= 1, all)
}

async fn keys_are_ordered_by_unsigned_bytes(target: Target) -> Outcome {
    let names: [&[u8]; 6] = [&[0x80], &[0xff], &[0x00], &[0x7f], b"a", b"a\0"];
    for name in names {
        target
            .put(crate::proto::etcdserverpb::PutRequest { key: target.key_of_bytes(name), ..Default::default() })
            .await?;
    }
    let found: Vec<Bytes> = target.range(target.all_request()).await?.kvs.into_iter().map(|pair| pair.key).collect();
    let order: [&[u8]; 6] = [&[0x00], b"a", b"a\0", &[0x7f], &[0x80], &[0xff]];
    equal("keys", found, order.iter().map(|name| target.key_of_bytes(name)).collect())
}

async fn a_prefix_that_ends_in_the_highest_byte_has_an_end(target: Target) -> Outcome {
    for name in [&b"a\xff"[..], b"a\xff\xff", b"b"] {
        target
            .put(crate::proto::etcdserverpb::PutRequest { key: target.key_of_bytes(name), ..Default::default() })
            .await?;
    }
    let request = RangeRequest {
        key: target.key_of_bytes(b"a\xff"),
        range_end: target.key("b"),
        count_only: true,
        ..RangeRequest::default()
    };
    equal("count", target.range(request).await?.count, 2)
}

async fn a_limit_cuts_and_says_more_but_counts_all(target: Target) -> Outcome {
    target.write_all(&[("a", "1"), ("b", "2"), ("c", "3")]).await?;
    let answer = target.range(RangeRequest { limit: 2, ..target.all_request() }).await?;
    equal("keys", target.names(&answer.kvs), vec!["a".to_owned(), "b".to_owned()])?;
    equal("more and count", (answer.more, answer.count), (true, 3))
}

async fn a_limit_that_is_just_enough_says_no_more(target: Target) -> Outcome {
    target.write_all(&[("a", "1"), ("b", "2")]).await?;
    for limit in [2, 3] {
        let answer = target.range(RangeRequest { limit, ..target.all_request() }).await?;
        equal("pairs, more, count", (answer.kvs.len(), answer.more, answer.count), (2, false, 2))?;
    }
    Ok(())
}

async fn a_negative_limit_is_none(target: Target) -> Outcome {
    target.write_all(&[("a", "1"), ("b", "2")]).await?;
    let answer = target.range(RangeRequest { limit: -1, ..target.all_request() }).await?;
    equal("pairs, more, count", (answer.kvs.len(), answer.more, answer.count), (2, false, 2))
}

async fn count_only_counts_whatever_the_limit(target: Target) -> Outcome {
    target.write_all(&[("a", "1"), ("b", "2"), ("c", "3")]).await?;
    let answer = target.range(RangeRequest { count_only: true, limit: 1, ..target.all_request() }).await?;
    equal("pairs, more, count", (answer.kvs.len(), answer.more, answer.count), (0, false, 3))
}

async fn count_only_of_a_missing_key_is_zero(target: Target) -> Outcome {
    let answer = target.range(RangeRequest { count_only: true, ..target.get_request("none") }).await?;
    equal("pairs, count", (answer.kvs.len(), answer.count), (0, 0))
}

async fn keys_only_leaves_the_values_out_and_nothing_else(target: Target) -> Outcome {
    target.write_all(&[("a", "1"), ("a", "2")]).await?;
    let full = present("the pair", target.read("a").await?)?;
    let answer = target.range(RangeRequest { keys_only: true, ..target.get_request("a") }).await?;
    let pair = present("the pair without value", answer.kvs.into_iter().next())?;
    equal("everything but the value", pair, crate::proto::mvccpb::KeyValue { value: Bytes::new(), ..full })
}

async fn a_past_revision_shows_the_past_under_a_present_header(target: Target) -> Outcome {
    let revisions = target.write_all(&[("a", "1"), ("a", "2"), ("b", "3")]).await?;
    let answer = target.range(RangeRequest { revision: revisions[0], ..target.all_request() }).await?;
    equal("pairs", target.shown(&answer.kvs), vec!["a=1".to_owned()])?;
    equal("count", answer.count, 1)?;
    equal("version then", answer.kvs[0].version, 1)?;
    let present_revision = revision(answer.header.as_ref());
    holds("the header is of now", present_revision >= revisions[2], present_revision)
}

async fn a_past_revision_shows_what_was_deleted_since(target: Target) -> Outcome {
    let put = target.write("a", "1").await?;
    let deleted = target.remove("a").await?;
    let then = target.range(RangeRequest { revision: put, ..target.get_request("a") }).await?;
    equal("before", target.shown(&then.kvs), vec!["a=1".to_owned()])?;
    let after = target.range(RangeRequest { revision: deleted, ..target.get_request("a") }).await?;
    equal("from its deletion on", after.count, 0)
}

async fn before_its_first_put_a_key_is_not_there(target: Target) -> Outcome {
    let before = target.write("a", "1").await?;
    target.write("b", "2").await?;
    let answer = target.range(RangeRequest { revision: before, ..target.get_request("b") }).await?;
    equal("count", answer.count, 0)
}

async fn a_revision_below_one_means_now(target: Target) -> Outcome {
    target.write_all(&[("a", "1"), ("a", "2")]).await?;
    for past in [0, -1, i64::MIN] {
        let answer = target.range(RangeRequest { revision: past, ..target.get_request("a") }).await?;
        equal("pairs", target.shown(&answer.kvs), vec!["a=2".to_owned()])?;
    }
    Ok(())
}

async fn a_future_revision_is_refused(target: Target) -> Outcome {
    let text = "etcdserver: mvcc: required revision is a future revision";
    let far = target.revision().await? + 1_000_000;
    for future in [far, i64::MAX] {
        let request = RangeRequest { revision: future, ..target.get_request("a") };
        refused("the future", target.range(request.clone()).await, Code::OutOfRange, text)?;
        let local = RangeRequest { serializable: true, ..request };
        refused("the future, locally", target.range(local).await, Code::OutOfRange, text)?;
    }
    Ok(())
}

async fn the_present_revision_can_be_named(target: Target) -> Outcome {
    let put = target.write("a", "1").await?;
    let answer = target.range(RangeRequest { revision: put, ..target.get_request("a") }).await?;
    equal("pairs", target.shown(&answer.kvs), vec!["a=1".to_owned()])
}

async fn a_serializable_read_needs_no_agreement_but_sees_own_writes_here(target: Target) -> Outcome {
    target.write("a", "1").await?;
    let answer = target.range(RangeRequest { serializable: true, ..target.get_request("a") }).await?;
    equal("pairs", target.shown(&answer.kvs), vec!["a=1".to_owned()])
}

async fn every_member_answers_a_linearizable_read_with_the_last_write(target: Target) -> Outcome {
    for value in ["1", "2", "3"] {
        target.write("a", value).await?;
        for step in 0..target.members() {
            equal("the value elsewhere", target.elsewhere(step).value("a").await?, Some(value.to_owned()))?;
        }
    }
    Ok(())
}

async fn pages_at_one_revision_cover_everything_once(target: Target) -> Outcome {
    let names: Vec<String> = (0..10).map(|count| format!("k{count}")).collect();
    for name in &names {
        target.write(name, "old").await?;
    }
    let mut found = Vec::new();
    let mut request = RangeRequest { limit: 3, ..target.all_request() };
    loop {
        let answer = target.range(request.clone()).await?;
        if request.revision == 0 {
            request.revision = revision(answer.header.as_ref());
        }
        found.extend(target.shown(&answer.kvs));
        target.write("k1", "new").await?;
        target.write(&format!("k55{}", found.len()), "late").await?;
        match answer.kvs.last() {
            Some(last) if answer.more => request.key = [&last.key[..], &[0]].concat().into(),
            _ => break,
        }
    }
    equal("pages", found, names.iter().map(|name| format!("{name}=old")).collect())
}

async fn the_header_names_cluster_and_member(target: Target) -> Outcome {
    let mut seen = Vec::new();
    for step in 0..target.members() {
        let here = target.elsewhere(step);
        let header = present("a header", here.range(here.get_request("a")).await?.header)?;
        holds(
            "no part of it is zero",
            header.cluster_id != 0 && header.member_id != 0 && header.raft_term != 0,
            header,
        )?;
        seen.push(header);
    }
    holds("one cluster", seen.iter().all(|header| header.cluster_id == seen[0].cluster_id), &seen)?;
    let mut members: Vec<u64> = seen.iter().map(|header| header.member_id).collect();
    members.sort_unstable();
    members.dedup();
    equal("different members", members.len(), target.members())
}
