//! Rules, as data, about what becomes of particular messages: how a script picks one message out of many.

use quorate_types::NodeId;
use std::time::Duration;

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// What the link does.
    Deliver,
    /// Lost.
    Lose,
    /// Kept until released.
    Hold,
    /// What the link does, later.
    Delay(Duration),
}

/// One rule. Fields that are `None` match everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterRule {
    /// Only messages of this sender.
    pub from: Option<NodeId>,
    /// Only messages to this receiver.
    pub to: Option<NodeId>,
    /// Only messages of this kind.
    pub kind: Option<String>,
    /// What becomes of them.
    pub fate: Fate,
    /// For so many messages, then the rule is used up.
    pub times: Option<u64>,
}

impl FilterRule {
    /// A rule for every message, for ever.
    #[must_use]
    pub fn all(fate: Fate) -> FilterRule {
        FilterRule { from: None, to: None, kind: None, fate, times: None }
    }

    /// The same, only for messages of this sender.
    #[must_use]
    pub fn from(self, from: NodeId) -> FilterRule {
        FilterRule { from: Some(from), ..self }
    }

    /// The same, only for messages to this receiver.
    #[must_use]
    pub fn to(self, to: NodeId) -> FilterRule {
        FilterRule { to: Some(to), ..self }
    }

    /// The same, only for messages of this kind.
    #[must_use]
    pub fn kind(self, kind: &str) -> FilterRule {
        FilterRule { kind: Some(kind.to_owned()), ..self }
    }

    /// The same, only for the next so many messages that match.
    #[must_use]
    pub fn times(self, times: u64) -> FilterRule {
        FilterRule { times: Some(times), ..self }
    }

    /// Whether this rule speaks of such a message.
    #[must_use]
    pub fn matches(&self, from: NodeId, to: NodeId, kind: &str) -> bool {
        self.from.is_none_or(|wanted| wanted == from)
            && self.to.is_none_or(|wanted| wanted == to)
            && self.kind.as_deref().is_none_or(|wanted| wanted == kind)
    }
}

/// The rules in force. The first that matches decides; without one, [`Fate::Deliver`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    rules: Vec<FilterRule>,
}

impl Filters {
    /// Adds a rule behind all others.
    pub fn push(&mut self, rule: FilterRule) {
        self.rules.push(rule);
    }

    /// Removes all rules.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// Decides about one message, and uses rules up.
    pub fn fate(&mut self, from: NodeId, to: NodeId, kind: &str) -> Fate {
        let Some(at) = self.rules.iter().position(|rule| rule.matches(from, to, kind) && rule.times != Some(0)) else {
            return Fate::Deliver;
        };
        let rule = &mut self.rules[at];
        let fate = rule.fate;
        if let Some(times) = &mut rule.times {
            *times -= 1;
            if *times == 0 {
                self.rules.remove(at);
            }
        }
        fate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_matching_rule_decides_until_it_is_used_up() {
        let mut filters = Filters::default();
        filters.push(FilterRule::all(Fate::Lose).from(NodeId(1)).kind("append").times(2));
        filters.push(FilterRule::all(Fate::Hold).to(NodeId(3)));
        let mut fate = |from, to, kind| filters.fate(NodeId(from), NodeId(to), kind);
        assert_eq!(fate(1, 2, "vote"), Fate::Deliver);
        assert_eq!(fate(1, 3, "append"), Fate::Lose);
        assert_eq!(fate(2, 3, "append"), Fate::Hold);
        assert_eq!(fate(1, 2, "append"), Fate::Lose);
        assert_eq!(fate(1, 2, "append"), Fate::Deliver);
    }

    #[test]
    fn a_rule_for_no_messages_matches_none() {
        let mut filters = Filters::default();
        filters.push(FilterRule::all(Fate::Lose).times(0));
        assert_eq!(filters.fate(NodeId(1), NodeId(2), "append"), Fate::Deliver);
    }
}
