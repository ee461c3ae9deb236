//! The search for an order of all calls of clients that explains every answer, from the file that was written.

use anyhow::{Context, Result};
use quorate_checker::{Budget, Format, Object, Verdict, check_while, read_history, timeline};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What came out.
#[derive(Clone, Debug, Default)]
pub struct Searched {
    /// Operations in all.
    pub operations: usize,
    /// Violations.
    pub findings: Vec<String>,
    /// What could not be decided.
    pub undecided: Vec<String>,
    /// Drawings of contradictions.
    pub drawings: Vec<PathBuf>,
}

/// For each of the two kinds of objects.
const PATIENCE: Duration = Duration::from_secs(120);
const MEMORY_BYTES: usize = 512 << 20;

/// Judges `history.jsonl` of this directory: keys one by one, and transactions by the keys that they tie together.
///
/// # Errors
/// When the file cannot be read, or is no history.
pub fn search(directory: &Path) -> Result<Searched> {
    let path = directory.join("history.jsonl");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let is_transaction = |line: &&str| line.contains("\"f\":\"txn\"");
    let (transactions, registers): (Vec<&str>, Vec<&str>) = text.lines().partition(is_transaction);
    let mut searched = Searched::default();
    for (name, lines, object) in
        [("registers", registers, Object::Register), ("transfers", transactions, Object::Store)]
    {
        search_one(&mut searched, directory, name, &lines.join("\n"), object)?;
    }
    Ok(searched)
}

fn search_one(searched: &mut Searched, directory: &Path, name: &str, text: &str, object: Object) -> Result<()> {
    let recorded = read_history(text, Format::JsonLines, Some(object)).with_context(|| format!("the {name}"))?;
    searched.operations += recorded.history.len();
    let until = Instant::now() + PATIENCE;
    let budget = Budget { steps_per_key: u64::MAX, memory_bytes: MEMORY_BYTES, ..Budget::default() };
    match check_while(&recorded.history, object, &budget, &|| Instant::now() < until, &mut |_, _| {}) {
        Verdict::Linearizable => {}
        Verdict::Unknown { key, why } => searched.undecided.push(format!("{name}, {}: {why}", key.escape_ascii())),
        Verdict::Violation { key, explanation } => {
            let title = format!("{}: not linearizable", key.escape_ascii());
            let drawing = directory.join(format!("{name}.svg"));
            std::fs::write(&drawing, timeline(&explanation, &title))
                .with_context(|| format!("cannot write {}", drawing.display()))?;
            searched.drawings.push(drawing);
            searched.findings.push(format!("{title}: {}", explanation.sentence));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn searched(lines: &[&str]) -> (tempfile::TempDir, Searched) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("history.jsonl"), lines.join("\n")).unwrap();
        let searched = search(directory.path()).unwrap();
        (directory, searched)
    }

    const WRITTEN: [&str; 2] = [
        r#"{"process":1,"type":"invoke","f":"write","key":"k","value":"a","time_ns":1}"#,
        r#"{"process":1,"type":"ok","f":"write","key":"k","value":"a","time_ns":2}"#,
    ];

    #[test]
    fn a_stale_read_is_found_and_drawn() {
        let read = [
            r#"{"process":2,"type":"invoke","f":"read","key":"k","value":null,"time_ns":3}"#,
            r#"{"process":2,"type":"ok","f":"read","key":"k","value":null,"time_ns":4}"#,
        ];
        let (_directory, searched) = searched(&[&WRITTEN[..], &read].concat());
        assert_eq!(searched.operations, 2);
        assert!(searched.findings[0].contains("found nothing"), "{searched:?}");
        assert!(searched.drawings[0].exists());
    }

    #[test]
    fn notes_of_others_are_passed_over() {
        let note = r#"{"process":"nemesis","type":"info","f":"note","value":"kill","time_ns":3}"#;
        let (_directory, searched) = searched(&[&WRITTEN[..], &[note]].concat());
        assert_eq!((searched.operations, searched.findings.len()), (1, 0));
    }
}
