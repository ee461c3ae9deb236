//! A session: requests that are applied once, and asked again until they are answered.

use crate::endpoints::{Endpoints, Settings};
use crate::error::{CallError, Failure, refused};
use crate::sequences::Sequences;
use quorate_server::proto::etcdserverpb::{
    DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, TxnRequest, TxnResponse,
};
use quorate_server::proto::quorate::v1::call_request::Request;
use quorate_server::proto::quorate::v1::call_response::Answer;
use quorate_server::proto::quorate::v1::session_client::SessionClient;
use quorate_server::proto::quorate::v1::{Bar, CallRequest, CloseRequest, OpenRequest, SessionId};
use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// A client's session with a cluster. Requests may be made at the same time, as many as the cluster's window allows; more wait.
///
/// Dropping a request's future gives it up: it may have been applied, once at most, and after the session's next request it will not
/// be applied any more.
#[derive(Debug)]
pub struct Session {
    endpoints: Endpoints,
    id: SessionId,
    sequences: Sequences,
    patience: Option<Duration>,
}

impl Session {
    /// Opens a session, with whichever member answers first. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`CallError::NoSessions`]; [`CallError::NotTaken`] if nobody answers within the patience.
    pub async fn open(settings: Settings) -> Result<Session, CallError> {
        let endpoints = Endpoints::new(&settings);
        let patience = settings.patience;
        let opened = persist(&endpoints, patience, |channel, _| async move {
            Ok(client_of(channel).open(OpenRequest {}).await?.into_inner())
        });
        let opened = opened.await.map_err(|error| match error {
            // At worst a session was opened that nobody uses: that is no doubt worth telling.
            CallError::InDoubt { last } => CallError::NotTaken { last },
            other => other,
        })?;
        let id = opened.session.ok_or(CallError::WrongAnswer)?;
        Ok(Session { endpoints, id, sequences: Sequences::new(opened.window), patience })
    }

    /// etcd's Put, applied exactly once.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn put(&self, request: PutRequest) -> Result<PutResponse, CallError> {
        match self.call(Request::Put(request)).await? {
            Answer::Put(answer) => Ok(answer),
            _ => Err(CallError::WrongAnswer),
        }
    }

    /// etcd's DeleteRange, applied exactly once.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn delete_range(&self, request: DeleteRangeRequest) -> Result<DeleteRangeResponse, CallError> {
        match self.call(Request::DeleteRange(request)).await? {
            Answer::DeleteRange(answer) => Ok(answer),
            _ => Err(CallError::WrongAnswer),
        }
    }

    /// etcd's Txn, applied exactly once.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, CallError> {
        match self.call(Request::Txn(request)).await? {
            Answer::Txn(answer) => Ok(answer),
            _ => Err(CallError::WrongAnswer),
        }
    }

    /// Tells the cluster to forget the session, so that its room is free at once. A session that is not closed makes room when
    /// others need it.
    ///
    /// # Errors
    /// As [`CallError`] says; nothing is wrong with what was answered before.
    pub async fn close(self) -> Result<(), CallError> {
        let id = self.id;
        persist(&self.endpoints, self.patience, |channel, _| async move {
            client_of(channel).close(CloseRequest { session: Some(id) }).await.map(|_| ())
        })
        .await
    }

    /// The session's name, for logs.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    async fn call(&self, request: Request) -> Result<Answer, CallError> {
        let sequence = self.sequences.take().await;
        let (id, sequence, request) = (self.id, &sequence, &request);
        let (answer, in_doubt) = persist(&self.endpoints, self.patience, |channel, in_doubt| async move {
            let call = CallRequest {
                session: Some(id),
                sequence: sequence.number,
                acked_below: sequence.acked_below(),
                is_retry: in_doubt,
                request: Some(request.clone()),
            };
            Ok((client_of(channel).call(call).await?.into_inner().answer, in_doubt))
        })
        .await?;
        match answer.ok_or(CallError::WrongAnswer)? {
            Answer::Refusal(refusal) => {
                Err(CallError::Refused { code: Code::from(refusal.code), message: refusal.message })
            }
            Answer::Bar(bar) => Err(match Bar::try_from(bar) {
                Ok(Bar::SessionExpired) => CallError::SessionExpired { in_doubt },
                Ok(Bar::AnswerNotKept) => CallError::AnswerLost,
                // This client acknowledges no sequence that it still asks for.
                Ok(Bar::Acknowledged | Bar::Unspecified) | Err(_) => CallError::WrongAnswer,
            }),
            answer => Ok(answer),
        }
    }
}

fn client_of(channel: Channel) -> SessionClient<Channel> {
    // What the server answers is as long as what was asked for.
    SessionClient::new(channel).max_decoding_message_size(usize::MAX)
}

/// Tries one member after another until one answers, or the patience is over. Each try is told whether an earlier one may have got
/// through.
async fn persist<T, F: Future<Output = Result<T, Status>>>(
    endpoints: &Endpoints,
    patience: Option<Duration>,
    attempt: impl Fn(Channel, bool) -> F,
) -> Result<T, CallError> {
    let deadline = patience.map(|patience| Instant::now() + patience);
    let mut in_doubt = false;
    let mut last = String::from("there was no time to ask");
    for tries in 0.. {
        tokio::time::sleep(endpoints.pause_before(tries)).await;
        let (at, channel) = endpoints.favourite();
        let outcome = match deadline {
            None => Some(attempt(channel, in_doubt).await),
            Some(deadline) => tokio::time::timeout_at(deadline, attempt(channel, in_doubt)).await.ok(),
        };
        let status = match outcome {
            Some(Ok(answer)) => return Ok(answer),
            Some(Err(status)) => status,
            None => {
                in_doubt = true;
                break;
            }
        };
        match Failure::of(&status) {
            // Once a copy may be under way, only the log knows how it ends: a refusal on the way there proves nothing.
            Failure::Final if !in_doubt => return Err(refused(&status)),
            Failure::Final | Failure::NotTaken => {}
            Failure::MayHaveArrived => in_doubt = true,
        }
        last = status.message().to_owned();
        endpoints.pass_over(at);
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            break;
        }
    }
    Err(if in_doubt { CallError::InDoubt { last } } else { CallError::NotTaken { last } })
}
