"""Reads that rest on leases, while leaders are paused and killed: none may be older than a write that was over before it began."""

import os
import signal
import threading
import time

from membership import run, wait_for

FLAGS = ["--lease-reads", "--clock-rate-error-ppm", "500"]
KEY = "lease-reads"


def without_leases(servers):
    return [flag for flag in servers.flags if flag not in FLAGS]


class Watched:
    """One writer of growing numbers, and a reader at every member."""

    def __init__(self, servers):
        self.servers, self.stopping = servers, threading.Event()
        self.acknowledged, self.reads, self.stale = 0, 0, []
        names = sorted(servers.processes)
        self.threads = [threading.Thread(target=self.write, daemon=True)]
        self.threads += [threading.Thread(target=self.read, args=(name,), daemon=True) for name in names]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)

    def write(self):
        number = 0
        while not self.stopping.is_set():
            number += 1
            if self.servers.quorate("put", KEY, str(number), check=False).returncode == 0:
                self.acknowledged = number

    def read(self, name):
        while not self.stopping.is_set():
            self.read_once(name)

    def read_once(self, name):
        """A number, or None if the member does not answer."""
        at_least = self.acknowledged
        done = run(self.servers.program, "get", KEY, "--endpoints", self.servers.endpoint(name), check=False)
        words = done.stdout.split()
        if done.returncode != 0 or not words:
            return None
        self.reads += 1
        if int(words[-1]) < at_least:
            self.stale.append((name, int(words[-1]), at_least))
        return int(words[-1])

    def goes_on(self):
        before = self.acknowledged
        wait_for(lambda: self.acknowledged > before + 2, 30, "writing goes on")


def no_read_is_stale(servers):
    """Returns how many reads were answered."""
    with Watched(servers) as watched:
        watched.goes_on()
        for _ in range(2):
            pause_the_leader(servers, watched)
        leader = settled_leader(servers)
        servers.kill(leader)
        watched.goes_on()
        servers.start(leader)
        watched.goes_on()
    assert not watched.stale, f"stale reads (member, read, acknowledged before): {watched.stale[:5]}"
    return watched.reads


def pause_the_leader(servers, watched):
    leader = settled_leader(servers)
    process = servers.processes[leader]
    os.kill(process.pid, signal.SIGSTOP)
    try:
        watched.goes_on()
        # These wait in its socket, and are the first it sees: it does not know yet that others have written since.
        waiting = [threading.Thread(target=watched.read_once, args=(leader,), daemon=True) for _ in range(4)]
        for reader in waiting:
            reader.start()
        time.sleep(0.5)
    finally:
        os.kill(process.pid, signal.SIGCONT)
    for reader in waiting:
        reader.join(30)
    watched.goes_on()


def settled_leader(servers):
    wait_for(lambda: servers.leader() is not None, 30, "somebody leads")
    return servers.leader()


def a_member_without_leases_is_kept_apart(servers):
    """The other two go on, and both sides say in their logs what differs."""
    odd = next(name for name in sorted(servers.processes) if name != servers.leader())
    servers.kill(odd)
    servers.start(odd, flags=without_leases(servers))
    wait_for(lambda: "it has lease-reads true, this node false" in servers.words(odd), 30, "it says what differs")
    others = [name for name in servers.processes if name != odd]
    wait_for(lambda: any("it has lease-reads false, this node true" in servers.words(name) for name in others), 30, "so do others")
    done = run(servers.program, "put", "apart", "1", "--endpoints", ",".join(servers.endpoint(name) for name in others))
    assert done.returncode == 0
    servers.kill(odd)
    servers.start(odd)
    wait_for(lambda: run(servers.program, "get", "apart", "--endpoints", servers.endpoint(odd), check=False).returncode == 0,
             30, "with the setting corrected it is back")


def leases_are_turned_off_one_member_after_the_other(servers):
    """As docs/operations/settings.md says: two camps, of which one serves at a time, and no stale read in between."""
    with Watched(servers) as watched:
        watched.goes_on()
        leader = settled_leader(servers)
        for name in sorted(servers.processes, key=lambda name: name == leader):
            servers.kill(name)
            servers.start(name, flags=without_leases(servers))
            time.sleep(0.2)
        watched.goes_on()
    assert not watched.stale, f"stale reads (member, read, acknowledged before): {watched.stale[:5]}"
    waited = [name for name in servers.processes if "waiting until what was promised with those before is over" in servers.words(name)]
    assert len(waited) == len(servers.processes), waited
    for name in servers.processes:
        wait_for(lambda: run(servers.program, "get", KEY, "--endpoints", servers.endpoint(name), check=False).returncode == 0, 30,
                 "every member serves again")
    return watched.reads
