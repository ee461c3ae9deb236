//! Conditions of a transaction.

use crate::case::Case;
use crate::expect::{Failure, Outcome, equal, present, refused};
use crate::proto::etcdserverpb::compare::CompareResult::{Equal, Greater, Less, NotEqual};
use crate::proto::etcdserverpb::compare::CompareTarget;
use crate::proto::etcdserverpb::compare::TargetUnion::{self, CreateRevision, Lease, ModRevision, Value, Version};
use crate::proto::etcdserverpb::{Compare, PutRequest, TxnRequest};
use crate::target::Target;
use bytes::Bytes;
use tonic::Code;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::shared(no_condition_holds),
        Case::shared(version_with_every_operator),
        Case::shared(create_revision_with_every_operator),
        Case::shared(mod_revision_with_every_operator),
        Case::shared(value_with_every_operator),
        Case::shared(lease_with_every_operator),
        Case::shared(values_compare_by_unsigned_bytes),
        Case::shared(a_missing_key_has_zero_for_every_number),
        Case::shared(a_missing_key_fails_every_comparison_of_values),
        Case::shared(a_deleted_key_is_a_missing_key),
        Case::shared(an_empty_value_is_not_a_missing_one),
        Case::shared(all_conditions_must_hold),
        Case::shared(a_condition_on_a_range_must_hold_for_every_key),
        Case::shared(a_condition_on_an_empty_range_is_about_a_missing_key),
        Case::shared(a_condition_from_a_key_on_covers_all_later_keys),
        Case::shared(a_condition_against_nothing_is_against_zero),
        Case::shared(an_empty_key_is_refused),
        Case::shared(an_empty_key_in_a_nested_condition_is_refused),
    ]
}

async fn holds(target: &Target, compare: Vec<Compare>) -> Result<bool, Failure> {
    Ok(target.txn(TxnRequest { compare, ..TxnRequest::default() }).await?.succeeded)
}

/// All operators against something less, the same and something greater than what is there.
async fn every_operator(target: &Target, name: &str, against: [TargetUnion; 3]) -> Outcome {
    let expected = [
        (Equal, [false, true, false]),
        (NotEqual, [true, false, true]),
        (Greater, [true, false, false]),
        (Less, [false, false, true]),
    ];
    for (operator, outcomes) in expected {
        for (union, outcome) in against.iter().zip(outcomes) {
            let compare = target.compare(name, operator, union.clone());
            equal(&format!("{name} {operator:?} {union:?}"), holds(target, vec![compare]).await?, outcome)?;
        }
    }
    Ok(())
}

async fn no_condition_holds(target: Target) -> Outcome {
    equal("no condition", holds(&target, vec![]).await?, true)
}

async fn version_with_every_operator(target: Target) -> Outcome {
    target.write_all(&[("a", "1"), ("a", "2")]).await?;
    every_operator(&target, "a", [1, 2, 3].map(Version)).await
}

async fn create_revision_with_every_operator(target: Target) -> Outcome {
    let created = target.write_all(&[("a", "1"), ("a", "2")]).await?[0];
    every_operator(&target, "a", [created - 1, created, created + 1].map(CreateRevision)).await
}

async fn mod_revision_with_every_operator(target: Target) -> Outcome {
    let changed = target.write_all(&[("a", "1"), ("a", "2")]).await?[1];
    every_operator(&target, "a", [changed - 1, changed, changed + 1].map(ModRevision)).await
}

async fn value_with_every_operator(target: Target) -> Outcome {
    target.write("a", "m").await?;
    every_operator(&target, "a", ["lzz", "m", "m0"].map(|value| Value(value.into()))).await
}

async fn lease_with_every_operator(target: Target) -> Outcome {
    let lease = super::lease::grant(&target, 60).await?;
    target.put(PutRequest { lease, ..target.put_request("a", "1") }).await?;
    every_operator(&target, "a", [lease - 1, lease, lease + 1].map(Lease)).await
}

async fn values_compare_by_unsigned_bytes(target: Target) -> Outcome {
    target.put(PutRequest { value: Bytes::from_static(&[0x80]), ..target.put_request("a", "") }).await?;
    every_operator(&target, "a", [&[0x7f][..], &[0x80], &[0x80, 0]].map(|value| Value(value.to_vec().into()))).await
}

async fn a_missing_key_has_zero_for_every_number(target: Target) -> Outcome {
    every_operator(&target, "none", [-1, 0, 1].map(Version)).await?;
    every_operator(&target, "none", [-1, 0, 1].map(CreateRevision)).await?;
    every_operator(&target, "none", [-1, 0, 1].map(ModRevision)).await?;
    every_operator(&target, "none", [-1, 0, 1].map(Lease)).await
}

async fn a_missing_key_fails_every_comparison_of_values(target: Target) -> Outcome {
    for operator in [Equal, NotEqual, Greater, Less] {
        for value in ["", "x"] {
            let compare = target.compare("none", operator, Value(value.into()));
            equal(&format!("{operator:?} {value:?}"), holds(&target, vec![compare]).await?, false)?;
        }
    }
    Ok(())
}

async fn a_deleted_key_is_a_missing_key(target: Target) -> Outcome {
    target.write("a", "1").await?;
    target.remove("a").await?;
    every_operator(&target, "a", [-1, 0, 1].map(ModRevision)).await?;
    equal("value", holds(&target, vec![target.compare("a", NotEqual, Value("x".into()))]).await?, false)
}

async fn an_empty_value_is_not_a_missing_one(target: Target) -> Outcome {
    target.write("a", "").await?;
    equal("equal", holds(&target, vec![target.compare("a", Equal, Value(Bytes::new()))]).await?, true)?;
    equal("less", holds(&target, vec![target.compare("a", Less, Value("x".into()))]).await?, true)
}

async fn all_conditions_must_hold(target: Target) -> Outcome {
    target.write_all(&[("a", "1"), ("b", "2")]).await?;
    let yes = target.compare("a", Equal, Value("1".into()));
    let also = target.compare("b", Equal, Version(1));
    let no = target.compare("b", Equal, Value("3".into()));
    equal("both", holds(&target, vec![yes.clone(), also.clone()]).await?, true)?;
    equal("the last fails", holds(&target, vec![yes.clone(), also.clone(), no.clone()]).await?, false)?;
    equal("the first fails", holds(&target, vec![no, yes, also]).await?, false)
}

async fn a_condition_on_a_range_must_hold_for_every_key(target: Target) -> Outcome {
    target.write_all(&[("a", "x"), ("b", "x"), ("c", "y")]).await?;
    let ranged = |end: &str| Compare { range_end: target.key(end), ..target.compare("a", Equal, Value("x".into())) };
    equal("a to c", holds(&target, vec![ranged("c")]).await?, true)?;
    equal("a to d", holds(&target, vec![ranged("d")]).await?, false)?;
    let new = |end: &str| Compare { range_end: target.key(end), ..target.compare("a", Less, Version(2)) };
    equal("versions", holds(&target, vec![new("d")]).await?, true)
}

async fn a_condition_on_an_empty_range_is_about_a_missing_key(target: Target) -> Outcome {
    let ranged = |union| Compare { range_end: target.end(), ..target.compare("", Equal, union) };
    equal("version 0", holds(&target, vec![ranged(Version(0))]).await?, true)?;
    equal("create revision 1", holds(&target, vec![ranged(CreateRevision(1))]).await?, false)?;
    equal("no value", holds(&target, vec![ranged(Value(Bytes::new()))]).await?, false)?;
    target.write("a", "1").await?;
    equal("no longer empty", holds(&target, vec![ranged(Version(0))]).await?, false)
}

async fn a_condition_from_a_key_on_covers_all_later_keys(target: Target) -> Outcome {
    target.write_all(&[("a", "1"), ("b", "2")]).await?;
    let from =
        |operator, union| Compare { range_end: Bytes::from_static(&[0]), ..target.compare("a", operator, union) };
    equal("all have a version", holds(&target, vec![from(Greater, Version(0))]).await?, true)?;
    equal("not all are 1", holds(&target, vec![from(Equal, Value("1".into()))]).await?, false)
}

async fn a_condition_against_nothing_is_against_zero(target: Target) -> Outcome {
    target.write("a", "1").await?;
    let nothing = |name: &str, compared: CompareTarget| Compare {
        target: compared.into(),
        target_union: None,
        ..target.compare(name, Equal, Version(0))
    };
    for compared in [CompareTarget::Version, CompareTarget::Create, CompareTarget::Mod] {
        equal("a key that is there", holds(&target, vec![nothing("a", compared)]).await?, false)?;
        equal("a missing key", holds(&target, vec![nothing("none", compared)]).await?, true)?;
    }
    equal("no lease", holds(&target, vec![nothing("a", CompareTarget::Lease)]).await?, true)
}

const NO_KEY: &str = "etcdserver: key is not provided";

async fn an_empty_key_is_refused(target: Target) -> Outcome {
    let compare = Compare { key: Bytes::new(), ..target.compare("a", Equal, Version(0)) };
    let request = TxnRequest { compare: vec![compare], ..TxnRequest::default() };
    refused("no key", target.txn(request).await, Code::InvalidArgument, NO_KEY)
}

async fn an_empty_key_in_a_nested_condition_is_refused(target: Target) -> Outcome {
    let compare = Compare { key: Bytes::new(), ..target.compare("a", Equal, Version(0)) };
    let nested = TxnRequest { compare: vec![compare], ..TxnRequest::default() };
    let request = TxnRequest {
        failure: vec![crate::target::txn_op(nested)],
        success: vec![target.put_op("a", "1")],
        ..TxnRequest::default()
    };
    refused("no key", target.txn(request).await, Code::InvalidArgument, NO_KEY)?;
    equal("nothing is done", present("an answer", Some(target.value("a").await?))?, None)
}
