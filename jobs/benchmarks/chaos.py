"""Whether anything is lost or done twice when everything that can die does, and what 5% faults cost.

    python jobs/benchmarks/chaos.py [--storms 20] [--images 300] [--seed 0]

The protocol
- A real S3 server (SeaweedFS) behind a proxy that spoils a share of the requests; a Ray cluster of a head and
  --nodes raylets on this machine; `tss-ray upscale` as a process of its own, on small tiles and one step.
- A storm: small photographs of mixed formats under awkward keys, rotten files, one file that kills whoever decodes it
  and one that kills whoever runs the model on it. Every 2 to 8 seconds something of the cluster is ended by SIGKILL: a
  worker, an actor, one time in five a whole node; the driver --driver-kills times, after 3 to 40 s. All the while
  --share of the requests get a 503, as many a 500, a reset, half a body, a PUT that was stored and denied. Then the
  same command once more, in peace, to its end.
- What is left is held against the inputs and against a calm run of the same files: `lost` inputs without a row,
  `duplicated` rows, `mismatched` rows or objects (another sha256 or another reason than the calm run's, an object that
  no row knows of). `redone_share`: images stored again, of all images. Started once more, the command must store no
  image and no row.
- `time_ratio_5pct_faults`: of runs of good files, with faults and no kills, to runs without either, in turn after one
  that is not counted; medians of --rounds, with the start of the process in them. A row that failed ends the benchmark.

The last line of stdout is one JSON object. The exit code is 1 if anything was lost, duplicated or mismatched.
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]
os.environ["RAY_AUTH_MODE"] = "disabled"  # before Ray is imported: the driver is another process and has no token

from chaos_cluster import ChaosCluster  # noqa: E402 - a script finds its neighbours first
from chaos_proxy import chaos_proxy  # noqa: E402
from chaos_storm import ROOT, Outcome, Rig, data_set, storm  # noqa: E402
from poison_files import POISON_PATH  # noqa: E402
from seaweed import seaweed  # noqa: E402


def main() -> int:
    """Make the storms, report, and return the exit code."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder, seaweed(Path(folder)) as server:
        os.environ |= server.environment() | {"PYTHONPATH": os.pathsep.join([POISON_PATH, str(ROOT)])}
        with chaos_proxy(server.endpoint_url, arguments.seed) as proxy:
            cluster = ChaosCluster(arguments.nodes)
            try:
                rig = Rig(server, proxy, cluster, arguments.limit_s)
                outcomes = [_storm(rig, i, arguments) for i in range(arguments.storms)]
                ratio = None if arguments.no_timing else _time_ratio(rig, arguments)
            finally:
                cluster.close()
    figures = _figures(outcomes) | {"time_ratio_5pct_faults": ratio}
    print(json.dumps(figures))
    failed = figures["lost"] or figures["duplicated"] or figures["mismatched"] or any(o.complaints for o in outcomes)
    return int(bool(failed))


def _storm(rig: Rig, index: int, arguments: argparse.Namespace) -> Outcome:
    chance = random.Random(f"{arguments.seed}-{index}")
    outcome = storm(rig, f"storm-{index}", arguments.images, arguments.driver_kills, arguments.share, chance)
    print(json.dumps(asdict(outcome)), file=sys.stderr, flush=True)
    return outcome


def _figures(outcomes: list[Outcome]) -> dict[str, float | None]:
    images = sum(o.images for o in outcomes)
    return {
        "storms": len(outcomes),
        "images": images,
        "lost": sum(o.lost for o in outcomes),
        "duplicated": sum(o.duplicated for o in outcomes),
        "mismatched": sum(o.mismatched for o in outcomes),
        "redone_share": round(sum(o.redone for o in outcomes) / images, 4) if images else None,
    }


def _time_ratio(rig: Rig, arguments: argparse.Namespace) -> float:
    files = data_set(arguments.images, random.Random(arguments.seed), poison=False)
    bucket, shares = rig.bucket("timing", files), {"calm": 0.0, "faulty": arguments.share}
    seconds: dict[str, list[float]] = {name: [] for name in shares}
    rig.run(bucket, "cold")  # the cluster's workers and the machine's caches are as after any earlier job
    for turn in range(arguments.rounds):
        for name, share in shares.items():
            rig.proxy.share = share
            seconds[name].append(rig.run(bucket, f"{name}-{turn}", "--strict"))
    rig.proxy.share = 0.0
    print(json.dumps({"timing_s": seconds}), file=sys.stderr, flush=True)
    return round(statistics.median(seconds["faulty"]) / statistics.median(seconds["calm"]), 3)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storms", type=int, default=20)
    parser.add_argument("--images", type=int, default=300, help="good ones; five others come with them")
    parser.add_argument("--driver-kills", type=int, default=2, help="in each storm")
    parser.add_argument("--nodes", type=int, default=2, help="besides the head")
    parser.add_argument("--share", type=float, default=0.05, help="of requests that each kind of fault befalls")
    parser.add_argument("--limit-s", type=float, default=1800.0, help="a run that takes longer hangs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3, help="of calm and faulty runs for the time ratio")
    parser.add_argument("--no-timing", action="store_true", help="leave the time ratio out")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
