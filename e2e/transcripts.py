"""What etcdctl prints for one script of commands. The same etcdctl must print the same on etcd and on Quorate.

A script runs under a key prefix of its own. Revisions are shown relative to the one at its beginning; ids, sizes and
times are replaced by words. What is left must be equal, errors and exit codes included.
"""

import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.request

# Keys of JSON whose numbers count revisions, and those that are different on every cluster.
REVISIONS = {"revision", "create_revision", "mod_revision", "compact_revision"}
# The header of events tells a revision that is not before them; how far beyond is not promised.
INDIVIDUAL = {"cluster_id", "member_id", "raft_term", "Header"}

# After this much time what was waited for counts as missing, and the transcripts differ. A busy machine may need most of it.
PATIENCE_SECONDS = 60


class Transcript:
    """Runs commands of one etcdctl against one cluster, and notes what they print."""

    def __init__(self, etcdctl, cluster, prefix):
        self.etcdctl, self.cluster, self.prefix = etcdctl, cluster, prefix
        self.lines = []
        self.base = json.loads(self.ask("get", "nothing", "-w", "json").stdout)["header"]["revision"]
        self.words = {}

    def command(self, *parts, endpoints=None):
        return [self.etcdctl, "--endpoints", endpoints or self.cluster.endpoints(), *[str(part) for part in parts]]

    def ask(self, *parts, stdin=None, endpoints=None):
        command = self.command(*parts, endpoints=endpoints)
        try:
            return subprocess.run(
                command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, input=stdin, env={**os.environ, "ETCDCTL_API": "3"},
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, f"no end within {PATIENCE_SECONDS} s", "", "")

    def key(self, name):
        return self.prefix + name

    def run(self, *parts, stdin=None, endpoints=None):
        """Runs a command to its end and notes everything; returns what it printed."""
        done = self.ask(*parts, stdin=stdin, endpoints=endpoints)
        self.note(parts, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def run_until(self, lines, *parts, stdin=None, meanwhile=()):
        """Starts a command that does not end by itself, runs others meanwhile, and notes the lines it prints.

        Nothing is waited for by the clock: a watch is under way when the cluster counts its watchers, and whatever else waits
        for nobody has printed its lines by then.
        """
        is_watch = parts[0] == "watch"
        before = self.watchers() if is_watch and meanwhile else 0
        process = subprocess.Popen(
            self.command(*parts), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "ETCDCTL_API": "3"},
        )
        if stdin is not None:
            process.stdin.write(stdin)
            process.stdin.flush()
        patience = threading.Timer(PATIENCE_SECONDS, process.kill)
        patience.start()
        out = ""
        if is_watch and meanwhile:
            wanted = before + (stdin.count("watch ") if stdin else 1)
            self.wait_until(lambda: self.watchers() >= wanted or process.poll() is not None)
        else:
            out = "".join(process.stdout.readline() for _ in range(lines))
        for command in meanwhile:
            self.run(*command)
        if is_watch and meanwhile:
            out = "".join(process.stdout.readline() for _ in range(lines))
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=PATIENCE_SECONDS)
        patience.cancel()
        if is_watch and meanwhile:
            # The next one counts from here.
            self.wait_until(lambda: self.watchers() <= before)
        self.note(parts, "interrupted", out + rest, "")
        return out

    def watchers(self):
        """How many watchers there are on all members together."""
        total = 0
        for index in range(self.cluster.nodes):
            with urllib.request.urlopen(f"http://{self.cluster.endpoint(index)}/metrics", timeout=PATIENCE_SECONDS) as answer:
                found = re.search(r"^etcd_debugging_mvcc_watcher_total (\S+)", answer.read().decode(), re.MULTILINE)
            total += int(float(found[1]))
        return total

    def wait_until(self, condition):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.01)

    def note(self, parts, code, out, errors):
        self.lines.append(self.plain("$ " + " ".join(str(part) for part in parts) + f" -> {code}"))
        self.lines.extend(self.shown(line) for line in out.splitlines())
        # clientv3 logs its retries as JSON; they are no part of the answer.
        self.lines.extend(self.shown("! " + line) for line in errors.splitlines() if not line.startswith("{"))

    def shown(self, line):
        if line.startswith(("{", "[")):
            try:
                return json.dumps(self.relative(json.loads(line)), sort_keys=True)
            except ValueError:
                pass
        return self.plain(line)

    def relative(self, value, key=None):
        if key in INDIVIDUAL:
            return "individual"
        if isinstance(value, dict):
            return {name: self.relative(inner, name) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.relative(inner, key) for inner in value]
        if key in REVISIONS and isinstance(value, int) and value:
            return f"base{value - self.base:+d}"
        return value

    def plain(self, line):
        line = line.replace(self.cluster.endpoints(), "ENDPOINTS")
        for index in range(self.cluster.nodes):
            line = line.replace(self.cluster.endpoint(index), "ENDPOINT")
        for found, word in self.words.items():
            line = line.replace(found, word)
        line = re.sub(r"\bremaining\([0-9]+s\)", "remaining(TIME)", line)
        line = re.sub(r"took = \S+", "took = TIME", line)
        return re.sub(r"(revision |compaction |--rev=)([0-9]+)", lambda found: f"{found[1]}base{int(found[2]) - self.base:+d}", line)


def keys(transcript):
    run, key = transcript.run, transcript.key
    for name, value in (("a", "3"), ("b", "2"), ("c", "1"), ("a", "4")):
        run("put", key(name), value)
    run("put", key("a"), "5", "--prev-kv")
    run("put", key("a"), "--ignore-value")
    run("put", key("a"), "6", "--ignore-lease")
    run("put", key("d"), stdin="from standard input")
    run("get", key("a"))
    run("get", key("a"), key("c"))
    run("get", key("a"), "--from-key", "--limit=2")
    run("get", key(""), "--prefix", "--keys-only")
    run("get", key(""), "--prefix", "--print-value-only")
    for by in ("CREATE", "KEY", "MODIFY", "VALUE", "VERSION"):
        run("get", key(""), "--prefix", f"--sort-by={by}", "--order=DESCEND")
        run("get", key(""), "--prefix", f"--sort-by={by}", "--order=ASCEND", "--limit=2")
    run("get", key(""), "--prefix", f"--rev={transcript.base + 2}")
    run("get", key("a"), "--hex")
    run("get", key("a"), "-w", "json")
    run("get", key("a"), "--consistency=s")
    run("get", key("none"))
    run("del", key("a"), "--prev-kv")
    run("del", key("none"))
    run("del", key(""), "--prefix")
    run("get", key("a"), f"--rev={transcript.base + 10_000_000}")
    run("put", "", "x")
    run("put", key("none"), "--ignore-value")
    run("put", key("a"), "x", "--lease=123456789")


def transactions(transcript):
    run, key = transcript.run, transcript.key
    run("put", key("a"), "1")
    run("txn", stdin=f'value("{key("a")}") = "1"\nversion("{key("a")}") > "0"\n\nput {key("b")} "yes"\nget {key("a")}\n\nput {key("b")} no\n\n')
    run("txn", stdin=f'mod("{key("a")}") < "1"\n\nput {key("c")} yes\n\nget {key("b")}\ndel {key("b")}\nget {key("b")}\n\n')
    run("txn", stdin=f'create("{key("none")}") = "0"\n\nput {key("d")} "a b"\n\n\n')
    run("txn", "-i", stdin=f'version("{key("a")}") > "0"\n\nget {key("")} --prefix\n\n\n\n')
    run("txn", stdin="\n\n\n")
    run("txn", "-w", "json", stdin=f'\nput {key("e")} 1\nget {key("e")}\n\n\n')
    run("txn", stdin=f"\nput {key('f')} 1\nput {key('f')} 2\n\n\n")
    run("txn", stdin=f"\nput {key('f')} 1\ndel {key('')} --prefix\n\n\n")
    run("txn", stdin="\n" + "".join(f"get {key('a')}\n" for _ in range(129)) + "\n\n")
    run("get", key(""), "--prefix")


def watches(transcript):
    run, key, base = transcript.run, transcript.key, transcript.base
    for name, value in (("a", "1"), ("b", "2"), ("a", "3")):
        run("put", key(name), value)
    run("del", key("b"))
    transcript.run_until(12, "watch", key(""), "--prefix", f"--rev={base + 1}")
    transcript.run_until(13, "watch", key("a"), "--prev-kv", f"--rev={base + 1}", meanwhile=[("del", key("a"))])
    transcript.run_until(6, "watch", key("a"), key("c"), meanwhile=[("put", key("a"), "4"), ("put", key("c"), "5"), ("put", key("b"), "6")])
    transcript.run_until(1, "watch", key("a"), "-w", "json", f"--rev={base + 1}")
    transcript.run_until(6, "watch", "-i", stdin=f"watch {key('x')}\nwatch {key('y')} --prev-kv\n", meanwhile=[("put", key("x"), "1"), ("put", key("y"), "2")])
    transcript.run_until(4, "watch", key("x"), "--", "echo", "called", meanwhile=[("put", key("x"), "2")])


def compactions(transcript):
    run, key = transcript.run, transcript.key
    for value in ("1", "2", "3"):
        run("put", key("a"), value)
    mark = transcript.base + 2
    run("compaction", mark)
    run("compaction", mark)
    run("compaction", mark + 1_000_000)
    run("get", key("a"), f"--rev={mark - 1}")
    run("get", key("a"), f"--rev={mark}")
    run("watch", key("a"), f"--rev={mark - 1}")
    run("compaction", mark + 1, "--physical")


def leases(transcript):
    run, key = transcript.run, transcript.key
    granted = transcript.ask("lease", "grant", "600")
    transcript.lines.append(f"granted: {granted.returncode}")
    if granted.returncode != 0:
        return
    lease = granted.stdout.split()[1]
    transcript.words[lease] = "LEASE"
    run("put", key("a"), "1", f"--lease={lease}")
    run("put", key("b"), "2", f"--lease={lease}")
    run("lease", "timetolive", lease)
    transcript.lines.append(" ".join(sorted(re.findall(re.escape(transcript.prefix) + "[ab]", transcript.ask("lease", "timetolive", lease, "--keys").stdout))))
    run("lease", "keep-alive", "--once", lease)
    transcript.lines.append(f"listed: {lease in transcript.ask('lease', 'list').stdout}")
    transcript.run_until(1, "lease", "keep-alive", lease)
    run("lease", "revoke", lease)
    run("lease", "revoke", lease)
    run("lease", "timetolive", lease)
    run("lease", "keep-alive", "--once", lease)
    run("get", key(""), "--prefix")
    transcript.lines.append(f"listed: {lease in transcript.ask('lease', 'list').stdout}")
    run("lease", "grant", "9000000001")
    run("lease", "timetolive", "1234abcd")


def locks(transcript):
    key = transcript.key
    transcript.run("lock", key("l"), "echo", "held")
    held = transcript.run_until(2, "lock", key("m"), "--ttl=5", meanwhile=[("get", key("m"), "--prefix", "--print-value-only")])
    transcript.lines.append(f"token under the name: {held.startswith(key('m') + '/')}")
    campaign = transcript.run_until(2, "elect", key("e"), "me", meanwhile=[("get", key("e"), "--prefix", "--print-value-only")])
    transcript.lines.append(f"leader's key and value: {[line.split('/')[0] for line in campaign.splitlines()][1:]}")
    transcript.run("get", key("e"), "--prefix", "--keys-only")
    # The tokens have the ids of leases.
    transcript.lines = [re.sub(r"/[0-9a-f]{10,16}\b", "/LEASE", line) for line in transcript.lines]


def maintenance(transcript):
    run, key, cluster = transcript.run, transcript.key, transcript.cluster
    run("put", key("a"), "1")
    run("alarm", "list")
    run("alarm", "disarm")
    status = json.loads(transcript.ask("endpoint", "status", "-w", "json").stdout or "[]")
    transcript.lines.append(f"members with a status: {len(status)}, leaders: {len({one['Status']['leader'] for one in status})}")
    healthy = transcript.ask("endpoint", "health")
    transcript.lines.append(f"healthy: {(healthy.stdout + healthy.stderr).count('is healthy: successfully committed proposal')}")
    for index in range(cluster.nodes):
        transcript.ask("get", key("a"), endpoints=cluster.endpoint(index))
    hashes = transcript.ask("endpoint", "hashkv")
    transcript.lines.append(f"hashes: {hashes.returncode} {len(set(line.split(', ')[1] for line in hashes.stdout.splitlines()))}")


SCRIPTS = [keys, transactions, watches, compactions, leases, locks, maintenance]


def transcript_of(script, etcdctl, cluster, prefix):
    transcript = Transcript(etcdctl, cluster, prefix)
    script(transcript)
    return transcript.lines
