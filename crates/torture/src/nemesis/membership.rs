//! Members that come and go.

use super::Nemesis;
use crate::client::connect;
use crate::cluster::{Cluster, serving};
use crate::schedule::{Change, Victims};
use anyhow::Result;
use quorate_server::proto::etcdserverpb::cluster_client::ClusterClient;
use quorate_server::proto::etcdserverpb::{Member, MemberAddRequest, MemberPromoteRequest, MemberRemoveRequest};
use serde_json::json;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Under faults a change may find no quorum for a while, and a new member needs time to catch up.
const STEP_PATIENCE: Duration = Duration::from_secs(30);
const RETRY_AFTER: Duration = Duration::from_millis(300);
/// A removed member ends when it hears of it; it may never.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);

/// One request.
#[derive(Clone, Debug)]
enum Ask {
    Add { url: String, learner: bool },
    Promote { id: u64, replacing: u64 },
    Remove { id: u64 },
}

impl Nemesis {
    pub(super) async fn change_members(&self, change: &Change, old: &Victims) -> Result<(String, bool)> {
        let until = Instant::now() + STEP_PATIENCE;
        reconcile(&self.cluster, &[], until).await;
        let claimed = self.claim(old).await;
        let Some(old) = claimed.first().cloned() else {
            return Ok(("member change without an old one".to_owned(), false));
        };
        let new = self.cluster.lock().await.place().await?;
        let both = [old.clone(), new.clone()];
        {
            let mut cluster = self.cluster.lock().await;
            cluster.claim(std::slice::from_ref(&new));
            cluster.set_leaving(&both, true);
        }
        let done = self.replace(change, &old, &new).await;
        self.shared.recorder.note(
            "nemesis",
            json!({ "member_change": format!("{change:?}"), "old": old, "new": new, "done": done.is_some() }),
        );
        reconcile(&self.cluster, &both, Instant::now() + STEP_PATIENCE).await;
        self.cluster.lock().await.release(&both);
        let end = if done.is_some() { "done" } else { "given up half way, and put in order" };
        Ok((format!("{change:?} {old} by {new}: {end}"), true))
    }

    /// `None`: some step was not done in time.
    async fn replace(&self, change: &Change, old: &str, new: &str) -> Option<()> {
        let (old_url, url) = {
            let cluster = self.cluster.lock().await;
            (cluster.peer_url(old)?, cluster.peer_url(new)?)
        };
        let learner = *change != Change::AddThenRemove;
        let has = |members: &[Member], url: &String| members.iter().any(|member| member.peer_urls.contains(url));
        let members = self.until(Ask::Add { url: url.clone(), learner }, |members| has(members, &url)).await?;
        let id = |members: &[Member], url: &String| {
            members.iter().find(|member| member.peer_urls.contains(url)).map(|member| member.id)
        };
        let (new_id, old_id) = (id(&members, &url)?, id(&members, &old_url)?);
        {
            let mut cluster = self.cluster.lock().await;
            let entry = entry_of(&cluster, &members);
            cluster.set_entry(new, entry);
            cluster.start(new).ok()?;
        }
        let votes = |members: &[Member]| members.iter().any(|member| member.id == new_id && !member.is_learner);
        if learner {
            let replacing = if *change == Change::Replace { old_id } else { 0 };
            self.until(Ask::Promote { id: new_id, replacing }, votes).await?;
        } else {
            // It joins with the members it was told of. When one of these is gone before it was heard it never will, as in etcd.
            self.seen(votes).await?;
        }
        if *change != Change::Replace {
            let gone = |members: &[Member]| !members.iter().any(|member| member.id == old_id);
            self.until(Ask::Remove { id: old_id }, gone).await?;
        }
        let mut cluster = self.cluster.lock().await;
        // What it does on its own is not waited for long: it may be cut off, or dead.
        cluster.wait_for_end(old, LEAVE_PATIENCE).await;
        cluster.retire(old).await;
        Some(())
    }

    /// Waits until the members are as they should be.
    async fn seen(&self, is_so: impl Fn(&[Member]) -> bool) -> Option<Vec<Member>> {
        let until = Instant::now() + STEP_PATIENCE;
        while Instant::now() < until {
            for (_, address) in self.shared.endpoints.all() {
                if let Some(members) = serving::members(&address).await.filter(|members| is_so(members)) {
                    return Some(members);
                }
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
        None
    }

    /// Asks again and again until the members are as they should be.
    async fn until(&self, ask: Ask, is_so: impl Fn(&[Member]) -> bool) -> Option<Vec<Member>> {
        let until = Instant::now() + STEP_PATIENCE;
        while Instant::now() < until {
            for (_, address) in self.shared.endpoints.all() {
                let answer = send(&address, &ask).await;
                self.shared.recorder.note("nemesis", json!({ "asked": format!("{ask:?}"), "answer": answer }));
                if let Some(members) = serving::members(&address).await.filter(|members| is_so(members)) {
                    return Some(members);
                }
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
        None
    }
}

/// What a new member is told of the others.
fn entry_of(cluster: &Cluster, members: &[Member]) -> Vec<String> {
    let named = members.iter().filter_map(|member| {
        let name = cluster.named_by_url(&member.peer_urls)?;
        Some(format!("{name}={}", member.peer_urls.first()?))
    });
    let all: Vec<String> = named.collect();
    ["--initial-cluster", &all.join(","), "--initial-cluster-state", "existing"].map(str::to_owned).into()
}

/// Sends a change; the answer in words.
async fn send(address: &str, ask: &Ask) -> String {
    let asked = async {
        let mut client = ClusterClient::new(connect(address).await?);
        let answered = match ask {
            Ask::Add { url, learner } => {
                let request =
                    MemberAddRequest { peer_urls: vec![url.clone()], is_learner: *learner, quorate_witness: false };
                client.member_add(request).await.map(drop)
            }
            Ask::Promote { id, replacing } => {
                let request = MemberPromoteRequest { id: *id, quorate_replacing: *replacing };
                client.member_promote(request).await.map(drop)
            }
            Ask::Remove { id } => client.member_remove(MemberRemoveRequest { id: *id }).await.map(drop),
        };
        answered.map_err(|status| format!("{:?}: {}", status.code(), status.message()))
    };
    match tokio::time::timeout(Duration::from_secs(8), asked).await {
        Ok(Ok(())) => "done".to_owned(),
        Ok(Err(why)) => why,
        Err(_) => "no answer in time".to_owned(),
    }
}

/// Puts members and processes in order after a change that was given up half way, of which any step may have happened: a member
/// that none of our processes is, or is one too many, is removed; who is still to vote is waited for; a process that is no member is stopped for good. Whether that
/// was brought to an end before `until`. Members that a fault has are left alone, but for those in `also`.
pub async fn reconcile(cluster: &Mutex<Cluster>, also: &[String], until: Instant) -> bool {
    while Instant::now() < until {
        if let Some(true) = reconcile_once(cluster, also).await {
            return true;
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
    false
}

/// Whether all was in order; `None`: nobody could say.
async fn reconcile_once(cluster: &Mutex<Cluster>, also: &[String]) -> Option<bool> {
    let (addresses, unclaimed, wanted) = {
        let cluster = cluster.lock().await;
        (cluster.addresses(), cluster.unclaimed(), cluster.wanted())
    };
    let (mut members, mut asked_at) = (None, String::new());
    for (_, address) in addresses {
        members = serving::members(&address).await;
        if members.is_some() {
            asked_at = address;
            break;
        }
    }
    let members = members?;
    let mut guard = cluster.lock().await;
    let is_ours = |member: &Member| guard.named_by_url(&member.peer_urls).filter(|name| guard.was_started(name));
    let stranger = members.iter().find(|member| is_ours(member).is_none());
    let learner = members.iter().find(|member| member.is_learner);
    let newest = members
        .iter()
        .max_by_key(|member| is_ours(member).and_then(|name| name.trim_start_matches("node").parse::<usize>().ok()));
    let one_too_many = learner.or(newest).filter(|_| members.len() > wanted);
    if let Some(superfluous) = stranger.or(one_too_many) {
        let id = superfluous.id;
        drop(guard);
        send(&asked_at, &Ask::Remove { id }).await;
        return Some(false);
    }
    if let Some(learner) = learner {
        // Whoever was added to vote shows as one until it has caught up. Without it they would be too few from now on.
        let id = learner.id;
        drop(guard);
        send(&asked_at, &Ask::Promote { id, replacing: 0 }).await;
        return Some(false);
    }
    let listed: Vec<String> = members.iter().filter_map(|member| guard.named_by_url(&member.peer_urls)).collect();
    let may_go = |name: &String| !listed.contains(name) && (unclaimed.contains(name) || also.contains(name));
    for name in guard.names().into_iter().filter(may_go) {
        guard.retire(&name).await;
    }
    guard.set_leaving(&listed, false);
    Some(true)
}
