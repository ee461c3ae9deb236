//! Who this member is: as its data says; else a founder; else as the cluster it joins says.

use crate::identity::Founder;
use crate::member::MemberError;
use crate::plan::{Entry, Plan};
use quorate_protocol::Start;
use quorate_runtime::{Introduction, address_of, ask_members, founded_as};
use quorate_types::{ClusterId, Member, NodeId};
use std::time::{Duration, Instant};

const ASK_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// Who a member is, for this start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) cluster: ClusterId,
    pub(crate) me: NodeId,
    pub(crate) start: Start,
    /// The cluster that it joins says so. Where it has data already, its log does.
    pub(crate) joins_as_witness: bool,
}

/// Finds out who this member is. One that joins asks the members it was told of, until they list it or its patience is over.
pub(crate) async fn identify(plan: &Plan) -> Result<Identity, MemberError> {
    let start = match &plan.entry {
        Entry::Found { members, .. } => Start::Found(members.clone()),
        Entry::Join { .. } => Start::Join,
    };
    let found = founded_as(&plan.data_directory).map_err(MemberError::Start)?;
    match (&plan.entry, found) {
        (Entry::Found { cluster, me, .. }, Some((found_cluster, found_me)))
            if (found_cluster, found_me) != (*cluster, *me) =>
        {
            Err(MemberError::AnotherIdentity {
                directory: plan.data_directory.display().to_string(),
                found: (found_me.0, found_cluster.0),
                told: (me.0, cluster.0),
            })
        }
        (Entry::Found { cluster, me, .. }, _) => {
            Ok(Identity { cluster: *cluster, me: *me, start, joins_as_witness: false })
        }
        (Entry::Join { .. }, Some((cluster, me))) => Ok(Identity { cluster, me, start, joins_as_witness: false }),
        (Entry::Join { members, .. }, None) if members.len() < 2 => Err(MemberError::Join(format!(
            "{} has no data, so --initial-cluster must name all members, this one included",
            plan.data_directory.display()
        ))),
        (Entry::Join { members, patience }, None) => {
            let (cluster, member) = ask_until_listed(plan, members, *patience).await?;
            let joins_as_witness = !member.stores_data();
            Ok(Identity { cluster, me: member.id, start, joins_as_witness })
        }
    }
}

/// What may change is waited for: that this member is added, that somebody answers.
async fn ask_until_listed(
    plan: &Plan,
    members: &[Founder],
    patience: Duration,
) -> Result<(ClusterId, Member), MemberError> {
    let deadline = Instant::now() + patience;
    let mut said = None;
    loop {
        match ask_to_join(plan, members).await {
            Ok(listed) => return Ok(listed),
            Err(MemberError::Join(why)) if Instant::now() < deadline => {
                // The same is not said again four times a second; at the end it is the error.
                if said.as_ref() != Some(&why) {
                    tracing::warn!(why, patience_s = patience.as_secs(), "cannot join yet; asking again");
                    said = Some(why);
                }
            }
            Err(why) => return Err(why),
        }
        tokio::time::sleep(ASK_AGAIN_AFTER).await;
    }
}

async fn ask_to_join(plan: &Plan, members: &[Founder]) -> Result<(ClusterId, Member), MemberError> {
    let mut best: Option<Introduction> = None;
    let mut failures = Vec::new();
    let others = members.iter().flat_map(|member| &member.peer_urls).filter(|url| !plan.peer_urls.contains(url));
    for url in others {
        let Some(address) = address_of(url) else { continue };
        match ask_members(&address).await {
            Ok(told) if best.as_ref().is_none_or(|best| best.decided_at < told.decided_at) => best = Some(told),
            Ok(_) => {}
            Err(error) => failures.push(format!("{url}: {error}")),
        }
    }
    let Some(told) = best else {
        return Err(MemberError::Join(format!("no member of the cluster answers ({})", failures.join("; "))));
    };
    if told.protocol != plan.protocol.name() {
        return Err(MemberError::JoinsAnotherProtocol { found: told.protocol, wanted: plan.protocol });
    }
    find_me(plan, members, &told).map_err(MemberError::Join)
}

/// As etcd: the members named at the start must be exactly those the cluster lists, so that a typing error is found before it
/// does harm.
fn find_me(plan: &Plan, members: &[Founder], told: &Introduction) -> Result<(ClusterId, Member), String> {
    let named = addresses(members.iter().map(|member| &member.peer_urls));
    let listed = addresses(told.members.members().iter().map(|member| &member.peer_urls));
    if named.len() != listed.len() {
        return Err(format!("member count is unequal: {}", both(&named, &listed)));
    }
    if named != listed {
        return Err(format!("unmatched member while checking PeerURLs: {}", both(&named, &listed)));
    }
    let own = sorted(&plan.peer_urls);
    let me = told.members.members().iter().find(|member| sorted(&member.peer_urls) == own);
    let Some(me) = me else {
        return Err(format!("the cluster lists no member at {}: add it first (`quorate member add`)", own.join(",")));
    };
    if let Some(disk) = me.disk {
        return Err(format!(
            "member {:x} has started before, on disk {:x}, and {} has no data: if they are on a disk that is not mounted, or were \
             moved, mount it or put them back; a wiped member must not come back under its old identity: remove it and add it again",
            me.id.0,
            disk.0,
            plan.data_directory.display()
        ));
    }
    Ok((told.cluster, me.clone()))
}

fn sorted(urls: &[String]) -> Vec<String> {
    let mut urls = urls.to_vec();
    urls.sort();
    urls
}

fn addresses<'a>(members: impl Iterator<Item = &'a Vec<String>>) -> Vec<Vec<String>> {
    let mut all: Vec<Vec<String>> = members.map(|urls| sorted(urls)).collect();
    all.sort();
    all
}

fn both(named: &[Vec<String>], listed: &[Vec<String>]) -> String {
    let words = |members: &[Vec<String>]| members.iter().map(|urls| urls.join("+")).collect::<Vec<_>>().join(", ");
    format!("--initial-cluster names {}; the cluster lists {}", words(named), words(listed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::founding_membership;
    use quorate_types::{DiskId, Membership, Slot};

    fn founder(name: &str) -> Founder {
        Founder { name: name.to_owned(), peer_urls: vec![format!("http://{name}:1")] }
    }

    fn plan(members: &[Founder]) -> Plan {
        let entry = Entry::Join { members: members.to_vec(), patience: Duration::ZERO };
        let mut plan = Plan::new("c", "c.quorate".into(), entry);
        plan.peer_urls = vec!["http://c:1".to_owned()];
        plan
    }

    fn told(members: Membership) -> Introduction {
        let cluster = ClusterId(7);
        Introduction { cluster, protocol: "raft".to_owned(), decided_at: Slot(5), members, removed: Vec::new() }
    }

    #[test]
    fn the_members_named_must_be_those_the_cluster_lists() {
        let [a, b, c] = ["a", "b", "c"].map(founder);
        let listed = founding_membership(&[a.clone(), b.clone(), c.clone()], "token");
        let own = listed.members().iter().find(|member| member.name == "c").unwrap().clone();
        let all = [c.clone(), a.clone(), b.clone()];
        assert_eq!(find_me(&plan(&all), &all, &told(listed.clone())), Ok((ClusterId(7), own)));
        let few = [a.clone(), c.clone()];
        assert!(find_me(&plan(&few), &few, &told(listed.clone())).unwrap_err().contains("member count is unequal"));
        let wrong = [a, founder("d"), c];
        assert!(find_me(&plan(&wrong), &wrong, &told(listed)).unwrap_err().contains("unmatched member"));
    }

    #[test]
    fn a_member_whose_data_are_gone_is_not_let_in_as_the_one_it_was() {
        let all = ["a", "c"].map(founder);
        let listed = founding_membership(&all, "token");
        let started = listed.members().iter().map(|member| Member { disk: Some(DiskId(9)), ..member.clone() });
        let refusal = find_me(&plan(&all), &all, &told(Membership::new(started))).unwrap_err();
        assert!(refusal.contains("remove it and add it again"), "{refusal}");
    }
}
