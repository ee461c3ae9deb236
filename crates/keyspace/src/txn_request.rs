//! Transactions: what they compare and do, their stateless checks, and their bytes.

use crate::error::KeyspaceError;
use crate::interval::Interval;
use crate::range_request::RangeRequest;
use crate::request::{DeleteRangeRequest, PutRequest};
use bytes::Bytes;
use quorate_wire::{Reader, Wire, WireError, put_u64};
use std::collections::BTreeSet;

/// How deep transactions may nest, the outermost included: a bound on recursion. etcd's default of 128 operations allows
/// fewer.
pub const TXN_DEPTH_MAX: usize = 160;

const OPERATION_RANGE: u8 = 1;
const OPERATION_PUT: u8 = 2;
const OPERATION_DELETE_RANGE: u8 = 3;
const OPERATION_TXN: u8 = 4;

/// etcd's `TxnRequest`: if all compares hold, `success`, else `failure`; all of it at one revision, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TxnRequest {
    /// All must hold; none hold always.
    pub compares: Vec<Compare>,
    /// Done in order if they hold.
    pub success: Vec<Operation>,
    /// Done in order if not.
    pub failure: Vec<Operation>,
}

/// etcd's `RequestOp`. One with nothing in it cannot be built: who reads etcd's bytes answers `key not found`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Read a range, with what earlier operations wrote.
    Range(RangeRequest),
    /// Write a key.
    Put(PutRequest),
    /// Delete a range.
    DeleteRange(DeleteRangeRequest),
    /// A transaction within. Its compares see the store as it was before the outermost one.
    Txn(TxnRequest),
}

/// etcd's `Compare`. A key that does not exist has version, revisions and lease 0, and no value: a comparison of its value
/// is false, whatever the operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Compare {
    /// The first key; not empty.
    pub key: Bytes,
    /// As in [`RangeRequest::range_end`]. The comparison must hold for every key of the range; an empty range is one key
    /// that does not exist.
    pub range_end: Bytes,
    /// How what is found must stand to the operand.
    pub operator: CompareOperator,
    /// What is looked at, and the operand.
    pub target: CompareTarget,
}

/// How a key's property must stand to the operand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CompareOperator {
    /// The same.
    #[default]
    Equal,
    /// The key's is greater.
    Greater,
    /// The key's is less.
    Less,
    /// Not the same.
    NotEqual,
}

/// Which property of a key is compared, with what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CompareTarget {
    /// How often it was put since it was created.
    Version(i64),
    /// Its create revision.
    CreateRevision(i64),
    /// Its mod revision.
    ModRevision(i64),
    /// Its value, bytewise.
    Value(Bytes),
    /// Its lease; 0 for none.
    Lease(i64),
}

impl TxnRequest {
    /// Checks what can be checked without a state, as etcd does: how many operations there are, then empty keys and
    /// contradictory puts, then keys that one branch would write twice.
    ///
    /// # Errors
    /// [`KeyspaceError::TooManyOperations`]: the longest of the three lists is over `operations_max`, or that of a nested
    /// transaction over what its parents left of it. [`KeyspaceError::DuplicateKey`]: a key is put twice, or put and
    /// deleted, where both could happen. Else as [`crate::Request::check`].
    pub fn check(&self, operations_max: usize) -> Result<(), KeyspaceError> {
        self.check_operations(operations_max, TXN_DEPTH_MAX)?;
        check_footprint(&self.success)?;
        check_footprint(&self.failure)
    }

    /// The same without a bound on operations: that is a setting of the server, and not of the replicated state.
    pub(crate) fn check_unbounded(&self) -> Result<(), KeyspaceError> {
        self.check(usize::MAX)
    }

    fn check_operations(&self, operations_max: usize, depth_left: usize) -> Result<(), KeyspaceError> {
        let longest = self.compares.len().max(self.success.len()).max(self.failure.len());
        if longest > operations_max || depth_left == 0 {
            return Err(KeyspaceError::TooManyOperations);
        }
        if self.compares.iter().any(|compare| compare.key.is_empty()) {
            return Err(KeyspaceError::KeyNotProvided);
        }
        self.success.iter().chain(&self.failure).try_for_each(|operation| match operation {
            Operation::Range(range) => range.check(),
            Operation::Put(put) => put.check(),
            Operation::DeleteRange(delete) => delete.check(),
            Operation::Txn(txn) => txn.check_operations(operations_max - longest, depth_left - 1),
        })
    }

    /// Whether no branch, at any depth, can write.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.success.iter().chain(&self.failure).all(|operation| match operation {
            Operation::Range(_) => true,
            Operation::Put(_) | Operation::DeleteRange(_) => false,
            Operation::Txn(txn) => txn.is_read_only(),
        })
    }

    /// Whether some branch, at any depth, puts.
    #[must_use]
    pub fn may_put(&self) -> bool {
        self.success.iter().chain(&self.failure).any(|operation| match operation {
            Operation::Range(_) | Operation::DeleteRange(_) => false,
            Operation::Put(_) => true,
            Operation::Txn(txn) => txn.may_put(),
        })
    }
}

/// Refuses a list of operations that may write a key twice.
fn check_footprint(operations: &[Operation]) -> Result<(), KeyspaceError> {
    match operations {
        // The usual transaction: nothing to meet.
        [] | [Operation::Range(_) | Operation::Put(_) | Operation::DeleteRange(_)] => Ok(()),
        _ => Footprint::of(operations).map(|_| ()),
    }
}

/// What a list of operations may write: etcd's `checkIntervals`, rule by rule and in its order.
#[derive(Default)]
struct Footprint<'a> {
    puts: BTreeSet<&'a [u8]>,
    deletes: Vec<Interval<'a>>,
}

impl<'a> Footprint<'a> {
    fn of(operations: &'a [Operation]) -> Result<Footprint<'a>, KeyspaceError> {
        let mut all = Footprint::default();
        for operation in operations {
            if let Operation::DeleteRange(delete) = operation {
                all.deletes.push(Interval::new(&delete.key, &delete.range_end));
            }
        }
        for operation in operations {
            if let Operation::Txn(txn) = operation {
                all.join_nested(Footprint::of(&txn.success)?, Footprint::of(&txn.failure)?)?;
            }
        }
        for operation in operations {
            if let Operation::Put(put) = operation {
                all.add_put(&put.key)?;
            }
        }
        Ok(all)
    }

    /// Only one of the two branches happens, so they may put the same keys, and one may delete what the other puts.
    fn join_nested(&mut self, success: Footprint<'a>, failure: Footprint<'a>) -> Result<(), KeyspaceError> {
        success.puts.iter().try_for_each(|key| self.add_put(key))?;
        failure.puts.difference(&success.puts).try_for_each(|key| self.add_put(key))?;
        self.deletes.extend(success.deletes);
        self.deletes.extend(failure.deletes);
        Ok(())
    }

    fn add_put(&mut self, key: &'a [u8]) -> Result<(), KeyspaceError> {
        let is_deleted = self.deletes.iter().any(|interval| interval.contains(key));
        if is_deleted || !self.puts.insert(key) { Err(KeyspaceError::DuplicateKey) } else { Ok(()) }
    }
}

impl TryFrom<i32> for CompareOperator {
    type Error = WireError;

    /// From etcd's number.
    fn try_from(number: i32) -> Result<CompareOperator, WireError> {
        match number {
            0 => Ok(CompareOperator::Equal),
            1 => Ok(CompareOperator::Greater),
            2 => Ok(CompareOperator::Less),
            3 => Ok(CompareOperator::NotEqual),
            _ => Err(WireError::Malformed { what: "compare operator" }),
        }
    }
}

impl Wire for Compare {
    fn encode(&self, out: &mut Vec<u8>) {
        self.key.encode(out);
        self.range_end.encode(out);
        out.push(self.operator as u8);
        let (kind, number) = match &self.target {
            CompareTarget::Version(number) => (0, number),
            CompareTarget::CreateRevision(number) => (1, number),
            CompareTarget::ModRevision(number) => (2, number),
            CompareTarget::Value(value) => {
                out.push(3);
                value.encode(out);
                return;
            }
            CompareTarget::Lease(number) => (4, number),
        };
        out.push(kind);
        put_u64(number.cast_unsigned(), out);
    }

    fn decode(input: &mut Reader) -> Result<Compare, WireError> {
        let key = input.bytes("compared key")?;
        let range_end = input.bytes("compared range end")?;
        let operator = CompareOperator::try_from(i32::from(input.byte("compare operator")?))?;
        let kind = input.byte("compare target")?;
        let target = match kind {
            0 => CompareTarget::Version(input.u64("compared version")?.cast_signed()),
            1 => CompareTarget::CreateRevision(input.u64("compared create revision")?.cast_signed()),
            2 => CompareTarget::ModRevision(input.u64("compared mod revision")?.cast_signed()),
            3 => CompareTarget::Value(input.bytes("compared value")?),
            4 => CompareTarget::Lease(input.u64("compared lease")?.cast_signed()),
            kind => return Err(WireError::UnknownKind { what: "compare target", kind }),
        };
        Ok(Compare { key, range_end, operator, target })
    }
}

impl Wire for TxnRequest {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(self.compares.len() as u64, out);
        self.compares.iter().for_each(|compare| compare.encode(out));
        for branch in [&self.success, &self.failure] {
            put_u64(branch.len() as u64, out);
            branch.iter().for_each(|operation| encode_operation(operation, out));
        }
    }

    fn decode(input: &mut Reader) -> Result<TxnRequest, WireError> {
        decode_txn(input, TXN_DEPTH_MAX)
    }
}

fn encode_operation(operation: &Operation, out: &mut Vec<u8>) {
    match operation {
        Operation::Range(range) => {
            out.push(OPERATION_RANGE);
            range.encode(out);
        }
        Operation::Put(put) => {
            out.push(OPERATION_PUT);
            put.encode(out);
        }
        Operation::DeleteRange(delete) => {
            out.push(OPERATION_DELETE_RANGE);
            delete.encode(out);
        }
        Operation::Txn(txn) => {
            out.push(OPERATION_TXN);
            txn.encode(out);
        }
    }
}

fn decode_txn(input: &mut Reader, depth_left: usize) -> Result<TxnRequest, WireError> {
    let depth_left = depth_left.checked_sub(1).ok_or(WireError::Malformed { what: "depth of transactions" })?;
    Ok(TxnRequest {
        compares: decode_list(input, "compares", Compare::decode)?,
        success: decode_list(input, "success", |input| decode_operation(input, depth_left))?,
        failure: decode_list(input, "failure", |input| decode_operation(input, depth_left))?,
    })
}

fn decode_operation(input: &mut Reader, depth_left: usize) -> Result<Operation, WireError> {
    match input.byte("operation kind")? {
        OPERATION_RANGE => Ok(Operation::Range(RangeRequest::decode(input)?)),
        OPERATION_PUT => Ok(Operation::Put(PutRequest::decode(input)?)),
        OPERATION_DELETE_RANGE => Ok(Operation::DeleteRange(DeleteRangeRequest::decode(input)?)),
        OPERATION_TXN => Ok(Operation::Txn(decode_txn(input, depth_left)?)),
        kind => Err(WireError::UnknownKind { what: "operation", kind }),
    }
}

/// A length that the input cannot hold is refused before memory is taken for it: no element is shorter than a byte.
pub(crate) fn decode_list<T>(
    input: &mut Reader,
    what: &'static str,
    mut decode: impl FnMut(&mut Reader) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    let count = usize::try_from(input.u64(what)?).map_err(|_| WireError::Malformed { what })?;
    if count > input.remaining() {
        return Err(WireError::Truncated { what });
    }
    let mut list = Vec::new();
    for _ in 0..count {
        list.push(decode(input)?);
    }
    Ok(list)
}
