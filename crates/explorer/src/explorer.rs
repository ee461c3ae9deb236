//! How a search is described.

use crate::action::{Wish, complete_all};
use crate::bounds::{Bounds, Disks};
use crate::report::{Progress, Report};
use crate::search;
use crate::task::{Explorable, Filter, Forgetting, ForgettingBetween, Predicate, Property, Task};
use bytes::Bytes;
use quorate_protocol::testbed::{Flight, TestNode, Testbed};
use quorate_protocol::{Batch, Footprint, Input, ReadToken, Replica, RequestId};
use quorate_types::{Incarnation, NodeId};

/// Wishes are bits of one number.
const WISHES_MOST: usize = 64;
/// Marks are bits of one number.
const SOMETIMES_MOST: usize = 32;

pub(crate) type Listener = Box<dyn FnMut(&Progress) + Send>;

/// A search to be: the cluster it starts from, its bounds, what clients want, what must hold.
pub struct Explorer<R: Replica> {
    root: Testbed<R>,
    bounds: Bounds<R>,
    wishes: Vec<Wish<R>>,
    properties: Vec<(&'static str, Property<R>)>,
    message_properties: Vec<(&'static str, Property<R>)>,
    sometimes: Vec<(&'static str, Predicate<R>)>,
    passes: Option<Filter<R>>,
    forgetting: Option<Forgetting<R>>,
    forgetting_between: Option<ForgettingBetween<R>>,
    keeps_refusals: bool,
    progress: Option<(usize, Listener)>,
}

impl<R: Explorable> Explorer<R> {
    /// A search from this cluster. Whatever is under way in it may happen at any time; usually the founding
    /// writes are completed first with [`Explorer::settled`].
    ///
    /// # Panics
    /// When a snapshot is on its way in it.
    #[must_use]
    pub fn new(root: Testbed<R>, bounds: Bounds<R>) -> Explorer<R> {
        assert!(root.transfers().is_empty(), "a search takes snapshots to arrive at once");
        Explorer {
            root,
            bounds,
            wishes: Vec::new(),
            properties: Vec::new(),
            message_properties: Vec::new(),
            sometimes: Vec::new(),
            passes: None,
            forgetting: None,
            forgetting_between: None,
            keeps_refusals: false,
            progress: None,
        }
    }

    /// Completes the writes under way before the search: a fresh cluster's founding records.
    #[must_use]
    pub fn settled(mut self) -> Explorer<R> {
        complete_all(&mut self.root);
        self
    }

    /// A client proposes this at this node, once, at any moment.
    #[must_use]
    pub fn propose(self, node: NodeId, commands: impl Into<Bytes>) -> Explorer<R> {
        let request = RequestId(self.wishes.len() as u64 + 1);
        self.wish(node, Input::Propose { request, batch: Batch::new(commands.into()) })
    }

    /// A client reads at this node, once, at any moment.
    #[must_use]
    pub fn read(self, node: NodeId) -> Explorer<R> {
        let token = ReadToken { node, incarnation: Incarnation(1), number: self.wishes.len() as u64 + 1 };
        self.wish(node, Input::Read { token, footprint: Footprint::Everything })
    }

    /// This input reaches this node, once, at any moment.
    ///
    /// # Panics
    /// With more than 64 wishes: each doubles the states.
    #[must_use]
    pub fn wish(mut self, node: NodeId, input: Input<R>) -> Explorer<R> {
        assert!(self.wishes.len() < WISHES_MOST, "an explorer takes up to 64 wishes");
        self.wishes.push(Wish { node, input });
        self
    }

    /// Must hold in every state, of nodes and decisions. Messages in flight are not shown to it: the same nodes are met with
    /// very many different messages, and are looked at once.
    #[must_use]
    pub fn always(
        mut self,
        name: &'static str,
        check: impl Fn(&Testbed<R>) -> Result<(), String> + Send + Sync + 'static,
    ) -> Explorer<R> {
        self.properties.push((name, Box::new(check)));
        self
    }

    /// Must hold in every state, messages in flight included. It must be one that more messages can only break: a state is
    /// not looked at where another has the same nodes and more messages.
    #[must_use]
    pub fn always_with_messages(
        mut self,
        name: &'static str,
        check: impl Fn(&Testbed<R>) -> Result<(), String> + Send + Sync + 'static,
    ) -> Explorer<R> {
        self.message_properties.push((name, Box::new(check)));
        self
    }

    /// Counted, so that a search which never gets to the point is noticed. Sees what [`Explorer::always`] sees.
    ///
    /// # Panics
    /// With more than 32 of them.
    #[must_use]
    pub fn sometimes(
        mut self,
        name: &'static str,
        holds: impl Fn(&Testbed<R>) -> bool + Send + Sync + 'static,
    ) -> Explorer<R> {
        assert!(self.sometimes.len() < SOMETIMES_MOST, "an explorer counts up to 32 marks");
        self.sometimes.push((name, Box::new(holds)));
        self
    }

    /// Lets properties see what nodes have refused. States that differ in nothing else are then different ones.
    #[must_use]
    pub fn remembering_refusals(mut self) -> Explorer<R> {
        self.keeps_refusals = true;
        self
    }

    /// Never sends messages that the predicate does not pass: a partition, to get to the point. The report is not
    /// complete then.
    #[must_use]
    pub fn only_messages(mut self, passes: impl Fn(&Flight<R>) -> bool + Send + Sync + 'static) -> Explorer<R> {
        self.passes = Some(Box::new(passes));
        self
    }

    /// Takes messages out of flight that can change nothing any more, whatever happens: two states that
    /// differ only in such messages are one. The predicate sees the receiver and the message. The caller answers for it:
    /// wherever the predicate holds of a message, delivering it in this state or in any that follows must change no replica and send
    /// nothing. The report stays complete.
    #[must_use]
    pub fn forgetting(
        mut self,
        spent: impl Fn(&TestNode<R>, &R::Message) -> bool + Send + Sync + 'static,
    ) -> Explorer<R> {
        self.forgetting = Some(Box::new(spent));
        self
    }

    /// The same, by what the sender knows too, if there is such a node; what is answered may then mean nothing to it either.
    #[must_use]
    pub fn forgetting_between(
        mut self,
        spent: impl Fn(&TestNode<R>, Option<&TestNode<R>>, &R::Message) -> bool + Send + Sync + 'static,
    ) -> Explorer<R> {
        self.forgetting_between = Some(Box::new(spent));
        self
    }

    /// Is told now and then, every so many states.
    #[must_use]
    pub fn on_progress(mut self, every_states: usize, listener: impl FnMut(&Progress) + Send + 'static) -> Explorer<R> {
        self.progress = Some((every_states.max(1), Box::new(listener)));
        self
    }

    /// Searches.
    #[must_use]
    pub fn explore(self) -> Report<R> {
        let ids: Vec<NodeId> = self.root.ids().collect();
        let spendings = Task::all_spendings(&ids, &self.bounds, &self.wishes);
        let assumptions = self.assumptions();
        let task = Task {
            testbed: self.root.clone().without_tracing(),
            ids,
            bounds: self.bounds,
            wishes: self.wishes,
            properties: self.properties,
            message_properties: self.message_properties,
            sometimes: self.sometimes,
            passes: self.passes,
            forgetting: self.forgetting,
            forgetting_between: self.forgetting_between,
            keeps_refusals: self.keeps_refusals,
            spendings,
        };
        Report { assumptions, ..search::run(&task, self.root, self.progress) }
    }

    fn assumptions(&self) -> Vec<&'static str> {
        let mut assumptions = Vec::new();
        if self.bounds.disks == Disks::StallBeforeCrash {
            assumptions.push("a write that completes late can be matched by late messages");
        }
        if self.forgetting.is_some() || self.forgetting_between.is_some() {
            assumptions.push("the messages taken out of flight could change nothing any more");
        }
        assumptions
    }
}
