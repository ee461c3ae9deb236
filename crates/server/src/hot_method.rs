//! The methods that most requests are for, from the request's bytes to the answer's, without the layers that serve the rest.
//! Codes and words of all refusals are those that the layers give.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::server::SendResponse;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response};
use prost::Message;
use tonic::{Code, Status};

use crate::admission::Charge;
use crate::backend::Backend;
use crate::dispatch::{Dispatch, GRPC_CONTENT_TYPE, is_protobuf_grpc, worded};
use crate::errors::BackendError;
use crate::front::Front;
use crate::kv::KvService;
use crate::metrics::CountedMethod;

const SERVICE: &str = "etcdserverpb.KV";
/// A client names here how it compressed; nothing here unpacks that.
const GRPC_ENCODING: &str = "grpc-encoding";
/// What stands before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// A unary method of the key-value service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HotMethod {
    Range,
    Put,
    DeleteRange,
    Txn,
}

impl HotMethod {
    /// The method that a request is for, unless it is for another, or odd in a way that only the layers know to answer.
    pub(crate) fn of<T>(request: &Request<T>) -> Option<HotMethod> {
        let method = match request.uri().path() {
            "/etcdserverpb.KV/Range" => HotMethod::Range,
            "/etcdserverpb.KV/Put" => HotMethod::Put,
            "/etcdserverpb.KV/DeleteRange" => HotMethod::DeleteRange,
            "/etcdserverpb.KV/Txn" => HotMethod::Txn,
            _ => return None,
        };
        let headers = request.headers();
        let is_plain =
            request.method() == Method::POST && is_protobuf_grpc(headers) && !headers.contains_key(GRPC_ENCODING);
        is_plain.then_some(method)
    }

    fn name(self) -> &'static str {
        match self {
            HotMethod::Range => "Range",
            HotMethod::Put => "Put",
            HotMethod::DeleteRange => "DeleteRange",
            HotMethod::Txn => "Txn",
        }
    }

    /// Reads the request, has it answered, and sends the answer; or stops when the client gives up.
    pub(crate) async fn answer<B: Backend>(
        self,
        dispatch: Arc<Dispatch<B>>,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
    ) {
        let front = &dispatch.front;
        let counted = CountedMethod::find(SERVICE, self.name());
        front.counts.start(counted);
        let answered = {
            let mut answer = std::pin::pin!(self.answer_admitted(&dispatch, request));
            poll_fn(|context| match answer.as_mut().poll(context) {
                Poll::Ready(answered) => Poll::Ready(Some(answered)),
                Poll::Pending => respond.poll_reset(context).map(|_| None),
            })
            .await
        };
        let Some(answered) = answered else { return };
        let (sent, code) = match answered {
            Ok(message) => (send_message(respond, message), Code::Ok),
            Err(status) => {
                let status = worded(status, SERVICE, self.name());
                let code = status.code();
                let (head, _) = status.into_http::<()>().into_parts();
                (respond.send_response(Response::from_parts(head, ()), true).map(|_| ()), code)
            }
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "an answer could not be sent");
        }
        front.counts.finish(counted, code);
    }

    async fn answer_admitted<B: Backend>(
        self,
        dispatch: &Dispatch<B>,
        request: Request<RecvStream>,
    ) -> Result<Bytes, Status> {
        dispatch.admit(request.uri().path(), request.headers())?;
        let front = &dispatch.front;
        let Ok(_slot) = front.request_slots.try_acquire() else {
            front.counts.requests_refused.fetch_add(1, Ordering::Relaxed);
            return Err(BackendError::TooManyRequests.into());
        };
        let mut body = request.into_body();
        // Held until the answer is there: the decoded request outlives its body.
        let charge = Charge::new(&front.request_bytes);
        let message = receive_message(front, &mut body, &charge).await?;
        let service = KvService(Arc::clone(front));
        match self {
            HotMethod::Range => Ok(framed(&service.answer_range(decode(message)?).await?)),
            HotMethod::Put => Ok(framed(&service.answer_put(decode(message)?).await?)),
            HotMethod::DeleteRange => Ok(framed(&service.answer_delete_range(decode(message)?).await?)),
            HotMethod::Txn => Ok(framed(&service.answer_txn(decode(message)?).await?)),
        }
    }
}

fn decode<M: Message + Default>(message: Bytes) -> Result<M, Status> {
    M::decode(message).map_err(|error| Status::internal(error.to_string()))
}

/// The first message of a request, of which there is one; what follows it is read and not looked at.
async fn receive_message<B: Backend>(
    front: &Front<B>,
    body: &mut RecvStream,
    charge: &Charge,
) -> Result<Bytes, Status> {
    // Nearly always all of it: then it stays where it was received.
    let mut first = Bytes::new();
    let mut gathered = BytesMut::new();
    let mut whole = None;
    while let Some(data) = poll_fn(|context| body.poll_data(context)).await {
        let data = data.map_err(|error| Status::internal(error.to_string()))?;
        charge.take(data.len())?;
        // It is charged for, so the client may send more.
        let _ = body.flow_control().release_capacity(data.len());
        if first.is_empty() {
            first = data;
        } else if whole.is_none_or(|whole| first.len().max(gathered.len()) < whole) {
            if gathered.is_empty() {
                gathered.extend_from_slice(&first);
            }
            gathered.extend_from_slice(&data);
        }
        let received = if gathered.is_empty() { &first[..] } else { &gathered[..] };
        if whole.is_none() && received.len() >= PREFIX_BYTES {
            whole = Some(PREFIX_BYTES + message_bytes(received, front.config.max_message_bytes())?);
        }
        if body.is_end_stream() {
            break;
        }
    }
    let received = if gathered.is_empty() { first } else { gathered.freeze() };
    match whole {
        Some(whole) if received.len() >= whole => Ok(received.slice(PREFIX_BYTES..whole)),
        None if received.is_empty() => Err(Status::internal("Missing request message.")),
        _ => Err(Status::internal("Unexpected EOF decoding stream.")),
    }
}

/// What the prefix says of the message's length.
fn message_bytes(prefix: &[u8], max: usize) -> Result<usize, Status> {
    let [flag, length @ ..] = prefix.first_chunk::<PREFIX_BYTES>().copied().unwrap_or_default();
    match flag {
        0 => {}
        1 => {
            return Err(Status::internal(
                "protocol error: received message with compressed-flag but no grpc-encoding was specified",
            ));
        }
        flag => {
            return Err(Status::internal(format!(
                "protocol error: received message with invalid compression flag: {flag} (valid flags are 0 and 1), \
                 while sending request"
            )));
        }
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > max {
        return Err(Status::out_of_range(format!(
            "Error, decoded message length too large: found {length} bytes, the limit is: {max} bytes"
        )));
    }
    Ok(length)
}

fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut out = BytesMut::with_capacity(PREFIX_BYTES + length);
    out.put_u8(0);
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    message.encode(&mut out).expect("a growing buffer takes any message");
    out.freeze()
}

fn send_message(mut respond: SendResponse<Bytes>, message: Bytes) -> Result<(), h2::Error> {
    let mut head = Response::new(());
    head.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(GRPC_CONTENT_TYPE));
    let mut stream = respond.send_response(head, false)?;
    stream.send_data(message, false)?;
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
    stream.send_trailers(trailers)
}
