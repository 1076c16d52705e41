"""The manifest, asked: every figure of a report is one query over all rows, answered in a few rows."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from tss_ray.report.figures import (
    Bin,
    Cost,
    Example,
    Fault,
    Folder,
    Spread,
    StepCount,
    TextureBin,
    TimePart,
    TimeWhole,
    Totals,
)
from tss_ray.report.manifest import Manifest, quoted
from tss_ray.storage.runs import Run

NUM_FOLDERS, NUM_EXAMPLES, NUM_TEXTURE_BINS = 50, 3, 20
_DEEPEST = 6
"""Components of a key at most that make a folder of the breakdown."""
_MAX_BINS = 40
_FOLDER = "parse_dirpath(image_key, 'forward_slash')"
"""SQL: what stands before the last slash of a key, or nothing."""
_STAGES = {
    "fetch": ("fetch_s", "reading the input object"),
    "decode": ("decode_s", "bytes to pixels"),
    "probe": ("probe_s", "texture, noise and blur"),
    "queue": ("queue_s", "tiles made, waiting for the first forward"),
    "denoise": ("denoise_s", "first forward to last, beside whatever else was in the batch"),
    "encode": ("encode_s", "stitching, LR consistency, pixels to bytes"),
    "upload": ("upload_s", "writing the output object"),
}


_BESIDE = {
    "decode": "inputs were read, decoded and looked at",
    "encode": "outputs were composed, encoded and written",
    "metrics": "outputs were measured",
}


def ask_totals(manifest: Manifest) -> Totals:
    """Ask for sums over all rows."""
    found = manifest.ask_one("""
        select count(*) as images, count(*) filter (status = 'done') as done,
          count(*) filter (status = 'quarantined') as quarantined,
          count(*) filter (status = 'done' and coalesce(num_steps, 0) = 0) as resampled,
          coalesce(sum(in_px) filter (status = 'done'), 0) / 1e6 as in_megapixels,
          coalesce(sum(out_px) filter (status = 'done'), 0) / 1e6 as out_megapixels,
          coalesce(sum(output_bytes) filter (status = 'done'), 0)::bigint as output_bytes,
          avg(num_steps) filter (status = 'done') as mean_steps,
          coalesce(sum(nfe) filter (status = 'done'), 0)::bigint as nfe,
          coalesce(sum(run_px) filter (status = 'done'), 0)::bigint as run_px,
          coalesce(sum(run_px_top_rung) filter (status = 'done'), 0)::bigint as run_px_top_rung,
          coalesce(sum(device_seconds), 0) as device_seconds,
          min(started_us) as started, max(finished_us) as finished
        from rows""")
    found["started"], found["finished"] = _time(found["started"]), _time(found["finished"])
    return Totals(**found, working_s=_working_s(manifest))


def cost(
    totals: Totals, device_usd_per_hour: float | None, devices: int | None, startup_s: float | None = None
) -> Cost:
    """Work out what the run cost, from a price and a number of devices where they are known, or without them."""
    held = devices is not None and totals.working_s is not None
    held_s = (devices or 0) * ((totals.working_s or 0.0) + (startup_s or 0.0))
    charged_s = held_s if held else totals.device_seconds
    return Cost(
        device_usd_per_hour=device_usd_per_hour,
        devices=devices,
        charged_s=charged_s,
        basis="held" if held else "computed",
        done=totals.done,
        out_megapixels=totals.out_megapixels,
    )


def ask_image_time(manifest: Manifest) -> TimeWhole:
    """Ask where images spent their time. The whole is Σ (finished_at − started_at), over rows that have both.

    What no column explains is the last part; clocks of two nodes that disagree can make it negative.
    """
    # The parts are asked of the same rows as the whole, or they would not belong together.
    sums = ", ".join(f"coalesce(sum({column}), 0.0) as {name}" for name, (column, _) in _STAGES.items())
    found = manifest.ask_one(f"""
        select sum(finished_us - started_us) / 1e6 as whole, {sums}
        from rows where started_us is not null and finished_us is not null""")
    whole = found.pop("whole")
    if whole is None:
        return TimeWhole(None, ())
    parts = [TimePart(name, found[name], meaning) for name, (_, meaning) in _STAGES.items()]
    rest = TimePart(
        "waiting", whole - sum(found.values()), "between the stages: for a device, for the rest of its block"
    )
    return TimeWhole(whole, (*parts, rest))


def ask_device_time(manifest: Manifest, totals: Totals, devices: int | None, startup_s: float | None) -> TimeWhole:
    """Split what was paid for, devices · (start-up + working time), into parts that add up to it.

    Devices compute, or they do not; what work of other kinds can have cost is at most the time in which they did not,
    so that time is shared out to decoding, encoding and metrics by their seconds, each at most its own, and the rest is
    idle. Several of them run at once, so these are bounds from above. The whole is None where `devices` is not known.
    """
    found = manifest.ask_one("""
        select coalesce(sum(device_seconds * (1 - 1 / greatest(padding_ratio, 1))), 0.0) as padding,
          coalesce(sum(refused_device_s), 0.0) as refused,
          coalesce(sum(coalesce(fetch_s, 0) + coalesce(decode_s, 0) + coalesce(probe_s, 0)), 0.0) as decode,
          coalesce(sum(coalesce(encode_s, 0) + coalesce(upload_s, 0)), 0.0) as encode,
          coalesce(sum(metrics_s), 0.0) as metrics from rows""")
    padding, refused = found.pop("padding"), found.pop("refused")
    computed = (
        TimePart("denoising", totals.device_seconds - padding, "forwards of the network over pixels of images"),
        TimePart("padding", padding, "forwards over what tiles hold beyond their image"),
        TimePart("retries", refused, "forwards whose output a gate refused"),
    )
    if devices is None or totals.working_s is None:
        return TimeWhole(None, computed)
    not_computing = devices * totals.working_s - totals.device_seconds - refused
    share = min(1.0, max(not_computing, 0.0) / sum(found.values())) if any(found.values()) else 0.0
    others = [
        TimePart(name, share * found[name], f"at most: devices did not compute while {meaning}")
        for name, meaning in _BESIDE.items()
    ]
    left = not_computing - min(max(not_computing, 0.0), sum(found.values()))
    idle = TimePart("idle", left, "held, and nothing of the above")
    startup = TimePart("start-up", devices * (startup_s or 0.0), "from a run's start to its first image")
    whole = devices * (totals.working_s + (startup_s or 0.0))
    return TimeWhole(whole, (startup, *computed, *others, idle))


def ask_startup_s(manifest: Manifest, runs: Sequence[Run]) -> float | None:
    """Return Σ over runs of what lies between a run's start and its first row; None where no run is known."""
    if not runs:
        return None
    starts = sorted(round(datetime.fromisoformat(run.started_at).timestamp() * 1e6) for run in runs)
    ends = [*starts[1:], 2**62]
    total = 0.0
    for start, end in zip(starts, ends, strict=True):
        first = manifest.ask_one(
            "select min(started_us) as at from rows where started_us >= $1 and started_us < $2", [start, end]
        )["at"]
        total += 0.0 if first is None else (first - start) / 1e6
    return total


def ask_steps(manifest: Manifest) -> tuple[StepCount, ...]:
    """Ask how many images got how many steps."""
    found = manifest.ask("""
        select num_steps, count(*) as images, coalesce(sum(device_seconds), 0.0) as device_seconds,
          avg(lr_consistency_psnr) filter (isfinite(lr_consistency_psnr)) as mean_lr_consistency_psnr
        from rows where status = 'done' and num_steps is not null group by 1 order by 1""")
    return tuple(StepCount(**row) for row in found)


def ask_textures(manifest: Manifest) -> tuple[TextureBin, ...]:
    """Ask which steps images of which texture score got; empty bins are there too, unless all are."""
    found = manifest.ask(
        """
        select least(floor(texture_score * $1), $1 - 1)::int as bin, num_steps, count(*) as images
        from rows where status = 'done' and texture_score between 0 and 1 and num_steps is not null
        group by 1, 2 order by 1, 2""",
        [NUM_TEXTURE_BINS],
    )
    of_bin: dict[int, list[tuple[int, int]]] = {}
    for row in found:
        of_bin.setdefault(row["bin"], []).append((row["num_steps"], row["images"]))
    if not of_bin:
        return ()
    ends = [k / NUM_TEXTURE_BINS for k in range(NUM_TEXTURE_BINS + 1)]
    return tuple(TextureBin(ends[k], ends[k + 1], tuple(of_bin.get(k, ()))) for k in range(NUM_TEXTURE_BINS))


def ask_quality(manifest: Manifest) -> tuple[Spread, ...]:
    """Ask for the distribution of every metric; the low percentiles are the ones that hurt where more is better."""
    spreads = []
    for name in manifest.metrics:
        found = manifest.ask_one(f"""
            select count(v) as num, avg(v) as mean, quantile_cont(v, [0.01, 0.05, 0.5]) as at
            from (select {quoted(name)} as v from rows where status = 'done' and isfinite({quoted(name)}))""")
        p1, p5, p50 = found["at"] or (None, None, None)
        spreads.append(Spread(name, found["num"], found["mean"], p1, p5, p50))
    return tuple(spreads)


def ask_consistency(manifest: Manifest) -> tuple[Bin, ...]:
    """Ask for the histogram of LR consistency, in bins of a whole number of dB."""
    where = "status = 'done' and isfinite(lr_consistency_psnr)"
    ends = manifest.ask_one(f"select min(lr_consistency_psnr) a, max(lr_consistency_psnr) b from rows where {where}")
    if ends["a"] is None:
        return ()
    first, last = math.floor(ends["a"]), math.floor(ends["b"])
    width = math.ceil((last - first + 1) / _MAX_BINS)
    found = manifest.ask(
        f"select floor((lr_consistency_psnr - $1) / $2)::int as bin, count(*) as images from rows where {where} "
        "group by 1",
        [first, width],
    )
    images = {row["bin"]: row["images"] for row in found}
    num_bins = (last - first) // width + 1
    return tuple(Bin(first + k * width, first + (k + 1) * width, images.get(k, 0)) for k in range(num_bins))


def ask_folders(manifest: Manifest) -> tuple[Folder, ...]:
    """Ask for every folder of keys, by as many leading components as leave at most NUM_FOLDERS of them.

    Where even one component leaves more, the largest are listed and the others put together as the last.
    """
    depths = ", ".join(f"count(distinct {_first('folder', depth)}) as d{depth}" for depth in range(1, _DEEPEST + 1))
    counts = list(manifest.ask_one(f"select {depths} from (select distinct {_FOLDER} as folder from rows)").values())
    depth = max((d for d, num in enumerate(counts, start=1) if num <= NUM_FOLDERS), default=1)
    found = manifest.ask(
        f"""
        with named as (select *, {_first(_FOLDER, depth)} as folder from rows),
        largest as (select folder from named group by 1 order by count(*) desc, 1 limit $1)
        select largest.folder as name, count(*) as images, count(*) filter (status = 'quarantined') as quarantined,
          coalesce(sum(out_px) filter (status = 'done'), 0) / 1e6 as out_megapixels,
          avg(texture_score) filter (status = 'done') as mean_texture,
          avg(num_steps) filter (status = 'done') as mean_steps,
          coalesce(sum(device_seconds), 0.0) as device_seconds,
          quantile_cont(lr_consistency_psnr, 0.05) filter (isfinite(lr_consistency_psnr)) as lr_consistency_p5,
          quantile_cont(lr_consistency_psnr, 0.5) filter (isfinite(lr_consistency_psnr)) as lr_consistency_p50
        from named left join largest using (folder) group by 1 order by name is null, images desc, name""",
        [NUM_FOLDERS],
    )
    return tuple(Folder(**row) for row in found)


def ask_faults(manifest: Manifest) -> tuple[Fault, ...]:
    """Ask for the kinds of quarantine, the commonest first, with a few examples of each."""
    found = manifest.ask(
        """
        select coalesce(error_kind, 'unknown') as kind, count(*) as images,
          arg_min({'key': image_key, 'message': coalesce(error_message, '')}, image_key, $1) as examples
        from rows where status = 'quarantined' group by 1 order by images desc, 1""",
        [NUM_EXAMPLES],
    )
    return tuple(
        Fault(row["kind"], row["images"], tuple((e["key"], e["message"]) for e in row["examples"])) for row in found
    )


def ask_examples(manifest: Manifest, num: int) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Ask for the `num` done images of lowest LR consistency, worst first, and for `num` at random.

    Random means by the hash of the key: another report of the same run shows the same images.
    """
    worst = manifest.ask(
        "select image_key from rows where status = 'done' and isfinite(lr_consistency_psnr) "
        "order by lr_consistency_psnr, image_key limit $1",
        [num],
    )
    drawn = manifest.ask("select image_key from rows where status = 'done' order by md5(image_key) limit $1", [num])
    keys = [[row["image_key"] for row in rows] for rows in (worst, drawn)]
    counted = ("in_width", "in_height", "out_width", "out_height", "num_steps")
    wanted = [f"coalesce({n}, 0) as {n}" if n in counted else n for n in Example.__dataclass_fields__]
    found = manifest.ask(
        f"select {', '.join(wanted)} from parts where image_key in (select unnest($1)) and status = 'done'",
        [sorted({*keys[0], *keys[1]})],
    )
    of_key = {row["image_key"]: Example(**row) for row in found}
    return tuple(of_key[key] for key in keys[0]), tuple(of_key[key] for key in keys[1])


def _working_s(manifest: Manifest) -> float | None:
    """Return the length of the union of [started, finished] over rows.

    Rows that began in the same second are put together first: what is sorted is as long as the run, not as the data.
    """
    found = manifest.ask_one("""
        with seconds as (
          select min(started_us) as began, max(greatest(finished_us, started_us)) as ended from rows
          where started_us is not null and finished_us is not null group by started_us // 1000000),
        reached as (
          select began, ended, max(ended) over earlier as before from seconds
          window earlier as (order by began rows between unbounded preceding and 1 preceding))
        select sum(greatest(ended - greatest(began, coalesce(before, began)), 0)) / 1e6 as working_s from reached""")
    working_s: float | None = found["working_s"]
    return working_s


def _first(folder: str, depth: int) -> str:
    """Return SQL for the first `depth` components of a folder."""
    return f"array_to_string(string_split({folder}, '/')[1:{depth}], '/')"


def _time(us: int | None) -> str | None:
    return None if us is None else datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def plain(value: Any) -> Any:  # noqa: ANN401
    """Return what JSON can hold of a cell."""
    return value if isinstance(value, str | int | float | bool | type(None)) else str(value)
