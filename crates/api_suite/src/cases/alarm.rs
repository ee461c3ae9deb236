//! Alarms and what they stop. Whatever happens, they are disarmed at the end.

use crate::case::Case;
use crate::expect::{Failure, Outcome, equal, holds, present, refused};
use crate::proto::etcdserverpb::alarm_request::AlarmAction;
use crate::proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmType, LeaseGrantRequest, RangeRequest, StatusRequest, TxnRequest,
};
use crate::target::{Target, always};
use std::future::Future;
use tonic::{Code, Status};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::exclusive(none_is_raised_by_itself),
        Case::exclusive(a_raised_alarm_is_told_by_every_member),
        Case::exclusive(a_raised_alarm_stands_in_the_status),
        Case::exclusive(raising_twice_is_raising_once),
        Case::exclusive(raising_nothing_raises_nothing),
        Case::exclusive(disarming_tells_what_was_disarmed),
        Case::exclusive(disarming_another_member_disarms_nothing),
        Case::exclusive(without_space_puts_are_refused_everywhere),
        Case::exclusive(without_space_transactions_that_grow_are_refused),
        Case::exclusive(without_space_no_lease_is_granted),
        Case::exclusive(without_space_reads_deletions_and_compactions_go_on),
        Case::exclusive(without_space_leases_end),
        Case::exclusive(with_space_again_puts_are_taken_again),
        Case::exclusive(a_corrupt_cluster_takes_no_writes),
    ]
}

const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";

async fn alarm(
    target: &Target,
    action: AlarmAction,
    member_id: u64,
    alarm: AlarmType,
) -> Result<Vec<AlarmMember>, Status> {
    let request = AlarmRequest { action: action.into(), member_id, alarm: alarm.into() };
    target.maintenance().alarm(request).await.map(|answer| answer.into_inner().alarms)
}

async fn raised(target: &Target) -> Result<Vec<AlarmMember>, Status> {
    alarm(target, AlarmAction::Get, 0, AlarmType::None).await
}

async fn member_id(target: &Target) -> Result<u64, Failure> {
    let status = target.maintenance().status(StatusRequest {}).await?.into_inner();
    Ok(present("a header", status.header)?.member_id)
}

async fn disarm_all(target: &Target) -> Outcome {
    for found in raised(target).await? {
        alarm(target, AlarmAction::Deactivate, found.member_id, found.alarm()).await?;
    }
    equal("alarms left", raised(target).await?, vec![])
}

/// Does something under an alarm of the home, then disarms all.
async fn under<F, R>(target: &Target, kind: AlarmType, checks: F) -> Outcome
where
    F: FnOnce(Target) -> R,
    R: Future<Output = Outcome>,
{
    let armed = async {
        alarm(target, AlarmAction::Activate, member_id(target).await?, kind).await?;
        checks(target.clone()).await
    }
    .await;
    let disarmed = disarm_all(target).await;
    armed.and(disarmed)
}

async fn none_is_raised_by_itself(target: Target) -> Outcome {
    equal("alarms", raised(&target).await?, vec![])
}

async fn a_raised_alarm_is_told_by_every_member(target: Target) -> Outcome {
    let expected = vec![AlarmMember { member_id: member_id(&target).await?, alarm: AlarmType::Nospace.into() }];
    under(&target, AlarmType::Nospace, |target| async move {
        for step in 0..target.members() {
            let here = target.elsewhere(step);
            here.revision().await?; // It has applied what was agreed before.
            equal("alarms", raised(&here).await?, expected.clone())?;
        }
        Ok(())
    })
    .await
}

async fn a_raised_alarm_stands_in_the_status(target: Target) -> Outcome {
    let text = format!("memberID:{} alarm:NOSPACE ", member_id(&target).await?);
    under(&target, AlarmType::Nospace, |target| async move {
        let status = target.maintenance().status(StatusRequest {}).await?.into_inner();
        equal("errors", status.errors, vec![text])
    })
    .await?;
    equal("afterwards", target.maintenance().status(StatusRequest {}).await?.into_inner().errors, vec![])
}

async fn raising_twice_is_raising_once(target: Target) -> Outcome {
    let member = member_id(&target).await?;
    let expected = vec![AlarmMember { member_id: member, alarm: AlarmType::Nospace.into() }];
    under(&target, AlarmType::Nospace, |target| async move {
        let again = alarm(&target, AlarmAction::Activate, member, AlarmType::Nospace).await?;
        equal("the second answer", again, expected.clone())?;
        equal("alarms", raised(&target).await?, expected)
    })
    .await
}

async fn raising_nothing_raises_nothing(target: Target) -> Outcome {
    under(&target, AlarmType::None, |target| async move { equal("alarms", raised(&target).await?, vec![]) }).await
}

async fn disarming_tells_what_was_disarmed(target: Target) -> Outcome {
    let member = member_id(&target).await?;
    under(&target, AlarmType::Nospace, |target| async move {
        let ended = alarm(&target, AlarmAction::Deactivate, member, AlarmType::Nospace).await?;
        equal("disarmed", ended, vec![AlarmMember { member_id: member, alarm: AlarmType::Nospace.into() }])?;
        let again = alarm(&target, AlarmAction::Deactivate, member, AlarmType::Nospace).await?;
        equal("disarmed again", again, vec![])
    })
    .await
}

async fn disarming_another_member_disarms_nothing(target: Target) -> Outcome {
    let member = member_id(&target).await?;
    under(&target, AlarmType::Nospace, |target| async move {
        let ended = alarm(&target, AlarmAction::Deactivate, member ^ 1, AlarmType::Nospace).await?;
        equal("disarmed", ended, vec![])?;
        equal("alarms", raised(&target).await?.len(), 1)
    })
    .await
}

async fn without_space_puts_are_refused_everywhere(target: Target) -> Outcome {
    target.write("a", "before").await?;
    under(&target, AlarmType::Nospace, |target| async move {
        for step in 0..target.members() {
            let here = target.elsewhere(step);
            refused("a put", here.write("a", "1").await, Code::ResourceExhausted, NO_SPACE)?;
        }
        equal("the value stays", target.value("a").await?, Some("before".to_owned()))
    })
    .await
}

async fn without_space_transactions_that_grow_are_refused(target: Target) -> Outcome {
    target.write("a", "1").await?;
    under(&target, AlarmType::Nospace, |target| async move {
        let growing = target.txn(always(vec![target.delete_op("a"), target.put_op("b", "1")])).await;
        refused("with a put", growing, Code::ResourceExhausted, NO_SPACE)?;
        let untaken = TxnRequest { failure: vec![target.put_op("b", "1")], ..always(vec![target.get_op("a")]) };
        refused("a put not taken", target.txn(untaken).await, Code::ResourceExhausted, NO_SPACE)?;
        let reading = target.txn(always(vec![target.get_op("a")])).await?;
        equal("only reading", reading.succeeded, true)?;
        let deleting = target.txn(always(vec![target.delete_op("a")])).await?;
        equal("only deleting", deleting.succeeded, true)
    })
    .await
}

async fn without_space_no_lease_is_granted(target: Target) -> Outcome {
    under(&target, AlarmType::Nospace, |target| async move {
        let answer = target.lease().lease_grant(LeaseGrantRequest { ttl: 60, id: 0 }).await;
        refused("a lease", answer, Code::ResourceExhausted, NO_SPACE)
    })
    .await
}

async fn without_space_reads_deletions_and_compactions_go_on(target: Target) -> Outcome {
    target.write_all(&[("a", "1"), ("b", "2")]).await?;
    under(&target, AlarmType::Nospace, |target| async move {
        equal("a read", target.value("a").await?, Some("1".to_owned()))?;
        let local = RangeRequest { serializable: true, ..target.all_request() };
        equal("a local read", target.range(local).await?.count, 2)?;
        equal("a deletion", target.delete(target.delete_request("a")).await?.deleted, 1)?;
        super::compaction::compact(&target, target.revision().await?).await?;
        Ok(())
    })
    .await
}

async fn without_space_leases_end(target: Target) -> Outcome {
    let lease = super::lease::grant(&target, 60).await?;
    under(&target, AlarmType::Nospace, |target| async move {
        super::lease::revoke(&target, lease).await.map_err(Failure::from)
    })
    .await
}

async fn with_space_again_puts_are_taken_again(target: Target) -> Outcome {
    under(&target, AlarmType::Nospace, |_| async { Ok(()) }).await?;
    for step in 0..target.members() {
        let put = target.elsewhere(step).write("a", "1").await?;
        holds("a revision", put > 0, put)?;
    }
    Ok(())
}

async fn a_corrupt_cluster_takes_no_writes(target: Target) -> Outcome {
    let text = "etcdserver: corrupt cluster";
    target.write("a", "1").await?;
    under(&target, AlarmType::Corrupt, |target| async move {
        refused("a put", target.write("a", "2").await, Code::DataLoss, text)?;
        refused("a deletion", target.remove("a").await, Code::DataLoss, text)?;
        let grant = target.lease().lease_grant(LeaseGrantRequest { ttl: 60, id: 0 }).await;
        refused("a lease", grant, Code::DataLoss, text)?;
        let txn = target.txn(always(vec![target.put_op("a", "2")])).await;
        refused("a transaction", txn, Code::DataLoss, text)
    })
    .await
}
