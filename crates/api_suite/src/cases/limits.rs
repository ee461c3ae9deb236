//! How large requests may be, and metadata that holds for all methods.

use crate::case::Case;
use crate::differences::RANGE_AS_A_STREAM;
use crate::expect::{Outcome, equal, holds, refused};
use crate::proto::etcdserverpb::{DeleteRangeRequest, PutRequest};
use crate::target::{Target, always, put_op};
use bytes::Bytes;
use tonic::Code;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::shared(a_value_just_within_the_limit_is_taken),
        Case::shared(a_put_over_the_limit_is_refused),
        Case::shared(a_transaction_over_the_limit_is_refused),
        Case::shared(a_deletion_over_the_limit_is_refused),
        Case::shared(a_message_far_over_the_limit_is_refused_unread),
        Case::shared(an_answer_may_be_larger_than_a_request),
        Case::shared(a_client_may_require_a_leader),
        Case::shared(a_client_may_name_its_version),
        Case::shared(a_range_can_be_streamed),
    ]
}

/// The default bound on a request.
const LIMIT: usize = 3 << 19;
const TOO_LARGE: &str = "etcdserver: request is too large";

fn put_of(target: &Target, bytes: usize) -> PutRequest {
    PutRequest { value: vec![b'x'; bytes].into(), ..target.put_request("a", "") }
}

async fn a_value_just_within_the_limit_is_taken(target: Target) -> Outcome {
    target.put(put_of(&target, LIMIT - 1024)).await?;
    equal("bytes", target.read("a").await?.map(|pair| pair.value.len()), Some(LIMIT - 1024))?;
    target.remove("a").await.map(|_| ()).map_err(Into::into)
}

async fn a_put_over_the_limit_is_refused(target: Target) -> Outcome {
    refused("a put", target.put(put_of(&target, LIMIT)).await, Code::InvalidArgument, TOO_LARGE)?;
    equal("nothing is done", target.read("a").await?, None)
}

async fn a_transaction_over_the_limit_is_refused(target: Target) -> Outcome {
    let half = |name: &str| put_op(PutRequest { key: target.key(name), ..put_of(&target, LIMIT / 2) });
    let answer = target.txn(always(vec![half("a"), half("b")])).await;
    refused("a transaction", answer, Code::InvalidArgument, TOO_LARGE)
}

async fn a_deletion_over_the_limit_is_refused(target: Target) -> Outcome {
    let key: Bytes = vec![b'x'; LIMIT].into();
    let answer = target.delete(DeleteRangeRequest { key, ..DeleteRangeRequest::default() }).await;
    refused("a deletion", answer, Code::InvalidArgument, TOO_LARGE)
}

async fn a_message_far_over_the_limit_is_refused_unread(target: Target) -> Outcome {
    let answer = target.put(put_of(&target, LIMIT + (1 << 20))).await;
    let code = answer.as_ref().err().map(tonic::Status::code);
    equal("code", code, Some(Code::ResourceExhausted))
}

async fn an_answer_may_be_larger_than_a_request(target: Target) -> Outcome {
    for name in ["a", "b", "c", "d", "e"] {
        target.put(PutRequest { key: target.key(name), ..put_of(&target, 1 << 20) }).await?;
    }
    let answer = target.range(target.all_request()).await?;
    let bytes: usize = answer.kvs.iter().map(|pair| pair.value.len()).sum();
    equal("bytes", bytes, 5 << 20)?;
    target.delete(target.delete_all_request()).await.map(|_| ()).map_err(Into::into)
}

async fn a_client_may_require_a_leader(target: Target) -> Outcome {
    let mut request = tonic::Request::new(target.put_request("a", "1"));
    request.metadata_mut().insert("hasleader", "true".parse().expect("plain text is metadata"));
    let answer = target.kv().put(request).await?.into_inner();
    holds("it is done", answer.header.is_some(), answer)
}

async fn a_client_may_name_its_version(target: Target) -> Outcome {
    for version in ["3.5.1", "3.9", "anything"] {
        let mut request = tonic::Request::new(target.put_request("a", "1"));
        request.metadata_mut().insert("client-api-version", version.parse().expect("plain text is metadata"));
        let answer = target.kv().put(request).await?.into_inner();
        holds("it is done", answer.header.is_some(), answer)?;
    }
    Ok(())
}

async fn a_range_can_be_streamed(target: Target) -> Outcome {
    target.write_all(&[("a", "1"), ("b", "2"), ("c", "3")]).await?;
    let answer = target.kv().range_stream(target.all_request()).await;
    if target.differing(&RANGE_AS_A_STREAM, true, false) {
        return equal("code", answer.err().map(|status| status.code()), Some(Code::Unimplemented));
    }
    let mut stream = answer?.into_inner();
    let mut pairs = Vec::new();
    while let Some(part) = stream.message().await? {
        pairs.extend(part.range_response.map(|range| range.kvs).unwrap_or_default());
    }
    equal("pairs of all parts", pairs, target.range(target.all_request()).await?.kvs)
}
