//! `quorate member ...`: who belongs to the cluster, and changing that.

use super::{block_on, refusal};
use crate::endpoint::{ClientArguments, OutputFormat};
use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use quorate_server::proto::etcdserverpb::cluster_client::ClusterClient;
use quorate_server::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate_server::proto::etcdserverpb::{
    Member, MemberAddRequest, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest, MemberUpdateRequest,
    MoveLeaderRequest, StatusRequest,
};
use quorate_service::Protocol;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tonic::Status;
use tonic::transport::Channel;

const ASK_EVERY: Duration = Duration::from_millis(500);

/// Arguments of `quorate member`.
#[derive(Args)]
pub struct MemberArguments {
    #[command(subcommand)]
    command: MemberCommand,
}

#[derive(Subcommand)]
enum MemberCommand {
    /// List the members
    List {
        #[command(flatten)]
        client: ClientArguments,
    },
    /// Add a member, and say how to start it
    Add(AddArguments),
    /// Make a learner that is in sync a voter
    Promote {
        /// Its id or name
        member: String,
        /// Remove this member in the same step: its id or name
        #[arg(long, value_name = "MEMBER")]
        replacing: Option<String>,
        #[command(flatten)]
        client: ClientArguments,
    },
    /// Tell the others where a member is reached from now on
    Update {
        /// Its id or name
        member: String,
        /// Where the other members reach it
        #[arg(long, value_delimiter = ',', required = true)]
        peer_urls: Vec<String>,
        #[command(flatten)]
        client: ClientArguments,
    },
    /// Remove a member for ever
    Remove {
        /// Its id or name
        member: String,
        #[command(flatten)]
        client: ClientArguments,
    },
    /// Replace a member by a new one: add that, wait until it is started and in sync, then swap the two in one step
    Replace(ReplaceArguments),
    /// Have another member lead
    MoveLeader {
        /// Its id or name
        member: String,
        #[command(flatten)]
        client: ClientArguments,
    },
}

#[derive(Args)]
struct NewMember {
    /// A name for people, unique in the cluster
    name: String,
    /// Where the other members will reach it
    #[arg(long, value_delimiter = ',', required = true)]
    peer_urls: Vec<String>,
}

#[derive(Args)]
struct AddArguments {
    #[command(flatten)]
    new: NewMember,
    /// It does not vote until it is promoted
    #[arg(long)]
    learner: bool,
    /// It votes and stores no data: a third vote for two members with data. It can never become one of these
    #[arg(long, conflicts_with = "learner")]
    witness: bool,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Args)]
struct ReplaceArguments {
    /// Id or name of the member that goes
    old: String,
    #[command(flatten)]
    new: NewMember,
    /// How long to wait until the new member is in sync
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    wait_s: u64,
    #[command(flatten)]
    client: ClientArguments,
}

/// `quorate member`.
pub fn member(arguments: MemberArguments) -> Result<ExitCode> {
    block_on(async {
        match arguments.command {
            MemberCommand::List { client } => list(&client).await?,
            MemberCommand::Add(arguments) => add(arguments).await?,
            MemberCommand::Promote { member, replacing, client } => promote(&client, &member, replacing).await?,
            MemberCommand::Update { member, peer_urls, client } => update(&client, &member, peer_urls).await?,
            MemberCommand::Remove { member, client } => remove(&client, &member).await?,
            MemberCommand::Replace(arguments) => replace(arguments).await?,
            MemberCommand::MoveLeader { member, client } => move_leader(&client, &member).await?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// A connection, and the members as a quorum knows them.
struct Cluster {
    id: u64,
    service: ClusterClient<Channel>,
    members: Vec<Member>,
    /// What replicates their stores; empty where the server does not say.
    protocol: String,
}

impl Cluster {
    async fn of(client: &ClientArguments) -> Result<Cluster> {
        let channel = client.connect().await?;
        let status = MaintenanceClient::new(channel.clone()).status(StatusRequest::default()).await;
        let detail = status.ok().and_then(|status| status.into_inner().quorate);
        let protocol = detail.map_or_else(String::new, |detail| detail.protocol);
        let mut service = ClusterClient::new(channel);
        let list = service.member_list(MemberListRequest { linearizable: true }).await.map_err(|why| refusal(&why))?;
        let list = list.into_inner();
        Ok(Cluster { id: list.header.map_or(0, |header| header.cluster_id), service, members: list.members, protocol })
    }

    /// The member of this id, in hex as it is shown, or of this name.
    fn find(&self, word: &str) -> Result<&Member> {
        let id = u64::from_str_radix(word, 16).ok();
        if let Some(member) = self.members.iter().find(|member| Some(member.id) == id) {
            return Ok(member);
        }
        let named: Vec<&Member> =
            self.members.iter().filter(|member| member.name == word && !word.is_empty()).collect();
        match named.as_slice() {
            [member] => Ok(member),
            [] => bail!("the cluster has no member with the id or name `{word}`; `quorate member list` shows them"),
            _ => bail!("several members are called `{word}`; use the id"),
        }
    }

    async fn add(&mut self, request: MemberAddRequest) -> Result<Member> {
        let answer = self.service.member_add(request).await.map_err(|why| refusal(&why))?.into_inner();
        self.members = answer.members;
        answer.member.context("the answer names no member")
    }
}

fn print(output: OutputFormat, text: &str, document: &Value) {
    match output {
        OutputFormat::Text => println!("{text}"),
        OutputFormat::Json => println!("{document}"),
    }
}

fn member_json(member: &Member) -> Value {
    json!({
        "id": format!("{:x}", member.id), "name": member.name, "learner": member.is_learner,
        "witness": member.quorate_witness,
        "peer_urls": member.peer_urls, "client_urls": member.client_urls, "status_urls": member.quorate_status_urls,
    })
}

fn name_of(member: &Member) -> String {
    if member.name.is_empty() { format!("{:x}", member.id) } else { format!("{} ({:x})", member.name, member.id) }
}

async fn list(client: &ClientArguments) -> Result<()> {
    // Without a quorum the list is still of use, as the member at hand knows it.
    let mut service = ClusterClient::new(client.connect().await?);
    let mut answer = service.member_list(MemberListRequest { linearizable: true }).await;
    let confirmed = answer.is_ok();
    if !confirmed {
        answer = service.member_list(MemberListRequest { linearizable: false }).await;
    }
    let members = answer.map_err(|why| refusal(&why))?.into_inner().members;
    let mut text = format!("{:<16} {:<12} {:<8} {:<32} client URLs\n", "id", "name", "role", "peer URLs");
    for member in &members {
        let role = match (member.is_learner, member.quorate_witness) {
            (true, _) => "learner",
            (false, true) => "witness",
            (false, false) => "voter",
        };
        let name = if member.name.is_empty() { "(unstarted)" } else { &member.name };
        let client_urls = match member.quorate_status_urls.as_slice() {
            [] => member.client_urls.join(","),
            urls => format!("none; its status at {}", urls.join(",")),
        };
        text += &format!("{:<16x} {name:<12} {role:<8} {:<32} {client_urls}\n", member.id, member.peer_urls.join(","));
    }
    if !confirmed {
        text += "as one member knows them: no quorum confirms it now\n";
    }
    let document = json!({ "confirmed": confirmed, "members": members.iter().map(member_json).collect::<Vec<_>>() });
    print(client.output, text.trim_end(), &document);
    Ok(())
}

/// The command that starts a member that was added, with the members named as they name themselves.
fn start_command(members: &[Member], protocol: &str, new: &Member, name: &str) -> Result<String> {
    let mut cluster = Vec::new();
    for member in members {
        let name = match (member.id == new.id, member.name.as_str()) {
            (true, _) => name,
            (false, "") => bail!("another member was added and has not started yet; start that one first"),
            (false, name) => name,
        };
        cluster.extend(member.peer_urls.iter().map(|url| format!("{name}={url}")));
    }
    let urls = new.peer_urls.join(",");
    // Without the flag `serve` takes the usual one.
    let usual = protocol.is_empty() || protocol == Protocol::default().name();
    let protocol = if usual { String::new() } else { format!(" --protocol {protocol}") };
    Ok(format!(
        "quorate serve --name {name}{protocol} --listen-peer-urls {urls} --initial-advertise-peer-urls {urls} --initial-cluster {} \
         --initial-cluster-state existing",
        cluster.join(",")
    ))
}

/// Before anything is changed: names are how `--initial-cluster` tells members apart.
fn refuse_taken_name(cluster: &Cluster, name: &str) -> Result<()> {
    ensure!(!name.is_empty() && !name.contains(['=', ',']), "the name must not be empty nor contain `=` or `,`");
    ensure!(!cluster.members.iter().any(|member| member.name == name), "there is a member called `{name}` already");
    Ok(())
}

/// A refusal to add a witness, with what to do about it where that is known.
fn advised(why: anyhow::Error) -> anyhow::Error {
    if why.to_string().contains("not enough started members") {
        return anyhow::anyhow!(
            "{why}: a witness votes from the moment it is added, so the voters that have started must be a majority without it; \
             add a member that stores data first, and start all that were added"
        );
    }
    why
}

async fn add(arguments: AddArguments) -> Result<()> {
    let AddArguments { new, learner, witness, client } = arguments;
    let mut cluster = Cluster::of(&client).await?;
    refuse_taken_name(&cluster, &new.name)?;
    let request = MemberAddRequest { peer_urls: new.peer_urls, is_learner: learner, quorate_witness: witness };
    let added = cluster.add(request).await.map_err(|why| if witness { advised(why) } else { why })?;
    ensure!(
        added.quorate_witness == witness,
        "the server knows no witnesses: member {:x} was added as a voter that stores data; `quorate member remove {:x}` takes it back",
        added.id,
        added.id
    );
    let start = start_command(&cluster.members, &cluster.protocol, &added, &new.name)?;
    let what = match (learner, witness) {
        (true, _) => "a learner until it is promoted",
        (false, true) => "a witness, which votes from now on and stores no data: start it at once",
        (false, false) => "it votes as soon as it has caught up",
    };
    let text = format!(
        "member {:x} added to cluster {:x}: {what}\n\nStart it, with a data directory of its own and --listen-client-urls as \
         you like, by\n  {start}",
        added.id, cluster.id
    );
    print(client.output, &text, &json!({ "member": member_json(&added), "start": start }));
    Ok(())
}

async fn promote(client: &ClientArguments, member: &str, replacing: Option<String>) -> Result<()> {
    let mut cluster = Cluster::of(client).await?;
    let new = cluster.find(member)?.clone();
    let old = replacing.as_deref().map(|old| cluster.find(old).cloned()).transpose()?;
    let request = MemberPromoteRequest { id: new.id, quorate_replacing: old.as_ref().map_or(0, |old| old.id) };
    cluster.service.member_promote(request).await.map_err(|why| refusal(&why))?;
    let text = match &old {
        Some(old) => format!("{} votes now, in the place of {}", name_of(&new), name_of(old)),
        None => format!("{} votes now", name_of(&new)),
    };
    let replaced = old.map(|old| format!("{:x}", old.id));
    print(client.output, &text, &json!({ "promoted": format!("{:x}", new.id), "replaced": replaced }));
    Ok(())
}

async fn update(client: &ClientArguments, member: &str, peer_urls: Vec<String>) -> Result<()> {
    let mut cluster = Cluster::of(client).await?;
    let member = cluster.find(member)?.clone();
    let request = MemberUpdateRequest { id: member.id, peer_urls: peer_urls.clone() };
    cluster.service.member_update(request).await.map_err(|why| refusal(&why))?;
    let text = format!("{} is reached at {} from now on", name_of(&member), peer_urls.join(","));
    print(client.output, &text, &json!({ "updated": format!("{:x}", member.id), "peer_urls": peer_urls }));
    Ok(())
}

async fn remove(client: &ClientArguments, member: &str) -> Result<()> {
    let mut cluster = Cluster::of(client).await?;
    let member = cluster.find(member)?.clone();
    cluster.service.member_remove(MemberRemoveRequest { id: member.id }).await.map_err(|why| refusal(&why))?;
    let text = format!("{} is removed for ever; its process stops by itself", name_of(&member));
    print(client.output, &text, &json!({ "removed": format!("{:x}", member.id) }));
    Ok(())
}

/// A learner first: it costs no majority, whether the member it replaces still runs or not.
async fn replace(arguments: ReplaceArguments) -> Result<()> {
    let ReplaceArguments { old, new, wait_s, client } = arguments;
    let mut cluster = Cluster::of(&client).await?;
    let old = cluster.find(&old)?.clone();
    ensure!(!old.is_learner, "{} is a learner: remove it and add another one", name_of(&old));
    ensure!(!old.quorate_witness, "{} is a witness: remove it and add another one", name_of(&old));
    refuse_taken_name(&cluster, &new.name)?;
    let request = MemberAddRequest { peer_urls: new.peer_urls, is_learner: true, ..MemberAddRequest::default() };
    let added = cluster.add(request).await?;
    let start = start_command(&cluster.members, &cluster.protocol, &added, &new.name)?;
    eprintln!("member {:x} added as a learner. Start it, with a data directory of its own, by\n  {start}", added.id);
    eprintln!("waiting until it is in sync; then it takes the place of {}", name_of(&old));
    let deadline = Instant::now() + Duration::from_secs(wait_s);
    let request = MemberPromoteRequest { id: added.id, quorate_replacing: old.id };
    while let Err(why) = cluster.service.member_promote(request).await {
        ensure!(may_pass(&why), "{}", refusal(&why));
        ensure!(
            Instant::now() < deadline,
            "not in sync within {wait_s} s: `quorate member promote {:x} --replacing {:x}` goes on from here, \
             `quorate member remove {:x}` takes it back",
            added.id,
            old.id,
            added.id
        );
        tokio::time::sleep(ASK_EVERY).await;
    }
    let text = format!("{} ({:x}) votes now, in the place of {}", new.name, added.id, name_of(&old));
    let document =
        json!({ "promoted": format!("{:x}", added.id), "replaced": format!("{:x}", old.id), "start": start });
    print(client.output, &text, &document);
    Ok(())
}

/// Refusals that pass by themselves.
fn may_pass(why: &Status) -> bool {
    why.code() == tonic::Code::Unavailable || why.message().ends_with("in sync with leader")
}

/// Only the leader hands leadership over, so it is looked for.
async fn move_leader(client: &ClientArguments, member: &str) -> Result<()> {
    let cluster = Cluster::of(client).await?;
    let target = cluster.find(member)?.clone();
    let status = MaintenanceClient::new(client.connect().await?).status(StatusRequest {}).await;
    let leader = status.map_err(|why| refusal(&why))?.into_inner().leader;
    let leader = cluster.members.iter().find(|member| member.id == leader).context("nobody leads")?;
    let endpoint = leader.client_urls.first().context("the leader's client address is not known")?;
    let channel = client.connect_to(endpoint).await?;
    let request = MoveLeaderRequest { target_id: target.id };
    MaintenanceClient::new(channel).move_leader(request).await.map_err(|why| refusal(&why))?;
    let text = format!("{} leads now, after {}", name_of(&target), name_of(leader));
    let document = json!({ "leader": format!("{:x}", target.id), "before": format!("{:x}", leader.id) });
    print(client.output, &text, &document);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, name: &str) -> Member {
        let peer_urls = vec![format!("http://127.0.0.1:{id}")];
        Member { id, name: name.to_owned(), peer_urls, ..Member::default() }
    }

    #[test]
    fn the_command_that_starts_a_new_member_names_all() {
        let new = member(3, "");
        let members = [member(1, "a"), new.clone(), member(2, "b")];
        let command = start_command(&members, "raft", &new, "c").unwrap();
        assert!(!command.contains("--protocol"), "{command}");
        let of_zab = start_command(&members, "zab", &new, "c").unwrap();
        assert!(of_zab.contains("--name c --protocol zab --listen"), "{of_zab}");
        assert!(command.contains("--name c "), "{command}");
        let all = "--initial-cluster a=http://127.0.0.1:1,c=http://127.0.0.1:3,b=http://127.0.0.1:2 ";
        assert!(command.contains(all), "{command}");
        let unnamed = start_command(&[member(1, ""), new.clone()], "raft", &new, "c").unwrap_err();
        assert!(unnamed.to_string().contains("start that one first"), "{unnamed}");
    }
}
