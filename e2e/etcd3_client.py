"""The public Python package `etcd3`, unchanged, as somebody else's program would use it.

First a round of each feature, then a counter that is incremented by transactions while the caller kills the leader: this
program says `half way`, and goes on until it reads a line. Nothing acknowledged may be lost, nothing done twice, and a
watch sees every change of the counter once and in order.
"""

import argparse
import select
import sys
import threading
import time

import etcd3
import grpc

# What a client meets while a leader is lost. `etcd3` translates some of gRPC's errors, and lets others through.
LOST = (etcd3.exceptions.Etcd3Exception, grpc.RpcError)
BEFORE, AFTER = 100, 100


class Connection:
    """`etcd3` knows one endpoint only, so this goes to the next one when it fails."""

    def __init__(self, endpoints):
        self.endpoints, self.at = endpoints, 0
        self.client = self.connect()

    def connect(self):
        host, port = self.endpoints[self.at].split(":")
        return etcd3.client(host=host, port=int(port), timeout=5)

    def next(self):
        self.at = (self.at + 1) % len(self.endpoints)
        self.client = self.connect()
        time.sleep(0.05)

    def retrying(self, ask):
        """For what may be done twice."""
        deadline = time.monotonic() + 30
        while True:
            try:
                return ask(self.client)
            except LOST:
                assert time.monotonic() < deadline, "nobody answers for 30 s"
                self.next()


def keys_values_and_transactions(client):
    client.delete_prefix("py/")  # Of an earlier run.
    client.put("py/a", "1")
    value, metadata = client.get("py/a")
    assert (value, metadata.key, metadata.version) == (b"1", b"py/a", 1), (value, metadata.version)
    assert client.put("py/a", "2", prev_kv=True).prev_kv.value == b"1"
    client.put("py/b", "3")
    assert [(value, meta.key) for value, meta in client.get_prefix("py/", sort_order="descend")] == [(b"3", b"py/b"), (b"2", b"py/a")]
    assert client.get("py/none") == (None, None)
    assert client.replace("py/a", "2", "4") and not client.replace("py/a", "2", "5")
    assert not client.put_if_not_exists("py/a", "6") and client.put_if_not_exists("py/c", "6")
    done, answers = client.transaction(
        compare=[client.transactions.value("py/a") == "4", client.transactions.version("py/c") > 0],
        success=[client.transactions.get("py/a"), client.transactions.txn(
            compare=[client.transactions.create("py/none") == 0],
            success=[client.transactions.put("py/d", "7")], failure=[])],
        failure=[client.transactions.put("py/d", "8")],
    )
    assert done and answers[0][0][0] == b"4" and client.get("py/d")[0] == b"7", answers
    assert client.delete("py/d") and not client.delete("py/d")
    assert client.delete_prefix("py/").deleted == 3


def watches(client):
    seen, enough = [], threading.Event()

    def called(response):
        seen.extend(response.events)
        if len(seen) >= 3:
            enough.set()

    watch_id = client.add_watch_prefix_callback("py/w/", called)
    client.put("py/w/a", "1")
    client.put("py/w/b", "2")
    client.delete("py/w/a")
    assert enough.wait(10), seen
    kinds = [(type(event).__name__, event.key, event.value) for event in seen]
    assert kinds == [("PutEvent", b"py/w/a", b"1"), ("PutEvent", b"py/w/b", b"2"), ("DeleteEvent", b"py/w/a", b"")], kinds
    client.cancel_watch(watch_id)
    client.put("py/w/a", "3")
    events, cancel = client.watch("py/w/a", start_revision=seen[0].mod_revision)
    assert [next(events).value for _ in range(3)] == [b"1", b"", b"3"]
    cancel()


def leases_and_locks(client, other):
    lease = client.lease(30)
    client.put("py/l", "1", lease=lease)
    info = client.get_lease_info(lease.id)
    assert 0 < info.TTL <= 30 and info.grantedTTL == 30 and list(info.keys) == [b"py/l"], info
    assert lease.refresh()[0].TTL == 30
    lease.revoke()
    assert client.get("py/l") == (None, None)
    short = client.lease(2)
    client.put("py/short", "1", lease=short)
    deadline = time.monotonic() + 15
    while client.get("py/short")[0] is not None:
        assert time.monotonic() < deadline, "a lease of 2 s does not expire"
        time.sleep(0.1)
    with client.lock("py-lock", ttl=20) as lock:
        assert lock.is_acquired()
        assert not other.lock("py-lock", ttl=20).acquire(timeout=0.5)
    waiting = other.lock("py-lock", ttl=20)
    assert waiting.acquire(timeout=10) and waiting.is_acquired()
    assert waiting.release()


def maintenance(client):
    status = client.status()
    assert status.leader is not None and status.version.startswith("3."), status
    assert len(list(client.members)) == 3
    assert list(client.list_alarms()) == []


class CounterWatch:
    """Sees every change of the counter, over as many streams as it takes."""

    def __init__(self, endpoints, revision):
        self.connection = Connection(endpoints)
        self.next_revision, self.versions = revision, []
        self.changed = threading.Condition()
        self.broken = threading.Event()
        self.streams = 0
        threading.Thread(target=self.keep_watching, daemon=True).start()

    def keep_watching(self):
        while True:
            self.broken.clear()
            try:
                self.streams += 1
                self.connection.client.add_watch_callback("py/count", self.called(self.streams), start_revision=self.next_revision)
                self.broken.wait()
            except LOST:
                pass
            self.connection.next()

    def called(self, stream):
        def handle(response):
            if stream != self.streams:
                return  # From a stream that was given up.
            if isinstance(response, Exception):
                self.broken.set()
                return
            with self.changed:
                for event in response.events:
                    self.versions.append(event.version)
                    self.next_revision = event.mod_revision + 1
                self.changed.notify_all()
        return handle

    def wait_for(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.versions) >= count, 30), f"{len(self.versions)} of {count} changes are seen"


def increment(connection, number):
    """Adds one, once, whatever answers are lost. True if it was told so, False if it had to look."""
    mark, told = f"py/done/{number:05d}", True
    while True:
        try:
            client = connection.client
            value, metadata = client.get("py/count")
            count, revision = (int(value), metadata.mod_revision) if value else (0, 0)
            done, _ = client.transaction(
                compare=[client.transactions.mod("py/count") == revision, client.transactions.create(mark) == 0],
                success=[client.transactions.put("py/count", str(count + 1)), client.transactions.put(mark, "x")],
                failure=[],
            )
            if done:
                return told
        except LOST:
            connection.next()
        told = False
        if connection.retrying(lambda client: client.get(mark))[0] is not None:
            return told


def count_while_the_leader_dies(endpoints):
    connection = Connection(endpoints)
    start = connection.client.put("py/started", "x").header.revision
    watch = CounterWatch(endpoints, start)
    number, looked, left = 0, 0, None
    while left != 0:
        number += 1
        looked += not increment(connection, number)
        if number == BEFORE:
            print("half way", flush=True)
        if left is not None:
            left -= 1
        elif number >= BEFORE and select.select([sys.stdin], [], [], 0)[0]:
            sys.stdin.readline()
            left = AFTER
    marks = connection.retrying(lambda client: [meta.key for _, meta in client.get_prefix("py/done/", sort_order="ascend")])
    assert marks == [f"py/done/{at:05d}".encode() for at in range(1, number + 1)], "an acknowledged increment is lost"
    value, metadata = connection.retrying(lambda client: client.get("py/count"))
    assert (int(value), metadata.version) == (number, number), (value, metadata.version, number)
    watch.wait_for(number)
    time.sleep(0.3)
    assert watch.versions == list(range(1, number + 1)), "the watch must see every change once, in order"
    print(f"{number} increments, {looked} looked up, {watch.streams} watch streams", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--endpoints", required=True)
    endpoints = parser.parse_args().endpoints.split(",")
    first, second = Connection(endpoints).client, Connection(endpoints[::-1]).client
    keys_values_and_transactions(first)
    watches(first)
    leases_and_locks(first, second)
    maintenance(second)
    count_while_the_leader_dies(endpoints)


main()
