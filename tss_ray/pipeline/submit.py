"""Jobs on a cluster, through Ray's Jobs API: check, pack, submit, follow, stop.

What travels is a folder of three small files: the settings, the entry script and the submitter's version. No credential
is among them: boto3's chain finds those on the cluster's machines.
"""

import asyncio
import importlib.metadata
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import requests
import yaml
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient
from ray.util.state import list_nodes
from ray.util.state.exception import RayStateApiException

from tss_ray.errors import ClusterError, SpecError
from tss_ray.models.registry import EMBEDDED
from tss_ray.pipeline.resources import plan_resources
from tss_ray.spec import JobSpec, StoreSpec

STOP_WAIT_S = 120
"""What a stopped job has for finishing and committing what has begun; Ray's own default of 3 s is too short."""
_ENTRY = Path(__file__).parents[1] / "job_entry.py"
_POLL_S = 1.0
_NODE_LIMIT = 10_000
_STOPPED_EXIT = 130
_OUTPUT, _STORE = "tss_ray.output", "tss_ray.store"
"""What the job's metadata says, for whoever wants to see how far it is; no credentials are in a spec."""


@dataclass(frozen=True)
class JobView:
    """What the cluster says of a job. Times are seconds since 1970."""

    job_id: str
    status: str
    exit_code: int | None
    message: str
    started_s: float | None
    ended_s: float | None
    output: str | None = None
    """Where it writes; None for a job that this package did not submit."""
    store: StoreSpec | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.status in {"SUCCEEDED", "FAILED", "STOPPED"}

    @property
    def mirrored_exit(self) -> int:
        """The code that `tss-ray upscale` ended with on the cluster; 0 while it runs, 130 for a stopped job."""
        if self.status == "FAILED":
            return self.exit_code if self.exit_code is not None and self.exit_code > 0 else 1
        return _STOPPED_EXIT if self.status == "STOPPED" else 0


class Once:
    """Hands on a text that may be sent again from its beginning, and every character of it once."""

    def __init__(self, write: Callable[[str], None]) -> None:
        """Begin with an empty text."""
        self._write, self._at, self._told = write, 0, 0

    def restart(self) -> None:
        """Say that the text is now sent from its beginning again."""
        self._at = 0

    def __call__(self, text: str) -> None:
        """Take the next part."""
        new = text[max(0, self._told - self._at) :]
        self._at += len(text)
        self._told = max(self._told, self._at)
        if new:
            self._write(new)


class Jobs:
    """The jobs of one cluster."""

    def __init__(self, address: str | None) -> None:
        """Connect. `address` is the dashboard's, like http://head:8265; None leaves it to Ray (RAY_ADDRESS).

        Raises ClusterError where nobody answers, or where the token is missing or wrong.
        """
        if address is not None and not address.startswith(("http://", "https://")):
            raise ClusterError(f"{address}: need the dashboard's address, like http://head:8265; correct --address")
        self._address = address
        with _explained(address):
            self._client = JobSubmissionClient(address)

    def submit(self, spec: JobSpec) -> str:
        """Check what can be checked from here, send the job, and return its id.

        Raises SpecError where the spec cannot work on this cluster, ClusterError where the cluster refuses it.
        """
        check_portable(spec)
        with _explained(self._address):
            nodes = list_nodes(self._client.get_address(), limit=_NODE_LIMIT, detail=True)
            check_resources(spec, [node.resources_total or {} for node in nodes if node.state == "ALIVE"])
            with tempfile.TemporaryDirectory(prefix="tss-ray-job-") as folder:
                pack(spec, Path(folder))
                job_id: str = self._client.submit_job(
                    entrypoint=f"python {_ENTRY.name}",
                    metadata={_OUTPUT: spec.output, _STORE: spec.store.model_dump_json()},
                    runtime_env={
                        "working_dir": folder,
                        "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S)},
                    },
                )
        return job_id

    def view(self, job_id: str) -> JobView:
        """Return what the cluster says of a job. Raises ClusterError for an id that it does not know."""
        with _explained(self._address, job_id):
            info = self._client.get_job_info(job_id)
        return JobView(
            job_id=job_id,
            status=info.status.value,
            exit_code=info.driver_exit_code,
            message=(info.message or "").split("\n", 1)[0],
            started_s=info.start_time / 1000 if info.start_time else None,
            ended_s=info.end_time / 1000 if info.end_time else None,
            output=(info.metadata or {}).get(_OUTPUT),
            store=StoreSpec.model_validate_json((info.metadata or {}).get(_STORE, "{}")),
        )

    def logs(self, job_id: str) -> str:
        """Return what the job has printed so far."""
        with _explained(self._address, job_id):
            text: str = self._client.get_job_logs(job_id)
        return text

    def follow(self, job_id: str, write: Callable[[str], None]) -> JobView:
        """Hand on what the job prints until it has ended; a connection that breaks is made again."""
        once = Once(write)
        while not (view := self.view(job_id)).ended:
            try:
                asyncio.run(self._tail(job_id, once))
            except (RuntimeError, aiohttp.ClientError, OSError):
                time.sleep(_POLL_S)
            once.restart()
        once(self.logs(job_id))
        return view

    async def _tail(self, job_id: str, write: Callable[[str], None]) -> None:
        async for text in self._client.tail_job_logs(job_id):
            write(text)

    def stop(self, job_id: str, wait: bool = True) -> JobView:
        """Ask a job to finish what it has begun, and wait until it has; one that has ended is left alone."""
        if not (view := self.view(job_id)).ended:
            with _explained(self._address, job_id):
                self._client.stop_job(job_id)
            while wait and not (view := self.view(job_id)).ended:
                time.sleep(_POLL_S)
        return view


def check_portable(spec: JobSpec) -> None:
    """Raise SpecError for a path that means nothing on another machine."""
    models = {"model": spec.model, "one_step_model": spec.one_step_model}
    models = {name: value for name, value in models.items() if value is not None and value not in EMBEDDED}
    reference = {} if spec.metrics.reference is None else {"metrics.reference": spec.metrics.reference}
    for name, value in {"input": spec.input, "output": spec.output, **models, **reference}.items():
        if "://" not in value and not value.startswith("/"):
            raise SpecError(
                f"{name}={value}: a relative path means nothing on a cluster; give a URL, or the absolute path of a "
                "folder that all its machines share"
            )


def check_resources(spec: JobSpec, nodes: list[dict[str, float]]) -> None:
    """Raise SpecError if these resources of nodes cannot hold the job, and no others are to be waited for."""
    if spec.compute.wait_nodes_s:
        return
    cpus, gpus = ([node.get(kind, 0.0) for node in nodes] for kind in ("CPU", "GPU"))
    if not sum(cpus):
        raise SpecError(
            "the cluster has no workers at present; if an autoscaler brings them set compute.actors, "
            "compute.gpus_per_actor and compute.wait_nodes_s, otherwise add nodes"
        )
    plan_resources(spec.compute, cpus, sum(gpus), spec.metrics)


def pack(spec: JobSpec, folder: Path) -> None:
    """Write what travels with the job: every setting, the entry script, and who sends it."""
    settings = yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    (folder / "spec.yaml").write_text(settings, encoding="utf-8")
    (folder / _ENTRY.name).write_text(_ENTRY.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "submitted.json").write_text(json.dumps({"tss_ray": _own_version()}), encoding="utf-8")


def _own_version() -> str | None:
    try:
        return importlib.metadata.version("tss-ray")
    except importlib.metadata.PackageNotFoundError:
        return None


@contextmanager
def _explained(address: str | None, job_id: str | None = None) -> Iterator[None]:
    """Turn what Ray's client raises into a ClusterError with its remedy."""
    where = address or "the cluster of RAY_ADDRESS"
    try:
        yield
    except AuthenticationError as error:
        raise ClusterError(
            f"{where} refuses the token; set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to its own"
        ) from error
    except (ConnectionError, requests.exceptions.RequestException, RayStateApiException) as error:
        raise ClusterError(
            f"{where} does not answer: {_first_line(error)}; see that --address is its dashboard"
        ) from error
    except RuntimeError as error:
        if job_id is not None and "404" in str(error):
            raise ClusterError(f"{where} knows no job {job_id}; `ray job list` shows those it knows") from error
        raise ClusterError(f"{where}: {_first_line(error)}; see the head's log") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
