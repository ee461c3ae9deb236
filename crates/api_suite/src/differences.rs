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

/// All of them.
pub const DIFFERENCES: &[Difference] = &[UNKNOWN_SORT_ORDER, WATCH_FROM_BELOW_ZERO, WRITE_BESIDE_A_FAILING_READ];

/// The list as a table in Markdown.
pub fn as_markdown() -> String {
    let mut table = String::from("| case | etcd 3.5.1 | Quorate | why |\n|---|---|---|---|\n");
    for difference in DIFFERENCES {
        let Difference { case, etcd, quorate, argument } = difference;
        table.push_str(&format!("| `{case}` | {etcd} | {quorate} | {argument} |\n"));
    }
    table
}
