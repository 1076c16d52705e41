"""How long does a report of a long run take, and how much memory?

    python jobs/benchmarks/report.py                          # 200,000 rows
    python jobs/benchmarks/report.py --rows 10_000_000        # the figure; about 2 GB of rows on disk

Protocol: a synthetic manifest (report_rows.py: filled as a run fills it, sha256 and all) is written part by part, which
is not timed. Then `tss-ray report --no-images` runs once in a process of its own, imports and page included; pictures
are left out, since their number does not follow the rows. Seconds are wall-clock of that process; GiB are its largest
resident set (getrusage). Nothing else on the machine should be busy. `--rows-per-part` says how the run committed:
`compute.part_rows` is 256 by default, and a run of millions of images wants more; 10,000 here.

Tables go to stderr; the last line of stdout is JSON: `seconds_<rows>_rows` and `peak_gib_<rows>_rows`, with 10m for
10,000,000 and 200k for 200,000. `cpu_seconds` is what all cores worked, for where something else was busy; `rows`,
`parts`, `manifest_gib` (on disk) and `cores` say what was measured.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from report_rows import write_manifest

_GIB = 2**30
_COMMAND = "from tss_ray.cli import main; main()"


def main() -> None:
    """Write the rows, report on them, print the line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rows-per-part", type=int, default=10_000)
    parser.add_argument("--work", type=Path, help="folder for the rows; default: a temporary one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        output = Path(folder)
        began = time.perf_counter()
        num_parts = write_manifest(output, arguments.rows, arguments.rows_per_part)
        size = sum(path.stat().st_size for path in (output / "manifest").iterdir())
        print(f"{num_parts} parts, {size / _GIB:.2f} GiB, in {time.perf_counter() - began:.1f} s", file=sys.stderr)
        seconds, cpu_seconds, peak_gib = measured(output)
        report = json.loads((output / "report" / "report.json").read_text(encoding="utf-8"))
        assert report["totals"]["images"] == arguments.rows
    name = short(arguments.rows)
    line = {
        f"seconds_{name}_rows": round(seconds, 2),
        f"peak_gib_{name}_rows": round(peak_gib, 3),
        "cpu_seconds": round(cpu_seconds, 2),
        "rows": arguments.rows,
        "parts": num_parts,
        "manifest_gib": round(size / _GIB, 3),
        "cores": len(os.sched_getaffinity(0)),
    }
    print(json.dumps(line))


def measured(output: Path) -> tuple[float, float, float]:
    """Return the seconds, the processor's seconds and the largest resident set, in GiB, of one report."""
    began = time.perf_counter()
    command = [sys.executable, "-c", _COMMAND, "report", str(output), "--no-images"]
    subprocess.run(command, check=True, stdout=sys.stderr)
    seconds = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / _GIB  # Linux counts in KiB


def short(num: int) -> str:
    """Return 10m, 200k or the number itself."""
    for size, letter in ((1_000_000, "m"), (1000, "k")):
        if num >= size and num % size == 0:
            return f"{num // size}{letter}"
    return str(num)


if __name__ == "__main__":
    main()
