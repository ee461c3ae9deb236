//! Several steps at one instant, on any keys, as etcd has them.

use crate::history::{List, Value, outcome};
use std::fmt;

/// Compares, then one of two lists of steps. All of it takes effect at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Transaction {
    /// All must hold for `success` to be done, else `failure` is. None: `success` is done.
    pub compares: Vec<Compare>,
    /// What is done if all compares hold, with what each step answered.
    pub success: Vec<Step>,
    /// What is done if one does not.
    pub failure: Vec<Step>,
    /// Whether the compares held; `None` if the answer did not say.
    pub succeeded: Option<bool>,
    /// The store's revision after it; `None` if the answer did not say.
    pub revision: Option<u64>,
}

/// A condition on one key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Compare {
    /// Which key.
    pub key: Vec<u8>,
    /// What of it.
    pub target: Target,
    /// How it must stand to the target.
    pub relation: Relation,
}

/// What a compare looks at, and the right-hand side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// The value, by bytes. No relation holds for a key that does not exist.
    Value(Vec<u8>),
    /// The revision that created the key; 0 if it does not exist.
    CreateRevision(u64),
    /// The revision that last wrote it; 0 if it does not exist.
    ModRevision(u64),
    /// How often it was written since it was created; 0 if it does not exist.
    Version(u64),
}

/// How two things stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relation {
    /// The same.
    Equal,
    /// Not the same.
    NotEqual,
    /// What the key has is less.
    Less,
    /// What the key has is greater.
    Greater,
}

impl Relation {
    /// Whether `left` stands so to `right`.
    pub(crate) fn holds<T: Ord>(self, left: &T, right: &T) -> bool {
        match self {
            Relation::Equal => left == right,
            Relation::NotEqual => left != right,
            Relation::Less => left < right,
            Relation::Greater => left > right,
        }
    }
}

/// One step of a transaction, with what it answered. A key holds either a value or a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Asked for a value.
    Get {
        /// Of this key.
        key: Vec<u8>,
        /// What was seen. The outer `None`: the answer did not say; the inner: there was nothing.
        found: Option<Option<Vec<u8>>>,
    },
    /// Set a value.
    Put {
        /// Of this key.
        key: Vec<u8>,
        /// The new value.
        value: Vec<u8>,
    },
    /// Removed a key.
    Delete {
        /// This one.
        key: Vec<u8>,
        /// Whether it was there; `None` if the answer did not say.
        existed: Option<bool>,
    },
    /// Put a value at the end of a list.
    Append {
        /// Of this key.
        key: Vec<u8>,
        /// The new last element.
        value: Vec<u8>,
    },
    /// Asked for a whole list.
    List {
        /// Of this key.
        key: Vec<u8>,
        /// Its elements; `None` if the answer did not say.
        found: Option<Vec<Vec<u8>>>,
    },
}

impl Step {
    /// The key it is about.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        match self {
            Step::Get { key, .. }
            | Step::Put { key, .. }
            | Step::Delete { key, .. }
            | Step::Append { key, .. }
            | Step::List { key, .. } => key,
        }
    }

    /// Whether it can leave anything changed.
    #[must_use]
    pub fn only_reads(&self) -> bool {
        matches!(self, Step::Get { .. } | Step::List { .. })
    }
}

impl Transaction {
    /// A transaction without compares.
    #[must_use]
    pub fn of_steps(steps: Vec<Step>) -> Transaction {
        Transaction { success: steps, ..Transaction::default() }
    }

    /// Every key it names, as often as it does.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        let compared = self.compares.iter().map(|compare| compare.key.as_slice());
        compared.chain(self.steps().map(Step::key))
    }

    /// The steps of both lists.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.success.iter().chain(&self.failure)
    }

    /// The steps that were done if it took effect and answered; `None` if the answer does not say which.
    pub(crate) fn certainly_done(&self) -> Option<&[Step]> {
        match self.succeeded {
            Some(true) => Some(&self.success),
            Some(false) => Some(&self.failure),
            None => self.compares.is_empty().then_some(&self.success[..]),
        }
    }

    pub(crate) fn describe(&self, formatter: &mut fmt::Formatter<'_>, answered: bool) -> fmt::Result {
        let show = |steps: &[Step]| -> String {
            let steps: Vec<String> = steps.iter().map(|step| Told(step, answered).to_string()).collect();
            if steps.is_empty() { "nothing".to_owned() } else { steps.join(", ") }
        };
        write!(formatter, "transaction: ")?;
        if self.compares.is_empty() {
            write!(formatter, "{}", show(&self.success))?;
        } else {
            let compares: Vec<String> = self.compares.iter().map(Compare::to_string).collect();
            let (then, otherwise) = (show(&self.success), show(&self.failure));
            write!(formatter, "if {} then {then} else {otherwise}", compares.join(" and "))?;
        }
        if !answered {
            return write!(formatter, "; no answer");
        }
        write!(formatter, "{}", self.succeeded.filter(|_| !self.compares.is_empty()).map_or("", outcome))?;
        self.revision.map_or(Ok(()), |revision| write!(formatter, ", revision {revision}"))
    }
}

impl fmt::Display for Compare {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relation = match self.relation {
            Relation::Equal => "=",
            Relation::NotEqual => "!=",
            Relation::Less => "<",
            Relation::Greater => ">",
        };
        let key = self.key.escape_ascii();
        match &self.target {
            Target::Value(value) => write!(formatter, "{key} {relation} {}", Value(Some(value))),
            Target::CreateRevision(revision) => write!(formatter, "created({key}) {relation} {revision}"),
            Target::ModRevision(revision) => write!(formatter, "modified({key}) {relation} {revision}"),
            Target::Version(version) => write!(formatter, "version({key}) {relation} {version}"),
        }
    }
}

/// A step for people, with its answer if anybody saw it.
struct Told<'a>(&'a Step, bool);

impl fmt::Display for Told<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Told(step, answered) = self;
        let key = step.key().escape_ascii();
        match step {
            Step::Get { found: Some(found), .. } if *answered => {
                write!(formatter, "read {key} = {}", Value(found.as_deref()))
            }
            Step::List { found: Some(found), .. } if *answered => write!(formatter, "read {key} = {}", List(found)),
            Step::Get { .. } | Step::List { .. } => write!(formatter, "read {key}"),
            Step::Put { value, .. } => write!(formatter, "{key} := {}", Value(Some(value))),
            Step::Delete { .. } => write!(formatter, "delete {key}"),
            Step::Append { value, .. } => write!(formatter, "{key} appended {}", Value(Some(value))),
        }
    }
}
