//! From settings to a plan that makes sense, or one sentence that says why not.

use super::settings::Settings;
use anyhow::{Result, bail, ensure};
use quorate_types::{ClusterId, Member, MemberRole, Membership, NodeId};
use std::path::PathBuf;
use std::time::Duration;

/// What one node will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// For people.
    pub name: String,
    /// Where its data is.
    pub data_directory: PathBuf,
    /// The cluster's id, drawn from its members and token.
    pub cluster: ClusterId,
    /// This node's id, drawn from its peer URLs and the token.
    pub me: NodeId,
    /// All founding members.
    pub members: Membership,
    /// Where clients are told to reach this node.
    pub client_urls: Vec<String>,
    /// Where to listen for clients: `host:port`.
    pub listen_client: Vec<String>,
    /// Where to listen for members: `host:port`.
    pub listen_peer: Vec<String>,
    /// Between a leader's heartbeats.
    pub heartbeat_interval: Duration,
    /// Without a leader before an election.
    pub election_timeout: Duration,
    /// What to log.
    pub log_level: tracing::Level,
    /// Whether to log as JSON.
    pub log_json: bool,
}

impl Settings {
    /// Checks everything and fills in the defaults.
    pub fn plan(self) -> Result<Plan> {
        let name = self.name.unwrap_or_else(|| "default".to_owned());
        ensure!(
            !name.is_empty() && !name.contains(['=', ',']),
            "--name `{name}` must not be empty nor contain `=` or `,`"
        );
        let protocol = self.protocol.as_deref().unwrap_or("raft");
        ensure!(protocol == "raft", "--protocol {protocol}: this version serves raft only");
        let listen_client =
            urls("--listen-client-urls", self.listen_client_urls.as_deref().unwrap_or("http://127.0.0.1:2379"))?;
        let listen_peer =
            urls("--listen-peer-urls", self.listen_peer_urls.as_deref().unwrap_or("http://127.0.0.1:2380"))?;
        let client_urls = advertised("--advertise-client-urls", self.advertise_client_urls, &listen_client)?;
        let peer_urls = advertised("--initial-advertise-peer-urls", self.initial_advertise_peer_urls, &listen_peer)?;
        refuse_joining(self.initial_cluster_state.as_deref())?;
        let token = self.initial_cluster_token.unwrap_or_else(|| "quorate-cluster".to_owned());
        let founders = founders(self.initial_cluster.as_deref(), &name, &peer_urls)?;
        let members = membership(&founders, &token);
        let (heartbeat_interval, election_timeout) = intervals(self.heartbeat_interval, self.election_timeout)?;
        Ok(Plan {
            data_directory: self.data_dir.unwrap_or_else(|| PathBuf::from(format!("{name}.quorate"))),
            cluster: cluster_id(&founders, &token),
            me: node_id(&peer_urls, &token),
            members,
            client_urls,
            listen_client: listen_client.iter().map(|url| authority(url).to_owned()).collect(),
            listen_peer: listen_peer.iter().map(|url| authority(url).to_owned()).collect(),
            heartbeat_interval,
            election_timeout,
            log_level: log_level(self.log_level.as_deref().unwrap_or("info"))?,
            log_json: log_json(self.log_format.as_deref().unwrap_or("text"))?,
            name,
        })
    }
}

/// One founding member as `--initial-cluster` names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Founder {
    name: String,
    peer_urls: Vec<String>,
}

fn founders(initial_cluster: Option<&str>, name: &str, peer_urls: &[String]) -> Result<Vec<Founder>> {
    let Some(text) = initial_cluster else {
        return Ok(vec![Founder { name: name.to_owned(), peer_urls: peer_urls.to_vec() }]);
    };
    let mut founders: Vec<Founder> = Vec::new();
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        let Some((member, url)) = part.split_once('=') else {
            bail!("--initial-cluster: `{part}` is not NAME=URL");
        };
        let url = urls("--initial-cluster", url)?;
        match founders.iter_mut().find(|founder| founder.name == member.trim()) {
            Some(founder) => founder.peer_urls.extend(url),
            None => founders.push(Founder { name: member.trim().to_owned(), peer_urls: url }),
        }
    }
    for founder in &mut founders {
        founder.peer_urls.sort();
    }
    let mut all: Vec<&String> = founders.iter().flat_map(|founder| &founder.peer_urls).collect();
    all.sort();
    if let Some(twice) = all.windows(2).find(|pair| pair[0] == pair[1]) {
        bail!("--initial-cluster names {} twice", twice[0]);
    }
    let Some(own) = founders.iter().find(|founder| founder.name == name) else {
        bail!("--initial-cluster does not name this node: --name is `{name}`");
    };
    let mut advertised = peer_urls.to_vec();
    advertised.sort();
    ensure!(
        own.peer_urls == advertised,
        "--initial-cluster says that {name} is at {}, --initial-advertise-peer-urls says {}",
        own.peer_urls.join(","),
        advertised.join(",")
    );
    founders.sort();
    Ok(founders)
}

/// Client URLs are not known here: members tell each other theirs on connecting.
fn membership(founders: &[Founder], token: &str) -> Membership {
    Membership::new(founders.iter().map(|founder| Member {
        id: node_id(&founder.peer_urls, token),
        role: MemberRole::Voter,
        disk: None,
        name: founder.name.clone(),
        peer_urls: founder.peer_urls.clone(),
        client_urls: Vec::new(),
    }))
}

fn node_id(peer_urls: &[String], token: &str) -> NodeId {
    let mut sorted = peer_urls.to_vec();
    sorted.sort();
    NodeId(hash(sorted.iter().map(String::as_str).chain([token])))
}

fn cluster_id(founders: &[Founder], token: &str) -> ClusterId {
    let parts =
        founders.iter().flat_map(|founder| founder.peer_urls.iter().map(String::as_str).chain([founder.name.as_str()]));
    ClusterId(hash(parts.chain([token])))
}

/// FNV-1a with a final mix: every founder must draw the same ids from the same words, on any machine and version.
fn hash<'a>(parts: impl Iterator<Item = &'a str>) -> u64 {
    let mut state = 0xcbf2_9ce4_8422_2325u64;
    for part in parts {
        for byte in part.bytes().chain([0]) {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    state = (state ^ (state >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    state ^ (state >> 33)
}

fn urls(setting: &str, text: &str) -> Result<Vec<String>> {
    let urls: Vec<String> = text.split(',').map(str::trim).filter(|url| !url.is_empty()).map(str::to_owned).collect();
    ensure!(!urls.is_empty(), "{setting} is empty");
    for url in &urls {
        ensure!(!url.starts_with("https://"), "{setting}: {url}: TLS is not there yet in this version; use http://");
        ensure!(url.starts_with("http://"), "{setting}: {url}: a URL such as http://127.0.0.1:2379 is wanted");
        let port = authority(url).rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        ensure!(port.is_some(), "{setting}: {url}: a port between 0 and 65535 is wanted after the host");
        ensure!(!url["http://".len()..].contains('/'), "{setting}: {url}: no path may follow the port");
    }
    Ok(urls)
}

fn authority(url: &str) -> &str {
    url.strip_prefix("http://").unwrap_or(url)
}

fn advertised(setting: &str, given: Option<String>, listen: &[String]) -> Result<Vec<String>> {
    match given {
        Some(given) => urls(setting, &given),
        None => {
            for url in listen {
                let host = authority(url).rsplit_once(':').map_or("", |(host, _)| host);
                ensure!(
                    !matches!(host, "0.0.0.0" | "[::]"),
                    "{setting} must be given, because nobody can reach {url} under that address"
                );
            }
            Ok(listen.to_vec())
        }
    }
}

fn refuse_joining(state: Option<&str>) -> Result<()> {
    match state {
        None | Some("new") => Ok(()),
        Some("existing") => {
            bail!(
                "--initial-cluster-state existing: joining a running cluster is not there yet in this version; a restart with its data needs no such flag"
            )
        }
        Some(other) => bail!("--initial-cluster-state {other}: new or existing is wanted"),
    }
}

fn intervals(heartbeat_ms: Option<u64>, election_ms: Option<u64>) -> Result<(Duration, Duration)> {
    let heartbeat = heartbeat_ms.unwrap_or(100);
    let election = election_ms.unwrap_or(1000);
    ensure!(heartbeat > 0, "--heartbeat-interval must be at least 1 ms");
    ensure!(election <= 50_000, "--election-timeout {election} is over the limit of 50000 ms");
    ensure!(
        election >= 10 * heartbeat,
        "--election-timeout {election} must be at least 10 times --heartbeat-interval {heartbeat}, or followers give up on a healthy leader"
    );
    Ok((Duration::from_millis(heartbeat), Duration::from_millis(election)))
}

fn log_level(text: &str) -> Result<tracing::Level> {
    match text {
        "error" | "warn" | "info" | "debug" | "trace" => Ok(text.parse()?),
        _ => bail!("--log-level {text}: error, warn, info, debug or trace is wanted"),
    }
}

fn log_json(text: &str) -> Result<bool> {
    match text {
        "text" => Ok(false),
        "json" => Ok(true),
        _ => bail!("--log-format {text}: text or json is wanted"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three(name: &str, port: u16) -> Settings {
        Settings {
            name: Some(name.to_owned()),
            listen_peer_urls: Some(format!("http://127.0.0.1:{port}")),
            initial_cluster: Some("a=http://127.0.0.1:1,b=http://127.0.0.1:2,c=http://127.0.0.1:3".to_owned()),
            ..Settings::default()
        }
    }

    fn refusal(settings: Settings) -> String {
        settings.plan().unwrap_err().to_string()
    }

    #[test]
    fn without_settings_it_is_one_node_on_the_usual_port() {
        let plan = Settings::default().plan().unwrap();
        assert_eq!(plan.listen_client, ["127.0.0.1:2379"]);
        assert_eq!(plan.members.members().len(), 1);
        assert!(plan.members.is_voter(plan.me));
    }

    #[test]
    fn founders_agree_on_all_ids_whatever_order_they_are_named_in() {
        let a = three("a", 1).plan().unwrap();
        let mut shuffled = three("b", 2);
        shuffled.initial_cluster = Some("c=http://127.0.0.1:3,b=http://127.0.0.1:2,a=http://127.0.0.1:1".to_owned());
        let b = shuffled.plan().unwrap();
        assert_eq!(a.cluster, b.cluster);
        assert_ne!(a.me, b.me);
        assert_eq!(a.members.voters().collect::<Vec<_>>(), b.members.voters().collect::<Vec<_>>());
        let other = Settings { initial_cluster_token: Some("other".to_owned()), ..three("a", 1) }.plan().unwrap();
        assert_ne!(a.cluster, other.cluster);
    }

    #[test]
    fn contradictions_are_refused_by_name() {
        assert!(refusal(three("d", 1)).contains("does not name this node"));
        assert!(refusal(three("a", 9)).contains("--initial-advertise-peer-urls says http://127.0.0.1:9"));
        let slow = Settings { heartbeat_interval: Some(300), ..Settings::default() };
        assert!(refusal(slow).contains("at least 10 times"));
        let everywhere = Settings { listen_client_urls: Some("http://0.0.0.0:2379".to_owned()), ..Settings::default() };
        assert!(refusal(everywhere).contains("--advertise-client-urls must be given"));
        let secret = Settings { listen_client_urls: Some("https://127.0.0.1:2379".to_owned()), ..Settings::default() };
        assert!(refusal(secret).contains("TLS is not there yet"));
        let joining = Settings { initial_cluster_state: Some("existing".to_owned()), ..Settings::default() };
        assert!(refusal(joining).contains("not there yet"));
        let other = Settings { protocol: Some("zab".to_owned()), ..Settings::default() };
        assert!(refusal(other).contains("raft only"));
    }
}
