//! The clients' way to the node.

use bytes::Bytes;
use quorate_machine::StateMachine;
use quorate_node::{AskError, BackupId, BackupPiece, Consistency, MemberChange, MemberFacts, NodeStatus, RequestError};
use quorate_types::NodeId;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// A client's request on its way into the loop.
pub(crate) enum ClientArrival<S: StateMachine> {
    Write {
        payload: Bytes,
        reply: oneshot::Sender<Result<S::Reply, RequestError>>,
    },
    Read {
        query: S::Query,
        consistency: Consistency,
        reply: oneshot::Sender<Result<S::Reply, RequestError>>,
    },
    Errand {
        payload: Bytes,
        reply: oneshot::Sender<Result<Bytes, RequestError>>,
    },
    ChangeMembers {
        change: MemberChange,
        reply: oneshot::Sender<Result<(), AskError>>,
    },
    MoveLeader {
        to: NodeId,
        reply: oneshot::Sender<Result<(), AskError>>,
    },
    /// Nothing but a round of the loop.
    Wake,
    OpenBackup {
        reply: oneshot::Sender<Option<BackupId>>,
    },
    NextOfBackup {
        id: BackupId,
        bytes_max: usize,
        reply: oneshot::Sender<Option<BackupPiece>>,
    },
    CloseBackup {
        id: BackupId,
    },
    Status {
        reply: oneshot::Sender<RuntimeStatus>,
    },
    Shutdown,
}

impl<S: StateMachine> ClientArrival<S> {
    /// Answers that this node took nothing.
    pub(crate) fn refuse(self) {
        // Nobody waiting any more is no fault.
        match self {
            ClientArrival::Write { reply, .. } | ClientArrival::Read { reply, .. } => {
                let _ = reply.send(Err(RequestError::Stopped));
            }
            ClientArrival::Errand { reply, .. } => {
                let _ = reply.send(Err(RequestError::Stopped));
            }
            ClientArrival::ChangeMembers { reply, .. } | ClientArrival::MoveLeader { reply, .. } => {
                let _ = reply.send(Err(AskError::Request(RequestError::Stopped)));
            }
            // Of these a dropped reply says so, or there is none.
            ClientArrival::OpenBackup { .. }
            | ClientArrival::NextOfBackup { .. }
            | ClientArrival::CloseBackup { .. }
            | ClientArrival::Status { .. }
            | ClientArrival::Wake
            | ClientArrival::Shutdown => {}
        }
    }
}

/// The node's marks and the runtime's own counts.
#[derive(Clone, Debug)]
pub struct RuntimeStatus {
    /// The node's.
    pub node: NodeStatus,
    /// What only its protocol has to say of itself: names with values in words.
    pub particulars: Vec<(&'static str, String)>,
    /// Messages to peers dropped because a queue was full, since start.
    pub messages_dropped: u64,
    /// What each member said of itself that was spoken to since start, this one included.
    pub met: BTreeMap<NodeId, MemberFacts>,
    /// The members that this node has a connection to, and for how long by now.
    pub connected: BTreeMap<NodeId, Duration>,
}

/// Asks the node of this process. Cheap to clone. Queues are bounded: a full one is [`RequestError::TooManyRequests`] at once.
pub struct NodeHandle<S: StateMachine> {
    requests: mpsc::Sender<ClientArrival<S>>,
}

impl<S: StateMachine> Clone for NodeHandle<S> {
    fn clone(&self) -> NodeHandle<S> {
        NodeHandle { requests: self.requests.clone() }
    }
}

impl<S: StateMachine> NodeHandle<S> {
    pub(crate) fn new(requests: mpsc::Sender<ClientArrival<S>>) -> NodeHandle<S> {
        NodeHandle { requests }
    }

    /// Has a command applied once, and answers with what it gave.
    ///
    /// # Errors
    /// As the variants say; after [`RequestError::Unknown`] it may still take effect.
    pub async fn write(&self, payload: Bytes) -> Result<S::Reply, RequestError> {
        let (reply, answer) = oneshot::channel();
        self.requests.try_send(ClientArrival::Write { payload, reply }).map_err(refused)?;
        // A loop that ends drops the reply: whether the command will be applied is not known any more.
        answer.await.unwrap_or(Err(RequestError::Unknown))
    }

    /// Asks without changing anything.
    ///
    /// # Errors
    /// As the variants say.
    pub async fn read(&self, query: S::Query, consistency: Consistency) -> Result<S::Reply, RequestError> {
        let (reply, answer) = oneshot::channel();
        self.requests.try_send(ClientArrival::Read { query, consistency, reply }).map_err(refused)?;
        answer.await.unwrap_or(Err(RequestError::Stopped))
    }

    /// Has an errand seen to by the leader's duty, wherever that is, and answers with what it said. It may be carried out more
    /// than once, and after [`RequestError::Unknown`] too.
    ///
    /// # Errors
    /// As the variants say.
    pub async fn errand(&self, payload: Bytes) -> Result<Bytes, RequestError> {
        let (reply, answer) = oneshot::channel();
        self.requests.try_send(ClientArrival::Errand { payload, reply }).map_err(refused)?;
        answer.await.unwrap_or(Err(RequestError::Unknown))
    }

    /// Changes the members. Once it answers, the change is in what this node has decided.
    ///
    /// # Errors
    /// As the variants say; after [`RequestError::Unknown`] it may still happen.
    pub async fn change_members(&self, change: MemberChange) -> Result<(), AskError> {
        let (reply, answer) = oneshot::channel();
        self.ask(ClientArrival::ChangeMembers { change, reply }, answer).await
    }

    /// Has leadership handed over to this member. Once it answers, this node has seen it lead.
    ///
    /// # Errors
    /// As the variants say; after [`RequestError::Unknown`] it may still happen.
    pub async fn move_leader(&self, to: NodeId) -> Result<(), AskError> {
        let (reply, answer) = oneshot::channel();
        self.ask(ClientArrival::MoveLeader { to, reply }, answer).await
    }

    async fn ask(
        &self,
        arrival: ClientArrival<S>,
        answer: oneshot::Receiver<Result<(), AskError>>,
    ) -> Result<(), AskError> {
        self.requests.try_send(arrival).map_err(|error| AskError::Request(refused(error)))?;
        answer.await.unwrap_or(Err(AskError::Request(RequestError::Unknown)))
    }

    /// Has the observer called soon. A full queue is as good: the loop is about to take a round anyway.
    pub fn wake(&self) {
        let _ = self.requests.try_send(ClientArrival::Wake);
    }

    /// A backup of the state as applied now. Answers when its length is known.
    ///
    /// # Errors
    /// [`RequestError::TooManyRequests`] if too many are being taken already; [`RequestError::Stopped`].
    pub async fn backup(&self) -> Result<BackupStream<S>, RequestError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(ClientArrival::OpenBackup { reply }).await.map_err(|_| RequestError::Stopped)?;
        let id = answer.await.map_err(|_| RequestError::Stopped)?.ok_or(RequestError::TooManyRequests)?;
        let mut stream = BackupStream { requests: self.requests.clone(), id, first: None, remaining_bytes: u64::MAX };
        stream.first = stream.ask(BACKUP_PIECE_BYTES).await?;
        if let Some(first) = &stream.first {
            stream.remaining_bytes += first.len() as u64;
        }
        Ok(stream)
    }

    /// The node's marks; `None` once it has stopped.
    pub async fn status(&self) -> Option<RuntimeStatus> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(ClientArrival::Status { reply }).await.ok()?;
        answer.await.ok()
    }

    /// Stops the node. Nothing needs to be saved: whatever was acknowledged is durable.
    pub async fn shut_down(&self) {
        // A node that is gone already is as wanted.
        let _ = self.requests.send(ClientArrival::Shutdown).await;
    }
}

/// Bytes of the first piece of a backup, at most; it is only the header.
const BACKUP_PIECE_BYTES: usize = 32 << 10;

/// A backup on its way. Each piece is made when it is asked for, from a view of the state that stays as it was; dropping this lets
/// go of the view.
pub struct BackupStream<S: StateMachine> {
    requests: mpsc::Sender<ClientArrival<S>>,
    id: BackupId,
    first: Option<Bytes>,
    remaining_bytes: u64,
}

impl<S: StateMachine> BackupStream<S> {
    /// The bytes that are still to come.
    #[must_use]
    pub fn remaining_bytes(&self) -> u64 {
        self.remaining_bytes
    }

    /// The next piece, never empty, of about `bytes_max` bytes; nothing at the end.
    ///
    /// # Errors
    /// [`RequestError::Stopped`] if the node has stopped, or the view was given up: nobody asked for a minute, or a snapshot
    /// replaced the state. What came so far is worth nothing then.
    pub async fn next(&mut self, bytes_max: usize) -> Result<Option<Bytes>, RequestError> {
        let piece = match self.first.take() {
            Some(first) => {
                self.remaining_bytes -= first.len() as u64;
                Some(first)
            }
            None if self.remaining_bytes == 0 => None,
            None => self.ask(bytes_max).await?,
        };
        Ok(piece)
    }

    async fn ask(&mut self, bytes_max: usize) -> Result<Option<Bytes>, RequestError> {
        loop {
            let (reply, answer) = oneshot::channel();
            let arrival = ClientArrival::NextOfBackup { id: self.id, bytes_max, reply };
            self.requests.send(arrival).await.map_err(|_| RequestError::Stopped)?;
            match answer.await.map_err(|_| RequestError::Stopped)?.ok_or(RequestError::Stopped)? {
                BackupPiece::Counting => {}
                BackupPiece::Bytes { bytes, remaining_bytes } => {
                    self.remaining_bytes = remaining_bytes;
                    if !bytes.is_empty() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }
}

impl<S: StateMachine> Drop for BackupStream<S> {
    fn drop(&mut self) {
        // If the queue is full the node lets go of it after a while by itself.
        let _ = self.requests.try_send(ClientArrival::CloseBackup { id: self.id });
    }
}

fn refused<T>(error: mpsc::error::TrySendError<T>) -> RequestError {
    match error {
        mpsc::error::TrySendError::Full(_) => RequestError::TooManyRequests,
        mpsc::error::TrySendError::Closed(_) => RequestError::Stopped,
    }
}
