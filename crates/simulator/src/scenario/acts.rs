//! Acts in the words of the language: read and written.

use super::words::{Parsed, duration, duration_words, latency, latency_words, node, number};
use crate::act::{Act, Malfunction, Moment, Wish};
use crate::network::Link;
use crate::random::Chance;
use crate::world::DiskModel;
use quorate_disk::model::Harm;
use quorate_node::Lane;
use quorate_protocol::LinkState;
use quorate_types::{MemberRole, NodeId};

const MOMENTS: [(&str, Moment); 8] = [
    ("journal-write", Moment::Write(Lane::Journal)),
    ("store-write", Moment::Write(Lane::Store)),
    ("journal-flushed", Moment::Flushed(Lane::Journal)),
    ("store-flushed", Moment::Flushed(Lane::Store)),
    ("send", Moment::Send),
    ("sent", Moment::Sent),
    ("answered", Moment::Answered),
    ("leads", Moment::Leads),
];

/// Reads a line of words as acts; `None` if it is something else.
pub(super) fn parse(words: &[&str]) -> Parsed<Option<Vec<Act>>> {
    if let Some(act) = process(words)? {
        return Ok(Some(vec![act]));
    }
    if let Some(act) = disk(words)? {
        return Ok(Some(vec![act]));
    }
    if let Some(act) = steering(words)? {
        return Ok(Some(vec![act]));
    }
    network(words)
}

fn steering(words: &[&str]) -> Parsed<Option<Act>> {
    let change = |who: &str, wish: Wish| Ok(Some(Act::ChangeMembers { node: node(who)?, wish }));
    match words {
        ["start-joining", who] => Ok(Some(Act::StartJoining(node(who)?))),
        ["move-leader", who, to] => Ok(Some(Act::MoveLeader { node: node(who)?, to: node(to)? })),
        ["members", who, "add", id] => change(who, Wish::Add { id: node(id)?, role: MemberRole::Joining }),
        ["members", who, "add-learner", id] => change(who, Wish::Add { id: node(id)?, role: MemberRole::Learner }),
        ["members", who, "add-witness", id] => change(who, Wish::Add { id: node(id)?, role: MemberRole::Witness }),
        ["members", who, "remove", id] => change(who, Wish::Remove { id: node(id)? }),
        ["members", who, "promote", id] => change(who, Wish::Promote { id: node(id)?, replacing: None }),
        ["members", who, "promote", id, "replacing", replaced] => {
            change(who, Wish::Promote { id: node(id)?, replacing: Some(node(replaced)?) })
        }
        _ => Ok(None),
    }
}

fn process(words: &[&str]) -> Parsed<Option<Act>> {
    Ok(Some(match words {
        ["crash", who] => Act::Crash(node(who)?),
        ["kill", who] => Act::Kill(node(who)?),
        ["crash-at", who, moment, victims @ ..] => {
            Act::CrashAt { watched: node(who)?, moment: self::moment(moment)?, victims: self::victims(victims)? }
        }
        ["forget-traps"] => Act::ForgetTraps,
        ["restart", who] => Act::Restart(node(who)?),
        ["restart", who, "failing", lane, operations] => {
            Act::RestartCrashing { node: node(who)?, lane: self::lane(lane)?, operations: number(operations)? }
        }
        ["pause", who] => Act::Pause { node: node(who)?, duration: None },
        ["pause", who, time] => Act::Pause { node: node(who)?, duration: Some(duration(time)?) },
        ["freeze", who, time] => Act::Freeze { node: node(who)?, duration: duration(time)? },
        ["resume", who] => Act::Resume(node(who)?),
        ["step-clock", who, time] => Act::StepClock { node: node(who)?, by: duration(time)? },
        ["processing", who, time] => Act::SetProcessing { node: node(who)?, processing: latency(time)? },
        _ => return Ok(None),
    }))
}

fn disk(words: &[&str]) -> Parsed<Option<Act>> {
    let rot = |who: &str, lane: &str, pick: &str, harm: Harm| {
        Ok(Some(Act::Rot { node: node(who)?, lane: self::lane(lane)?, pick: number(pick)?, harm }))
    };
    let malfunction = |who: &str, lane: &str, what: Malfunction| {
        Ok(Some(Act::Malfunction { node: node(who)?, lane: self::lane(lane)?, what }))
    };
    Ok(Some(match words {
        ["hold-disk", who] => Act::HoldDisk(node(who)?),
        ["release-disk", who] => Act::ReleaseDisk(node(who)?),
        ["disk", who, "write", write, "flush", flush] => {
            Act::SetDisk { node: node(who)?, disk: DiskModel { write: latency(write)?, flush: latency(flush)? } }
        }
        ["rot", who, lane, pick, "flip", bit] => return rot(who, lane, pick, Harm::Flip { bit: number(bit)? }),
        ["rot", who, lane, pick, "garbage", seed] => {
            return rot(who, lane, pick, Harm::Garbage { seed: number(seed)? });
        }
        ["rot", who, lane, pick, "zeros"] => return rot(who, lane, pick, Harm::Zeros),
        ["rot", who, lane, pick, "lost"] => return rot(who, lane, pick, Harm::Lost),
        ["malfunction", who, lane, "fails-after", after] => {
            return malfunction(who, lane, Malfunction::Fails { after: number(after)? });
        }
        ["malfunction", who, lane, "loses-write"] => return malfunction(who, lane, Malfunction::LosesWrite),
        ["malfunction", who, lane, "misdirects", sectors] => {
            return malfunction(who, lane, Malfunction::Misdirects { sectors: number(sectors)? });
        }
        ["fill", who, lane, bytes] => {
            Act::Fill { node: node(who)?, lane: self::lane(lane)?, free_bytes: number(bytes)? }
        }
        ["mend-disks", who] => Act::MendDisks(node(who)?),
        ["wipe", who] => Act::Wipe(node(who)?),
        ["copy", who] => Act::Copy(node(who)?),
        ["put-back", who] => Act::PutBack(node(who)?),
        _ => return Ok(None),
    }))
}

fn network(words: &[&str]) -> Parsed<Option<Vec<Act>>> {
    let both_ways = |from: &str, arrow: &str, to: &str, act: fn(NodeId, NodeId) -> Act| {
        let (from, to) = (node(from)?, node(to)?);
        match arrow {
            "->" => Ok(Some(vec![act(from, to)])),
            "--" => Ok(Some(vec![act(from, to), act(to, from)])),
            other => Err(format!("`{other}`: `->` for one direction or `--` for both is wanted")),
        }
    };
    let act = match words {
        ["cut", from, arrow, to] => return both_ways(from, arrow, to, |from, to| Act::Block { from, to }),
        ["join", from, arrow, to] => return both_ways(from, arrow, to, |from, to| Act::Unblock { from, to }),
        ["clog", from, arrow, to] => return both_ways(from, arrow, to, |from, to| Act::Clog { from, to }),
        ["unclog", from, arrow, to] => return both_ways(from, arrow, to, |from, to| Act::Unclog { from, to }),
        ["partition", rest @ ..] => Act::Partition(groups(rest)?),
        ["heal"] => Act::Heal,
        ["links", rest @ ..] => Act::SetLinks(link(rest)?),
        ["link", from, "->", to, rest @ ..] => Act::SetLink { from: node(from)?, to: node(to)?, link: link(rest)? },
        ["hint", who, peer, state] => Act::Hint { node: node(who)?, peer: node(peer)?, state: link_state(state)? },
        ["replay", from, "->", to, back] => Act::Replay { from: node(from)?, to: node(to)?, back: number(back)? },
        _ => return Ok(None),
    };
    Ok(Some(vec![act]))
}

/// An act as the line that is read as it.
pub(super) fn write(act: &Act) -> String {
    match act {
        Act::Crash(node) => format!("crash {node}"),
        Act::Kill(node) => format!("kill {node}"),
        Act::CrashAt { watched, moment, victims } => {
            let victims: Vec<String> =
                victims.iter().map(|(node, time)| format!(" {node} {}", duration_words(*time))).collect();
            format!("crash-at {watched} {}{}", moment_name(*moment), victims.concat())
        }
        Act::ForgetTraps => "forget-traps".to_owned(),
        Act::Restart(node) => format!("restart {node}"),
        Act::RestartCrashing { node, lane, operations } => {
            format!("restart {node} failing {} {operations}", lane_name(*lane))
        }
        Act::Pause { node, duration: None } => format!("pause {node}"),
        Act::Pause { node, duration: Some(time) } => format!("pause {node} {}", duration_words(*time)),
        Act::Freeze { node, duration } => format!("freeze {node} {}", duration_words(*duration)),
        Act::Resume(node) => format!("resume {node}"),
        Act::StepClock { node, by } => format!("step-clock {node} {}", duration_words(*by)),
        Act::SetProcessing { node, processing } => format!("processing {node} {}", latency_words(*processing)),
        on_disk_or_network => write_disk(on_disk_or_network),
    }
}

fn write_disk(act: &Act) -> String {
    match act {
        Act::HoldDisk(node) => format!("hold-disk {node}"),
        Act::ReleaseDisk(node) => format!("release-disk {node}"),
        Act::SetDisk { node, disk } => {
            format!("disk {node} write {} flush {}", latency_words(disk.write), latency_words(disk.flush))
        }
        Act::Rot { node, lane, pick, harm } => {
            let harm = match harm {
                Harm::Flip { bit } => format!("flip {bit}"),
                Harm::Garbage { seed } => format!("garbage {seed}"),
                Harm::Zeros => "zeros".to_owned(),
                Harm::Lost => "lost".to_owned(),
            };
            format!("rot {node} {} {pick} {harm}", lane_name(*lane))
        }
        Act::Malfunction { node, lane, what } => {
            let what = match what {
                Malfunction::Fails { after } => format!("fails-after {after}"),
                Malfunction::LosesWrite => "loses-write".to_owned(),
                Malfunction::Misdirects { sectors } => format!("misdirects {sectors}"),
            };
            format!("malfunction {node} {} {what}", lane_name(*lane))
        }
        Act::Fill { node, lane, free_bytes } => format!("fill {node} {} {free_bytes}", lane_name(*lane)),
        Act::MendDisks(node) => format!("mend-disks {node}"),
        Act::Wipe(node) => format!("wipe {node}"),
        Act::Copy(node) => format!("copy {node}"),
        Act::PutBack(node) => format!("put-back {node}"),
        on_cluster_or_network => write_steering(on_cluster_or_network),
    }
}

fn write_steering(act: &Act) -> String {
    match act {
        Act::StartJoining(node) => format!("start-joining {node}"),
        Act::MoveLeader { node, to } => format!("move-leader {node} {to}"),
        Act::ChangeMembers { node, wish } => {
            let wish = match wish {
                Wish::Add { id, role: MemberRole::Learner } => format!("add-learner {id}"),
                Wish::Add { id, role: MemberRole::Witness } => format!("add-witness {id}"),
                Wish::Add { id, .. } => format!("add {id}"),
                Wish::Remove { id } => format!("remove {id}"),
                Wish::Promote { id, replacing: None } => format!("promote {id}"),
                Wish::Promote { id, replacing: Some(replaced) } => format!("promote {id} replacing {replaced}"),
            };
            format!("members {node} {wish}")
        }
        on_network => write_network(on_network),
    }
}

fn write_network(act: &Act) -> String {
    match act {
        Act::Block { from, to } => format!("cut {from} -> {to}"),
        Act::Unblock { from, to } => format!("join {from} -> {to}"),
        Act::Clog { from, to } => format!("clog {from} -> {to}"),
        Act::Unclog { from, to } => format!("unclog {from} -> {to}"),
        Act::Partition(groups) => {
            let group = |group: &Vec<NodeId>| group.iter().map(NodeId::to_string).collect::<Vec<_>>().join(" ");
            format!("partition {}", groups.iter().map(group).collect::<Vec<_>>().join(" | "))
        }
        Act::SetLinks(link) => format!("links {}", link_words(link)),
        Act::SetLink { from, to, link } => format!("link {from} -> {to} {}", link_words(link)),
        Act::Hint { node, peer, state } => {
            let state = match state {
                LinkState::Up => "up",
                LinkState::Down => "down",
                LinkState::Refused => "refused",
            };
            format!("hint {node} {peer} {state}")
        }
        Act::Replay { from, to, back } => format!("replay {from} -> {to} {back}"),
        _ => "heal".to_owned(),
    }
}

fn moment(word: &str) -> Parsed<Moment> {
    let known = MOMENTS.iter().find(|(name, _)| *name == word);
    known.map(|(_, moment)| *moment).ok_or_else(|| {
        let names: Vec<&str> = MOMENTS.iter().map(|(name, _)| *name).collect();
        format!("`{word}` is no moment: {} are", names.join(", "))
    })
}

fn moment_name(moment: Moment) -> &'static str {
    MOMENTS.iter().find(|(_, known)| *known == moment).map_or("send", |(name, _)| *name)
}

fn victims(words: &[&str]) -> Parsed<Vec<(NodeId, std::time::Duration)>> {
    if words.is_empty() || !words.len().is_multiple_of(2) {
        return Err("who crashes, each with how long it is down, is wanted: `n1 5ms n2 7ms`".to_owned());
    }
    words.chunks_exact(2).map(|pair| Ok((node(pair[0])?, duration(pair[1])?))).collect()
}

fn lane(word: &str) -> Parsed<Lane> {
    match word {
        "journal" => Ok(Lane::Journal),
        "store" => Ok(Lane::Store),
        other => Err(format!("`{other}`: journal or store is wanted")),
    }
}

fn lane_name(lane: Lane) -> &'static str {
    match lane {
        Lane::Journal => "journal",
        Lane::Store => "store",
    }
}

fn link_state(word: &str) -> Parsed<LinkState> {
    match word {
        "up" => Ok(LinkState::Up),
        "down" => Ok(LinkState::Down),
        "refused" => Ok(LinkState::Refused),
        other => Err(format!("`{other}`: up, down or refused is wanted")),
    }
}

fn groups(words: &[&str]) -> Parsed<Vec<Vec<NodeId>>> {
    words.split(|word| *word == "|").map(|group| group.iter().map(|word| node(word)).collect()).collect()
}

/// A latency, then rates in parts per million: `1ms..5ms loss=2000`.
fn link(words: &[&str]) -> Parsed<Link> {
    let [time, rates @ ..] = words else { return Err("how long a message takes is wanted".to_owned()) };
    let mut link = Link::perfect(latency(time)?);
    for word in rates {
        let Some((name, rate)) = word.split_once('=') else {
            return Err(format!("`{word}`: a rate such as loss=2000 is wanted"));
        };
        let rate = u32::try_from(number(rate)?).ok().filter(|rate| *rate <= 1_000_000);
        let rate = Chance(rate.ok_or_else(|| format!("`{word}`: at most 1000000 parts per million are possible"))?);
        match name {
            "loss" => link.loss = rate,
            "repeat" => link.repeat = rate,
            "overtake" => link.overtake = rate,
            "damage" => link.damage = rate,
            other => return Err(format!("`{other}`: loss, repeat, overtake or damage is wanted")),
        }
    }
    Ok(link)
}

fn link_words(link: &Link) -> String {
    let rates = [("loss", link.loss), ("repeat", link.repeat), ("overtake", link.overtake), ("damage", link.damage)];
    let rates =
        rates.iter().filter(|(_, rate)| *rate != Chance::NEVER).map(|(name, rate)| format!(" {name}={}", rate.0));
    format!("{}{}", latency_words(link.latency), rates.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Latency;
    use std::time::Duration;

    fn one_of_each() -> Vec<Act> {
        let (one, two) = (NodeId(1), NodeId(2));
        let ms = Duration::from_millis;
        let tailed = Latency::between(ms(1), ms(4)).with_tail(Chance(70), Duration::from_nanos(1_500_001));
        let link = Link { loss: Chance(5), damage: Chance(7), ..Link::perfect(tailed) };
        let mut acts = vec![
            Act::Crash(one),
            Act::Kill(one),
            Act::ForgetTraps,
            Act::Restart(two),
            Act::RestartCrashing { node: one, lane: Lane::Store, operations: 3 },
            Act::Pause { node: one, duration: None },
            Act::Pause { node: one, duration: Some(ms(3)) },
            Act::Freeze { node: one, duration: Duration::from_micros(3) },
            Act::Resume(one),
            Act::StepClock { node: one, by: Duration::from_nanos(3) },
            Act::HoldDisk(one),
            Act::ReleaseDisk(one),
            Act::SetDisk { node: one, disk: DiskModel { write: Latency::ZERO, flush: tailed } },
            Act::SetProcessing { node: one, processing: Latency::exactly(Duration::from_secs(2)) },
            Act::SetLinks(link),
            Act::SetLink { from: one, to: two, link },
            Act::Block { from: one, to: two },
            Act::Unblock { from: one, to: two },
            Act::Clog { from: one, to: two },
            Act::Unclog { from: one, to: two },
            Act::Partition(vec![vec![one, two], vec![NodeId(3)], vec![]]),
            Act::Heal,
            Act::Hint { node: one, peer: two, state: LinkState::Refused },
            Act::Replay { from: one, to: two, back: 9 },
            Act::Malfunction { node: one, lane: Lane::Journal, what: Malfunction::Fails { after: 2 } },
            Act::Malfunction { node: one, lane: Lane::Journal, what: Malfunction::LosesWrite },
            Act::Malfunction { node: one, lane: Lane::Store, what: Malfunction::Misdirects { sectors: 8 } },
            Act::Fill { node: one, lane: Lane::Journal, free_bytes: 77 },
            Act::MendDisks(one),
            Act::Wipe(one),
            Act::Copy(one),
            Act::PutBack(one),
            Act::StartJoining(two),
            Act::MoveLeader { node: one, to: two },
            Act::ChangeMembers { node: one, wish: Wish::Add { id: two, role: MemberRole::Joining } },
            Act::ChangeMembers { node: one, wish: Wish::Add { id: two, role: MemberRole::Learner } },
            Act::ChangeMembers { node: one, wish: Wish::Add { id: two, role: MemberRole::Witness } },
            Act::ChangeMembers { node: one, wish: Wish::Remove { id: two } },
            Act::ChangeMembers { node: one, wish: Wish::Promote { id: two, replacing: None } },
            Act::ChangeMembers { node: one, wish: Wish::Promote { id: two, replacing: Some(one) } },
        ];
        let victims = vec![(one, ms(1)), (two, ms(2))];
        acts.extend(Moment::ALL.map(|moment| Act::CrashAt { watched: two, moment, victims: victims.clone() }));
        let harms = [Harm::Flip { bit: 4095 }, Harm::Garbage { seed: 1 }, Harm::Zeros, Harm::Lost];
        acts.extend(harms.map(|harm| Act::Rot { node: one, lane: Lane::Store, pick: 11, harm }));
        acts
    }

    #[test]
    fn every_act_is_read_as_it_is_written() {
        for act in one_of_each() {
            let line = write(&act);
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(parse(&words), Ok(Some(vec![act])), "{line}");
        }
    }

    #[test]
    fn mistakes_are_explained() {
        let why = |line: &str| parse(&line.split_whitespace().collect::<Vec<_>>()).unwrap_err();
        assert!(why("crash-at n1 noon n1 5ms").contains("no moment"));
        assert!(why("crash-at n1 send").contains("who crashes"));
        assert!(why("links 5ms loss=2000000").contains("at most"));
        assert!(why("clog n1 => n2").contains("->"));
        assert!(why("rot n1 tape 1 zeros").contains("journal or store"));
    }
}
