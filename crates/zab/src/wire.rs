//! Messages as bytes.

use crate::connection::Connection;
use crate::message::{FollowerWord, LeaderWord, Message, Standing, Vote};
use crate::zxid::{Mark, Zxid};
use quorate_protocol::ReadToken;
use quorate_types::{NodeId, Slot};
use quorate_wire::{Reader, Wire, WireError};

/// The kind, and two fields.
fn put<A: Wire, B: Wire>(kind: u8, fields: (A, B), out: &mut Vec<u8>) {
    out.push(kind);
    fields.encode(out);
}

impl Wire for Vote {
    fn encode(&self, out: &mut Vec<u8>) {
        self.current_epoch.encode(out);
        self.last.encode(out);
        self.candidate.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Vote { current_epoch: u32::decode(input)?, last: Zxid::decode(input)?, candidate: NodeId::decode(input)? })
    }
}

impl Wire for Standing {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Standing::Looking => 0,
            Standing::Following => 1,
            Standing::Leading => 2,
        });
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        match input.byte("standing")? {
            0 => Ok(Standing::Looking),
            1 => Ok(Standing::Following),
            2 => Ok(Standing::Leading),
            kind => Err(WireError::UnknownKind { what: "standing", kind }),
        }
    }
}

impl Wire for FollowerWord {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            FollowerWord::Cepoch { accepted_epoch, last } => put(0, (*accepted_epoch, *last), out),
            FollowerWord::AckEpoch { epoch, current_epoch, last, counts } => {
                put(1, (*epoch, *current_epoch), out);
                last.encode(out);
                counts.encode(out);
            }
            FollowerWord::Received { through } => {
                out.push(2);
                through.encode(out);
            }
            FollowerWord::AckNewLeader { epoch, through } => put(3, (*epoch, *through), out),
            FollowerWord::Ack { epoch, through } => put(4, (*epoch, *through), out),
            FollowerWord::Pong { epoch, round, received, acked } => {
                put(5, (*epoch, *round), out);
                received.encode(out);
                acked.encode(out);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        match input.byte("follower's word")? {
            0 => Ok(FollowerWord::Cepoch { accepted_epoch: u32::decode(input)?, last: Mark::decode(input)? }),
            1 => Ok(FollowerWord::AckEpoch {
                epoch: u32::decode(input)?,
                current_epoch: u32::decode(input)?,
                last: Mark::decode(input)?,
                counts: bool::decode(input)?,
            }),
            2 => Ok(FollowerWord::Received { through: Slot::decode(input)? }),
            3 => Ok(FollowerWord::AckNewLeader { epoch: u32::decode(input)?, through: Mark::decode(input)? }),
            4 => Ok(FollowerWord::Ack { epoch: u32::decode(input)?, through: Mark::decode(input)? }),
            5 => Ok(FollowerWord::Pong {
                epoch: u32::decode(input)?,
                round: input.u64("round")?,
                received: Slot::decode(input)?,
                acked: Option::decode(input)?,
            }),
            kind => Err(WireError::UnknownKind { what: "follower's word", kind }),
        }
    }
}

impl Wire for LeaderWord {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            LeaderWord::NewEpoch { epoch } => {
                out.push(0);
                epoch.encode(out);
            }
            LeaderWord::Diff { from } => {
                out.push(1);
                from.encode(out);
            }
            LeaderWord::Truncate { to } => {
                out.push(2);
                to.encode(out);
            }
            LeaderWord::Snapshot => out.push(3),
            LeaderWord::Proposal { first, txns } => {
                out.push(4);
                first.encode(out);
                txns.encode(out);
            }
            LeaderWord::NewLeader { epoch } => {
                out.push(5);
                epoch.encode(out);
            }
            LeaderWord::UpToDate { committed } => {
                out.push(6);
                committed.encode(out);
            }
            LeaderWord::Commit { through } => {
                out.push(7);
                through.encode(out);
            }
            LeaderWord::Ping { round, everyone } => put(8, (*round, *everyone), out),
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        match input.byte("leader's word")? {
            0 => Ok(LeaderWord::NewEpoch { epoch: u32::decode(input)? }),
            1 => Ok(LeaderWord::Diff { from: Mark::decode(input)? }),
            2 => Ok(LeaderWord::Truncate { to: Mark::decode(input)? }),
            3 => Ok(LeaderWord::Snapshot),
            4 => Ok(LeaderWord::Proposal { first: Slot::decode(input)?, txns: Vec::decode(input)? }),
            5 => Ok(LeaderWord::NewLeader { epoch: u32::decode(input)? }),
            6 => Ok(LeaderWord::UpToDate { committed: Mark::decode(input)? }),
            7 => Ok(LeaderWord::Commit { through: Mark::decode(input)? }),
            8 => Ok(LeaderWord::Ping { round: input.u64("round")?, everyone: Slot::decode(input)? }),
            kind => Err(WireError::UnknownKind { what: "leader's word", kind }),
        }
    }
}

impl Wire for Message {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Message::Notification { vote, round, standing } => {
                put(0, (*vote, *round), out);
                standing.encode(out);
            }
            Message::Up { connection, word } => {
                out.push(1);
                connection.encode(out);
                word.encode(out);
            }
            Message::Down { connection, sequence, word } => {
                put(2, (*connection, *sequence), out);
                word.encode(out);
            }
            Message::Closed { connection } => {
                out.push(3);
                connection.encode(out);
            }
            Message::Committed { through } => {
                out.push(4);
                through.encode(out);
            }
            Message::ReadIndex { token } => {
                out.push(5);
                token.encode(out);
            }
            Message::ReadAnswer { token, slot } => put(6, (*token, *slot), out),
            Message::Confirm { connection, round } => put(7, (*connection, *round), out),
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        match input.byte("zab message kind")? {
            0 => Ok(Message::Notification {
                vote: Option::decode(input)?,
                round: input.u64("election round")?,
                standing: Standing::decode(input)?,
            }),
            1 => Ok(Message::Up { connection: Connection::decode(input)?, word: FollowerWord::decode(input)? }),
            2 => Ok(Message::Down {
                connection: Connection::decode(input)?,
                sequence: input.u64("sequence")?,
                word: LeaderWord::decode(input)?,
            }),
            3 => Ok(Message::Closed { connection: Connection::decode(input)? }),
            4 => Ok(Message::Committed { through: Mark::decode(input)? }),
            5 => Ok(Message::ReadIndex { token: ReadToken::decode(input)? }),
            6 => Ok(Message::ReadAnswer { token: ReadToken::decode(input)?, slot: Option::decode(input)? }),
            7 => Ok(Message::Confirm { connection: Connection::decode(input)?, round: input.u64("round")? }),
            kind => Err(WireError::UnknownKind { what: "zab message", kind }),
        }
    }
}
