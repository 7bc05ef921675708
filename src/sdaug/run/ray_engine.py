"""Stages as tasks of Ray, on this machine or on a cluster that runs already."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sdaug.run import worker
from sdaug.run.engine import LostWorkerError
from sdaug.run.needs import Needs
from sdaug.run.worker import Event, Task

# Before Ray is imported: no usage data to third parties, and a Ray that is started here listens on localhost alone.
SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
LOCAL, LOCALHOST = "local", "127.0.0.1"
UNREAD = 8  # parts of what a stage prints or sends back, of a few megabytes at most
STORE_BYTES = 100 * 2**20  # what stages print and send back passes through it


@dataclass(frozen=True, kw_only=True)
class RayEngine:
    """A connection to Ray; `largest` is the most that one machine has of each resource."""

    ray: Any
    address: str
    largest: Mapping[str, float]
    total: Mapping[str, float]

    @property
    def has_gpus(self) -> bool:
        """Whether any machine has a GPU."""
        return self.total.get("GPU", 0) > 0

    def count_seats(self, needs: Needs) -> int:
        """How many stages with these needs run at once."""
        asked = self._resources(needs)
        rooms = [self.total.get("CPU", 0) / asked["num_cpus"], self.total.get("memory", 0) / asked["memory"]]
        if needs.gpu_share:
            rooms.append(self.total.get("GPU", 0) / asked["num_gpus"])
        return max(1, int(min(rooms)))

    def submit(self, task: Task, needs: Needs) -> "RayAttempt":
        """Give a stage to Ray, which starts it as soon as a machine has room."""
        # Attempts are counted by the engine's server: output that was passed on cannot be taken back.
        remote = self.ray.remote(max_retries=0, _generator_backpressure_num_objects=UNREAD, **self._resources(needs))(
            worker.run_task
        )
        return RayAttempt(ray=self.ray, stream=remote.remote(task))

    def _resources(self, needs: Needs) -> dict[str, float]:
        """What to ask for: at most what the largest machine has, or the stage would wait for ever."""
        return {
            "num_cpus": min(needs.cores, self.largest["CPU"]),
            "num_gpus": min(needs.gpu_share, self.largest.get("GPU", 0)),
            "memory": min(needs.memory_bytes, self.largest["memory"]),
        }


@dataclass(frozen=True, kw_only=True)
class RayAttempt:
    """A task of Ray that yields what its stage prints."""

    ray: Any
    stream: Any

    def events(self) -> Iterator[Event]:
        """See `sdaug.run.engine.Attempt`."""
        errors = self.ray.exceptions
        try:
            for item in self.stream:
                yield self.ray.get(item)
        except errors.TaskCancelledError as error:
            raise LostWorkerError("stopped") from error
        except errors.RayTaskError as error:
            raise ValueError(str(error.cause or error)) from error
        except errors.RayError as error:
            raise LostWorkerError(" ".join(str(error).split("\n")[0].split())) from error

    def cancel(self) -> None:
        """Interrupt the task, which ends its stage."""
        self.ray.cancel(self.stream)


@contextlib.contextmanager
def connect_ray(address: str | None = None) -> Iterator[RayEngine]:
    """Start Ray on this machine, or join the cluster at an address (`HOST:PORT`, or `auto`) until the block ends.

    Raises:
        ValueError: Ray is not installed or does not start, or no cluster answers.
    """
    for name, value in SETTINGS.items():
        if name == "RAY_USAGE_STATS_ENABLED" or address is None:
            os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise ValueError("grid: --on ray: Ray is not installed; pip install 'sdaug[ray]'") from error
    ray.cloudpickle.register_pickle_by_value(worker)  # workers need not have this version of the package
    own: dict[str, Any] = {
        "object_store_memory": STORE_BYTES,
        "_node_ip_address": LOCALHOST,
        "include_dashboard": False,
    }
    try:
        ray.init(address=address or LOCAL, log_to_driver=False, **({} if address else own))
    except Exception as error:
        reason = " ".join(str(error).split())
        rule = f"--address {address}: no cluster answers" if address else "--on ray: Ray does not start"
        raise ValueError(f"grid: {rule} ({reason}); see `ray status`, or try again on a less busy machine") from error
    try:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        names = {name for node in nodes for name in node}
        yield RayEngine(
            ray=ray,
            address=ray.get_runtime_context().gcs_address,
            largest={name: max(node.get(name, 0.0) for node in nodes) for name in names},
            total={name: sum(node.get(name, 0.0) for node in nodes) for name in names},
        )
    finally:
        ray.shutdown()
