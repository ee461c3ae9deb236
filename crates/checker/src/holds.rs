//! How long a fact must hold once it was brought about.
//!
//! A fact that does not hold at first, and that a single operation can bring about, must hold from then on until the last that needs
//! it took effect, so at least until that one was called: it never comes again. If one of these in turn certainly brings the next
//! such fact, that one must hold on from there, and so on: a *chain*. So whoever brings the first one about is too early as
//! long as another operation waits that returned before the last call of the chain and cannot take effect under
//! any fact of it. (For registers whose values differ these are the zones of Gibbons and Korach, 1997.)

use crate::model::Model;

/// A chain longer than this is not looked at: it seldom is, and it would take long.
const LONGEST_CHAIN: usize = 16;

/// What is known of one fact.
#[derive(Clone, Copy)]
struct Hold {
    /// The latest call in the chain from this fact on; 0 if the fact can come more than once.
    until: u64,
    next: Option<usize>,
}

/// For each fact by number how long it holds, and the chains.
pub(crate) struct Holds {
    holds: Vec<Hold>,
    /// Who leads from one fact to the next, by rank.
    is_link: Vec<bool>,
}

/// A completed operation: when it was called, and the numbers of the facts that it needs and brings.
pub(crate) struct Needer<'a> {
    pub(crate) called_at: u64,
    pub(crate) needs: &'a [usize],
    pub(crate) brings: &'a [usize],
}

impl Holds {
    /// `comes_once` says of each fact whether it can come once only; the needers are in order of rank.
    pub(crate) fn new<'a>(comes_once: &[bool], needers: impl Iterator<Item = Needer<'a>> + Clone) -> Holds {
        let mut holds = vec![Hold { until: 0, next: None }; comes_once.len()];
        let mut is_continued = vec![false; comes_once.len()];
        let mut is_link = Vec::new();
        for needer in needers {
            for fact in needer.needs.iter().filter(|fact| comes_once[**fact]) {
                holds[*fact].until = holds[*fact].until.max(needer.called_at);
            }
            let link = match (needer.needs, needer.brings) {
                ([from], [to]) if from != to && comes_once[*from] && comes_once[*to] => Some((*from, *to)),
                _ => None,
            };
            let link = link.filter(|(from, _)| holds[*from].next.is_none());
            is_link.push(link.is_some());
            if let Some((from, to)) = link {
                holds[from].next = Some(to);
                is_continued[to] = true;
            }
        }
        for start in (0..holds.len()).filter(|fact| !is_continued[*fact]) {
            let mut chain = vec![start];
            while let Some(next) = chain.last().and_then(|last| holds[*last].next) {
                chain.push(next);
            }
            let mut until = 0;
            for fact in chain.into_iter().rev() {
                until = holds[fact].until.max(until);
                // Where nobody needs what comes last, nothing holds on.
                holds[fact].until = until;
            }
        }
        Holds { holds, is_link }
    }

    /// Until when the chain that begins with this fact holds.
    pub(crate) fn until(&self, fact: usize) -> u64 {
        self.holds[fact].until
    }

    pub(crate) fn is_link(&self, rank: usize) -> bool {
        self.is_link[rank]
    }

    /// Whether `operation` can take effect under no fact of the chain that begins with this one.
    pub(crate) fn excludes<M: Model>(
        &self,
        model: &M,
        name: impl Fn(usize) -> u64,
        first: usize,
        operation: &M::Operation,
    ) -> bool {
        let mut at = Some(first);
        for _ in 0..LONGEST_CHAIN {
            let Some(fact) = at else { return true };
            if !model.excludes(operation, name(fact)) {
                return false;
            }
            at = self.holds[fact].next;
        }
        at.is_none()
    }
}
