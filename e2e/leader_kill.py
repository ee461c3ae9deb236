"""Runs a client's program against a cluster, and kills the leader when the program says that it is half way."""

import os
import signal
import subprocess


def run_while_the_leader_dies(command, cluster, environment=None):
    """Returns the program's last line. The killed member is left to its supervisor, if it has one."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **(environment or {})},
    )
    try:
        said = process.stdout.readline()
        if said.strip() == "half way":
            os.kill(cluster.pid(cluster.leader_index()), signal.SIGKILL)
            out, errors = process.communicate("the leader is killed\n", timeout=120)
        else:
            out, errors = process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        out, errors = process.communicate()
    assert process.returncode == 0, f"{command} ends with {process.returncode}: {said}{out}{errors[-4000:]}"
    return out.strip().splitlines()[-1]
