//! A case: a named rule of the API and the code that checks it.

use crate::expect::Outcome;
use crate::target::Target;
use std::future::Future;
use std::pin::Pin;

type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// One rule of the API. Its name is that of the function that checks it: `group::rule`.
pub struct Case {
    name: &'static str,
    exclusive: bool,
    run: Box<dyn Fn(Target) -> Running + Send + Sync>,
}

impl Case {
    /// A case that others may run beside, on the same cluster.
    pub(crate) fn shared<F, R>(check: F) -> Case
    where
        F: Fn(Target) -> R + Send + Sync + 'static,
        R: Future<Output = Outcome> + Send + 'static,
    {
        Case { name: name_of::<F>(), exclusive: false, run: Box::new(move |target| Box::pin(check(target))) }
    }

    /// A case that needs the whole store: it counts revisions, compacts, or raises an alarm.
    pub(crate) fn exclusive<F, R>(check: F) -> Case
    where
        F: Fn(Target) -> R + Send + Sync + 'static,
        R: Future<Output = Outcome> + Send + 'static,
    {
        Case { exclusive: true, ..Case::shared(check) }
    }

    /// `group::rule`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Nothing else may use the cluster meanwhile.
    pub fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    /// Checks the rule.
    pub fn run(&self, target: Target) -> impl Future<Output = Outcome> + Send + use<> {
        (self.run)(target)
    }
}

/// The path of a function below the folder of cases.
fn name_of<F>() -> &'static str {
    let path = std::any::type_name::<F>();
    path.split_once("::cases::").map_or(path, |(_, name)| name)
}
