//! Every script under `scenarios/` does what it says.

use quorate_simulator::scenario::Scenario;
use std::path::PathBuf;

fn scripts() -> Vec<PathBuf> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(directory)
        .expect("the scenarios can be listed")
        .map(|entry| entry.expect("the scenarios can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "scenario"))
        .collect();
    scripts.sort();
    scripts
}

#[test]
fn every_scenario_goes_as_it_says() {
    let scripts = scripts();
    assert!(scripts.len() >= 10, "only {} scenarios were found", scripts.len());
    let mut failures = Vec::new();
    for path in scripts {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let scenario =
            Scenario::parse(&std::fs::read_to_string(&path).unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!scenario.title().is_empty(), "{name} has no title");
        if let Some(failure) = scenario.run().failure {
            failures.push(format!("{name}, line {}: `{}`: {}", failure.line, failure.text, failure.why));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_scenario_runs_the_same_way_twice() {
    for path in scripts() {
        let scenario = Scenario::parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(scenario.run().transcript.hash(), scenario.run().transcript.hash(), "{}", path.display());
    }
}
