//! A session: requests that are applied once, and asked again until they are answered.

use crate::endpoints::{Endpoints, Settings};
use crate::error::{CallError, Failure, refused};
use crate::sequences::{Sequence, Sequences};
use quorate_server::proto::etcdserverpb::{
    DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, TxnRequest, TxnResponse,
};
use quorate_server::proto::quorate::v1::call_request::Request;
use quorate_server::proto::quorate::v1::call_response::Answer;
use quorate_server::proto::quorate::v1::session_client::SessionClient;
use quorate_server::proto::quorate::v1::{Bar, CallRequest, CloseRequest, OpenRequest, SessionId};
use std::collections::BTreeSet;
use std::future::{Future, Ready, ready};
use std::time::Duration;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// A client's session with a cluster. Requests may be made at the same time, as many as the cluster's window allows; more wait.
///
/// Dropping a request's future gives it up: it may have been applied, once at most, and after the session's next request it will not
/// be applied any more.
///
/// In a session that was opened [in order](Session::open_in_order) requests are applied in the order of the calls of [`Session::put`] and its
/// kin, whenever their futures are polled, and as many of them under way together as there may be otherwise. So a future that is kept
/// and not polled holds up those that were made after it: await them all together, or drop what is not wanted. What is given up
/// or fails holds up nobody, and does not take along what comes after it.
#[derive(Debug)]
pub struct Session {
    endpoints: Endpoints,
    id: SessionId,
    sequences: Sequences,
    in_order: bool,
    patience: Option<Duration>,
}

impl Session {
    /// Opens a session, with whichever member answers first. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`CallError::NoSessions`]; [`CallError::Refused`] by witnesses alone; [`CallError::NotTaken`] if nobody answers within the
    /// patience.
    pub async fn open(settings: Settings) -> Result<Session, CallError> {
        Session::open_as(settings, false).await
    }

    /// Opens a session whose requests are applied in the order in which they are made, also those that are under way together. Must be
    /// called within a tokio runtime.
    ///
    /// # Errors
    /// As [`Session::open`]; and [`CallError::NoOrder`].
    pub async fn open_in_order(settings: Settings) -> Result<Session, CallError> {
        Session::open_as(settings, true).await
    }

    async fn open_as(settings: Settings, in_order: bool) -> Result<Session, CallError> {
        let endpoints = Endpoints::new(&settings);
        let patience = settings.patience;
        let opened = persist(&endpoints, patience, no_turn, |channel, _| async move {
            Ok(client_of(channel).open(OpenRequest { in_order }).await?.into_inner())
        });
        let opened = opened.await.map_err(|error| match error {
            // At worst a session was opened that nobody uses: that is no doubt worth telling.
            CallError::InDoubt { last, .. } => CallError::NotTaken { last },
            other => other,
        })?;
        let id = opened.session.ok_or(CallError::WrongAnswer)?;
        if in_order && !opened.in_order {
            return Err(CallError::NoOrder);
        }
        Ok(Session { endpoints, id, sequences: Sequences::new(opened.window), in_order, patience })
    }

    /// etcd's Put, applied exactly once.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub fn put(&self, request: PutRequest) -> impl Future<Output = Result<PutResponse, CallError>> + Send {
        let call = self.call(Request::Put(request));
        async move {
            match call.await? {
                Answer::Put(answer) => Ok(answer),
                _ => Err(CallError::WrongAnswer),
            }
        }
    }

    /// etcd's DeleteRange, applied exactly once.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub fn delete_range(
        &self,
        request: DeleteRangeRequest,
    ) -> impl Future<Output = Result<DeleteRangeResponse, CallError>> + Send {
        let call = self.call(Request::DeleteRange(request));
        async move {
            match call.await? {
                Answer::DeleteRange(answer) => Ok(answer),
                _ => Err(CallError::WrongAnswer),
            }
        }
    }

    /// etcd's Txn, applied exactly once.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub fn txn(&self, request: TxnRequest) -> impl Future<Output = Result<TxnResponse, CallError>> + Send {
        let call = self.call(Request::Txn(request));
        async move {
            match call.await? {
                Answer::Txn(answer) => Ok(answer),
                _ => Err(CallError::WrongAnswer),
            }
        }
    }

    /// Tells the cluster to forget the session, so that its room is free at once. A session that is not closed makes room when
    /// others need it.
    ///
    /// # Errors
    /// As [`CallError`] says; nothing is wrong with what was answered before.
    pub async fn close(self) -> Result<(), CallError> {
        let id = self.id;
        persist(&self.endpoints, self.patience, no_turn, |channel, _| async move {
            client_of(channel).close(CloseRequest { session: Some(id) }).await.map(|_| ())
        })
        .await
    }

    /// The session's name, for logs.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    fn call(&self, request: Request) -> impl Future<Output = Result<Answer, CallError>> + Send {
        // In order the call has its number from here, and not from when somebody polls it.
        let claimed = self.in_order.then(|| self.sequences.claim());
        async move {
            let sequence = match claimed {
                Some(claimed) => {
                    claimed.reach_window().await;
                    claimed
                }
                None => self.sequences.take().await,
            };
            self.call_as(&sequence, &request).await
        }
    }

    async fn call_as(&self, sequence: &Sequence<'_>, request: &Request) -> Result<Answer, CallError> {
        let (id, turn) = (self.id, || sequence.next_turn());
        let (answer, in_doubt) = persist(&self.endpoints, self.patience, turn, |channel, in_doubt| async move {
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

/// Where nothing is in order, nothing comes before its turn.
fn no_turn() -> Ready<()> {
    ready(())
}

fn client_of(channel: Channel) -> SessionClient<Channel> {
    // What the server answers is as long as what was asked for.
    SessionClient::new(channel).max_decoding_message_size(usize::MAX)
}

/// What comes of it, unless it takes longer.
async fn within<T>(deadline: Option<Instant>, it: impl Future<Output = T>) -> Option<T> {
    match deadline {
        None => Some(it.await),
        Some(deadline) => tokio::time::timeout_at(deadline, it).await.ok(),
    }
}

/// Tries one member after another until one answers, all have refused for good, or the patience is over. Each try is told whether an
/// earlier one may have got through. After one that came before its turn, `turn` says when another one is worth it.
async fn persist<T, F: Future<Output = Result<T, Status>>, G: Future<Output = ()>>(
    endpoints: &Endpoints,
    patience: Option<Duration>,
    turn: impl Fn() -> G,
    attempt: impl Fn(Channel, bool) -> F,
) -> Result<T, CallError> {
    let deadline = patience.map(|patience| Instant::now() + patience);
    let mut in_doubt = false;
    // Whose last word is a refusal for good.
    let mut refusing = BTreeSet::new();
    let mut last = String::from("there was no time to ask");
    let mut tries = 0;
    loop {
        tokio::time::sleep(endpoints.pause_before(tries)).await;
        let (at, channel) = endpoints.favourite();
        let status = match within(deadline, attempt(channel, in_doubt)).await {
            Some(Ok(answer)) => return Ok(answer),
            Some(Err(status)) => status,
            None => {
                in_doubt = true;
                break;
            }
        };
        let failure = Failure::of(&status);
        if failure == Failure::BeforeItsTurn {
            refusing.remove(&at);
            last = status.message().to_owned();
            match within(deadline, turn()).await {
                Some(()) => continue,
                None => break,
            }
        }
        match failure {
            // Once a copy may be under way, only the log knows how it ends: a refusal on the way there proves nothing.
            Failure::Final if !in_doubt => return Err(refused(&status)),
            Failure::Final | Failure::Elsewhere => refusing.insert(at),
            Failure::NotTaken | Failure::MayHaveArrived | Failure::BeforeItsTurn => refusing.remove(&at),
        };
        in_doubt |= failure == Failure::MayHaveArrived;
        last = status.message().to_owned();
        if refusing.len() == endpoints.len() {
            return Err(if in_doubt { CallError::InDoubt { last, waiting_may_help: false } } else { refused(&status) });
        }
        endpoints.pass_over(at);
        tries += 1;
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            break;
        }
    }
    Err(if in_doubt { CallError::InDoubt { last, waiting_may_help: true } } else { CallError::NotTaken { last } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Two members that answer so, one try after the other; the last answer for ever.
    async fn ending(statuses: &[Status]) -> (usize, CallError) {
        let endpoints = Endpoints::new(&Settings::new(["a:1", "b:1"]).unwrap());
        let tries = Cell::new(0);
        let ended = persist(&endpoints, None, no_turn, |_, _| {
            let at = tries.replace(tries.get() + 1);
            let status = statuses.get(at).or(statuses.last()).cloned();
            async move { Err::<(), Status>(status.unwrap()) }
        });
        let ended = ended.await.unwrap_err();
        (tries.get(), ended)
    }

    #[tokio::test]
    async fn a_request_in_doubt_that_every_member_refuses_for_good_is_not_asked_without_end() {
        let lost = Status::unavailable("etcdserver: request timed out");
        let refusal = Status::invalid_argument("etcdserver: request is too large");
        let last = refusal.message().to_owned();
        let told = CallError::InDoubt { last: last.clone(), waiting_may_help: false };
        assert_eq!(ending(&[lost.clone(), refusal.clone()]).await, (3, told.clone()));
        // Who lost it once more may have taken it since.
        assert_eq!(ending(&[lost.clone(), refusal.clone(), lost, refusal.clone()]).await, (5, told));
        let refused = CallError::Refused { code: Code::InvalidArgument, message: last };
        assert_eq!(ending(&[refusal]).await, (1, refused));
    }

    #[tokio::test]
    async fn a_member_that_knows_no_sessions_is_passed_over_and_all_of_them_are_told() {
        let unknown = Status::unimplemented("unknown service");
        let told = CallError::NoSessions { message: "unknown service".to_owned() };
        assert_eq!(ending(std::slice::from_ref(&unknown)).await, (2, told));
        let refusal = Status::invalid_argument("no");
        let (tries, error) = ending(&[unknown, refusal]).await;
        assert!(tries == 2 && matches!(error, CallError::Refused { .. }), "{error:?}");
    }
}
