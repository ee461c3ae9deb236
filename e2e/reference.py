"""Real etcd, three processes, as the reference that Quorate is compared with."""

import json
import os
import shutil
import subprocess
import time
import urllib.request


class EtcdCluster:
    """Three members on ports of their own."""

    def __init__(self, program, directory, nodes=3, *, port):
        self.program, self.directory, self.nodes, self.port = program, directory, nodes, port
        self.processes = {}

    def start(self):
        members = ",".join(f"e{index}={self.peer(index)}" for index in range(self.nodes))
        for index in range(self.nodes):
            os.makedirs(self.directory, exist_ok=True)
            client = f"http://{self.endpoint(index)}"
            command = [
                self.program, "--name", f"e{index}", "--data-dir", os.path.join(self.directory, f"e{index}"),
                "--listen-client-urls", client, "--advertise-client-urls", client,
                "--listen-peer-urls", self.peer(index), "--initial-advertise-peer-urls", self.peer(index),
                "--initial-cluster", members, "--log-level", "error", "--unsafe-no-fsync",
            ]
            with open(os.path.join(self.directory, f"e{index}.log"), "ab") as log:
                self.processes[index] = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while self.leader_index() is None or not all(self.serves(index) for index in range(self.nodes)):
            assert time.monotonic() < deadline, f"etcd has no leader within 30 s\n{self.last_words()}"
            time.sleep(0.1)
        return self

    def last_words(self):
        """Why it does not run, as its members said it: most often no space, or a port that is taken."""
        told = [shutil.disk_usage(self.directory).free // 2**20, "MiB are free in", self.directory]
        lines = [" ".join(str(part) for part in told)]
        for index, process in self.processes.items():
            with open(os.path.join(self.directory, f"e{index}.log"), errors="replace") as log:
                lines += [f"e{index}: exit code {process.poll()}", *log.read().splitlines()[-5:]]
        return "\n".join(lines)

    def stop(self):
        for process in self.processes.values():
            process.kill()
            process.wait(20)

    def peer(self, index):
        return f"http://127.0.0.1:{self.port + 10 * index + 1}"

    def endpoint(self, index):
        return f"127.0.0.1:{self.port + 10 * index}"

    def endpoints(self):
        return ",".join(self.endpoint(index) for index in range(self.nodes))

    def serves(self, index):
        return self.ask(index, "kv/range", {"key": "YQ=="}) is not None

    def leader_index(self):
        for index in range(self.nodes):
            status = self.ask(index, "maintenance/status", {})
            if status and status.get("leader") == status["header"]["member_id"]:
                return index
        return None

    def pid(self, index):
        return self.processes[index].pid

    def ask(self, index, path, body):
        request = urllib.request.Request(f"http://{self.endpoint(index)}/v3/{path}", json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return json.load(answer)
        except OSError:
            return None
