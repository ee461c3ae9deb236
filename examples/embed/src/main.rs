//! Three replicas in one process, on real files and sockets.

// [cluster]
use anyhow::Result;
use quorate_example_embed::{Count, Tallies};
use quorate_node::{Consistency, NodeConfig};
use quorate_protocol::Start;
use quorate_raft::{Config, Raft};
use quorate_runtime::{Running, RuntimeConfig, start};
use quorate_types::{ClusterId, Member, Membership, NodeId};
use tokio::net::TcpListener;

async fn count_apples() -> Result<i64> {
    let directory = tempfile::tempdir()?;
    let (mut listeners, mut members) = (Vec::new(), Vec::new());
    for id in (1..=3).map(NodeId) {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        members.push(Member { peer_urls: vec![url.clone()], ..Member::voter(id) });
        listeners.push((id, listener, url));
    }
    let run = |(me, listener, url): (NodeId, TcpListener, String)| -> Result<Running<Tallies>> {
        let config = RuntimeConfig::<Raft, Tallies> {
            cluster: ClusterId(1),
            me,
            start: Start::Found(Membership::new(members.clone())),
            node: NodeConfig::new(Config::default()),
            duty: (),
            data_directory: directory.path().join(me.to_string()),
            name: me.to_string(),
            peer_urls: vec![url],
            client_urls: Vec::new(),
            queued_requests_max: 1024,
            queued_messages_max: 1024,
            recorder: None,
        };
        Ok(start(config, vec![listener], Box::new(|_| {}))?)
    };
    let replicas = listeners.into_iter().map(run).collect::<Result<Vec<_>>>()?;
    for replica in &replicas {
        let command = serde_json::to_vec(&Count { what: "apples".to_owned(), by: 2 })?;
        replica.handle.write(command.into()).await?.map_err(anyhow::Error::msg)?;
    }
    let apples = replicas[0].handle.read("apples".to_owned(), Consistency::Linearizable).await?;
    for replica in replicas {
        replica.handle.shut_down().await;
        replica.ended.await?;
    }
    apples.map_err(anyhow::Error::msg)
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!("{} apples", tokio::task::LocalSet::new().block_on(&runtime, count_apples())?);
    Ok(())
}
// [end]

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_replicas_count_what_each_was_told() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert_eq!(tokio::task::LocalSet::new().block_on(&runtime, count_apples()).unwrap(), 6);
    }
}
