"""The report of a run as a page: headline, where time went, steps, quality, folders, faults, pictures, provenance."""

import json
from collections.abc import Mapping, Sequence

from tss_ray.report.chart import STYLE as CHART_STYLE
from tss_ray.report.charts import Bar, Mark, bar_chart, density_chart, share_strip
from tss_ray.report.figures import Example, Figures, Spread, TimeWhole, as_json
from tss_ray.report.gallery import Pair
from tss_ray.report.page import Tile, escape, page, section, table, tiles
from tss_ray.report.words import NONE, count, duration, megapixels, number, percent, shortened, usd
from tss_ray.report.worth_page import gains, saving

STYLE = """
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1.2rem }
figure { margin: 0; max-width: 18rem; --split: 50% } figcaption { font-size: 12px; overflow-wrap: anywhere }
.stack { position: relative; line-height: 0; background: var(--panel) }
.stack img { width: 100%; height: auto }
.stack .after { position: absolute; inset: 0; clip-path: inset(0 0 0 var(--split)) }
.stack i { position: absolute; top: 0; bottom: 0; left: var(--split); width: 2px; margin-left: -1px; background: #fff;
  box-shadow: 0 0 2px #000; pointer-events: none }
.stack span { position: absolute; bottom: 4px; padding: 0 5px; font: 11px/1.5 system-ui, sans-serif; color: #fff;
  background: #000a; pointer-events: none } .stack .l { left: 4px } .stack .r { right: 4px }
.stack input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; cursor: ew-resize }
.stack:focus-within { outline: 2px solid var(--accent) }
.fault { padding: 1rem; font-size: 12px; line-height: 1.4; color: var(--warn) }
@media print { .stack { display: flex; gap: 2px } .stack img { width: 50% }
  .stack .after { position: static; clip-path: none } .stack i { display: none } }
"""
_SCRIPT = """
document.addEventListener("input", (event) => {
  const figure = event.target.closest("figure");
  if (figure) figure.style.setProperty("--split", event.target.value + "%");
});
"""
_MESSAGE_CHARACTERS = 300
_MAX_STEP_BARS = 60
_MAX_RUNS = 20


def run_page(figures: Figures, pictures: Mapping[str, Pair]) -> str:
    """Return the whole page; `pictures` by image_key may be empty, galleries are tables then."""
    totals = figures.totals
    when = f"{totals.started} to {totals.finished}" if totals.started else "times are not in its rows"
    body = [
        f"<h1>tss-ray report</h1><p><code>{escape(figures.output)}</code><br>{escape(when)}</p>",
        tiles(headline(figures)),
        _time(figures),
        _steps(figures),
        _quality(figures),
        saving(figures),
        _folders(figures),
        _faults(figures),
        _gallery("Worst by LR consistency", figures.worst, pictures, _WORST),
        _gallery("At random", figures.random, pictures, _RANDOM),
        _provenance(figures),
    ]
    return page(f"tss-ray report: {figures.output}", "\n".join(body), CHART_STYLE + STYLE, _SCRIPT)


def headline(figures: Figures) -> list[Tile]:
    """Return the figures that are read first; the terminal shows the same."""
    totals, cost = figures.totals, figures.cost
    basis = "all devices held" if cost.basis == "held" else "computing only"
    consistency = figures.quality[0] if figures.quality else None
    shown = [
        Tile(count(totals.done), "images upscaled", f"{count(totals.resampled)} of them resampled only"),
        Tile(count(totals.quarantined), "quarantined", percent(totals.quarantined / max(totals.images, 1))),
    ]
    if cost.usd is None:
        shown += [
            Tile(duration(cost.device_s_per_1000_images), "of device per 1,000 images", basis),
            Tile(duration(cost.device_s_per_megapixel), "of device per output megapixel", basis),
        ]
    else:
        price = f"at {usd(cost.device_usd_per_hour)} an hour, {basis}"
        shown += [
            Tile(usd(cost.usd_per_1000_images), "per 1,000 images", price),
            Tile(usd(cost.usd_per_megapixel), "per output megapixel", price),
            Tile(usd(cost.usd), "in all", f"{duration(cost.charged_s)} of device"),
        ]
    return [
        *shown,
        Tile(number(totals.mean_steps), "steps on average", f"{count(totals.nfe)} NFE"),
        Tile(percent(totals.nfe_saved), "of NFE saved", "against the top rung for every image"),
        Tile(megapixels(totals.out_megapixels), "written", f"from {megapixels(totals.in_megapixels)}"),
        Tile(
            f"{number(consistency.p50 if consistency else None, 1)} dB",
            "LR consistency, median",
            f"{number(consistency.p5 if consistency else None, 1)} dB at p5",
        ),
    ]


def _time(figures: Figures) -> str:
    note = (
        "Of an image: from its row's start to its end, added up over images, of which many are under way at once. Of "
        "the devices, which is what is paid for: from the start of a run, and while at least one image was under way; "
        "pauses between runs are left out."
    )
    parts = [
        _whole("Time of images", figures.image_time),
        _whole("Time of devices", figures.device_time),
        f"<p>Working time, wall-clock: {escape(duration(figures.totals.working_s))}.</p>",
        "<h3>What is not known</h3><ul>" + "".join(f"<li>{escape(told)}</li>" for told in figures.not_known) + "</ul>",
    ]
    return section("Where the time went", "".join(parts), note)


def _whole(title: str, whole: TimeWhole) -> str:
    if not whole.parts:
        return ""
    of = whole.seconds or 0.0
    rows = [(p.name, p.meaning, duration(p.seconds), percent(p.seconds / of) if of else NONE) for p in whole.parts]
    if whole.seconds is None:
        return table([title, "", "time", "share"], rows, num_left=2)
    rows.append(("whole", "", duration(of), percent(1.0)))
    strip = share_strip(title, [Bar(part.name, max(part.seconds, 0.0)) for part in whole.parts])
    return strip + table(["part", "", "time", "share"], rows, num_left=2)


def _steps(figures: Figures) -> str:
    done = figures.totals.done or 1
    rows = [
        (
            entry.num_steps,
            count(entry.images),
            percent(entry.images / done),
            duration(entry.device_seconds),
            number(entry.mean_lr_consistency_psnr, 1),
        )
        for entry in figures.steps
    ]
    bars = [Bar(str(entry.num_steps), entry.images) for entry in figures.steps[:_MAX_STEP_BARS]]
    parts = [
        bar_chart("Images by steps", "denoising steps", bars) if bars else "",
        table(["steps", "images", "share", "device", "LR cons., dB"], rows),
        _textures(figures),
    ]
    return section("Steps", "".join(parts), "0 steps: the bicubic enlargement was left alone.")


def _textures(figures: Figures) -> str:
    if not figures.textures:
        return ""
    steps = sorted({num for entry in figures.textures for num, _ in entry.steps})
    shares = []
    for entry in figures.textures:
        images, of = dict(entry.steps), sum(num for _, num in entry.steps) or 1
        shares.append([images.get(num, 0) / of for num in steps])
    title = "Steps against texture: share of the images of a column"
    columns = [f"{entry.low:.2f}" for entry in figures.textures]
    return density_chart(title, "texture score", "steps", columns, [str(num) for num in steps], shares)


def _quality(figures: Figures) -> str:
    consistency = next((s for s in figures.quality if s.name == "lr_consistency_psnr"), None)
    drawn = ""
    if figures.consistency:
        first, width = figures.consistency[0].low, figures.consistency[0].high - figures.consistency[0].low
        bars = [Bar(f"{entry.low:g}", entry.images) for entry in figures.consistency]
        drawn = bar_chart("LR consistency", "dB", bars, _marks(consistency, first, width))
    rows = [
        (s.name, count(s.num), number(s.mean, 3), number(s.p1, 3), number(s.p5, 3), number(s.p50, 3))
        for s in figures.quality
    ]
    note = (
        "LR consistency: PSNR in dB between the output reduced again and its input; at most 100. Low: content was "
        "invented or shifted. A bicubic enlargement scores high without adding anything. Other rows are metrics that "
        "were asked for."
    )
    return section(
        "Quality", drawn + table(["metric", "images", "mean", "p1", "p5", "p50"], rows) + gains(figures), note
    )


def _marks(spread: Spread | None, first: float, width: float) -> list[Mark]:
    if spread is None:
        return []
    at = {"p1": spread.p1, "p5": spread.p5, "p50": spread.p50}
    return [Mark(name, (value - first) / width) for name, value in at.items() if value is not None]


def _folders(figures: Figures) -> str:
    rows = [
        (
            "all others" if f.name is None else f.name or "(top)",
            count(f.images),
            count(f.quarantined),
            number(f.out_megapixels, 1),
            number(f.mean_texture),
            number(f.mean_steps),
            duration(f.device_seconds),
            number(f.lr_consistency_p5, 1),
            number(f.lr_consistency_p50, 1),
        )
        for f in figures.folders
    ]
    head = ["folder", "images", "quarantined", "MP out", "texture", "steps", "device", "LR cons. p5", "p50"]
    return section(
        "Folders", table(head, rows), "By image_key; as deep as at most 50 folders allow, the largest first."
    )


def _faults(figures: Figures) -> str:
    if not figures.faults:
        return section("Quarantine", "<p>Nothing was quarantined.</p>")
    rows: list[tuple[str, ...]] = []
    for fault in figures.faults:
        for k, (key, message) in enumerate(fault.examples):
            first = (fault.kind, count(fault.images)) if k == 0 else ("", "")
            rows.append((first[0], key, shortened(message, _MESSAGE_CHARACTERS), first[1]))
    note = "Every message ends with what can be done. The manifest's error_kind and error_message hold all of them."
    return section("Quarantine", table(["kind", "for example", "message", "images"], rows, num_left=3), note)


_SHOWN = "The busiest crop of each, at the output's own pixels: bicubic left of the line, output right of it."
_WORST = f"What to look at first. {_SHOWN}"
_RANDOM = f"Drawn by the hash of the key, so that the same run shows the same images. {_SHOWN}"


def _gallery(heading: str, examples: Sequence[Example], pictures: Mapping[str, Pair], note: str) -> str:
    if not examples:
        return ""
    if pictures:
        return section(
            heading, f'<div class="pairs">{"".join(_figure(pictures[e.image_key]) for e in examples)}</div>', note
        )
    rows = [(e.image_key, e.num_steps, number(e.texture_score), number(e.lr_consistency_psnr, 1)) for e in examples]
    return section(heading, table(["image_key", "steps", "texture", "LR cons., dB"], rows))


def _figure(pair: Pair) -> str:
    example, key = pair.example, escape(pair.example.image_key)
    words = (
        f"{example.num_steps} steps, texture {number(example.texture_score)}, "
        f"{number(example.lr_consistency_psnr, 1)} dB, {example.out_width}×{example.out_height} px"
    )
    caption = f"<figcaption>{key}<br>{escape(words)}</figcaption>"
    if pair.fault:
        return f'<figure><div class="stack"><p class="fault">{escape(pair.fault)}</p></div>{caption}</figure>'
    size = f'width="{pair.width}" height="{pair.height}"'
    return (
        f'<figure><div class="stack"><img {size} alt="bicubic enlargement of {key}" src="{pair.before}">'
        f'<img class="after" {size} alt="output of {key}" src="{pair.after}"><i></i>'
        '<span class="l">bicubic</span><span class="r">output</span>'
        f'<input type="range" min="0" max="100" value="50" step="any" aria-label="bicubic or output of {key}"></div>'
        f"{caption}</figure>"
    )


def _provenance(figures: Figures) -> str:
    origin = figures.provenance
    rows: list[tuple[str, str, str]] = []
    for name, values in origin["columns"].items():
        rows += [(name if k == 0 else "", _shown(v["value"]), count(v["images"])) for k, v in enumerate(values)]
    for sha256, licence in origin["licences"].items():
        rows.append(("licence", f"{licence or 'not known'} ({sha256[:12]}…)", ""))
    for run in origin["runs"][-_MAX_RUNS:]:
        devices = NONE if run.devices is None else count(run.devices)
        made_with = ", ".join(f"{name} {value}" for name, value in run.made_with.items())
        rows.append(("run", f"{run.started_at}, {devices} devices: {made_with}", ""))
    for name, number_of in origin["report_made_with"].items():
        rows.append(("report made with", f"{name} {number_of or 'not installed as a package'}", ""))
    settings = escape(json.dumps(as_json(origin["settings"]), indent=1, ensure_ascii=False))
    stored = f"<details><summary>Settings of the last run</summary><pre><code>{settings}</code></pre></details>"
    note = "What the rows of done images hold, with the number of rows; two models or two specs are worth a look."
    return section("Provenance", table(["column", "value", "images"], rows, num_left=2) + stored, note)


def _shown(value: object) -> str:
    return NONE if value is None else str(value)
