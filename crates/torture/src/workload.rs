//! What clients do.
//!
//! Keys live in *eras* of a few seconds, so that no key has so long a history that nobody can judge it. Every value is written by
//! one call only: so what is found says who wrote it.

mod leases;
mod registers;
mod transfers;

pub use leases::hold_leases;
pub use registers::{read_and_write, scan};
pub use transfers::transfer;
pub(crate) use transfers::{BALANCE_AT_FIRST, balance_of, bank_of};

use crate::chance::Chance;
use crate::client::Client;
use crate::record::Who;
use crate::request::{FILLED_WITH, Outcome, Request};
use crate::shared::Shared;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const ERA: Duration = Duration::from_secs(5);
const KEYS_OF_AN_ERA: u64 = 12;

/// Between two requests of a client. Clients are to be many at once, not fast: members have few processors here.
fn pause(chance: &mut Chance) -> Duration {
    Duration::from_millis(chance.between(5, 60))
}

/// What every client of a run is made of.
struct Caller {
    shared: Arc<Shared>,
    client: Client,
    who: Who,
    chance: Chance,
    values: u64,
}

impl Caller {
    fn new(shared: Arc<Shared>, who: Who, purpose: &str) -> Caller {
        let mut chance = Chance::new(shared.seed, purpose);
        // Some give up before the members do.
        let patience = Duration::from_millis(*chance.pick(&[700, 2_000, 5_000, 9_000]).unwrap_or(&2_000));
        let client = Client::new(Chance::new(shared.seed, &format!("{purpose}: members")), patience);
        Caller { shared, client, who, chance, values: 0 }
    }

    fn stopping(&self) -> bool {
        self.shared.stopping()
    }

    /// Which keys are in use now.
    fn era(&self) -> u64 {
        self.shared.recorder.now_ns() / u64::try_from(ERA.as_nanos()).unwrap_or(u64::MAX)
    }

    /// A value that nobody else writes; some are large, in some runs very large.
    fn new_value(&mut self) -> String {
        self.values += 1;
        let value = match &self.who {
            Who::Client(number) => format!("{number}.{}", self.values),
            Who::Other(name) => format!("{name}.{}", self.values),
        };
        match self.chance.below(100) {
            0..5 => format!("{value}{FILLED_WITH}{}", self.chance.between(1_000, 60_000)),
            5 if self.shared.large_values => {
                format!("{value}{FILLED_WITH}{}", self.chance.between(100_000, 900_000))
            }
            _ => value,
        }
    }

    /// Asks, and records it; `None` if no member could be reached, so that nothing was asked.
    async fn ask(&mut self, request: Request) -> Option<Outcome> {
        let (member, channel) = self.client.connection(&self.shared.endpoints).await?;
        let called_ns = self.shared.recorder.begin(&self.who, &member, &request);
        let outcome = self.client.ask(channel, &request).await;
        let recorder = &self.shared.recorder;
        recorder.end(&self.who, &member, called_ns, request, outcome.clone());
        if matches!((&outcome, &self.who), (Outcome::Unknown(_), Who::Client(_))) {
            // It may still happen: this client is busy with it for ever.
            self.who = recorder.new_client();
            self.values = 0;
        }
        Some(outcome)
    }

    async fn rest(&mut self) {
        let pause = pause(&mut self.chance);
        tokio::time::sleep(pause).await;
    }
}

/// Asks now and then that everything be forgotten that all watchers have had.
pub async fn compact(shared: Arc<Shared>) {
    use quorate_server::proto::etcdserverpb::CompactionRequest;
    use quorate_server::proto::etcdserverpb::kv_client::KvClient;
    let mut chance = Chance::new(shared.seed, "compactor");
    while !shared.stopping() {
        tokio::time::sleep(Duration::from_millis(chance.between(500, 4_000))).await;
        let revision = shared.ledger().reached_by_all() - chance.between(0, 200) as i64;
        if revision <= shared.ledger().compaction_asked() {
            continue;
        }
        let Some((_, address)) = shared.endpoints.any(&mut chance) else { continue };
        let Ok(channel) = crate::client::connect(&address).await else { continue };
        shared.ledger().ask_compaction(revision);
        let request = CompactionRequest { revision, physical: chance.happens(30) };
        let answer = tokio::time::timeout(Duration::from_secs(5), KvClient::new(channel).compact(request)).await;
        if matches!(answer, Ok(Ok(_))) {
            shared.compactions.fetch_add(1, Ordering::Relaxed);
        }
        shared.recorder.note("compactor", serde_json::json!({ "revision": revision, "answer": format!("{answer:?}") }));
    }
}
