//! Where Quorate answers otherwise than etcd 3.5.1, on purpose. `docs/compatibility.md` shows this list.

/// One difference, and why it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The case that meets it, `group::rule`.
    pub case: &'static str,
    /// What etcd 3.5.1 does.
    pub etcd: &'static str,
    /// What Quorate does.
    pub quorate: &'static str,
    /// Why.
    pub argument: &'static str,
}

/// Sort orders and targets that are not in the protocol.
pub const UNKNOWN_SORT_ORDER: Difference = Difference {
    case: "sort::an_unknown_order_is_refused",
    etcd: "ignores an unknown sort order; an unknown sort target ends the process (nil sorter)",
    quorate: "`InvalidArgument`, `etcdserver: invalid sort option`",
    argument: "etcd refuses both from 3.6 on with this text; no client sends them",
};

/// Watches that ask for revisions that never were.
pub const WATCH_FROM_BELOW_ZERO: Difference = Difference {
    case: "compaction::a_watch_from_below_zero_is_cancelled",
    etcd: "creates the watch, then cancels it with the compaction mark; before any compaction it replays everything",
    quorate: "creates and cancels it in one answer, id -1, with the text of a compacted revision",
    argument: "so does etcd since 3.6; the old answer depends on whether the store was ever compacted",
};

/// Transactions that write and also read a revision that cannot be read.
pub const WRITE_BESIDE_A_FAILING_READ: Difference = Difference {
    case: "txn::a_read_of_the_future_fails_the_whole",
    etcd: "the member asked refuses and writes nothing, all others write: their data differ from then on",
    quorate: "refused, and nothing is written anywhere",
    argument: "a fault of etcd 3.5.1, which leaves reads out of transactions where nobody waits for the answer; \
               the writes are therefore not asked of etcd",
};

/// Reads below revision 0 inside a transaction.
pub const REVISION_BELOW_ZERO_IN_A_TRANSACTION: Difference = Difference {
    case: "txn::a_revision_below_zero_in_a_transaction_means_now",
    etcd: "refused as compacted, except -1 in a store that never was; outside a transaction it means now",
    quorate: "means now, in a transaction as outside",
    argument: "one meaning for one field; no client sends it",
};

/// A transaction with a put and a deletion of all keys from one at or below it.
pub const DELETION_TO_THE_END_OVER_A_PUT: Difference = Difference {
    case: "txn_limits::a_key_put_and_deleted_with_all_later_keys_is_refused",
    etcd: "does both, since its check takes the zero byte that means \"to the end\" for a key",
    quorate: "`InvalidArgument`, `etcdserver: duplicate key given in txn request`",
    argument: "etcd documents that a key may not be written twice, and refuses every other form of it",
};

/// The hash of the revision the store is compacted at.
pub const HASH_AT_THE_COMPACTION_MARK: Difference = Difference {
    case: "maintenance::the_hash_of_a_compacted_revision_is_refused",
    etcd: "refused as compacted, though the revision can still be read",
    quorate: "answered, equal on all members",
    argument: "so do later releases of etcd 3.5: comparing members right after a compaction needs it",
};

/// A method that etcd 3.5 does not have.
pub const RANGE_AS_A_STREAM: Difference = Difference {
    case: "limits::a_range_can_be_streamed",
    etcd: "`KV.RangeStream` is unimplemented",
    quorate: "answers a range in parts, as etcd 3.7 does",
    argument: "an addition; clients that do not know it never call it",
};

/// A member that was added to vote.
pub const JOINING_MEMBERS_DO_NOT_VOTE_YET: Difference = Difference {
    case: "membership::a_voter_is_added_and_removed",
    etcd: "counts it at once, so that adding one that does not come up may cost the quorum",
    quorate: "lists it as a learner until it has caught up; then the leader makes it a voter by itself",
    argument: "adding a member never makes a majority harder to reach; clients that list members see it change",
};

/// A learner whose peer URLs are updated.
pub const A_LEARNER_THAT_MOVES_STAYS_ONE: Difference = Difference {
    case: "membership::a_learner_moves",
    etcd: "lists it as a voter from then on, which it is not",
    quorate: "lists it as the learner it is",
    argument: "a fault of etcd 3.5.1: the update forgets the flag",
};

/// All of them.
pub const DIFFERENCES: &[Difference] = &[
    UNKNOWN_SORT_ORDER,
    WRITE_BESIDE_A_FAILING_READ,
    REVISION_BELOW_ZERO_IN_A_TRANSACTION,
    DELETION_TO_THE_END_OVER_A_PUT,
    WATCH_FROM_BELOW_ZERO,
    HASH_AT_THE_COMPACTION_MARK,
    RANGE_AS_A_STREAM,
    JOINING_MEMBERS_DO_NOT_VOTE_YET,
    A_LEARNER_THAT_MOVES_STAYS_ONE,
];

/// The list as a table in Markdown.
pub fn as_markdown() -> String {
    let mut table = String::from("| case | etcd 3.5.1 | Quorate | why |\n|---|---|---|---|\n");
    for difference in DIFFERENCES {
        let Difference { case, etcd, quorate, argument } = difference;
        table.push_str(&format!("| `{case}` | {etcd} | {quorate} | {argument} |\n"));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_is_met_by_a_case() {
        let names: Vec<&str> = crate::cases().iter().map(crate::Case::name).collect();
        for difference in DIFFERENCES {
            assert!(names.contains(&difference.case), "there is no case {}", difference.case);
        }
    }

    #[test]
    fn the_documentation_shows_this_list() {
        let page = include_str!("../../../docs/compatibility.md");
        assert!(page.contains(&as_markdown()), "put this into docs/compatibility.md:\n{}", as_markdown());
    }
}
