"""A head with its job server and two nodes on loopback, as one process that does what it is told on standard input.

A process of its own, because the cluster's Ray must neither be the tests' nor know their environment.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chaos_cluster import ChaosCluster

_STARTED, _DONE = "the cluster is up", "done"


def free_port() -> int:
    """Return a port that nobody listens on at present."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Head:
    """The process, seen from a test."""

    def __init__(self, process: "subprocess.Popen[str]", port: int, log: Path) -> None:
        """Wait until it is up; raises AssertionError with the end of its log where it is not."""
        self._process, self._log = process, log
        self.address = f"http://127.0.0.1:{port}"
        self._hear(_STARTED)

    def lose_node(self) -> None:
        """SIGKILL the raylet of a node, and with it all that ran there."""
        self._tell("lose")

    def add_node(self) -> None:
        """Bring another node."""
        self._tell("add")

    def _tell(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        self._hear(_DONE)

    def _hear(self, wanted: str) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == wanted:
                return
        raise AssertionError(f"the cluster's process ended: {self._log.read_text(errors='replace')[-3000:]}")


@contextmanager
def loopback_head(environment: dict[str, str], log: Path) -> Iterator[Head]:
    """Run the cluster while the block runs, in a session folder of its own: jobs look there for it."""
    port = free_port()
    session = tempfile.mkdtemp(prefix="tss-")  # below the system's own, since sockets have short names
    command = [sys.executable, __file__, session, str(port)]
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment, text=True
        )
    try:
        yield Head(process, port, log)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()  # the word to end
        process.stdout.read()
        process.stdout.close()
        process.wait(120)
        shutil.rmtree(session, ignore_errors=True)


def main() -> None:
    """Start, obey, and end with standard input."""
    session, port = sys.argv[1], int(sys.argv[2])
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Ray prints goes to the log
    # The agent's ports are given: Ray waits 15 s for those that it finds itself, which a busy machine may not have.
    ports = [free_port() for _ in range(3)]
    cluster = ChaosCluster(
        num_nodes=2,
        temp_dir=session,
        include_dashboard=True,
        dashboard_host="127.0.0.1",
        dashboard_port=port,
        dashboard_agent_listen_port=ports[0],
        metrics_agent_port=ports[1],
        runtime_env_agent_port=ports[2],
    )
    print(_STARTED, file=told, flush=True)
    for line in sys.stdin:
        {"lose": cluster.lose_node, "add": cluster.add_node}[line.strip()]()
        print(_DONE, file=told, flush=True)
    cluster.close()


if __name__ == "__main__":
    main()
