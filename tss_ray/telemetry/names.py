"""Every metric of a running job: the one definition of names, units, tags and help texts.

A job reports through Ray, whose exporter puts `ray_` before a name and `_total` behind a counter's. Each series also
carries `job_id`, Ray's id of the driver, and what Ray adds itself (SessionName, NodeAddress, …). Units follow the
Prometheus naming guide: seconds, bytes, and counts without a suffix. Counters count what workers do: a block that is
tried again counts again, and the last seconds of a worker that is killed are lost. The manifest is the account, these
are the pulse.

Ray 2.60 exports as the sum of a histogram its counts times the middles of its buckets: means are made of counters here,
and of histograms only counts and quantiles are to be asked.
"""

from dataclasses import dataclass
from typing import Literal

JOB_TAG = "job_id"
"""On every series: Ray's id of the driver, the same in all its workers."""

STAGES = ("fetch", "decode", "probe", "queue", "denoise", "encode", "upload", "commit")
"""Values of the tag `stage`; but for the last, the columns `<stage>_s` of a row."""
AGAIN = ("gate", "request", "worker_died")
"""Values of the tag `reason` of retries: a refused output, a request to a store, a block that lost its worker."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `tags` are those beside `job_id`."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    help: str
    tags: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Histograms: upper bounds, ascending and above 0."""

    @property
    def series(self) -> str:
        """The name in Prometheus; a histogram's without `_bucket`, `_sum` or `_count`."""
        return f"ray_{self.name}_total" if self.kind == "counter" else f"ray_{self.name}"

    @property
    def tag_keys(self) -> tuple[str, ...]:
        """Every tag that we set."""
        return (JOB_TAG, *self.tags)


_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
_STEPS = (0.5, 1.0, 2.0, 4.0, 7.0, 10.0, 15.0, 25.0, 50.0, 100.0)
_DECIBELS = (15.0, 20.0, 25.0, 30.0, 35.0, 40.0, 45.0, 50.0, 60.0)
_DELTA_E = (0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0)

IMAGES = Metric(
    "tss_images", "counter", "images", "images that have become rows, by status and kind of fault", ("status", "kind")
)
STEPS = Metric("tss_image_steps", "histogram", "steps", "denoising steps of an upscaled image", (), _STEPS)
STEPS_RUN = Metric("tss_steps", "counter", "steps", "denoising steps of upscaled images, added up")
RUN_PIXELS = Metric("tss_run_pixels", "counter", "px", "pixels that the denoiser ran, of all tiles and steps")
RUN_PIXELS_TOP_RUNG = Metric(
    "tss_run_pixels_top_rung", "counter", "px", "what they would have been on the policy's top rung"
)
PIXELS = Metric("tss_pixels", "counter", "px", "pixels of upscaled images, in and out", ("direction",))
BYTES = Metric(
    "tss_bytes", "counter", "bytes", "encoded bytes of images, fetched (in) and written (out)", ("direction",)
)
STAGE_SECONDS = Metric(
    "tss_stage_seconds",
    "histogram",
    "s",
    "wall-clock of a stage: of an image, or of a part for commit",
    ("stage",),
    _SECONDS,
)
STAGE_SUM = Metric("tss_stage_sum_seconds", "counter", "s", "the same, added up", ("stage",))
LR_CONSISTENCY = Metric(
    "tss_lr_consistency_db", "histogram", "dB", "PSNR of the output reduced again, against the input", (), _DECIBELS
)
COLOUR_DELTA_E = Metric(
    "tss_colour_delta_e",
    "histogram",
    "ΔE",
    "mean CIEDE2000 of the output reduced again, against the input",
    (),
    _DELTA_E,
)
RETRIES = Metric("tss_retries", "counter", "tries", "what was done again, by reason", ("reason",))
PARTS = Metric("tss_parts", "counter", "parts", "Parquet parts committed to the manifest")
ROWS = Metric("tss_rows", "counter", "rows", "rows committed to the manifest")

FORWARDS = Metric("tss_engine_forwards", "counter", "forwards", "batches that the denoiser has run")
SLOTS = Metric("tss_engine_slots", "counter", "tiles", "places in those batches; occupancy is useful / all", ("use",))
ENGINE_PIXELS = Metric(
    "tss_engine_pixels", "counter", "px", "pixels of tiles that were submitted, wanted ones and padding", ("use",)
)
DEVICE_SECONDS = Metric("tss_device_seconds", "counter", "s", "seconds that devices computed")
IDLE_SECONDS = Metric(
    "tss_device_idle_seconds", "counter", "s", "seconds that engines waited for images, after their first"
)
WARM_UP_SECONDS = Metric(
    "tss_warm_up_seconds", "counter", "s", "seconds that engines tried batch sizes, once for each tile size"
)
OUT_OF_MEMORY = Metric(
    "tss_out_of_memory", "counter", "times", "how often a device's memory was not enough and the batch was halved"
)
MAX_BATCH = Metric("tss_max_batch", "gauge", "tiles", "tiles a batch holds at most, of each actor", ("actor",))
DEVICE_MEMORY = Metric(
    "tss_device_memory_bytes",
    "gauge",
    "bytes",
    "memory of the device in use; on a CPU what the actor's process holds",
    ("actor",),
)
QUEUE = Metric(
    "tss_queue_images", "gauge", "images", "images in the engine, waiting or running, of each actor", ("actor",)
)
BLOCKS = Metric("tss_blocks_in_flight", "gauge", "blocks", "blocks that a worker has begun and not ended", ("stage",))

TODO = Metric("tss_todo_images", "gauge", "images", "what this run had to do when it began")
FINISHED = Metric("tss_finished_images", "gauge", "images", "of those, done and quarantined")
LISTED = Metric("tss_listed_images", "gauge", "images", "inputs, those that earlier runs did among them")
RUNNING = Metric("tss_running", "gauge", "", "1 while the driver is at work, 0 after an orderly end")
ELAPSED = Metric("tss_elapsed_seconds", "gauge", "s", "since this run's graph was started")
DEVICES = Metric("tss_devices", "gauge", "devices", "devices that this run holds; on a CPU, actors")
COST_USD = Metric(
    "tss_cost_usd",
    "gauge",
    "USD",
    "this run so far: rented (devices held) and computing, where a price is known",
    ("kind",),
)
PREDICTED_USD = Metric("tss_predicted_usd", "gauge", "USD", "this run at its end, at the pace so far", ("kind",))
PREDICTED_DEVICE_SECONDS = Metric(
    "tss_predicted_device_seconds", "gauge", "s", "device-seconds of this run at its end, at the pace so far"
)
PLANNED_DEVICE_SECONDS = Metric(
    "tss_planned_device_seconds", "gauge", "s", "this run's share of what the budget plans, where there is one"
)
RUN_INFO = Metric("tss_run_info", "gauge", "", "always 1: which run a job_id is", ("run_id", "model", "output"))

METRICS: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""All of them, in the order above."""
