//! One guard, one sentence.

use quorate_protocol::{Event, Value, Verdict};
use quorate_types::NodeId;

/// The words of the event's rule for its verdict, with `{me}`, `{votes}` and the values filled in. A name that the event
/// does not bring stays visible as `{name}`: a mistake in the rule, not to be hidden.
#[must_use]
pub fn sentence(me: NodeId, event: &Event) -> String {
    let template = match event.verdict {
        Verdict::Allowed => event.rule.allowed,
        Verdict::Refused => event.rule.refused,
        Verdict::Waiting => event.rule.waiting,
    };
    if template.is_empty() {
        return plain(me, event);
    }
    let mut out = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open]);
        rest = &rest[open..];
        let Some(close) = rest.find('}') else { break };
        out.push_str(&filled(me, event, &rest[1..close]).unwrap_or_else(|| rest[..=close].to_owned()));
        rest = &rest[close + 1..];
    }
    out.push_str(rest);
    out
}

fn filled(me: NodeId, event: &Event, name: &str) -> Option<String> {
    match name {
        "me" => Some(me.to_string()),
        "votes" if event.votes.is_empty() => Some("nobody".to_owned()),
        "votes" => Some(Value::Nodes(event.votes.clone()).to_string()),
        _ => event.value(name).map(ToString::to_string),
    }
}

/// For a verdict that the rule has no words for: everything there is, without a sentence.
fn plain(me: NodeId, event: &Event) -> String {
    let values: Vec<String> = event.values.iter().map(|(name, value)| format!("{name} {value}")).collect();
    format!("{me}: {} {:?} ({})", event.rule.id, event.verdict, values.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::Rule;

    static VOTE: Rule = Rule {
        id: "test.vote",
        source: "Paper §1",
        allowed: "{me} votes for {candidate} in term {term}; so far {votes}",
        refused: "{me} refuses {candidate}: {why}",
        waiting: "",
    };

    #[test]
    fn values_and_votes_are_filled_in() {
        let event =
            Event::allowed(&VOTE).with("candidate", NodeId(2)).with("term", 7).votes([NodeId(1), NodeId(2), NodeId(3)]);
        assert_eq!(sentence(NodeId(1), &event), "n1 votes for n2 in term 7; so far n1, n2 and n3");
    }

    #[test]
    fn a_value_that_is_missing_shows() {
        let event = Event::refused(&VOTE).with("candidate", NodeId(2));
        assert_eq!(sentence(NodeId(1), &event), "n1 refuses n2: {why}");
    }

    #[test]
    fn a_verdict_without_words_still_tells_everything() {
        let event = Event::waiting(&VOTE).with("term", 7);
        assert_eq!(sentence(NodeId(1), &event), "n1: test.vote Waiting (term 7)");
    }
}
