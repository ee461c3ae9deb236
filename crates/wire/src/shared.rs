//! The codec for the types every crate shares.

use crate::codec::{Reader, Wire, WireError, put_bytes, put_u64};
use bytes::Bytes;
use quorate_types::{
    ClusterId, DiskId, Incarnation, Member, MemberRole, Membership, NodeId, Session, Slot, Ticket, Time,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Newtypes over one number share one representation: the number.
trait Number: Sized {
    const WHAT: &'static str;
    fn number(&self) -> u64;
    fn from_number(number: u64) -> Self;
}

impl Number for NodeId {
    const WHAT: &'static str = "node id";
    fn number(&self) -> u64 {
        self.0
    }
    fn from_number(number: u64) -> Self {
        NodeId(number)
    }
}
impl Number for ClusterId {
    const WHAT: &'static str = "cluster id";
    fn number(&self) -> u64 {
        self.0
    }
    fn from_number(number: u64) -> Self {
        ClusterId(number)
    }
}
impl Number for DiskId {
    const WHAT: &'static str = "disk id";
    fn number(&self) -> u64 {
        self.0
    }
    fn from_number(number: u64) -> Self {
        DiskId(number)
    }
}
impl Number for Incarnation {
    const WHAT: &'static str = "incarnation";
    fn number(&self) -> u64 {
        self.0
    }
    fn from_number(number: u64) -> Self {
        Incarnation(number)
    }
}
impl Number for Slot {
    const WHAT: &'static str = "slot";
    fn number(&self) -> u64 {
        self.0
    }
    fn from_number(number: u64) -> Self {
        Slot(number)
    }
}
impl Number for Ticket {
    const WHAT: &'static str = "ticket";
    fn number(&self) -> u64 {
        self.0
    }
    fn from_number(number: u64) -> Self {
        Ticket(number)
    }
}
impl Number for Time {
    const WHAT: &'static str = "time";
    fn number(&self) -> u64 {
        self.0
    }
    fn from_number(number: u64) -> Self {
        Time(number)
    }
}
impl Number for u64 {
    const WHAT: &'static str = "number";
    fn number(&self) -> u64 {
        *self
    }
    fn from_number(number: u64) -> Self {
        number
    }
}

impl<T: Number> Wire for T {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(self.number(), out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(T::from_number(input.u64(T::WHAT)?))
    }
}

impl Wire for bool {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        match input.byte("flag")? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(WireError::Malformed { what: "flag" }),
        }
    }
}

impl Wire for Bytes {
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(self, out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        input.bytes("byte string")
    }
}

impl Wire for String {
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(self.as_bytes(), out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        let bytes = input.bytes("text")?;
        String::from_utf8(bytes.to_vec()).map_err(|_| WireError::Malformed { what: "text" })
    }
}

impl<T: Wire> Wire for Option<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            None => out.push(0),
            Some(value) => {
                out.push(1);
                value.encode(out);
            }
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        match input.byte("option")? {
            0 => Ok(None),
            1 => Ok(Some(T::decode(input)?)),
            kind => Err(WireError::UnknownKind { what: "option", kind }),
        }
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(self.len() as u64, out);
        for value in self {
            value.encode(out);
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        let count = input.u64("list length")?;
        // Every element takes at least one byte, so a longer claim is a lie and must not allocate.
        if count > input.remaining() as u64 {
            return Err(WireError::Truncated { what: "list" });
        }
        (0..count).map(|_| T::decode(input)).collect()
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
        self.1.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok((A::decode(input)?, B::decode(input)?))
    }
}

impl<A: Wire, B: Wire, C: Wire> Wire for (A, B, C) {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
        self.1.encode(out);
        self.2.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok((A::decode(input)?, B::decode(input)?, C::decode(input)?))
    }
}

impl Wire for u8 {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        input.byte("small number")
    }
}

impl Wire for u32 {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(u64::from(*self), out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        u32::try_from(input.u64("number")?).map_err(|_| WireError::Malformed { what: "number" })
    }
}

impl Wire for usize {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(*self as u64, out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        usize::try_from(input.u64("count")?).map_err(|_| WireError::Malformed { what: "count" })
    }
}

/// In nanoseconds. One of more than 584 years is written as that.
impl Wire for Duration {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(u64::try_from(self.as_nanos()).unwrap_or(u64::MAX), out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Duration::from_nanos(input.u64("duration")?))
    }
}

impl<T: Wire> Wire for VecDeque<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_all(self.len(), self, out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Vec::decode(input)?.into())
    }
}

impl<T: Wire + Ord> Wire for BTreeSet<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_all(self.len(), self, out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Vec::decode(input)?.into_iter().collect())
    }
}

impl<K: Wire + Ord, V: Wire> Wire for BTreeMap<K, V> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(self.len() as u64, out);
        for (key, value) in self {
            key.encode(out);
            value.encode(out);
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Vec::<(K, V)>::decode(input)?.into_iter().collect())
    }
}

fn encode_all<'a, T: Wire + 'a>(count: usize, values: impl IntoIterator<Item = &'a T>, out: &mut Vec<u8>) {
    put_u64(count as u64, out);
    values.into_iter().for_each(|value| value.encode(out));
}

impl Wire for Session {
    fn encode(&self, out: &mut Vec<u8>) {
        self.owner.encode(out);
        self.incarnation.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Session { owner: input.u64("session owner")?, incarnation: Incarnation::decode(input)? })
    }
}

impl Wire for MemberRole {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self {
            MemberRole::Voter => 0,
            MemberRole::Learner => 1,
            MemberRole::Witness => 2,
            MemberRole::Joining => 3,
        });
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        match input.byte("member role")? {
            0 => Ok(MemberRole::Voter),
            1 => Ok(MemberRole::Learner),
            2 => Ok(MemberRole::Witness),
            3 => Ok(MemberRole::Joining),
            kind => Err(WireError::UnknownKind { what: "member role", kind }),
        }
    }
}

impl Wire for Member {
    fn encode(&self, out: &mut Vec<u8>) {
        self.id.encode(out);
        self.role.encode(out);
        self.disk.encode(out);
        self.name.encode(out);
        self.peer_urls.encode(out);
        self.client_urls.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Member {
            id: NodeId::decode(input)?,
            role: MemberRole::decode(input)?,
            disk: Option::decode(input)?,
            name: String::decode(input)?,
            peer_urls: Vec::decode(input)?,
            client_urls: Vec::decode(input)?,
        })
    }
}

impl Wire for Membership {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(self.members().len() as u64, out);
        for member in self.members() {
            member.encode(out);
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Membership::new(Vec::<Member>::decode(input)?))
    }
}
