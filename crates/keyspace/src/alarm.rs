//! Alarms: what stops a store until a person has looked.

use crate::error::KeyspaceError;
use quorate_wire::{Reader, Wire, WireError, put_u64};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlarmKind {
    /// The quota is used up: puts, transactions that put, and new leases are refused.
    NoSpace,
    /// Members disagree on what is stored: keys and leases are refused altogether.
    Corrupt,
}

impl AlarmKind {
    /// etcd's number.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            AlarmKind::NoSpace => 1,
            AlarmKind::Corrupt => 2,
        }
    }

    fn decode(input: &mut Reader) -> Result<AlarmKind, WireError> {
        match input.byte("alarm kind")? {
            1 => Ok(AlarmKind::NoSpace),
            2 => Ok(AlarmKind::Corrupt),
            kind => Err(WireError::UnknownKind { what: "alarm kind", kind }),
        }
    }

    /// The refusal it makes.
    pub(crate) fn refusal(self) -> KeyspaceError {
        match self {
            AlarmKind::NoSpace => KeyspaceError::NoSpace,
            AlarmKind::Corrupt => KeyspaceError::Corrupt,
        }
    }
}

/// A raised alarm. It stays until it is cleared by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Alarm {
    /// What is wrong.
    pub kind: AlarmKind,
    /// The member it was raised for.
    pub member: u64,
}

impl Wire for Alarm {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.kind.number());
        put_u64(self.member, out);
    }

    fn decode(input: &mut Reader) -> Result<Alarm, WireError> {
        Ok(Alarm { kind: AlarmKind::decode(input)?, member: input.u64("alarm member")? })
    }
}

/// Whether to raise or to clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AlarmAction {
    /// Raise it; answered with it also if it was raised before.
    Activate,
    /// Clear it; answered with nothing if it was not raised.
    Deactivate,
}

/// etcd's `AlarmRequest` without its GET, which is a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AlarmRequest {
    /// Raise or clear.
    pub action: AlarmAction,
    /// Which.
    pub alarm: Alarm,
}

impl Wire for AlarmRequest {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self.action {
            AlarmAction::Activate => 1,
            AlarmAction::Deactivate => 2,
        });
        self.alarm.encode(out);
    }

    fn decode(input: &mut Reader) -> Result<AlarmRequest, WireError> {
        let action = match input.byte("alarm action")? {
            1 => AlarmAction::Activate,
            2 => AlarmAction::Deactivate,
            kind => return Err(WireError::UnknownKind { what: "alarm action", kind }),
        };
        Ok(AlarmRequest { action, alarm: Alarm::decode(input)? })
    }
}
