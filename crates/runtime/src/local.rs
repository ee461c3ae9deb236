//! All members of a cluster in one process.

use crate::handle::NodeHandle;
use crate::node_loop::StopCause;
use crate::start::{Running, RuntimeConfig, StartError, start};
use quorate_machine::StateMachine;
use quorate_node::NodeConfig;
use quorate_protocol::{Replica, Start};
use quorate_types::{ClusterId, Member, Membership, NodeId};
use std::path::Path;
use tokio::net::TcpListener;

/// Client requests, and messages, that may wait at each member.
const QUEUED_MAX: usize = 1024;

/// Members that share a process, for tests, examples and trials. They are real ones, on files and sockets, but whatever ends the
/// process ends them all: it survives nothing that a single member would not.
pub struct LocalCluster<S: StateMachine> {
    members: Vec<Running<S>>,
}

impl<S: StateMachine<Duty = ()>> LocalCluster<S> {
    /// Founds members 1, 2, … `count` of cluster 1 on free ports of this machine, each with a directory of its number in `directory`,
    /// which must be empty: who a member is includes its port. Must be called inside a `LocalSet`.
    ///
    /// # Errors
    /// When a port or a file cannot be had, or there are members in the directory already.
    pub async fn found<R>(directory: &Path, count: u64, config: R::Config) -> Result<LocalCluster<S>, StartError>
    where
        R: Replica<Message: Send>,
    {
        let system = |what| move |source| StartError::System { what, source };
        let (mut listeners, mut founders) = (Vec::new(), Vec::new());
        for id in (1..=count).map(NodeId) {
            let listener = TcpListener::bind("127.0.0.1:0").await.map_err(system("cannot listen"))?;
            let address = listener.local_addr().map_err(system("cannot learn the port"))?;
            founders.push(Member { peer_urls: vec![format!("http://{address}")], ..Member::voter(id) });
            listeners.push(listener);
        }
        let founders = Membership::new(founders);
        let run = |(member, listener): (&Member, TcpListener)| {
            let data_directory = directory.join(member.id.to_string());
            if data_directory.exists() {
                let taken = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
                return Err(system("cannot found a member in a directory that has one")(taken));
            }
            let config = RuntimeConfig::<R, S> {
                cluster: ClusterId(1),
                me: member.id,
                start: Start::Found(founders.clone()),
                node: NodeConfig::new(config.clone()),
                duty: (),
                data_directory,
                name: member.id.to_string(),
                peer_urls: member.peer_urls.clone(),
                client_urls: Vec::new(),
                queued_requests_max: QUEUED_MAX,
                queued_messages_max: QUEUED_MAX,
                recorder: None,
            };
            start(config, vec![listener], Box::new(|_| {}))
        };
        let members = founders.members().iter().zip(listeners).map(run).collect::<Result<_, _>>()?;
        Ok(LocalCluster { members })
    }

    /// The ways in, in order of number. Any member takes any request.
    pub fn handles(&self) -> impl Iterator<Item = &NodeHandle<S>> {
        self.members.iter().map(|member| &member.handle)
    }

    /// Stops all, and says why each ended. One whose loop panicked is left out: its panic was reported when it happened.
    pub async fn shut_down(self) -> Vec<StopCause> {
        for member in &self.members {
            member.handle.shut_down().await;
        }
        let mut causes = Vec::new();
        for member in self.members {
            causes.extend(member.ended.await.ok());
        }
        causes
    }
}
