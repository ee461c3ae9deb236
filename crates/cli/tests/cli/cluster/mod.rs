//! Real processes of the built program on free ports of this machine.
use quorate_server::proto::etcdserverpb::kv_client::KvClient;
use quorate_server::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate_server::proto::etcdserverpb::{PutRequest, RangeRequest, RangeResponse, StatusRequest, StatusResponse};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tonic::transport::{Channel, Endpoint};

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One node's place.
struct Place {
    name: String,
    client_port: u16,
    peer_port: u16,
    process: Option<Child>,
}

/// A cluster of processes and its scratch directory, both gone when dropped.
pub struct Cluster {
    directory: tempfile::TempDir,
    places: Vec<Place>,
    /// What its nodes are told to run when they are started.
    pub protocol: &'static str,
    /// Whether every node records its run.
    records: bool,
}

impl Cluster {
    /// Started and led.
    pub async fn start(nodes: usize) -> Cluster {
        Cluster::start_as(nodes, "raft", false).await
    }

    /// The same over any protocol, and with a flight recorder in every node if wanted.
    pub async fn start_as(nodes: usize, protocol: &'static str, records: bool) -> Cluster {
        let directory = tempfile::tempdir().expect("a scratch directory can be made");
        let ports = free_ports(nodes * 2);
        let places = (0..nodes)
            .map(|index| Place {
                name: format!("node{index}"),
                client_port: ports[2 * index],
                peer_port: ports[2 * index + 1],
                process: None,
            })
            .collect();
        let mut cluster = Cluster { directory, places, protocol, records };
        for index in 0..nodes {
            cluster.restart(index);
        }
        cluster.wait_for_leader().await;
        cluster
    }

    /// Starts the process of a node.
    pub fn restart(&mut self, index: usize) {
        let process = self.command(index).spawn().expect("the program starts");
        self.places[index].process = Some(process);
    }

    /// Starts a node that is expected to end by itself; returns how, and what it said.
    pub fn run_to_its_end(&self, index: usize) -> (ExitStatus, String) {
        let output = self.command(index).stderr(Stdio::piped()).output().expect("the program starts");
        (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn command(&self, index: usize) -> Command {
        let place = &self.places[index];
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let members: Vec<String> =
            self.places.iter().map(|member| format!("{}={}", member.name, url(member.peer_port))).collect();
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        command
            .args(["serve", "--name", &place.name, "--data-dir"])
            .arg(self.data_directory(index))
            .args(["--listen-client-urls", &url(place.client_port), "--listen-peer-urls", &url(place.peer_port)])
            .args(["--initial-cluster", &members.join(","), "--log-level", "warn", "--protocol", self.protocol])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if self.records {
            command.arg("--record").arg(self.recordings()).arg("--record-values");
        }
        command
    }

    /// Where all nodes record.
    pub fn recordings(&self) -> PathBuf {
        self.directory.path().join("flight")
    }

    /// SIGTERM, and until it has ended.
    pub fn stop(&mut self, index: usize) {
        if let Some(mut process) = self.places[index].process.take() {
            let id = process.id().to_string();
            let asked = Command::new("kill").args(["-TERM", &id]).status().expect("kill can be run");
            assert!(asked.success(), "the process can be asked to end");
            process.wait().expect("the process can be waited for");
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self, index: usize) {
        if let Some(mut process) = self.places[index].process.take() {
            process.kill().expect("the process can be killed");
            process.wait().expect("the process can be waited for");
        }
    }

    /// Where a node keeps its data.
    pub fn data_directory(&self, index: usize) -> PathBuf {
        self.directory.path().join(&self.places[index].name)
    }

    /// The newest segment of a node's journal.
    pub fn newest_segment(&self, index: usize) -> PathBuf {
        let journal = self.data_directory(index).join("journal");
        let mut segments: Vec<PathBuf> = std::fs::read_dir(&journal)
            .expect("the journal directory is there")
            .map(|entry| entry.expect("the directory can be read").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
            .collect();
        segments.sort();
        segments.pop().expect("a journal has a segment")
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// A connection that is made on first use.
    pub fn channel(&self, index: usize) -> Channel {
        Endpoint::from_shared(format!("http://127.0.0.1:{}", self.places[index].client_port))
            .expect("a port makes a URL")
            .connect_timeout(Duration::from_secs(1))
            .timeout(Duration::from_secs(10))
            .connect_lazy()
    }

    /// A node's status, if it answers.
    pub async fn status(&self, index: usize) -> Option<StatusResponse> {
        MaintenanceClient::new(self.channel(index))
            .status(StatusRequest::default())
            .await
            .ok()
            .map(tonic::Response::into_inner)
    }

    /// Who leads, by its own word.
    pub async fn leader(&self) -> Option<usize> {
        for index in 0..self.places.len() {
            if let Some(status) = self.status(index).await
                && status.leader != 0
                && status.header.as_ref().is_some_and(|header| header.member_id == status.leader)
            {
                return Some(index);
            }
        }
        None
    }

    /// Waits until somebody leads.
    pub async fn wait_for_leader(&self) -> usize {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(leader) = self.leader().await {
                return leader;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no leader within {PATIENCE:?}");
    }

    /// All keys with this prefix, from a node.
    pub async fn range(&self, index: usize, prefix: &str) -> Result<RangeResponse, tonic::Status> {
        let mut end = prefix.as_bytes().to_vec();
        *end.last_mut().expect("the prefix is not empty") += 1;
        let request = RangeRequest { key: prefix.to_owned().into(), range_end: end.into(), ..RangeRequest::default() };
        KvClient::new(self.channel(index))
            .max_decoding_message_size(usize::MAX)
            .range(request)
            .await
            .map(tonic::Response::into_inner)
    }

    /// Ranges at a node until it answers.
    pub async fn range_when_ready(&self, index: usize, prefix: &str) -> RangeResponse {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.range(index, prefix).await {
                Ok(answer) => return answer,
                Err(status) if Instant::now() > deadline => panic!("node {index} does not answer: {status}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for index in 0..self.places.len() {
            self.kill(index);
        }
    }
}

/// Writes one key; `Ok` with the revision if it was acknowledged.
pub async fn put(channel: Channel, key: &str, value: &str) -> Result<i64, tonic::Status> {
    let request = PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..PutRequest::default() };
    let answer = KvClient::new(channel).put(request).await?.into_inner();
    Ok(answer.header.map_or(0, |header| header.revision))
}

/// Flips one bit of a file.
pub fn flip_bit(file: &Path, offset: usize) {
    let mut bytes = std::fs::read(file).expect("the file can be read");
    bytes[offset] ^= 0x04;
    std::fs::write(file, bytes).expect("the file can be written");
}

/// Where a file's content ends and its reserved zeros begin.
pub fn used_bytes(file: &Path) -> usize {
    let bytes = std::fs::read(file).expect("the file can be read");
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// All that a store can be served over.
pub const PROTOCOLS: [&str; 4] = ["raft", "multi-paxos", "viewstamped", "zab"];

/// Ports that nobody listened on a moment ago.
pub fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port is free")).collect();
    listeners.iter().map(|listener| listener.local_addr().expect("a bound listener has an address").port()).collect()
}
