"""Members that come and go in a running cluster of `quorate serve` processes, by the hands of etcdctl and of `quorate member`."""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time


class Servers:
    """`quorate serve` processes by name."""

    def __init__(self, program, directory, port, flags=()):
        self.program, self.directory, self.port, self.flags = program, directory, port, list(flags)
        self.processes, self.cluster_of, self.places, self.moved = {}, {}, {}, {}
        os.makedirs(directory, exist_ok=True)

    def found(self, names):
        for name in names:
            self.place(name)
        members = ",".join(f"{name}={self.peer(name)}" for name in names)
        for name in names:
            self.start(name, members, "new")
        wait_for(lambda: self.leader() is not None, 30, "somebody leads")
        return self

    def place(self, name):
        self.places.setdefault(name, self.port + 10 * len(self.places))

    def move(self, name):
        """To another peer port, from its next start on."""
        self.moved[name] = self.moved.get(name, 1) + 1

    def start(self, name, members=None, state=None, flags=None):
        """Again as before, if nothing else is said; other flags are for this one start."""
        if members:
            self.cluster_of[name] = (members, state)
        members, state = self.cluster_of[name]
        with open(self.log(name), "ab") as log:
            self.processes[name] = subprocess.Popen(
                [self.program, "serve", "--name", name, "--data-dir", self.data(name), "--listen-client-urls",
                 f"http://{self.endpoint(name)}", "--listen-peer-urls", self.peer(name), "--initial-cluster", members,
                 "--initial-cluster-state", state, *(self.flags if flags is None else flags)], stdout=log, stderr=log)

    def kill(self, name):
        self.processes[name].kill()
        self.processes.pop(name).wait(20)

    def stop(self):
        for process in self.processes.values():
            process.kill()
            process.wait(20)

    def wait_for_the_end(self, name):
        """Waits until a process ends by itself; returns its last words."""
        process = self.processes.pop(name)
        try:
            code = process.wait(30)
        except subprocess.TimeoutExpired:
            self.processes[name] = process
            raise AssertionError(f"{name} does not end by itself") from None
        assert code != 0, f"{name} ends as if nothing were wrong"
        return self.words(name).strip().splitlines()[-1]

    def words(self, name):
        """What it logged."""
        with open(self.log(name), encoding="utf-8") as log:
            return log.read()

    def endpoint(self, name):
        return f"127.0.0.1:{self.places[name]}"

    def peer(self, name):
        return f"http://127.0.0.1:{self.places[name] + self.moved.get(name, 1)}"

    def data(self, name):
        return os.path.join(self.directory, name)

    def log(self, name):
        return os.path.join(self.directory, f"{name}.log")

    def endpoints(self):
        return ",".join(self.endpoint(name) for name in self.processes)

    def quorate(self, *words, check=True):
        return run(self.program, *words, "--endpoints", self.endpoints(), check=check)

    def members(self):
        """By name, of those that started."""
        listed = json.loads(self.quorate("member", "list", "--output", "json").stdout)["members"]
        return {member["name"]: member for member in listed}

    def leader(self):
        done = self.quorate("status", "--output", "json", check=False)
        members = json.loads(done.stdout)["members"] if done.stdout else []
        return next((member["name"] for member in members if member.get("role") == "leader"), None)

    def all_are_written_down(self):
        """What members say of themselves when they start is a change of the members, and behind it somebody has to be elected."""
        done = self.quorate("status", "--output", "json", check=False)
        members = json.loads(done.stdout)["members"] if done.stdout else []
        return len(members) == len(self.processes) and not any(
            name.startswith("client URLs") for member in members for name in member.get("particulars", ["client URLs unknown"]))

    def votes(self, name):
        member = self.members().get(name)
        return member is not None and not member["learner"]


class Load:
    """Clients that write keys of their own, each through the members there are. A write that fails is tried once more."""

    def __init__(self, servers, clients=3):
        self.servers, self.stopping = servers, threading.Event()
        self.written, self.retried, self.failed = [], 0, []
        self.threads = [threading.Thread(target=self.write, args=(client,), daemon=True) for client in range(clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)

    def write(self, client):
        count = 0
        while not self.stopping.is_set():
            key = f"load/{client}/{count:05}"
            if self.put(key):
                self.written.append(key)
            else:
                self.retried += 1
                again = self.put(key)
                self.written.append(key) if again else self.failed.append(key)
            count += 1

    def put(self, key):
        return self.servers.quorate("put", key, key, check=False).returncode == 0


def run(*command, check=True):
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=60, env={**os.environ, "ETCDCTL_API": "3"})
    if check:
        assert done.returncode == 0, f"{command} exits with {done.returncode}: {done.stdout}{done.stderr}"
    return done


def wait_for(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {what}")


def add_with_etcdctl(servers, etcdctl, name, *flags):
    """Adds a member, and starts it as etcdctl says."""
    servers.place(name)
    command = (etcdctl, "--endpoints", servers.endpoints(), "member", "add", name, f"--peer-urls={servers.peer(name)}", *flags)
    wait_for(lambda: "unhealthy" not in (added := run(*command, check=False)).stderr and remember(servers, name, added), 20, "it is added")
    said = servers.said[name]
    members = re.search(r'ETCD_INITIAL_CLUSTER="(.*)"', said).group(1)
    assert 'ETCD_INITIAL_CLUSTER_STATE="existing"' in said, said
    servers.start(name, members, "existing")


def remember(servers, name, added):
    assert added.returncode == 0, added
    servers.said = {**getattr(servers, "said", {}), name: added.stdout}
    return True


def come_and_go(servers, etcdctl):
    """Add, move leadership, remove, learn, promote, replace: while clients write. Returns the load."""
    at = lambda name: (etcdctl, "--endpoints", servers.endpoint(name))
    with Load(servers) as load:
        wait_for(lambda: len(load.written) > 20, 30, "clients write")
        add_with_etcdctl(servers, etcdctl, "n4")
        wait_for(lambda: servers.votes("n4"), 30, "the new member votes")

        # Where the lead goes round it may be the new one's already.
        old = servers.leader()
        if old == "n4":
            old = "n1"
        else:
            run(*at(old), "move-leader", servers.members()["n4"]["id"])
        assert servers.leader() == "n4", servers.leader()

        # The leader removes itself by the word of another member.
        run(*at(old), "member", "remove", servers.members()["n4"]["id"])
        words = servers.wait_for_the_end("n4")
        assert "retired" in words, words
        servers.start("n4")
        words = servers.wait_for_the_end("n4")
        assert "permanently removed from the cluster" in words, words
        wait_for(lambda: servers.leader() is not None, 20, "somebody leads again")

        add_with_etcdctl(servers, etcdctl, "n5", "--learner")
        learner = servers.quorate("member", "list", "--output", "json").stdout
        assert '"learner":true' in learner, learner
        fifth = next(member["id"] for member in json.loads(learner)["members"] if member["learner"])
        wait_for(lambda: run(*at(old), "member", "promote", fifth, check=False).returncode == 0, 30, "it is promoted")
        wait_for(lambda: servers.votes("n5"), 10, "it votes")

        # A member that died is replaced by one command, while it is dead.
        dead = next(name for name in ("n1", "n2", "n3") if name not in (old, servers.leader()))
        servers.kill(dead)
        servers.place("n6")
        replacing = subprocess.Popen(
            [servers.program, "member", "replace", dead, "n6", "--peer-urls", servers.peer("n6"), "--endpoints", servers.endpoints()],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        replacing.stderr.readline()
        members = re.search(r"--initial-cluster (\S+)", replacing.stderr.readline()).group(1)
        servers.start("n6", members, "existing")
        out, errors = replacing.communicate(timeout=60)
        assert replacing.returncode == 0 and "votes now, in the place of" in out, out + errors
        assert dead not in servers.members() and servers.votes("n6"), servers.members()
        count = len(load.written)
        wait_for(lambda: len(load.written) > count + 20, 30, "clients go on")
    assert not load.failed, load.failed
    return load


def wiped_disks_stay_out(servers):
    """A member whose data are gone does not come back under its old name, whatever it says of itself."""
    victim = next(name for name in ("n1", "n2", "n3") if name in servers.processes and name != servers.leader())
    servers.kill(victim)
    shutil.rmtree(servers.data(victim))
    servers.start(victim)
    words = servers.wait_for_the_end(victim)
    assert "another disk" in words and "remove the member and add it again" in words, words
    shutil.rmtree(servers.data(victim))
    members = ",".join(f"{name}={url}" for name, member in servers.members().items() for url in member["peer_urls"])
    servers.start(victim, members, "existing")
    # It gives up asking after half a minute; who knows better says so at once.
    wait_for(lambda: "has started before" in open(servers.log(victim), encoding="utf-8").read(), 20, "it is told")
    servers.kill(victim)


def small_pains(servers):
    """What operators ran into: each is told what to do, and nobody waits for nothing."""
    for name in list(servers.processes):
        servers.kill(name)
    shutil.rmtree(servers.directory)
    servers.__init__(servers.program, servers.directory, servers.port + 100, servers.flags)
    servers.found(["a1", "a2", "a3"])
    leader = servers.leader()
    dead, moving = sorted(name for name in servers.processes if name != leader)
    servers.kill(dead)

    # Every vote is needed now. A move that is only announced stops nothing.
    members = servers.members()
    old = servers.peer(moving)
    servers.move(moving)
    servers.quorate("member", "update", moving, "--peer-urls", servers.peer(moving))
    began = time.monotonic()
    for number in range(20):
        servers.quorate("put", "while/moving", str(number))
    took = time.monotonic() - began
    assert took < 3, f"20 writes took {took:.1f} s"

    # A founder at a new address is told which flag it needs.
    servers.kill(moving)
    named = servers.cluster_of[moving][0].replace(old, servers.peer(moving))
    servers.start(moving, named, "new")
    words = servers.wait_for_the_end(moving)
    assert "--initial-cluster-state existing" in words, words
    servers.start(moving, named, "existing")
    wait_for(lambda: servers.quorate("put", "moved", "1", check=False).returncode == 0, 30, "it votes at its new address")
    wait_for(lambda: servers.leader() is not None, 30, "somebody leads")

    # Nobody is stopped for half a minute by a hand-over to a dead member.
    began = time.monotonic()
    refused = servers.quorate("member", "move-leader", members[dead]["id"], check=False)
    took = time.monotonic() - began
    assert refused.returncode != 0 and "leader transfer took too long" in refused.stderr and took < 2, (refused, took)

    # Who is started as a founder of a cluster that runs already is told how to join it.
    servers.place("a4")
    servers.quorate("member", "add", "a4", "--peer-urls", servers.peer("a4"), "--learner")
    servers.start("a4", f"{named},a4={servers.peer('a4')}", "new")
    wait_for(lambda: "--initial-cluster-state existing" in servers.words("a4"), 20, "it is told what to say")
