//! A log's contents in words.

use bytes::Bytes;
use quorate_keyspace::{Operation, Request};
use quorate_machine::{ClientCommand, decode_batch};
use quorate_protocol::{Decision, StoredConfiguration, StoredEntry, StoredLog};
use quorate_types::{MemberRole, Membership, Slot};
use quorate_wire::decode_exact;
use std::time::SystemTime;

/// Keys and values longer than this are shown in part.
const SHOWN_BYTES: usize = 60;

/// One entry on one line.
pub fn entry_line(slot: Slot, entry: &StoredEntry, is_decided: bool) -> String {
    let known = if is_decided { "decided" } else { "unknown" };
    let origin = entry.origin.as_ref().map_or_else(String::new, |origin| format!("{origin}, "));
    format!("slot {slot}, {origin}{known}: {}", payload(entry))
}

/// What a log has promised and what it is, on one line.
pub fn standing(log: &StoredLog) -> String {
    let words = log.standing.iter().map(|(name, value)| format!("{name} {value}"));
    words.collect::<Vec<_>>().join(", ")
}

/// What an entry says.
pub fn payload(entry: &StoredEntry) -> String {
    match (&entry.brings, &entry.decision) {
        (Some(brought), _) if brought.number > 0 => {
            format!("the end of configuration {}; next: {}", brought.number.saturating_sub(1), configuration(brought))
        }
        (Some(brought), _) => format!("members: {}", configuration(brought)),
        (None, Decision::Members(found)) => format!("members: {}", members(found)),
        (None, Decision::Nothing) => "nothing: the protocol's own entry, without commands".to_owned(),
        (None, Decision::Commands(batch)) => match decode_batch(batch.clone()) {
            Ok(commands) => {
                commands.iter().map(|command| command_words(&command.payload)).collect::<Vec<_>>().join("; ")
            }
            Err(why) => format!("{} bytes that are no batch of commands: {why}", batch.len()),
        },
    }
}

/// A command of the keyspace, or a client's session's, with what it calls.
fn command_words(payload: &Bytes) -> String {
    if !ClientCommand::is_claimed_by(payload) {
        return request(payload);
    }
    match decode_exact(payload.clone()) {
        Ok(ClientCommand::Open { client, in_order, .. }) => {
            format!("open session {:x}{}", client.nonce, if in_order { " in order" } else { "" })
        }
        Ok(ClientCommand::Call { client, sequence, payload, .. }) => {
            format!("session {:x}, call {sequence}: {}", client.nonce, request(&payload))
        }
        Ok(ClientCommand::Close { client }) => format!("close session {:x}", client.nonce),
        Err(why) => format!("{} bytes that are no session's command: {why}", payload.len()),
    }
}

fn request(payload: &Bytes) -> String {
    match decode_exact::<Request>(payload.clone()) {
        Ok(Request::Put(put)) => {
            let lease = if put.lease == 0 { String::new() } else { format!(" with lease {:x}", put.lease) };
            format!("put {} = {}{lease}", text(&put.key), text(&put.value))
        }
        Ok(Request::DeleteRange(delete)) => format!("delete {}", range(&delete.key, &delete.range_end)),
        Ok(Request::Txn(txn)) => format!(
            "if {} comparisons hold [{}] else [{}]",
            txn.compares.len(),
            operations(&txn.success),
            operations(&txn.failure)
        ),
        Ok(Request::Compact { revision }) => format!("compact at revision {revision}"),
        Ok(Request::LeaseGrant { id, ttl_seconds }) => format!("grant lease {id:x} for {ttl_seconds} s"),
        Ok(Request::LeaseRevoke { id }) => format!("revoke lease {id:x}"),
        Ok(Request::LeaseExpire { id, .. }) => format!("expire lease {id:x}"),
        Ok(Request::LeaseCheckpoint(leases)) => format!("note the time that {} leases have left", leases.len()),
        Ok(Request::Alarm(alarm)) => {
            format!("{:?} alarm {:?} of member {:x}", alarm.action, alarm.alarm.kind, alarm.alarm.member)
        }
        Err(why) => format!("{} bytes that are no command: {why}", payload.len()),
    }
}

fn operations(operations: &[Operation]) -> String {
    let words = |operation: &Operation| match operation {
        Operation::Range(read) => format!("get {}", range(&read.key, &read.range_end)),
        Operation::Put(put) => format!("put {} = {}", text(&put.key), text(&put.value)),
        Operation::DeleteRange(delete) => format!("delete {}", range(&delete.key, &delete.range_end)),
        Operation::Txn(txn) => format!("if {} comparisons hold ...", txn.compares.len()),
    };
    operations.iter().map(words).collect::<Vec<_>>().join(", ")
}

fn range(key: &[u8], range_end: &[u8]) -> String {
    if range_end.is_empty() { text(key) } else { format!("{} to {}", text(key), text(range_end)) }
}

/// Bytes for people: printable ASCII as it is, the rest escaped, long ones cut.
pub fn text(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(SHOWN_BYTES)];
    let cut = if shown.len() < bytes.len() { format!("... ({} bytes)", bytes.len()) } else { String::new() };
    format!("{}{cut}", shown.escape_ascii())
}

/// The end of the range of all keys that begin so.
pub fn behind_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // No key is behind: to the end of all keys.
    vec![0]
}

/// The members, and while they change the old ones too.
pub fn configuration(found: &StoredConfiguration) -> String {
    match &found.outgoing {
        Some(outgoing) => format!("joint: from {} to {}", members(outgoing), members(&found.members)),
        None => members(&found.members),
    }
}

fn members(members: &Membership) -> String {
    let words = members.members().iter().map(|member| {
        let role = match member.role {
            MemberRole::Voter => "",
            MemberRole::Witness => " (witness)",
            MemberRole::Learner | MemberRole::Joining => " (does not vote)",
        };
        format!("{:x} {}{role} at {}", member.id.0, member.name, member.peer_urls.join("+"))
    });
    let words: Vec<String> = words.collect();
    if words.is_empty() { "not known here".to_owned() } else { words.join(", ") }
}

/// When, and how long ago.
pub fn age(written: Option<SystemTime>) -> String {
    match written.and_then(|written| SystemTime::now().duration_since(written).ok()) {
        Some(ago) if ago.as_secs() < 120 => format!("{} seconds ago", ago.as_secs()),
        Some(ago) if ago.as_secs() < 7_200 => format!("{} minutes ago", ago.as_secs() / 60),
        Some(ago) => format!("{} hours ago", ago.as_secs() / 3_600),
        None => "at a time that the file system does not tell".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_keyspace::PutRequest;
    use quorate_machine::{ClientBounds, ClientId};
    use quorate_types::ClusterId;
    use quorate_wire::encode_to_bytes;

    #[test]
    fn the_keys_of_a_prefix_end_where_no_more_begin_so() {
        assert_eq!(behind_prefix(b"ab"), b"ac");
        assert_eq!(behind_prefix(b"a\xff"), b"b");
        assert_eq!(behind_prefix(b"\xff"), b"\0");
    }

    #[test]
    fn a_sessions_commands_are_told_with_what_they_call() {
        let client = ClientId { cluster: ClusterId(1), nonce: 0xab };
        let put =
            PutRequest { key: Bytes::from_static(b"k"), value: Bytes::from_static(b"v"), ..PutRequest::default() };
        let payload = encode_to_bytes(&Request::Put(put));
        let open = |in_order| ClientCommand::Open { client, bounds: ClientBounds::default(), in_order };
        let call = ClientCommand::Call { client, sequence: 3, acked_below: 1, payload };
        let commands = [open(false), open(true), call, ClientCommand::Close { client }];
        let commands = commands.map(|command| encode_to_bytes(&command));
        let words = commands.iter().map(command_words).collect::<Vec<_>>();
        let told = ["open session ab", "open session ab in order", "session ab, call 3: put k = v", "close session ab"];
        assert_eq!(words, told);
        assert!(command_words(&Bytes::from_static(b"\xff\x63")).contains("2 bytes that are no session's command"));
    }

    #[test]
    fn damage_in_a_batch_is_told_and_no_panic() {
        let decision = Decision::Commands(Bytes::from_static(b"\xff\xff"));
        assert!(payload(&StoredEntry { origin: None, decision, brings: None }).contains("no batch"));
        assert_eq!(text(b"a\x00"), "a\\x00");
        assert!(text(&[b'x'; 100]).ends_with("... (100 bytes)"));
    }
}
