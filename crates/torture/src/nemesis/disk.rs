//! Full disks, and the alarms they leave.

use super::Nemesis;
use crate::client::connect;
use crate::schedule::Victims;
use anyhow::Result;
use quorate_server::proto::etcdserverpb::alarm_request::AlarmAction;
use quorate_server::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate_server::proto::etcdserverpb::{AlarmRequest, AlarmType};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

const DISARM_PATIENCE: Duration = Duration::from_secs(20);
const DISARM_EVERY: Duration = Duration::from_secs(5);
const RETRY_AFTER: Duration = Duration::from_millis(300);

impl Nemesis {
    /// A member without room may refuse what grows, or end. Both is allowed; to lie is not.
    pub(super) async fn fill_disk(&self, victim: &Victims, free_bytes: u64, lasts: Duration) -> Result<(String, bool)> {
        let names = self.claim(victim).await;
        let Some(name) = names.first() else { return Ok(("full disk of nobody".to_owned(), false)) };
        self.disk_is_full.store(true, Ordering::Relaxed);
        if let Some(disk) = self.cluster.lock().await.disk(name) {
            disk.fill(free_bytes)?;
        }
        tokio::time::sleep(lasts).await;
        let addresses = {
            let cluster = self.cluster.lock().await;
            if let Some(disk) = cluster.disk(name) {
                disk.empty()?;
            }
            cluster.addresses()
        };
        self.disk_is_full.store(false, Ordering::Relaxed);
        let ended = {
            let mut cluster = self.cluster.lock().await;
            let ended = !cluster.runs(name);
            if ended {
                cluster.kill(name).await;
                cluster.start(name)?;
            }
            cluster.release(&names);
            ended
        };
        let raised = disarm_alarms(&addresses, Instant::now() + DISARM_PATIENCE).await;
        let what = if ended { "it ended" } else { "it went on" };
        let words = self.cluster.lock().await.last_words(name);
        let told = if ended { format!("; its last words: {words}") } else { String::new() };
        Ok((format!("disk of {name} with {free_bytes} bytes left: {what}, {raised} alarms{told}"), ended || raised > 0))
    }

    /// Takes back alarms that come when the disk has room again: without a quorum a member cannot say in time that it had none, and the
    /// rest of the run would be refused writes. Ends only when it is aborted.
    pub async fn disarm_late_alarms(&self) {
        loop {
            tokio::time::sleep(DISARM_EVERY).await;
            if !self.disk_is_full.load(Ordering::Relaxed) {
                let addresses = self.cluster.lock().await.addresses();
                disarm_alarms(&addresses, Instant::now() + DISARM_EVERY).await;
            }
        }
    }
}

/// Takes back every alarm for want of space, and again until there is none; how many there were at most. Gives up at `until`.
pub async fn disarm_alarms(addresses: &[(String, String)], until: Instant) -> usize {
    let mut most = 0;
    while Instant::now() < until {
        for (_, address) in addresses {
            match disarm_at(address).await {
                Some(0) => return most,
                Some(raised) => most = most.max(raised),
                None => {}
            }
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
    most
}

/// How many such alarms a member knew, before it was told to take them back; `None`: it does not answer.
async fn disarm_at(address: &str) -> Option<usize> {
    let asked = async {
        let mut client = MaintenanceClient::new(connect(address).await.ok()?);
        let get = AlarmRequest { action: AlarmAction::Get.into(), member_id: 0, alarm: AlarmType::None.into() };
        let mut alarms = client.alarm(get).await.ok()?.into_inner().alarms;
        // One that says the members differ is to stay: it is a finding, and stops the run's writes.
        alarms.retain(|alarm| alarm.alarm() == AlarmType::Nospace);
        for alarm in &alarms {
            let action = AlarmAction::Deactivate.into();
            let off = AlarmRequest { action, member_id: alarm.member_id, alarm: alarm.alarm };
            client.alarm(off).await.ok()?;
        }
        Some(alarms.len())
    };
    tokio::time::timeout(Duration::from_secs(5), asked).await.ok().flatten()
}
