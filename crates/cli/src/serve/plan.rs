//! From settings to a plan that makes sense, or one sentence that says why not.

use super::settings::Settings;
use anyhow::{Result, anyhow, bail, ensure};
use quorate_service::{Entry, Founder, Plan, Protocol, UnknownProtocol, cluster_id, founding_membership, node_id};
use std::path::PathBuf;
use std::time::Duration;

/// How long a node that joins asks the members it was told of.
const JOIN_PATIENCE: Duration = Duration::from_secs(30);

/// What one process will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServePlan {
    /// The member it runs.
    pub member: Plan,
    /// Where to listen for clients: `host:port`.
    pub listen_client: Vec<String>,
    /// Where to listen for members: `host:port`.
    pub listen_peer: Vec<String>,
    /// What to log.
    pub log_level: tracing::Level,
    /// Whether to log as JSON.
    pub log_json: bool,
}

impl Settings {
    /// Checks everything and fills in the defaults.
    pub fn plan(self) -> Result<ServePlan> {
        let limits = self.limits()?;
        let others = self.clone();
        let name = self.name.unwrap_or_else(|| "default".to_owned());
        ensure!(
            !name.is_empty() && !name.contains(['=', ',']),
            "--name `{name}` must not be empty nor contain `=` or `,`"
        );
        let protocol = protocol_of(self.protocol.as_deref())?;
        let listen_client =
            urls("--listen-client-urls", self.listen_client_urls.as_deref().unwrap_or("http://127.0.0.1:2379"))?;
        let listen_peer =
            urls("--listen-peer-urls", self.listen_peer_urls.as_deref().unwrap_or("http://127.0.0.1:2380"))?;
        let peer_urls = advertised("--initial-advertise-peer-urls", self.initial_advertise_peer_urls, &listen_peer)?;
        let joins = is_joining(self.initial_cluster_state.as_deref())?;
        let token = self.initial_cluster_token.unwrap_or_else(|| "quorate-cluster".to_owned());
        let founders = founders(self.initial_cluster.as_deref(), &name, &peer_urls)?;
        let entry = if joins {
            Entry::Join { members: founders, patience: JOIN_PATIENCE }
        } else {
            let members = founding_membership(&founders, &token);
            Entry::Found { cluster: cluster_id(&founders, &token), me: node_id(&peer_urls, &token), members }
        };
        let log_level = log_level(self.log_level.as_deref().unwrap_or("info"))?;
        let data_directory = self.data_dir.unwrap_or_else(|| PathBuf::from(format!("{name}.quorate")));
        let mut member = Plan {
            protocol,
            peer_urls,
            client_urls: advertised("--advertise-client-urls", self.advertise_client_urls, &listen_client)?,
            quota_backend_bytes: limits.quota_backend_bytes,
            learners_max: self.max_learners.unwrap_or(Plan::DEFAULT_LEARNERS_MAX),
            strict_reconfiguration: self.strict_reconfig_check.unwrap_or(true),
            low_space_bytes: self.low_space_bytes.unwrap_or(Plan::DEFAULT_LOW_SPACE_BYTES),
            snapshot_count: at_least_one("--snapshot-count", self.snapshot_count, Plan::DEFAULT_SNAPSHOT_COUNT)?,
            snapshot_catchup_entries: at_least_one(
                "--snapshot-catchup-entries",
                self.snapshot_catchup_entries,
                Plan::DEFAULT_SNAPSHOT_CATCHUP_ENTRIES,
            )?,
            tracing: log_level >= tracing::Level::DEBUG,
            ..Plan::new(&name, data_directory, entry)
        };
        others.set_consensus(&mut member)?;
        member.recording = others.recording(&name)?;
        member.server = limits.server(member.election_timeout);
        Ok(ServePlan {
            member,
            listen_client: listen_client.iter().map(|url| authority(url).to_owned()).collect(),
            listen_peer: listen_peer.iter().map(|url| authority(url).to_owned()).collect(),
            log_level,
            log_json: log_json(self.log_format.as_deref().unwrap_or("text"))?,
        })
    }
}

/// Raft unless another is named.
pub fn protocol_of(name: Option<&str>) -> Result<Protocol> {
    name.map_or(Ok(Protocol::default()), |name| {
        name.parse().map_err(|error: UnknownProtocol| anyhow!("--protocol {error}"))
    })
}

/// The founding members as `--initial-cluster` names them.
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

fn at_least_one(flag: &str, given: Option<u64>, default: u64) -> Result<u64> {
    let count = given.unwrap_or(default);
    ensure!(count > 0, "{flag} must be at least 1");
    Ok(count)
}

fn is_joining(state: Option<&str>) -> Result<bool> {
    match state {
        None | Some("new") => Ok(false),
        Some("existing") => Ok(true),
        Some(other) => bail!("--initial-cluster-state {other}: new or existing is wanted"),
    }
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
    use quorate_types::{ClusterId, Membership, NodeId};

    fn three(name: &str, port: u16) -> Settings {
        Settings {
            name: Some(name.to_owned()),
            listen_peer_urls: Some(format!("http://127.0.0.1:{port}")),
            initial_cluster: Some("a=http://127.0.0.1:1,b=http://127.0.0.1:2,c=http://127.0.0.1:3".to_owned()),
            ..Settings::default()
        }
    }

    fn founding(plan: &ServePlan) -> (ClusterId, NodeId, Membership) {
        match &plan.member.entry {
            Entry::Found { cluster, me, members } => (*cluster, *me, members.clone()),
            Entry::Join { .. } => panic!("it founds"),
        }
    }

    #[test]
    fn snapshots_are_for_members_that_lag_by_as_much_as_is_said_and_never_by_nothing() {
        let said = Settings { snapshot_count: Some(5), snapshot_catchup_entries: Some(7), ..Settings::default() };
        let member = said.plan().unwrap().member;
        assert_eq!((member.snapshot_count, member.snapshot_catchup_entries), (5, 7));
        let refusal = |settings: Settings| settings.plan().unwrap_err().to_string();
        let none = Settings { snapshot_count: Some(0), ..Settings::default() };
        assert!(refusal(none).contains("--snapshot-count must be at least 1"));
        let none = Settings { snapshot_catchup_entries: Some(0), ..Settings::default() };
        assert!(refusal(none).contains("--snapshot-catchup-entries must be at least 1"));
    }

    #[test]
    fn a_node_that_joins_names_all_members_by_their_peer_urls() {
        let joining = Settings { initial_cluster_state: Some("existing".to_owned()), ..three("b", 2) }.plan().unwrap();
        let Entry::Join { members, .. } = joining.member.entry else { panic!("it joins") };
        assert_eq!(members.len(), 3);
        assert_eq!(joining.member.peer_urls, ["http://127.0.0.1:2"]);
    }

    #[test]
    fn the_only_member_may_say_that_it_exists_for_its_data_may_be_of_another_address() {
        let moved = Settings { initial_cluster_state: Some("existing".to_owned()), ..Settings::default() };
        assert!(matches!(moved.plan().unwrap().member.entry, Entry::Join { members, .. } if members.len() == 1));
    }

    fn refusal(settings: Settings) -> String {
        settings.plan().unwrap_err().to_string()
    }

    #[test]
    fn without_settings_it_is_one_node_on_the_usual_port() {
        let plan = Settings::default().plan().unwrap();
        assert_eq!(plan.listen_client, ["127.0.0.1:2379"]);
        let (_, me, members) = founding(&plan);
        assert_eq!(members.members().len(), 1);
        assert!(members.is_voter(me));
    }

    #[test]
    fn founders_agree_on_all_ids_whatever_order_they_are_named_in() {
        let a = three("a", 1).plan().unwrap();
        let mut shuffled = three("b", 2);
        shuffled.initial_cluster = Some("c=http://127.0.0.1:3,b=http://127.0.0.1:2,a=http://127.0.0.1:1".to_owned());
        let b = shuffled.plan().unwrap();
        let ((cluster, a, members), (other_cluster, b, same)) = (founding(&a), founding(&b));
        assert_eq!(cluster, other_cluster);
        assert_ne!(a, b);
        assert_eq!(members.voters().collect::<Vec<_>>(), same.voters().collect::<Vec<_>>());
        let other = Settings { initial_cluster_token: Some("other".to_owned()), ..three("a", 1) }.plan().unwrap();
        assert_ne!(cluster, founding(&other).0);
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
        let neither = Settings { initial_cluster_state: Some("old".to_owned()), ..Settings::default() };
        assert!(refusal(neither).contains("new or existing is wanted"));
    }
}
