//! Views and the configurations they belong to.

use quorate_quorum::Quorum;
use quorate_types::{Membership, NodeId};
use quorate_wire::{Reader, Wire, WireError};
use std::fmt;

/// A view of an epoch. Every epoch counts its views from 0; a view of a later epoch is greater than all of an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct View {
    /// Which configuration: 1 for the founding one, 0 where none is known yet.
    pub epoch: u64,
    /// Which view in it.
    pub number: u64,
}

impl View {
    /// The first view of an epoch.
    #[must_use]
    pub fn first_of(epoch: u64) -> View {
        View { epoch, number: 0 }
    }

    /// The view behind this one, in the same epoch.
    #[must_use]
    pub fn next(self) -> View {
        View { number: self.number.saturating_add(1), ..self }
    }

    /// Who leads it among these members: voters take turns in the order of their ids. Nobody, where nobody votes.
    #[must_use]
    pub fn primary(self, members: &Membership) -> Option<NodeId> {
        let count = members.voters().count() as u64;
        let turn = self.number.checked_rem(count)?;
        members.voters().nth(usize::try_from(turn).ok()?)
    }

    /// The next view that `wanted` leads, in the same epoch.
    #[must_use]
    pub fn next_led_by(self, wanted: NodeId, members: &Membership) -> Option<View> {
        let count = members.voters().count() as u64;
        let mut view = self;
        for _ in 0..count {
            view = view.next();
            if view.primary(members) == Some(wanted) {
                return Some(view);
            }
        }
        None
    }

    /// One number for it that only grows: what drivers call an era.
    #[must_use]
    pub fn era(self) -> u64 {
        (self.epoch << 32) | self.number.min(u64::from(u32::MAX))
    }
}

impl fmt::Display for View {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.epoch, self.number)
    }
}

impl Wire for View {
    fn encode(&self, out: &mut Vec<u8>) {
        self.epoch.encode(out);
        self.number.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(View { epoch: input.u64("epoch")?, number: input.u64("view")? })
    }
}

/// Who takes part in an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Configuration {
    /// Which epoch.
    pub epoch: u64,
    /// Its members.
    pub members: Membership,
}

impl Configuration {
    /// Who must agree on anything: q = floor(n/2) others and oneself, which is a majority for even n too.
    #[must_use]
    pub fn quorum(&self) -> Quorum {
        Quorum::of(&self.members)
    }
}

impl Wire for Configuration {
    fn encode(&self, out: &mut Vec<u8>) {
        self.epoch.encode(out);
        self.members.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Configuration { epoch: input.u64("epoch")?, members: Membership::decode(input)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::{Member, MemberRole};

    #[test]
    fn voters_take_turns_and_learners_have_none() {
        let learner = Member { role: MemberRole::Learner, ..Member::voter(NodeId(2)) };
        let members = Membership::new([Member::voter(NodeId(1)), learner, Member::voter(NodeId(5))]);
        let primary = |number| View { epoch: 1, number }.primary(&members);
        assert_eq!([primary(0), primary(1), primary(2)], [Some(NodeId(1)), Some(NodeId(5)), Some(NodeId(1))]);
        assert_eq!(View::first_of(1).next_led_by(NodeId(1), &members), Some(View { epoch: 1, number: 2 }));
        assert_eq!(View::first_of(1).next_led_by(NodeId(2), &members), None);
        assert_eq!(View::first_of(1).primary(&Membership::default()), None);
    }

    #[test]
    fn a_later_epoch_is_greater_whatever_the_view() {
        let late = View { epoch: 1, number: u64::MAX };
        assert!(late < View::first_of(2));
        assert!(late.era() < View::first_of(2).era());
        assert_eq!(late.next(), late);
    }
}
