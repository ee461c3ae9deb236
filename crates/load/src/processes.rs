//! Server processes of this machine, by the port they listen on: what they use is read from `/proc`. Elsewhere, and for
//! servers of other machines or users, there is simply nothing to report.

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

/// A local process that serves an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerProcess {
    /// Which endpoint.
    pub endpoint: String,
    /// The process.
    pub pid: u32,
}

/// What a process has used so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProcessSample {
    /// Which endpoint it serves.
    pub endpoint: String,
    /// The process.
    pub pid: u32,
    /// User and system time since it started.
    pub cpu: Duration,
    /// Resident memory.
    pub resident_bytes: u64,
}

const LISTENING: &str = "0A";

/// The processes that listen on the endpoints' ports.
#[must_use]
pub fn find(endpoints: &[String]) -> Vec<ServerProcess> {
    let sockets = listening_sockets();
    let mut wanted = BTreeMap::new();
    for endpoint in endpoints {
        let port = endpoint.trim_end_matches('/').rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
        if let Some(inodes) = port.and_then(|port| sockets.get(&port)) {
            wanted.extend(inodes.iter().map(|inode| (*inode, endpoint)));
        }
    }
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut found = BTreeSet::new();
    for pid in numbered_entries("/proc") {
        for inode in sockets_of(pid) {
            if let Some(endpoint) = wanted.get(&inode) {
                found.insert(((*endpoint).clone(), pid));
            }
        }
    }
    found.into_iter().map(|(endpoint, pid)| ServerProcess { endpoint, pid }).collect()
}

/// What they have used by now; those that are gone are left out.
#[must_use]
pub fn sample(servers: &[ServerProcess]) -> Vec<ProcessSample> {
    let sample_one = |server: &ServerProcess| {
        let stat = fs::read_to_string(format!("/proc/{}/stat", server.pid)).ok()?;
        let (ticks, pages) = times_and_pages(&stat)?;
        let seconds = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
        Some(ProcessSample {
            endpoint: server.endpoint.clone(),
            pid: server.pid,
            cpu: Duration::from_secs_f64(seconds),
            resident_bytes: pages * rustix::param::page_size() as u64,
        })
    };
    servers.iter().filter_map(sample_one).collect()
}

/// Port -> inodes of the sockets that listen on it.
fn listening_sockets() -> BTreeMap<u16, Vec<u64>> {
    let mut sockets: BTreeMap<u16, Vec<u64>> = BTreeMap::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let Ok(text) = fs::read_to_string(table) else { continue };
        for (port, inode) in text.lines().filter_map(listening_line) {
            sockets.entry(port).or_default().push(inode);
        }
    }
    sockets
}

/// `sl local_address rem_address st ... inode`, the address in hexadecimal.
fn listening_line(line: &str) -> Option<(u16, u64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    let port = local.rsplit(':').next().and_then(|port| u16::from_str_radix(port, 16).ok())?;
    (*state == LISTENING).then_some((port, inode.parse().ok()?))
}

fn numbered_entries(directory: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

fn sockets_of(pid: u32) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let inode_of = |entry: std::io::Result<fs::DirEntry>| {
        let target = fs::read_link(entry.ok()?.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    entries.filter_map(inode_of).collect()
}

/// User plus system ticks, and resident pages, of a `/proc/PID/stat` line. The name in brackets may hold anything.
fn times_and_pages(stat: &str) -> Option<(u64, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    Some((number(11)? + number(12)?, number(21)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_behind_any_name() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 2 3 4 50 25 0 0 20 0 4 0 100 1000000 321 18446744073709551615";
        assert_eq!(times_and_pages(stat), Some((75, 321)));
    }

    #[test]
    fn a_listening_socket_is_found_by_its_port() {
        let line = "   0: 0100007F:094B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1";
        assert_eq!(listening_line(line), Some((2379, 4711)));
        assert_eq!(listening_line(&line.replace(" 0A ", " 01 ")), None);
    }

    #[test]
    fn this_process_is_found_by_a_port_of_its_own() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let found = find(&[format!("http://127.0.0.1:{port}")]);
        assert_eq!(found.iter().map(|server| server.pid).collect::<Vec<_>>(), [std::process::id()]);
        assert!(sample(&found)[0].resident_bytes > 0);
    }
}
