//! A campaign's report as a JSON document: what each shard writes, and what they add up to.

use anyhow::{Context, Result, anyhow, bail, ensure};
use quorate_simulator::swarm::{CampaignReport, FailedSeed, SeedViolation, Shard};
use quorate_simulator::{Mark, Marks};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

/// Changes when a report is read differently.
const FORMAT: u32 = 1;

/// What must be equal for two reports to be parts of one campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    format: u32,
    /// Of the release.
    version: String,
    /// Of the program file's bytes: two builds of one release may behave differently.
    program: String,
    protocol: String,
    first_seed: u64,
    last_seed: u64,
    shard_count: u64,
    /// After which the shards were to stop.
    minutes: Option<u64>,
}

impl Settings {
    /// Those of a campaign that this very program runs.
    pub fn here(protocol: &str, seeds: &Range<u64>, shard_count: u64, minutes: Option<u64>) -> Result<Settings> {
        Ok(Settings {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            program: program_hash()?,
            protocol: protocol.to_owned(),
            first_seed: seeds.start,
            last_seed: seeds.end.saturating_sub(1),
            shard_count,
            minutes,
        })
    }

    fn differences(&self, other: &Settings) -> Vec<String> {
        let text = |minutes: Option<u64>| minutes.map_or_else(|| "none".to_owned(), |minutes| minutes.to_string());
        let pairs = [
            ("format", self.format.to_string(), other.format.to_string()),
            ("version", self.version.clone(), other.version.clone()),
            ("program", self.program.clone(), other.program.clone()),
            ("protocol", self.protocol.clone(), other.protocol.clone()),
            ("first seed", self.first_seed.to_string(), other.first_seed.to_string()),
            ("last seed", self.last_seed.to_string(), other.last_seed.to_string()),
            ("shards", self.shard_count.to_string(), other.shard_count.to_string()),
            ("minutes", text(self.minutes), text(other.minutes)),
        ];
        let differing = pairs.into_iter().filter(|(_, mine, theirs)| mine != theirs);
        differing.map(|(what, mine, theirs)| format!("{what} is {theirs} and not {mine}")).collect()
    }
}

/// A campaign, or as much of it as some of its shards ran.
#[derive(Clone, Debug)]
pub struct Ran {
    pub settings: Settings,
    /// Which shards.
    pub shards: BTreeSet<u64>,
    pub report: CampaignReport,
}

/// How [`Ran`] stands in a file. Numbers that follow from others are added for readers and not read back.
#[derive(Serialize, Deserialize)]
struct Document {
    settings: Settings,
    shards: BTreeSet<u64>,
    seeds_wanted: u64,
    seeds: u64,
    evidence: u64,
    violations: Vec<Violation>,
    marks: BTreeMap<String, u64>,
    impossible_marks: Vec<String>,
    faults: BTreeMap<String, u64>,
    classes: BTreeMap<String, u64>,
    events: u64,
    operations: u64,
    simulated_ns: u64,
    trace_digest: String,
    elapsed_seconds: f64,
    thread_seconds: f64,
}

#[derive(Serialize, Deserialize)]
struct Violation {
    seed: u64,
    property: String,
    text: String,
    replay: String,
}

impl Ran {
    /// Shards that are not among these.
    pub fn missing_shards(&self) -> Vec<u64> {
        (0..self.settings.shard_count).filter(|index| !self.shards.contains(index)).collect()
    }

    /// A whole campaign must have shown enough; a part of one is only blamed for violations, since rare things may have been
    /// seen elsewhere.
    pub fn passed(&self) -> bool {
        if self.missing_shards().is_empty() { self.report.passed() } else { self.report.failed.is_empty() }
    }

    /// The document, with what follows from it.
    pub fn to_json(&self) -> Result<Value> {
        let mut value = serde_json::to_value(self.document())?;
        let seconds = self.report.thread_time.as_secs_f64().max(0.001);
        let derived = json!({
            "passed": self.passed(),
            "missing_shards": self.missing_shards(),
            "missing_marks": self.report.missing_marks().iter().map(|mark| mark.name()).collect::<Vec<_>>(),
            "simulated_hours": self.report.simulated.as_secs_f64() / 3600.0,
            "events_per_thread_second": self.report.events as f64 / seconds,
            "seeds_per_thread_hour": self.report.seeds as f64 / seconds * 3600.0,
        });
        let (Some(document), Value::Object(derived)) = (value.as_object_mut(), derived) else {
            bail!("a report is a JSON object");
        };
        document.extend(derived);
        Ok(value)
    }

    fn document(&self) -> Document {
        let report = &self.report;
        let violation = |failed: &FailedSeed| Violation {
            seed: failed.seed,
            property: failed.violation.property.clone(),
            text: failed.violation.text.clone(),
            replay: failed.replay.clone(),
        };
        Document {
            settings: self.settings.clone(),
            shards: self.shards.clone(),
            seeds_wanted: report.wanted,
            seeds: report.seeds,
            evidence: report.evidence,
            violations: report.failed.iter().map(violation).collect(),
            marks: report.marks.iter().map(|(mark, count)| (mark.name().to_owned(), count)).collect(),
            impossible_marks: report.impossible_marks.iter().map(|mark| mark.name().to_owned()).collect(),
            faults: report.faults.clone(),
            classes: report.classes.clone(),
            events: report.events,
            operations: report.operations,
            simulated_ns: u64::try_from(report.simulated.as_nanos()).unwrap_or(u64::MAX),
            trace_digest: format!("{:016x}", report.trace_digest),
            elapsed_seconds: report.elapsed.as_secs_f64(),
            thread_seconds: report.thread_time.as_secs_f64(),
        }
    }

    /// Writes the document whole or not at all: a report that is there can be trusted.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(".new");
        let text = serde_json::to_string_pretty(&self.to_json()?)?;
        std::fs::write(&unfinished, text + "\n")
            .and_then(|()| std::fs::rename(&unfinished, path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Reads what [`Ran::write`] wrote.
    pub fn read(path: &Path) -> Result<Ran> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ran::parse(&text).with_context(|| format!("{} is no report of a campaign", path.display()))
    }

    fn parse(text: &str) -> Result<Ran> {
        let document: Document = serde_json::from_str(text)?;
        let settings = document.settings;
        ensure!(settings.format == FORMAT, "it has format {}, and this program reads {FORMAT}", settings.format);
        ensure!(settings.first_seed <= settings.last_seed && settings.last_seed < u64::MAX, "it has no seeds");
        let seeds = settings.first_seed..settings.last_seed + 1;
        let mut wanted: u64 = 0;
        for index in &document.shards {
            let shard = Shard::new(*index, settings.shard_count);
            wanted += shard.with_context(|| format!("there is no shard {index}"))?.len(&seeds);
        }
        ensure!(
            wanted == document.seeds_wanted && document.evidence <= document.seeds && document.seeds <= wanted,
            "its numbers of seeds do not fit its shards"
        );
        let mut marks = Marks::default();
        for (name, count) in &document.marks {
            marks.hit_times(mark_named(name)?, *count);
        }
        let failed = document.violations.into_iter().map(|found| FailedSeed {
            seed: found.seed,
            violation: SeedViolation { property: found.property, text: found.text },
            replay: found.replay,
        });
        let report = CampaignReport {
            protocol: settings.protocol.clone(),
            wanted,
            seeds: document.seeds,
            evidence: document.evidence,
            failed: failed.collect(),
            marks,
            impossible_marks: document.impossible_marks.iter().map(|name| mark_named(name)).collect::<Result<_>>()?,
            faults: document.faults,
            classes: document.classes,
            events: document.events,
            operations: document.operations,
            simulated: Duration::from_nanos(document.simulated_ns),
            trace_digest: u64::from_str_radix(&document.trace_digest, 16).context("trace_digest")?,
            elapsed: Duration::try_from_secs_f64(document.elapsed_seconds).context("elapsed_seconds")?,
            thread_time: Duration::try_from_secs_f64(document.thread_seconds).context("thread_seconds")?,
        };
        Ok(Ran { settings, shards: document.shards, report })
    }

    /// Adds other shards of the same campaign.
    fn merge(&mut self, other: Ran) -> Result<()> {
        let differences = self.settings.differences(&other.settings);
        ensure!(differences.is_empty(), "it is of another campaign: {}", differences.join("; "));
        if let Some(twice) = self.shards.intersection(&other.shards).next() {
            bail!("shard {twice} is in an earlier report already");
        }
        self.shards.extend(other.shards);
        self.report.merge(other.report);
        Ok(())
    }

    /// For people.
    pub fn print(&self) {
        let report = &self.report;
        let seconds = report.elapsed.as_secs_f64().max(0.001);
        let thread_seconds = report.thread_time.as_secs_f64().max(0.001);
        if self.settings.shard_count > 1 {
            println!("{} of {} shards", self.shards.len(), self.settings.shard_count);
        }
        println!(
            "{}: {} of {} seeds run ({} with enough work to count as evidence) in {seconds:.1} s",
            report.protocol, report.seeds, report.wanted, report.evidence
        );
        println!(
            "{:.2} simulated hours, {} operations checked, {} events",
            report.simulated.as_secs_f64() / 3600.0,
            report.operations,
            report.events
        );
        println!(
            "on each thread {:.0} events a second and {:.0} seeds an hour",
            report.events as f64 / thread_seconds,
            report.seeds as f64 / thread_seconds * 3600.0
        );
        let faults: Vec<String> = report.faults.iter().map(|(fault, count)| format!("{count} {fault}")).collect();
        println!("faults: {}", faults.join(", "));
        for (mark, count) in report.marks.iter() {
            println!("  {count:>8} times: {}", mark.name());
        }
        let missing_shards = self.missing_shards();
        if missing_shards.is_empty() {
            for mark in report.missing_marks() {
                println!("NEVER SEEN: {}: this campaign is no evidence for what needs it", mark.name());
            }
        } else {
            let missing: Vec<String> = missing_shards.iter().map(u64::to_string).collect();
            println!("shards not in this report: {}", missing.join(", "));
        }
        for failed in &report.failed {
            println!(
                "VIOLATION in seed {}: {}: {}\n  replay: {}",
                failed.seed, failed.violation.property, failed.violation.text, failed.replay
            );
        }
        println!("trace digest {:016x}", report.trace_digest);
        println!("{} violations", report.failed.len());
    }
}

/// The sum of these reports.
pub fn merge_files(paths: &[impl AsRef<Path>]) -> Result<Ran> {
    let mut sum: Option<Ran> = None;
    for path in paths {
        let path = path.as_ref();
        let next = Ran::read(path)?;
        match &mut sum {
            None => sum = Some(next),
            Some(sum) => sum.merge(next).with_context(|| format!("{} cannot be added", path.display()))?,
        }
    }
    sum.ok_or_else(|| anyhow!("there is no report to read"))
}

fn mark_named(name: &str) -> Result<Mark> {
    Mark::named(name).with_context(|| format!("{name} is no mark that this program knows"))
}

/// A hash of the running program's file.
fn program_hash() -> Result<String> {
    const PIECE_BYTES: usize = 1 << 20;
    let path = std::env::current_exe().context("where this program's file is")?;
    let mut file = std::fs::File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
    // The same program has the same hasher, which is all that equality needs.
    let mut hasher = std::collections::hash_map::DefaultHasher::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = file.read(&mut piece).with_context(|| format!("cannot read {}", path.display()))?;
        if count == 0 {
            return Ok(format!("{:016x}", hasher.finish()));
        }
        hasher.write(&piece[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            format: FORMAT,
            version: "1.2.3".to_owned(),
            program: "00".to_owned(),
            protocol: "raft".to_owned(),
            first_seed: 1,
            last_seed: 400,
            shard_count: 2,
            minutes: None,
        }
    }

    /// A shard that hit every mark but one.
    fn shard(index: u64, never: Mark) -> Ran {
        let mut marks = Marks::default();
        Mark::ALL.into_iter().filter(|mark| *mark != never).for_each(|mark| marks.hit(mark));
        let report = CampaignReport {
            protocol: "raft".to_owned(),
            wanted: 200,
            seeds: 200,
            evidence: 199,
            failed: Vec::new(),
            marks,
            impossible_marks: Vec::new(),
            faults: BTreeMap::from([("crash".to_owned(), 7)]),
            classes: BTreeMap::new(),
            events: 1000,
            operations: 10,
            simulated: Duration::from_millis(1500),
            trace_digest: u64::MAX - index,
            elapsed: Duration::from_secs(2 + index),
            thread_time: Duration::from_secs(4),
        };
        Ran { settings: settings(), shards: BTreeSet::from([index]), report }
    }

    fn written(ran: &Ran) -> String {
        ran.to_json().unwrap().to_string()
    }

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let mut ran = shard(1, Mark::Burst);
        let violation = SeedViolation { property: "Agreement".to_owned(), text: "two \"values\"".to_owned() };
        ran.report.failed = vec![FailedSeed { seed: 4, violation, replay: "quorate sim --seed 4".to_owned() }];
        let read = Ran::parse(&written(&ran)).unwrap();
        assert_eq!(written(&read), written(&ran));
        assert!(!read.passed());
    }

    #[test]
    fn shards_add_up_and_a_mark_that_one_of_them_saw_was_seen() {
        let mut sum = shard(1, Mark::Burst);
        assert!(sum.passed(), "a part is not blamed for what it has not seen");
        assert_eq!(sum.missing_shards(), [0]);
        sum.merge(shard(0, Mark::DiskFull)).unwrap();
        assert_eq!(sum.missing_shards(), [0; 0]);
        assert!(sum.passed());
        let report = &sum.report;
        assert_eq!((report.seeds, report.wanted, report.events, report.faults["crash"]), (400, 400, 2000, 14));
        assert_eq!(report.simulated, Duration::from_secs(3));
        assert_eq!((report.elapsed, report.thread_time), (Duration::from_secs(3), Duration::from_secs(8)));
    }

    #[test]
    fn a_whole_campaign_that_never_saw_a_rare_thing_has_not_passed() {
        let mut sum = shard(0, Mark::Burst);
        sum.merge(shard(1, Mark::Burst)).unwrap();
        assert_eq!(sum.report.missing_marks(), [Mark::Burst]);
        assert!(!sum.passed());
    }

    #[test]
    fn shards_of_other_campaigns_and_shards_that_overlap_are_refused() {
        let refused = |other: Ran| format!("{:#}", shard(0, Mark::Burst).merge(other).unwrap_err());
        assert!(refused(shard(0, Mark::Burst)).contains("shard 0 is in an earlier report"));
        let mut other = shard(1, Mark::Burst);
        other.settings.program = "01".to_owned();
        other.settings.minutes = Some(5);
        assert_eq!(refused(other), "it is of another campaign: program is 01 and not 00; minutes is 5 and not none");
        let mut other = shard(1, Mark::Burst);
        other.settings.protocol = "zab".to_owned();
        assert_eq!(refused(other), "it is of another campaign: protocol is zab and not raft");
    }

    #[test]
    fn a_document_that_contradicts_itself_is_refused() {
        let text = written(&shard(1, Mark::Burst));
        for (from, to) in [
            ("\"seeds\":200", "\"seeds\":201"),
            ("\"shards\":[1]", "\"shards\":[2]"),
            ("\"format\":1", "\"format\":9"),
            ("\"disk-full\"", "\"disk-empty\""),
            ("\"last_seed\":400", "\"last_seed\":18446744073709551615"),
        ] {
            assert!(text.contains(from), "{text}");
            assert!(Ran::parse(&text.replace(from, to)).is_err(), "{to}");
        }
        assert!(Ran::parse("{}").is_err());
    }

    #[test]
    fn a_program_knows_its_own_hash() {
        assert_eq!(program_hash().unwrap(), program_hash().unwrap());
    }
}
