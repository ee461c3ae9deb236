//! Transactions. All branches are chosen before the first write, everything that can fail is tried before the first write,
//! and then the operations are done in order (etcd's `server/etcdserver/txn`).

use crate::apply::Write;
use crate::change::ChangeView;
use crate::error::KeyspaceError;
use crate::interval::Interval;
use crate::keyspace::Keyspace;
use crate::range_request::RangeRequest;
use crate::reply::Reply;
use crate::request::{DeleteRangeRequest, PutRequest};
use crate::txn_request::{Compare, CompareOperator, CompareTarget, Operation, TxnRequest};
use std::cmp::Ordering;

/// A transaction with every branch chosen.
struct Plan<'a> {
    succeeded: bool,
    steps: Vec<Step<'a>>,
}

enum Step<'a> {
    Range(&'a RangeRequest),
    Put(&'a PutRequest),
    DeleteRange(&'a DeleteRangeRequest),
    Txn(Plan<'a>),
}

impl Keyspace {
    /// Does a transaction whose shape was checked.
    pub(crate) fn transact(&mut self, txn: &TxnRequest) -> Result<Reply, KeyspaceError> {
        let plan = self.plan(txn);
        self.check_puts(&plan)?;
        self.check_ranges(&plan)?;
        self.applied_counts.transactions += u64::from(plan.steps.len() > 1);
        let mut write = self.begin_write();
        let reply = self.carry_out(&mut write, &plan);
        self.end_write(&write);
        Ok(reply)
    }

    pub(crate) fn read_transaction(&self, txn: &TxnRequest) -> Result<Reply, KeyspaceError> {
        txn.check_unbounded()?;
        if !txn.is_read_only() {
            return Err(KeyspaceError::NotReadOnly);
        }
        if self.is_corrupt() {
            return Err(KeyspaceError::Corrupt);
        }
        let plan = self.plan(txn);
        self.check_ranges(&plan)?;
        self.read_out(&plan)
    }

    fn plan<'a>(&self, txn: &'a TxnRequest) -> Plan<'a> {
        let succeeded = txn.compares.iter().all(|compare| self.holds(compare));
        let branch = if succeeded { &txn.success } else { &txn.failure };
        let steps = branch.iter().map(|operation| match operation {
            Operation::Range(range) => Step::Range(range),
            Operation::Put(put) => Step::Put(put),
            Operation::DeleteRange(delete) => Step::DeleteRange(delete),
            Operation::Txn(nested) => Step::Txn(self.plan(nested)),
        });
        Plan { succeeded, steps: steps.collect() }
    }

    /// Whether a comparison holds for every key of its range, or for a missing key if there is none.
    fn holds(&self, compare: &Compare) -> bool {
        let interval = Interval::new(&compare.key, &compare.range_end);
        let mut found = self.index.live_in(interval, self.log.len()).peekable();
        if found.peek().is_none() {
            return holds_for(compare, None);
        }
        found.all(|number| holds_for(compare, self.log.view(number)))
    }

    fn check_puts(&self, plan: &Plan<'_>) -> Result<(), KeyspaceError> {
        plan.steps.iter().try_for_each(|step| match step {
            Step::Put(put) => self.check_put(put),
            Step::Txn(nested) => self.check_puts(nested),
            Step::Range(_) | Step::DeleteRange(_) => Ok(()),
        })
    }

    fn check_ranges(&self, plan: &Plan<'_>) -> Result<(), KeyspaceError> {
        plan.steps.iter().try_for_each(|step| match step {
            Step::Range(range) => self.check_readable(range.revision),
            Step::Txn(nested) => self.check_ranges(nested),
            Step::Put(_) | Step::DeleteRange(_) => Ok(()),
        })
    }

    fn carry_out(&mut self, write: &mut Write, plan: &Plan<'_>) -> Reply {
        let mut responses = Vec::with_capacity(plan.steps.len());
        for step in &plan.steps {
            responses.push(match step {
                Step::Range(range) => self.range(range, write.revision()),
                Step::Put(put) => self.put_in(write, put),
                Step::DeleteRange(delete) => self.delete_in(write, delete),
                Step::Txn(nested) => self.carry_out(write, nested),
            });
        }
        Reply::Txn { revision: write.revision(), succeeded: plan.succeeded, responses }
    }

    fn read_out(&self, plan: &Plan<'_>) -> Result<Reply, KeyspaceError> {
        let responses = plan.steps.iter().map(|step| match step {
            Step::Range(range) => Ok(self.range(range, self.revision)),
            Step::Txn(nested) => self.read_out(nested),
            Step::Put(_) | Step::DeleteRange(_) => Err(KeyspaceError::NotReadOnly),
        });
        let responses = responses.collect::<Result<_, _>>()?;
        Ok(Reply::Txn { revision: self.revision, succeeded: plan.succeeded, responses })
    }
}

/// A missing key has every number 0 and no value.
fn holds_for(compare: &Compare, found: Option<ChangeView<'_>>) -> bool {
    let mod_revision = found.map_or(0, |change| change.revision.main);
    let put = found.and_then(|change| change.put);
    let number = |property: Option<i64>| property.unwrap_or(0);
    let ordering = match &compare.target {
        CompareTarget::Version(version) => number(put.map(|put| put.version)).cmp(version),
        CompareTarget::CreateRevision(revision) => number(put.map(|put| put.create_revision)).cmp(revision),
        CompareTarget::ModRevision(revision) => mod_revision.cmp(revision),
        CompareTarget::Lease(lease) => number(put.map(|put| put.lease)).cmp(lease),
        CompareTarget::Value(value) => match put {
            Some(put) => put.value.cmp(&value[..]),
            None => return false,
        },
    };
    match compare.operator {
        CompareOperator::Equal => ordering == Ordering::Equal,
        CompareOperator::Greater => ordering == Ordering::Greater,
        CompareOperator::Less => ordering == Ordering::Less,
        CompareOperator::NotEqual => ordering != Ordering::Equal,
    }
}
