//! Writing one pair.

use crate::case::Case;
use crate::expect::{Outcome, equal, holds, present, refused};
use crate::proto::etcdserverpb::PutRequest;
use crate::target::{Target, revision};
use bytes::Bytes;
use tonic::Code;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::shared(an_overwrite_keeps_the_creation_and_counts_up),
        Case::shared(a_key_that_was_deleted_begins_anew),
        Case::shared(the_header_has_the_revision_of_the_write),
        Case::shared(a_value_may_be_empty),
        Case::shared(a_value_may_be_any_bytes),
        Case::shared(an_empty_key_is_refused),
        Case::shared(the_pair_before_is_answered_if_asked_for),
        Case::shared(the_pair_before_is_not_answered_unasked),
        Case::shared(a_new_key_has_no_pair_before),
        Case::shared(a_put_can_keep_the_value),
        Case::shared(a_put_that_keeps_the_value_needs_a_key),
        Case::shared(a_put_that_keeps_the_value_must_bring_none),
        Case::shared(a_put_can_keep_the_lease),
        Case::shared(a_put_that_keeps_the_lease_needs_a_key),
        Case::shared(a_put_that_keeps_the_lease_must_bring_none),
        Case::shared(a_put_can_keep_both),
        Case::shared(a_put_under_an_unknown_lease_is_refused),
        Case::shared(the_first_of_several_mistakes_is_named),
        Case::shared(a_refused_put_leaves_no_trace),
        Case::shared(equal_values_still_make_a_new_version),
    ]
}

const NO_KEY: &str = "etcdserver: key is not provided";
const NOT_FOUND: &str = "etcdserver: key not found";
const VALUE_GIVEN: &str = "etcdserver: value is provided";
const LEASE_GIVEN: &str = "etcdserver: lease is provided";
const NO_LEASE: &str = "etcdserver: requested lease not found";

async fn an_overwrite_keeps_the_creation_and_counts_up(target: Target) -> Outcome {
    let revisions = target.write_all(&[("a", "1"), ("a", "2"), ("a", "3")]).await?;
    let pair = present("the pair", target.read("a").await?)?;
    equal("create, mod", (pair.create_revision, pair.mod_revision), (revisions[0], revisions[2]))?;
    equal("version and value", (pair.version, pair.value), (3, Bytes::from_static(b"3")))
}

async fn a_key_that_was_deleted_begins_anew(target: Target) -> Outcome {
    target.write_all(&[("a", "1"), ("a", "2")]).await?;
    target.remove("a").await?;
    let again = target.write("a", "3").await?;
    let pair = present("the pair", target.read("a").await?)?;
    equal("create, mod, version", (pair.create_revision, pair.mod_revision, pair.version), (again, again, 1))
}

async fn the_header_has_the_revision_of_the_write(target: Target) -> Outcome {
    for value in ["1", "2"] {
        let put = target.write("a", value).await?;
        equal("mod revision", target.read("a").await?.map(|pair| pair.mod_revision), Some(put))?;
    }
    Ok(())
}

async fn a_value_may_be_empty(target: Target) -> Outcome {
    target.write("a", "").await?;
    equal("value", target.value("a").await?, Some(String::new()))
}

async fn a_value_may_be_any_bytes(target: Target) -> Outcome {
    let value: Bytes = (0..=255).collect::<Vec<u8>>().into();
    target.put(PutRequest { value: value.clone(), ..target.put_request("a", "") }).await?;
    equal("value", target.read("a").await?.map(|pair| pair.value), Some(value))
}

async fn an_empty_key_is_refused(target: Target) -> Outcome {
    let request = PutRequest { value: Bytes::from_static(b"1"), ..PutRequest::default() };
    refused("no key", target.put(request).await, Code::InvalidArgument, NO_KEY)
}

async fn the_pair_before_is_answered_if_asked_for(target: Target) -> Outcome {
    target.write_all(&[("a", "1"), ("a", "2")]).await?;
    let before = target.read("a").await?;
    let answer = target.put(PutRequest { prev_kv: true, ..target.put_request("a", "3") }).await?;
    equal("the pair before", answer.prev_kv, before)
}

async fn the_pair_before_is_not_answered_unasked(target: Target) -> Outcome {
    target.write("a", "1").await?;
    equal("the pair before", target.put(target.put_request("a", "2")).await?.prev_kv, None)
}

async fn a_new_key_has_no_pair_before(target: Target) -> Outcome {
    let request = PutRequest { prev_kv: true, ..target.put_request("a", "1") };
    equal("a first put", target.put(request.clone()).await?.prev_kv, None)?;
    target.remove("a").await?;
    equal("a put after a deletion", target.put(request).await?.prev_kv, None)
}

async fn a_put_can_keep_the_value(target: Target) -> Outcome {
    target.write("a", "1").await?;
    let answer = target.put(PutRequest { ignore_value: true, prev_kv: true, ..target.put_request("a", "") }).await?;
    let before = present("the pair before", answer.prev_kv)?;
    equal("its value", &before.value, &Bytes::from_static(b"1"))?;
    let pair = present("the pair", target.read("a").await?)?;
    equal("value and version", (pair.value, pair.version), (Bytes::from_static(b"1"), 2))?;
    equal("mod revision", pair.mod_revision, revision(answer.header.as_ref()))
}

async fn a_put_that_keeps_the_value_needs_a_key(target: Target) -> Outcome {
    let request = PutRequest { ignore_value: true, ..target.put_request("a", "") };
    refused("never put", target.put(request.clone()).await, Code::InvalidArgument, NOT_FOUND)?;
    target.write("a", "1").await?;
    target.remove("a").await?;
    refused("deleted", target.put(request).await, Code::InvalidArgument, NOT_FOUND)
}

async fn a_put_that_keeps_the_value_must_bring_none(target: Target) -> Outcome {
    target.write("a", "1").await?;
    let request = PutRequest { ignore_value: true, ..target.put_request("a", "2") };
    refused("both", target.put(request).await, Code::InvalidArgument, VALUE_GIVEN)
}

async fn a_put_can_keep_the_lease(target: Target) -> Outcome {
    let lease = super::lease::grant(&target, 60).await?;
    target.put(PutRequest { lease, ..target.put_request("a", "1") }).await?;
    target.put(PutRequest { ignore_lease: true, ..target.put_request("a", "2") }).await?;
    let pair = present("the pair", target.read("a").await?)?;
    equal("value and lease", (pair.value, pair.lease), (Bytes::from_static(b"2"), lease))
}

async fn a_put_that_keeps_the_lease_needs_a_key(target: Target) -> Outcome {
    let request = PutRequest { ignore_lease: true, ..target.put_request("a", "1") };
    refused("no such key", target.put(request).await, Code::InvalidArgument, NOT_FOUND)
}

async fn a_put_that_keeps_the_lease_must_bring_none(target: Target) -> Outcome {
    target.write("a", "1").await?;
    let request = PutRequest { ignore_lease: true, lease: 7, ..target.put_request("a", "1") };
    refused("both", target.put(request).await, Code::InvalidArgument, LEASE_GIVEN)
}

async fn a_put_can_keep_both(target: Target) -> Outcome {
    let lease = super::lease::grant(&target, 60).await?;
    target.put(PutRequest { lease, ..target.put_request("a", "1") }).await?;
    target.put(PutRequest { ignore_lease: true, ignore_value: true, ..target.put_request("a", "") }).await?;
    let pair = present("the pair", target.read("a").await?)?;
    equal("value, lease, version", (pair.value, pair.lease, pair.version), (Bytes::from_static(b"1"), lease, 2))
}

async fn a_put_under_an_unknown_lease_is_refused(target: Target) -> Outcome {
    let request = PutRequest { lease: 987_654_321, ..target.put_request("a", "1") };
    refused("an unknown lease", target.put(request).await, Code::NotFound, NO_LEASE)
}

async fn the_first_of_several_mistakes_is_named(target: Target) -> Outcome {
    let all = PutRequest {
        value: Bytes::from_static(b"1"),
        lease: 7,
        prev_kv: false,
        ignore_value: true,
        ignore_lease: true,
        key: Bytes::new(),
    };
    refused("no key", target.put(all.clone()).await, Code::InvalidArgument, NO_KEY)?;
    let keyed = PutRequest { key: target.key("a"), ..all };
    refused("a value", target.put(keyed.clone()).await, Code::InvalidArgument, VALUE_GIVEN)?;
    let without_value = PutRequest { value: Bytes::new(), ..keyed };
    refused("a lease", target.put(without_value).await, Code::InvalidArgument, LEASE_GIVEN)
}

async fn a_refused_put_leaves_no_trace(target: Target) -> Outcome {
    let before = target.write("a", "1").await?;
    for request in [
        PutRequest { lease: 987_654_321, ..target.put_request("a", "2") },
        PutRequest { ignore_value: true, ..target.put_request("a", "2") },
    ] {
        holds("it is refused", target.put(request).await.is_err(), "an answer")?;
    }
    let pair = present("the pair", target.read("a").await?)?;
    equal("mod revision, version", (pair.mod_revision, pair.version), (before, 1))
}

async fn equal_values_still_make_a_new_version(target: Target) -> Outcome {
    let revisions = target.write_all(&[("a", "1"), ("a", "1")]).await?;
    let pair = present("the pair", target.read("a").await?)?;
    equal("mod revision, version", (pair.mod_revision, pair.version), (revisions[1], 2))
}
