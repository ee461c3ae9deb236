//! A client's way to the members, and what its errors mean.

use crate::chance::Chance;
use crate::request::{Answer, Outcome, Request, answer_of_txn, as_txn, bytes_of, end_of_prefix, pair_of, value_bytes};
use quorate_server::proto::etcdserverpb::kv_client::KvClient;
use quorate_server::proto::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

const CONNECT_PATIENCE: Duration = Duration::from_secs(1);

/// Where members serve clients, at this moment.
#[derive(Debug, Default)]
pub struct Endpoints {
    /// Names and addresses.
    members: Mutex<Vec<(String, String)>>,
}

impl Endpoints {
    /// Replaces all.
    pub fn set(&self, members: Vec<(String, String)>) {
        *self.members.lock().unwrap_or_else(PoisonError::into_inner) = members;
    }

    /// All.
    #[must_use]
    pub fn all(&self) -> Vec<(String, String)> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Any one.
    pub fn any(&self, chance: &mut Chance) -> Option<(String, String)> {
        chance.pick(&self.all()).cloned()
    }
}

/// A connection to one member: made before anything is asked, so that what never left is known not to have happened.
///
/// # Errors
/// When nobody listens there, or not in time.
pub async fn connect(address: &str) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(address.to_owned()).map_err(|error| error.to_string())?;
    let endpoint = endpoint.connect_timeout(CONNECT_PATIENCE).tcp_nodelay(true);
    match tokio::time::timeout(CONNECT_PATIENCE, endpoint.connect()).await {
        Ok(connected) => connected.map_err(|error| error.to_string()),
        Err(_) => Err("no connection in time".to_owned()),
    }
}

/// A client that stays with a member until something goes wrong there.
#[derive(Debug)]
pub struct Client {
    chance: Chance,
    patience: Duration,
    connection: Option<(String, Channel)>,
}

impl Client {
    /// Waits so long for an answer.
    #[must_use]
    pub fn new(chance: Chance, patience: Duration) -> Client {
        Client { chance, patience, connection: None }
    }

    /// The member to be asked next and the connection to it; `None` if the one that was tried does not answer.
    pub async fn connection(&mut self, endpoints: &Endpoints) -> Option<(String, Channel)> {
        // Now and then without need: no client belongs to a member.
        if self.connection.is_some() && self.chance.happens(2) {
            self.connection = None;
        }
        if self.connection.is_none() {
            let (name, address) = endpoints.any(&mut self.chance)?;
            self.connection = connect(&address).await.ok().map(|channel| (name, channel));
        }
        self.connection.clone()
    }

    /// Sends a request over it and says what became of it.
    pub async fn ask(&mut self, channel: Channel, request: &Request) -> Outcome {
        let answered = match tokio::time::timeout(self.patience, send(channel, request)).await {
            Ok(answered) => answered,
            Err(_) => Err(Status::deadline_exceeded("no answer in time")),
        };
        match answered {
            Ok(answer) => Outcome::Done(answer),
            Err(status) => {
                self.connection = None;
                let why = format!("{:?}: {}", status.code(), status.message());
                // A read that was not answered has told nobody anything.
                if !request.writes() || is_certain(&status) { Outcome::Failed(why) } else { Outcome::Unknown(why) }
            }
        }
    }
}

async fn send(channel: Channel, request: &Request) -> Result<Answer, Status> {
    let mut client = KvClient::new(channel).max_decoding_message_size(usize::MAX);
    if let Some(txn) = as_txn(request) {
        return client.txn(txn).await.map(|response| answer_of_txn(response.into_inner()));
    }
    let (range, one) = match request {
        Request::Put { key, value, lease } => {
            let put =
                PutRequest { key: bytes_of(key), value: value_bytes(value), lease: *lease, ..PutRequest::default() };
            let response = client.put(put).await?.into_inner();
            let revision = response.header.map_or(0, |header| header.revision);
            return Ok(Answer { revision, succeeded: true, ..Answer::default() });
        }
        Request::Delete { key } => {
            let delete = DeleteRangeRequest { key: bytes_of(key), ..DeleteRangeRequest::default() };
            let response = client.delete_range(delete).await?.into_inner();
            let revision = response.header.map_or(0, |header| header.revision);
            return Ok(Answer { revision, succeeded: true, deleted: response.deleted, ..Answer::default() });
        }
        Request::Scan { prefix, serializable } => {
            let (key, range_end) = (bytes_of(prefix), end_of_prefix(prefix));
            (RangeRequest { key, range_end, serializable: *serializable, ..RangeRequest::default() }, false)
        }
        Request::Get { key } => (RangeRequest { key: bytes_of(key), ..RangeRequest::default() }, true),
        // Sent above.
        Request::Swap { .. } | Request::Transact(_) => return Err(Status::internal("not a transaction")),
    };
    let response = client.range(range).await?.into_inner();
    let revision = response.header.map_or(0, |header| header.revision);
    let mut found: Vec<_> = response.kvs.into_iter().map(pair_of).map(Some).collect();
    if one && found.is_empty() {
        found.push(None);
    }
    Ok(Answer { revision, succeeded: true, found, deleted: 0 })
}

/// Whether the server says that nothing was done. Anything that is not one of its refusals is no such word.
#[must_use]
pub fn is_certain(status: &Status) -> bool {
    let refuses = matches!(
        status.code(),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange | Code::NotFound | Code::ResourceExhausted
    );
    status.message().starts_with("etcdserver: ") && (refuses || status.message() == "etcdserver: no leader")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_servers_own_refusals_are_certain() {
        let certain = |code, text: &str| is_certain(&Status::new(code, text));
        assert!(certain(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"));
        assert!(certain(Code::NotFound, "etcdserver: requested lease not found"));
        assert!(certain(Code::Unavailable, "etcdserver: no leader"));
        assert!(!certain(Code::Unavailable, "etcdserver: leader changed"));
        assert!(!certain(Code::Unavailable, "etcdserver: request timed out"));
        assert!(!certain(Code::Unavailable, "etcdserver: server stopped"));
        assert!(!certain(Code::ResourceExhausted, "h2 protocol error"), "of the transport, not the server");
        assert!(!certain(Code::Unknown, "transport error"));
    }
}
