//! Asking a member who belongs to its cluster, before one belongs to it: a frame with a question in place of the hello.

use crate::acquaintance::Acquaintance;
use crate::peers::{invalid, read_frame, timed_out};
use quorate_types::{ClusterId, Membership, NodeId, Slot};
use quorate_wire::{Reader, Wire, WireError, decode_exact, encode_frame, encode_to_bytes};
use std::io;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// No hello is so short.
const QUESTION: &[u8] = b"QRTWHO?1";
const TIMEOUT: Duration = Duration::from_secs(2);

/// What a member tells of its cluster to anybody who asks on its peer port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// The cluster.
    pub cluster: ClusterId,
    /// The protocol it runs.
    pub protocol: String,
    /// The slot of the last change of members that it knows decided: who tells of a later one knows better.
    pub decided_at: Slot,
    /// The members.
    pub members: Membership,
    /// Ids that were removed.
    pub removed: Vec<NodeId>,
}

impl Introduction {
    pub(crate) fn of(cluster: ClusterId, protocol: &str, acquaintance: &Acquaintance) -> Introduction {
        Introduction {
            cluster,
            protocol: protocol.to_owned(),
            decided_at: acquaintance.roster.decided_at(),
            members: acquaintance.members().clone(),
            removed: acquaintance.roster.removed().collect(),
        }
    }
}

pub(crate) fn is_question(frame: &[u8]) -> bool {
    frame == QUESTION
}

/// Asks the member that listens for peers at `address` (host:port). Gives up after a few seconds.
///
/// # Errors
/// When nobody answers there, or not in these words.
pub async fn ask_members(address: &str) -> io::Result<Introduction> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(&encode_frame(QUESTION)).await?;
        read_frame(&mut stream).await
    };
    let answer = tokio::time::timeout(TIMEOUT, asked).await.map_err(timed_out)??;
    decode_exact(answer).map_err(invalid)
}

pub(crate) async fn answer(stream: &mut (impl AsyncWriteExt + Unpin), introduction: &Introduction) -> io::Result<()> {
    stream.write_all(&encode_frame(&encode_to_bytes(introduction))).await
}

impl Wire for Introduction {
    fn encode(&self, out: &mut Vec<u8>) {
        self.cluster.encode(out);
        self.protocol.encode(out);
        self.decided_at.encode(out);
        self.members.encode(out);
        self.removed.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Introduction {
            cluster: ClusterId::decode(input)?,
            protocol: String::decode(input)?,
            decided_at: Slot::decode(input)?,
            members: Membership::decode(input)?,
            removed: Vec::decode(input)?,
        })
    }
}
