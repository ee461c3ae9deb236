//! Quorate's own Session service: etcd's writes, applied exactly once.
//!
//! What is answered was decided with the log; an error decides nothing. That is all a client needs to know to be right.

use std::sync::Arc;

use prost::Message;
use quorate_keyspace::{DeleteRangeRequest as Delete, PutRequest as Put, Reply, Request as Command};
use quorate_machine::ClientId;
use quorate_types::ClusterId;
use tonic::{Request, Response, Status};

use crate::answers::{delete_response, mismatch, put_response, txn_response};
use crate::backend::{Backend, SessionAnswer, SessionCall};
use crate::conversion::ConvertedTxn;
use crate::errors::BackendError;
use crate::front::Front;
use crate::proto::quorate::v1::call_request::Request as Wanted;
use crate::proto::quorate::v1::call_response::Answer;
use crate::proto::quorate::v1::session_server::Session;
use crate::proto::quorate::v1::{
    Bar, CallRequest, CallResponse, CloseRequest, CloseResponse, OpenRequest, OpenResponse, Refusal, SessionId,
};

pub(crate) struct SessionService<B>(pub(crate) Arc<Front<B>>);

impl From<ClientId> for SessionId {
    fn from(client: ClientId) -> SessionId {
        SessionId { cluster_id: client.cluster.0, nonce: client.nonce }
    }
}

impl From<SessionId> for ClientId {
    fn from(session: SessionId) -> ClientId {
        ClientId { cluster: ClusterId(session.cluster_id), nonce: session.nonce }
    }
}

fn request_bytes(wanted: &Wanted) -> usize {
    match wanted {
        Wanted::Put(put) => put.encoded_len(),
        Wanted::DeleteRange(delete) => delete.encoded_len(),
        Wanted::Txn(txn) => txn.encoded_len(),
    }
}

fn named(session: Option<SessionId>) -> Result<ClientId, BackendError> {
    session.map(ClientId::from).ok_or_else(|| BackendError::Malformed("the session is not named".to_owned()))
}

#[tonic::async_trait]
impl<B: Backend> Session for SessionService<B> {
    async fn open(&self, request: Request<OpenRequest>) -> Result<Response<OpenResponse>, Status> {
        let in_order = request.into_inner().in_order;
        let (client, window) = self.0.in_time(self.0.backend.open_session(in_order)).await?;
        let header = Some(self.0.local_header());
        Ok(Response::new(OpenResponse { header, session: Some(client.into()), window, in_order }))
    }

    async fn call(&self, request: Request<CallRequest>) -> Result<Response<CallResponse>, Status> {
        Ok(Response::new(CallResponse { answer: Some(self.answer_call(request.into_inner()).await?) }))
    }

    async fn close(&self, request: Request<CloseRequest>) -> Result<Response<CloseResponse>, Status> {
        let client = named(request.into_inner().session)?;
        if self.is_ours(client) {
            self.0.in_time(self.0.backend.close_session(client)).await?;
        }
        Ok(Response::new(CloseResponse { header: Some(self.0.local_header()) }))
    }
}

impl<B: Backend> SessionService<B> {
    /// What another cluster's session asks needs no place in this one's log to be refused.
    fn is_ours(&self, client: ClientId) -> bool {
        client.cluster.0 == self.0.backend.local().header.cluster_id
    }

    async fn answer_call(&self, request: CallRequest) -> Result<Answer, BackendError> {
        let CallRequest { session, sequence, acked_below, is_retry, request } = request;
        let client = named(session)?;
        // As long as etcd's own method takes, and whatever else is in the call: a repetition must not be refused for its own length.
        let too_large = request.as_ref().is_some_and(|wanted| request_bytes(wanted) > self.0.config.max_request_bytes);
        let command = self.command(request)?;
        if too_large {
            return Err(BackendError::RequestTooLarge);
        }
        if !self.is_ours(client) {
            return Ok(Answer::Bar(Bar::SessionExpired.into()));
        }
        let call = SessionCall { client, sequence, acked_below, is_retry, request: command };
        match self.0.in_time(self.0.backend.call_in_session(call)).await? {
            SessionAnswer::Reply(reply) => self.answer_of(reply),
            SessionAnswer::Expired => Ok(Answer::Bar(Bar::SessionExpired.into())),
            SessionAnswer::Acknowledged => Ok(Answer::Bar(Bar::Acknowledged.into())),
            SessionAnswer::NotKept => Ok(Answer::Bar(Bar::AnswerNotKept.into())),
        }
    }

    /// Checked as etcd's own methods check it: what every replica would refuse needs no place in the log.
    fn command(&self, request: Option<Wanted>) -> Result<Command, BackendError> {
        let command = match request {
            Some(Wanted::Put(put)) => Command::Put(Put::from(put)),
            Some(Wanted::DeleteRange(delete)) => Command::DeleteRange(Delete::from(delete)),
            Some(Wanted::Txn(txn)) => Command::Txn(ConvertedTxn::new(txn, self.0.config.max_txn_ops)?.txn),
            None => return Err(BackendError::Malformed("the call has no request that this version knows".to_owned())),
        };
        command.check()?;
        Ok(command)
    }

    fn answer_of(&self, reply: Reply) -> Result<Answer, BackendError> {
        let header = self.0.local_header();
        match reply {
            Reply::Put { .. } => Ok(Answer::Put(put_response(header, reply)?)),
            Reply::Delete { .. } => Ok(Answer::DeleteRange(delete_response(header, reply)?)),
            Reply::Txn { .. } => Ok(Answer::Txn(txn_response(header, reply)?)),
            Reply::Error(refusal) => {
                let refusal = BackendError::from(refusal);
                Ok(Answer::Refusal(Refusal { code: refusal.code() as i32, message: refusal.to_string() }))
            }
            other => Err(mismatch(&other)),
        }
    }
}
