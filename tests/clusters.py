"""A Ray of several nodes, and commands in the place of Slurm, on this machine."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sdaug.run.ray_engine import SETTINGS

os.environ |= SETTINGS  # read when Ray is imported

ATTEMPTS = 2  # to start a cluster
STORE_BYTES = 80 * 2**20
# Commands of Slurm that run a job in the background. A job's id is that of its process.
SLURM = {
    "sbatch": 'setsid sh "$1" >/dev/null 2>&1 & echo "Submitted batch job $!"; cp "$1" "$SLURM_FAKES/script"',
    "srun": 'while [ "${1#--}" != "$1" ]; do case $1 in --output) shift;; esac; shift; done\n'
    'export SLURM_JOB_ID=$PPID SLURM_PROCID=0 SLURM_NTASKS=1; exec "$@"',
    "scancel": 'kill -KILL "-$1"',  # after half a minute, Slurm does the same
    "sacct": 'echo "JobID|State|NodeList"; while [ $# -gt 0 ]; do [ "$1" = -j ] && {\n'
    'kill -0 "$2" 2>/dev/null && s=RUNNING || s=NODE_FAIL; echo "$2|$s|here"; }; shift; done',
}


@contextmanager
def start_cluster(*nodes: dict[str, int]) -> Iterator[str]:
    """The address of a cluster with these nodes, such as `{"num_cpus": 1, "num_gpus": 1}`; GPUs need not be there."""
    with start_nodes(*nodes) as cluster:
        yield cluster.address


@contextmanager
def start_nodes(*nodes: dict[str, int]) -> Iterator[Any]:
    """A cluster of Ray with these nodes; the first one is its head."""
    cluster = _start(nodes)
    try:
        yield cluster
    finally:
        cluster.shutdown()


def kill_node(cluster: Any, worker: int) -> None:
    """Kill the node of a cluster to which a worker's process belongs, and all that runs on it."""
    raylet = parent_of(worker)
    [node] = [node for node in cluster.list_all_nodes() if raylet in _raylets(node)]
    assert node is not cluster.head_node
    cluster.remove_node(node, allow_graceful=False)


def kill_head(cluster: Any) -> None:
    """Kill what keeps a cluster together, and its first node."""
    started = cluster.head_node.all_processes
    for process in (*started["gcs_server"], *started["raylet"]):
        process.process.kill()


def _raylets(node: Any) -> list[int]:
    return [started.process.pid for started in node.all_processes["raylet"]]


def parent_of(process: int) -> int:
    """The process that has started another one."""
    return int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])


def _start(nodes: tuple[dict[str, int], ...]) -> Any:
    from ray.cluster_utils import Cluster

    for attempt in range(ATTEMPTS):
        cluster = Cluster()
        try:
            for node in nodes:
                cluster.add_node(**_node_settings(), **node)
        except Exception:  # noqa: BLE001 - Ray raises nothing else when a node is too slow to start
            cluster.shutdown()
            if attempt == ATTEMPTS - 1:
                pytest.skip("the machine is too busy for Ray to start")
        else:
            return cluster
    raise AssertionError


def _node_settings() -> dict[str, int | bool]:
    """The settings of a small node.

    Ray waits 15 s for its agents to say their ports, which on a busy machine is not enough, unless they are given.
    """
    agents = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
    ports = {name: _free_port() for name in agents}
    return {
        **ports,
        "include_dashboard": False,
        "include_log_monitor": False,
        "no_monitor": True,
        "object_store_memory": STORE_BYTES,
    }


def _free_port() -> int:
    """A port that nothing listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def write_slurm(folder: Path) -> dict[str, str]:
    """Write commands in the place of Slurm's into a folder; returns the variables that make them found."""
    (folder / "bin").mkdir()
    for name, script in SLURM.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / "bin" / name).chmod(0o755)
    return {"SLURM_FAKES": str(folder), "PATH": f"{folder}/bin:{os.environ['PATH']}"}
