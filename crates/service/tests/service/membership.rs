//! Members that come, catch up, move and go, while clients write.

use quorate_server::proto::etcdserverpb::cluster_client::ClusterClient;
use quorate_server::proto::etcdserverpb::kv_client::KvClient;
use quorate_server::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate_server::proto::etcdserverpb::{
    Member, MemberAddRequest, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest, MoveLeaderRequest,
    PutRequest, RangeRequest, StatusRequest,
};
use quorate_service::{LocalCluster, MemberError, Protocol, Reservation};
use std::time::{Duration, Instant};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

const PATIENCE: Duration = Duration::from_secs(30);

struct Cluster {
    local: LocalCluster,
    _directory: tempfile::TempDir,
}

impl Cluster {
    async fn start(members: usize) -> Cluster {
        let directory = tempfile::tempdir().unwrap();
        let local = LocalCluster::start(directory.path(), members).unwrap();
        let cluster = Cluster { local, _directory: directory };
        cluster.leader().await;
        cluster
    }

    fn channel(&self, index: usize) -> Channel {
        let endpoint = self.local.endpoints().swap_remove(index);
        Endpoint::from_shared(endpoint).unwrap().timeout(Duration::from_secs(10)).connect_lazy()
    }

    fn members(&self, index: usize) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel(index))
    }

    fn maintenance(&self, index: usize) -> MaintenanceClient<Channel> {
        MaintenanceClient::new(self.channel(index))
    }

    async fn leads(&self, index: usize) -> bool {
        let status = self.maintenance(index).status(StatusRequest {}).await.map(tonic::Response::into_inner);
        status.is_ok_and(|status| status.leader == self.local.member_id(index))
    }

    async fn leader(&self) -> usize {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for index in 0..self.local.members() {
                if self.leads(index).await {
                    return index;
                }
            }
            assert!(Instant::now() < deadline, "nobody leads");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn list(&self, index: usize) -> Vec<Member> {
        let request = MemberListRequest { linearizable: true };
        self.members(index).member_list(request).await.unwrap().into_inner().members
    }

    /// Waits until all members are connected, without which a change of them is refused.
    async fn add(&self, index: usize, request: MemberAddRequest) -> Member {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.members(index).member_add(request.clone()).await {
                Ok(answer) => return answer.into_inner().member.unwrap(),
                Err(status) if status.message().ends_with("unhealthy cluster") => {
                    assert!(Instant::now() < deadline, "{status}");
                }
                Err(status) => panic!("{status}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn wait_for_voters(&self, index: usize, count: usize) -> Vec<Member> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let members = self.list(index).await;
            if members.iter().filter(|member| !member.is_learner).count() == count {
                return members;
            }
            assert!(Instant::now() < deadline, "{members:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn voter_at(reservation: &Reservation) -> MemberAddRequest {
    MemberAddRequest { peer_urls: vec![reservation.peer_url()], ..MemberAddRequest::default() }
}

async fn put(channel: Channel, key: &str) -> Result<(), Status> {
    let request = PutRequest { key: key.to_owned().into(), value: "v".into(), ..PutRequest::default() };
    KvClient::new(channel).put(request).await.map(|_| ())
}

async fn count(channel: Channel, prefix: &str, serializable: bool) -> Result<i64, Status> {
    let mut range_end = prefix.to_owned().into_bytes();
    *range_end.last_mut().unwrap() += 1;
    let request = RangeRequest {
        key: prefix.to_owned().into(),
        range_end: range_end.into(),
        count_only: true,
        serializable,
        ..RangeRequest::default()
    };
    Ok(KvClient::new(channel).range(request).await?.into_inner().count)
}

fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), status.message().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_is_added_catches_up_votes_and_another_one_goes_for_ever() {
    let mut cluster = Cluster::start(3).await;
    for number in 0..20 {
        put(cluster.channel(0), &format!("before/{number:02}")).await.unwrap();
    }
    let reservation = cluster.local.reserve().unwrap();
    let added = cluster.add(1, voter_at(&reservation)).await;
    assert_eq!((added.name.as_str(), added.is_learner), ("", true), "it votes when it has caught up, not before");
    assert_eq!(cluster.list(2).await.len(), 4);

    cluster.local.join(reservation, PATIENCE, |_| {}).unwrap();
    let members = cluster.wait_for_voters(0, 4).await;
    let joined = members.iter().find(|member| member.id == added.id).unwrap();
    assert_eq!(joined.name, "member4");
    assert_eq!(joined.client_urls, [cluster.local.endpoints().swap_remove(3)]);
    assert_eq!(cluster.local.member_id(3), added.id);
    assert_eq!(count(cluster.channel(3), "before/", false).await.unwrap(), 20);

    let leader = cluster.leader().await;
    let victim = (0..3).find(|index| *index != leader).unwrap();
    let id = cluster.local.member_id(victim);
    let list = cluster.members(3).member_remove(MemberRemoveRequest { id }).await.unwrap().into_inner().members;
    assert!(list.len() == 3 && list.iter().all(|member| member.id != id), "{list:?}");
    let cause = cluster.local.ended(victim).await.unwrap().unwrap();
    assert!(cause.to_string().contains("retired"), "{cause}");

    // Its old data are of no use any more, and it is told so.
    cluster.local.restart(victim).unwrap();
    let cause = cluster.local.ended(victim).await.unwrap().unwrap();
    assert!(cause.to_string().contains("permanently removed from the cluster"), "{cause}");
    put(cluster.channel(3), "after").await.unwrap();
    let gone = cluster.members(3).member_remove(MemberRemoveRequest { id }).await;
    assert_eq!(refusal(gone), (Code::NotFound, "etcdserver: member not found".to_owned()));
    cluster.local.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_may_be_removed_and_leadership_may_be_moved() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let target = (leader + 1) % 3;
    let target_id = cluster.local.member_id(target);
    let request = MoveLeaderRequest { target_id };
    let refused = cluster.maintenance(target).move_leader(request).await;
    assert_eq!(refusal(refused), (Code::FailedPrecondition, "etcdserver: not leader".to_owned()));
    cluster.maintenance(leader).move_leader(request).await.unwrap();
    assert!(cluster.leads(target).await, "it leads when the answer comes");

    let deadline = Instant::now() + PATIENCE;
    while let Err(status) = cluster.members(target).member_remove(MemberRemoveRequest { id: target_id }).await {
        assert!(status.message().ends_with("unhealthy cluster") && Instant::now() < deadline, "{status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let cause = cluster.local.ended(target).await.unwrap().unwrap();
    assert!(cause.to_string().contains("retired"), "{cause}");
    cluster.local.take_out(target).await;
    let index = cluster.leader().await;
    put(cluster.channel(index), "after").await.unwrap();
    assert_eq!(cluster.list(index).await.len(), 2);
    cluster.local.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_serves_what_it_has_and_is_promoted_when_it_is_in_sync() {
    let mut cluster = Cluster::start(1).await;
    put(cluster.channel(0), "a/1").await.unwrap();
    let reservation = cluster.local.reserve().unwrap();
    let request = MemberAddRequest { is_learner: true, ..voter_at(&reservation) };
    let learner = cluster.add(0, request.clone()).await;
    assert!(learner.is_learner);
    let twice = cluster.members(0).member_add(request).await;
    assert_eq!(refusal(twice), (Code::FailedPrecondition, "etcdserver: Peer URLs already exists".to_owned()));
    let promote = MemberPromoteRequest { id: learner.id, ..MemberPromoteRequest::default() };
    let early = cluster.members(0).member_promote(promote).await;
    let behind = "etcdserver: can only promote a learner member which is in sync with leader";
    assert_eq!(refusal(early), (Code::FailedPrecondition, behind.to_owned()));

    cluster.local.join(reservation, PATIENCE, |_| {}).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while count(cluster.channel(1), "a/", true).await.unwrap() < 1 {
        assert!(Instant::now() < deadline, "the learner learns nothing");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let unserved = (Code::FailedPrecondition, "etcdserver: rpc not supported for learner".to_owned());
    assert_eq!(refusal(put(cluster.channel(1), "a/2").await), unserved);
    assert_eq!(refusal(count(cluster.channel(1), "a/", false).await), unserved);
    let status = cluster.maintenance(1).status(StatusRequest {}).await.unwrap().into_inner();
    assert!(status.is_learner);
    let to_learner = MoveLeaderRequest { target_id: learner.id };
    let moved = cluster.maintenance(0).move_leader(to_learner).await;
    assert_eq!(refusal(moved), (Code::FailedPrecondition, "etcdserver: bad leader transferee".to_owned()));

    while let Err(status) = cluster.members(0).member_promote(promote).await {
        assert_eq!(status.message(), behind);
        assert!(Instant::now() < deadline, "it is never in sync");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let voter = cluster.members(0).member_promote(promote).await;
    let expected = (Code::FailedPrecondition, "etcdserver: can only promote a learner member".to_owned());
    assert_eq!(refusal(voter), expected);
    put(cluster.channel(1), "a/2").await.unwrap();
    cluster.local.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_not_added_does_not_join() {
    let mut cluster = Cluster::start(1).await;
    let reservation = cluster.local.reserve().unwrap();
    let error = cluster.local.join(reservation, Duration::ZERO, |_| {}).unwrap_err();
    assert!(matches!(&error, MemberError::Join(why) if why.contains("member count is unequal")), "{error}");
    cluster.local.shut_down().await;
}

/// Waiting would not change it: it is said at once, with what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_runs_another_protocol_than_the_cluster_is_told_at_once_how_to_start() {
    let mut cluster = Cluster::start(1).await;
    let reservation = cluster.local.reserve().unwrap();
    let error = cluster.local.join(reservation, PATIENCE, |plan| plan.protocol = Protocol::Zab).unwrap_err();
    let words = "cannot join the cluster: it runs raft, and this member is to run zab: start it with --protocol raft";
    assert_eq!(error.to_string(), words);
    assert!(error.is_of_settings());
    cluster.local.shut_down().await;
}
