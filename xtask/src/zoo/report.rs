//! What the zoo found, for people and for programs.

use super::mutant::Mutant;
use super::trial::{Campaign, Findings, Single};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// One mutant and everything that was found of it.
pub(crate) struct Line {
    id: String,
    name: String,
    title: String,
    is_control: bool,
    expect: Vec<String>,
    findings: Findings,
    /// Why it could not be built.
    unbuilt: Option<String>,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// Everything that looked for it found it.
    Found,
    /// Some did, these did not.
    Partly(Vec<&'static str>),
    /// A hole.
    Missed,
    /// Something was found, but not what the story says.
    Otherwise(String),
    /// A control on which everything was silent.
    Silent,
    /// A control that was taken for a bug.
    FalseAlarm(String),
    /// The compiler refused it.
    Unbuilt(String),
}

impl Line {
    pub(crate) fn new(mutant: &Mutant, findings: Findings) -> Line {
        Line {
            id: mutant.id.clone(),
            name: mutant.name.clone(),
            title: mutant.title.clone(),
            is_control: mutant.is_control,
            expect: mutant.expect.clone(),
            findings,
            unbuilt: None,
        }
    }

    /// A mutant that the compiler refused.
    pub(crate) fn unbuilt(mutant: &Mutant, why: String) -> Line {
        Line { unbuilt: Some(why), ..Line::new(mutant, Findings::default()) }
    }

    /// Found in every way that was tried, and by what its story says; or a control, and silent.
    pub(crate) fn is_as_it_should_be(&self) -> bool {
        matches!(self.verdict(), Verdict::Found | Verdict::Silent)
    }

    fn verdict(&self) -> Verdict {
        if let Some(why) = &self.unbuilt {
            return Verdict::Unbuilt(why.clone());
        }
        let campaigns = &self.findings.campaigns;
        let properties = campaigns.iter().filter_map(|campaign| campaign.found.as_ref().map(|(_, property)| property));
        let searched = self.findings.search.iter().filter_map(|search| search.found.as_ref());
        let scripted = self.findings.scenario.iter().filter_map(|scenario| scenario.found.as_ref());
        if self.is_control {
            let mut alarms = properties.chain(searched).chain(scripted);
            return alarms.next().map_or(Verdict::Silent, |alarm| Verdict::FalseAlarm(alarm.clone()));
        }
        if let Some(other) = properties.chain(searched).find(|property| !self.expect.contains(property)) {
            return Verdict::Otherwise(other.clone());
        }
        let misses = |single: &Option<Single>| single.as_ref().is_some_and(|single| single.found.is_none());
        let missed_by = [
            ("campaign", campaigns.iter().any(|campaign| campaign.found.is_none())),
            ("scenario", misses(&self.findings.scenario)),
            ("search", misses(&self.findings.search)),
        ];
        let missed: Vec<&'static str> = missed_by.into_iter().filter(|(_, missed)| *missed).map(|(by, _)| by).collect();
        let looked = [!campaigns.is_empty(), self.findings.scenario.is_some(), self.findings.search.is_some()];
        let nobody_found = campaigns.iter().all(|campaign| campaign.found.is_none())
            && missed.len() == looked.into_iter().filter(|looked| *looked).count();
        match missed.as_slice() {
            [] => Verdict::Found,
            _ if nobody_found => Verdict::Missed,
            _ => Verdict::Partly(missed),
        }
    }

    fn verdict_in_words(&self) -> String {
        match self.verdict() {
            Verdict::Found => "found".to_owned(),
            Verdict::Partly(missed) => format!("found, but not always by {}", missed.join(" and ")),
            Verdict::Missed => "MISSED".to_owned(),
            Verdict::Otherwise(property) => format!("found by {property}, which its story does not name"),
            Verdict::Silent => "silent".to_owned(),
            Verdict::FalseAlarm(property) => format!("FALSE ALARM: {property}"),
            Verdict::Unbuilt(why) => format!("DOES NOT BUILD: {why}"),
        }
    }

    /// For a terminal.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{:<10} {}: {}", self.id, self.verdict_in_words(), self.title);
        if let Some(campaigns) = Summary::of(&self.findings.campaigns) {
            let _ = write!(text, "\n           campaign: {}", campaigns.text());
        }
        if let Some(scenario) = &self.findings.scenario {
            let found = scenario.found.as_deref().unwrap_or("everything as expected");
            let _ = write!(text, "\n           scenario: {found}");
        }
        if let Some(search) = &self.findings.search {
            let found = search.found.as_deref().unwrap_or("nothing broken");
            let states = search.states.map_or(String::new(), |states| format!(" in {states} states"));
            let _ = write!(text, "\n           search: {found}{states}, {:.1} core-seconds", search.core_seconds);
        }
        text
    }

    fn json(&self) -> Value {
        let single = |single: &Single| json!({ "found": single.found, "states": single.states, "core_seconds": single.core_seconds });
        json!({
            "id": self.id,
            "name": self.name,
            "title": self.title,
            "control": self.is_control,
            "verdict": self.verdict_in_words(),
            "as_it_should_be": self.is_as_it_should_be(),
            "campaigns": Summary::of(&self.findings.campaigns).map(|summary| summary.json()),
            "scenario": self.findings.scenario.as_ref().map(single),
            "search": self.findings.search.as_ref().map(single),
        })
    }
}

/// What independent campaigns add up to.
struct Summary {
    starts: usize,
    found: usize,
    properties: BTreeMap<String, u64>,
    first_failing_seed: Option<u64>,
    /// Ascending.
    seeds: Vec<u64>,
    simulated_seconds: f64,
    core_seconds: f64,
}

impl Summary {
    fn of(campaigns: &[Campaign]) -> Option<Summary> {
        let mut properties = BTreeMap::new();
        for (_, property) in campaigns.iter().filter_map(|campaign| campaign.found.as_ref()) {
            *properties.entry(property.clone()).or_insert(0) += 1;
        }
        let mut seeds: Vec<u64> = campaigns.iter().map(|campaign| campaign.seeds).collect();
        seeds.sort_unstable();
        (!campaigns.is_empty()).then(|| Summary {
            starts: campaigns.len(),
            found: campaigns.iter().filter(|campaign| campaign.found.is_some()).count(),
            properties,
            first_failing_seed: campaigns.iter().find_map(|campaign| campaign.found.as_ref().map(|(seed, _)| *seed)),
            seeds,
            simulated_seconds: campaigns.iter().map(|campaign| campaign.simulated_seconds).sum(),
            core_seconds: campaigns.iter().map(|campaign| campaign.core_seconds).sum(),
        })
    }

    fn percentile(&self, percent: usize) -> u64 {
        let at = (self.seeds.len() * percent).div_ceil(100).max(1) - 1;
        self.seeds.get(at).copied().unwrap_or(0)
    }

    fn per_start(&self, sum: f64) -> f64 {
        sum / self.starts as f64
    }

    fn by(&self) -> String {
        let by = |(property, count): (&String, &u64)| format!("{property} {count}");
        self.properties.iter().map(by).collect::<Vec<_>>().join(", ")
    }

    fn text(&self) -> String {
        format!(
            "{} of {} starts ({}); seeds median {}, p95 {}; {:.0} simulated seconds and {:.1} core-seconds a start{}",
            self.found,
            self.starts,
            self.by(),
            self.percentile(50),
            self.percentile(95),
            self.per_start(self.simulated_seconds),
            self.per_start(self.core_seconds),
            self.first_failing_seed.map_or(String::new(), |seed| format!("; first seed {seed}")),
        )
    }

    fn json(&self) -> Value {
        json!({
            "starts": self.starts,
            "found": self.found,
            "properties": self.properties,
            "first_failing_seed": self.first_failing_seed,
            "seeds_median": self.percentile(50),
            "seeds_p95": self.percentile(95),
            "simulated_seconds_per_start": self.per_start(self.simulated_seconds),
            "core_seconds_per_start": self.per_start(self.core_seconds),
        })
    }
}

/// Everything as one document.
pub(crate) fn json(lines: &[Line]) -> Value {
    json!({ "zoo": lines.iter().map(Line::json).collect::<Vec<_>>() })
}

/// The last words.
pub(crate) fn summary(lines: &[Line]) -> String {
    let (controls, mutants): (Vec<&Line>, Vec<&Line>) = lines.iter().partition(|line| line.is_control);
    let fine = |lines: &[&Line]| lines.iter().filter(|line| line.is_as_it_should_be()).count();
    let mut text = format!("zoo: {} of {} mutants found in every way tried", fine(&mutants), mutants.len());
    if !controls.is_empty() {
        let _ = write!(text, ", {} of {} controls left alone", fine(&controls), controls.len());
    }
    text.push('\n');
    for line in lines.iter().filter(|line| !line.is_as_it_should_be()) {
        let _ = writeln!(text, "  {}: {}", line.id, line.verdict_in_words());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn campaign(seeds: u64, property: Option<&str>) -> Campaign {
        let found = property.map(|property| (seeds, property.to_owned()));
        Campaign { seeds, found, simulated_seconds: 1.0, core_seconds: 1.0 }
    }

    fn line(id: &str, campaigns: Vec<Campaign>, scenario: Option<Option<&str>>) -> Line {
        let single = |found: Option<&str>| Single { found: found.map(str::to_owned), core_seconds: 0.0, states: None };
        Line {
            id: id.to_owned(),
            name: id.to_owned(),
            title: String::new(),
            is_control: id.starts_with("control-"),
            expect: vec!["Agreement".to_owned()],
            findings: Findings { campaigns, scenario: scenario.map(single), search: None },
            unbuilt: None,
        }
    }

    #[test]
    fn a_mutant_is_found_when_everybody_who_looked_found_what_was_expected() {
        let found = || campaign(3, Some("Agreement"));
        let verdict = |campaigns, scenario| line("RE1", campaigns, scenario).verdict();
        assert_eq!(verdict(vec![found()], Some(Some("line 3"))), Verdict::Found);
        assert_eq!(verdict(vec![found(), campaign(9, None)], None), Verdict::Partly(vec!["campaign"]));
        assert_eq!(verdict(vec![found()], Some(None)), Verdict::Partly(vec!["scenario"]));
        assert_eq!(verdict(vec![campaign(9, None)], None), Verdict::Missed);
        assert_eq!(verdict(vec![campaign(9, None)], Some(Some("line 3"))), Verdict::Partly(vec!["campaign"]));
        assert_eq!(verdict(vec![campaign(9, Some("NoPanic"))], None), Verdict::Otherwise("NoPanic".to_owned()));
    }

    #[test]
    fn a_control_must_be_left_alone_by_everybody() {
        assert_eq!(line("control-x", vec![campaign(9, None)], None).verdict(), Verdict::Silent);
        let alarm = line("control-x", vec![campaign(9, Some("Watch"))], None);
        assert_eq!(alarm.verdict(), Verdict::FalseAlarm("Watch".to_owned()));
        assert!(!alarm.is_as_it_should_be());
    }

    #[test]
    fn percentiles_are_those_of_the_starts() {
        let campaigns: Vec<Campaign> = (1..=20).map(|seeds| campaign(seeds, Some("Agreement"))).collect();
        let summary = Summary::of(&campaigns).unwrap();
        assert_eq!((summary.percentile(50), summary.percentile(95)), (10, 19));
        assert_eq!(Summary::of(&campaigns[..1]).unwrap().percentile(95), 1);
        assert!(Summary::of(&[]).is_none());
    }
}
