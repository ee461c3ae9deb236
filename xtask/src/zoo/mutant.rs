//! One patch with its story.
//!
//! A patch file begins with fields, one a line, then an empty line, then the story, then the diff:
//!
//! ```text
//! id: RE1                                 the row; controls have `control-...`
//! title: ...                              the wrong code in a few words
//! source: ...                             where it happened, or which rule it negates
//! breaks: ...                             what it costs users
//! expect: DurabilityGhost, Agreement      the properties that show it; another one does not count. Controls: nothing
//! hunt: raft                              the campaign's protocol, or `none` with the reason in the story
//! budget: 2000                            at most so many seeds in one campaign
//! search: nodes=3 timers=election:2       bounds for the explorer, if it fits
//! scenario: scenarios/x.scenario          a script that passes on our code and fails on the mutant, if there is one
//! ```

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const USUAL_BUDGET_SEEDS: u64 = 2000;
/// Mutants found within fewer seeds are fit for a sample.
const QUICK_BUDGET_SEEDS: u64 = 100;

/// A change that is to be found, or a control that is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mutant {
    pub(crate) id: String,
    /// The file's name without its ending.
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) is_control: bool,
    /// Properties of which one must be broken.
    pub(crate) expect: Vec<String>,
    /// Protocols to hunt with.
    pub(crate) hunt: Vec<String>,
    /// Seeds of one campaign, at most.
    pub(crate) budget: u64,
    /// Bounds for the explorer.
    pub(crate) search: Option<String>,
    pub(crate) scenario: Option<PathBuf>,
    pub(crate) patch: PathBuf,
}

impl Mutant {
    /// Whether `--only` with this text means it.
    pub(crate) fn answers_to(&self, text: &str) -> bool {
        self.id == text || self.name == text
    }

    /// Whether it is found so soon that it is fit for a sample.
    pub(crate) fn is_quick(&self) -> bool {
        !self.is_control && !self.hunt.is_empty() && self.budget <= QUICK_BUDGET_SEEDS
    }

    fn parse(root: &Path, patch: &Path, text: &str) -> Result<Mutant> {
        let name = patch.file_stem().and_then(|stem| stem.to_str()).context("its name is no text")?.to_owned();
        let (head, rest) = text.split_once("\n\n").context("an empty line must follow the fields")?;
        if !rest.contains("\ndiff --git ") {
            bail!("a story and then a diff in git's form must follow the fields");
        }
        let mut fields = BTreeMap::new();
        for line in head.lines() {
            let (field, value) = line.split_once(": ").with_context(|| format!("`{line}` is no `field: value`"))?;
            if fields.insert(field, value.trim()).is_some() {
                bail!("`{field}` is there twice");
            }
        }
        let mut take = |field: &str| fields.remove(field).with_context(|| format!("`{field}:` is missing"));
        let (id, title) = (take("id")?.to_owned(), take("title")?.to_owned());
        let is_control = id.starts_with("control-");
        take("source")?;
        let expect = if is_control { Vec::new() } else { list(take("expect")?) };
        if !is_control {
            take("breaks")?;
        }
        let hunt = list(take("hunt")?);
        let budget = match fields.remove("budget") {
            Some(text) => text.parse().with_context(|| format!("budget: {text}"))?,
            None => USUAL_BUDGET_SEEDS,
        };
        let search = fields.remove("search").map(str::to_owned);
        let scenario = fields.remove("scenario").map(|path| root.join(path));
        if let Some(missing) = scenario.as_ref().filter(|path| !path.exists()) {
            bail!("scenario: there is no {}", missing.display());
        }
        if let Some(unknown) = fields.keys().next() {
            bail!("`{unknown}:` is no field");
        }
        if name != id && !name.starts_with(&format!("{id}-")) {
            bail!("the file must be called {id}-something.patch");
        }
        if hunt.is_empty() && search.is_none() && scenario.is_none() {
            bail!("nobody looks for it");
        }
        Ok(Mutant { id, name, title, is_control, expect, hunt, budget, search, scenario, patch: patch.to_owned() })
    }
}

/// The parts of `a, b`; none of `none`.
fn list(text: &str) -> Vec<String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty() && *part != "none");
    parts.map(str::to_owned).collect()
}

/// All mutants of the repository at `root`, ascending by name.
///
/// # Errors
/// When the folder or a story cannot be read.
pub(crate) fn read_all(root: &Path) -> Result<Vec<Mutant>> {
    let folder = root.join("zoo");
    let mut mutants = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "patch") {
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            mutants.push(Mutant::parse(root, &path, &text).with_context(|| path.display().to_string())?);
        }
    }
    mutants.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(mutants)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "id: RE1\ntitle: t\nsource: s\nbreaks: b\nexpect: A, B\nhunt: raft\n";

    fn parse(head: &str) -> Result<Mutant> {
        let text = format!("{head}\nIt happened.\n\ndiff --git a/x b/x\n");
        Mutant::parse(&crate::root()?, Path::new("zoo/RE1-early-vote.patch"), &text)
    }

    #[test]
    fn fields_say_what_must_be_found_and_how() {
        let mutant = parse(&format!("{HEAD}budget: 7\nsearch: nodes=3\n")).unwrap();
        assert_eq!((mutant.id.as_str(), mutant.budget, mutant.search.as_deref()), ("RE1", 7, Some("nodes=3")));
        assert_eq!((mutant.expect, mutant.hunt), (vec!["A".to_owned(), "B".to_owned()], vec!["raft".to_owned()]));
        assert_eq!(parse(HEAD).unwrap().budget, USUAL_BUDGET_SEEDS);
    }

    #[test]
    fn a_story_that_leaves_something_out_or_says_too_much_is_refused() {
        for wrong in [
            HEAD.replace("expect", "expects"),
            HEAD.replace("id: RE1", "id: RE2"),
            HEAD.replace("raft", "none"),
            format!("{HEAD}title: again\n"),
            format!("{HEAD}budget: much\n"),
            format!("{HEAD}scenario: scenarios/nowhere.scenario\n"),
        ] {
            assert!(parse(&wrong).is_err(), "{wrong}");
        }
    }
}
