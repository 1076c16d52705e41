"""What the dashboards show: one for who operates a run, one for who pays for it."""

from expressions import Board, Panel, Query, Row, largest, mean, now, one, quantile, quantiles, rare, rate

from tss_ray.telemetry import names

_LEFT = f"({now(names.TODO)} - {now(names.FINISHED)}) / {rate(names.IMAGES)}"
_QUARANTINED = 'status="quarantined"'
_RENTED = 'kind="rented"'
_USEFUL, _WANTED = 'use="useful"', 'use="wanted"'

_PROGRESS = (
    Panel(
        "Finished",
        "Of what the run had to do.",
        "percentunit",
        one(f"{now(names.FINISHED)} / {now(names.TODO)}"),
        "stat",
        1,
    ),
    Panel("Time left", "At the present pace.", "s", one(_LEFT), "stat"),
    Panel("Images", "Done and quarantined so far.", "short", one(now(names.FINISHED)), "stat"),
)

OPERATORS = Board(
    "operators",
    "tss-ray: operations",
    "Is it going, how fast, what holds it up, and what goes wrong?",
    (
        Row(
            "Throughput",
            (
                *_PROGRESS,
                Panel(
                    "Images per second",
                    "Rows made, by status.",
                    "short",
                    one(rate(names.IMAGES, "status"), "{{status}}"),
                ),
                Panel(
                    "Megapixels per second",
                    "Of inputs and of outputs.",
                    "short",
                    one(f"{rate(names.PIXELS, 'direction')} / 1e6", "{{direction}}"),
                ),
                Panel(
                    "Bytes per second",
                    "Encoded: fetched, written.",
                    "Bps",
                    one(rate(names.BYTES, "direction"), "{{direction}}"),
                ),
                Panel(
                    "Seconds of a stage, mean",
                    "Wall-clock of an image; commit is of a part. What is longest of fetch, decode and probe, or of "
                    "encode and upload, says which side to help.",
                    "s",
                    one(mean(names.STAGE_SUM, names.STAGE_SECONDS, "stage"), "{{stage}}"),
                ),
                Panel(
                    "Seconds of a stage, 95%",
                    "One image in twenty takes longer.",
                    "s",
                    one(quantile(0.95, names.STAGE_SECONDS, "stage"), "{{stage}}"),
                ),
                Panel(
                    "Blocks in flight",
                    "Begun and not ended, by stage.",
                    "short",
                    one(now(names.BLOCKS, "stage"), "{{stage}}"),
                ),
            ),
        ),
        Row(
            "Engine",
            (
                Panel(
                    "Occupancy",
                    "Useful places of all that were run. Low: images come too slowly, or sizes are too mixed.",
                    "percentunit",
                    one(f"{rate(names.SLOTS, also=_USEFUL)} / {rate(names.SLOTS)}"),
                    top=1,
                ),
                Panel(
                    "Tiles a batch",
                    "In the mean, beside what a batch may hold.",
                    "short",
                    (
                        Query(f"{rate(names.SLOTS, also=_USEFUL)} / {rate(names.FORWARDS)}", "mean"),
                        Query(largest(names.MAX_BATCH), "at most"),
                    ),
                ),
                Panel(
                    "Devices busy",
                    "Computing; the rest is start-up, waiting for images, and work between forwards.",
                    "percentunit",
                    one(f"{rate(names.DEVICE_SECONDS)} / {now(names.DEVICES)}"),
                    top=1,
                ),
                Panel(
                    "Devices idle",
                    "Engines without any image: feed them faster.",
                    "percentunit",
                    one(f"{rate(names.IDLE_SECONDS)} / {now(names.DEVICES)}"),
                    top=1,
                ),
                Panel(
                    "Padding",
                    "Pixels of tiles beyond those that were wanted.",
                    "percentunit",
                    one(f"1 - {rate(names.ENGINE_PIXELS, also=_WANTED)} / {rate(names.ENGINE_PIXELS)}"),
                    top=1,
                ),
                Panel(
                    "Images in the engine",
                    "Waiting or running, by actor.",
                    "short",
                    one(now(names.QUEUE, "actor"), "{{actor}}"),
                ),
                Panel(
                    "Memory in use",
                    "Of the device, by actor.",
                    "bytes",
                    one(now(names.DEVICE_MEMORY, "actor"), "{{actor}}"),
                ),
            ),
        ),
        Row(
            "Reliability",
            (
                Panel(
                    "Quarantined, share",
                    "Of the rows made.",
                    "percentunit",
                    one(f"{rate(names.IMAGES, also=_QUARANTINED)} / {rate(names.IMAGES)}"),
                ),
                Panel(
                    "Quarantined by kind",
                    "Rows a second; error_message of the manifest says why.",
                    "short",
                    one(rate(names.IMAGES, "kind", _QUARANTINED), "{{kind}}"),
                ),
                Panel(
                    "Tried again",
                    "Refused outputs (gate), requests to stores, blocks that lost their worker, in a second.",
                    "short",
                    rare(rate(names.RETRIES, "reason"), "{{reason}}"),
                ),
                Panel(
                    "Out of memory", "Batches halved, in a second.", "short", rare(rate(names.OUT_OF_MEMORY), "halved")
                ),
                Panel("Rows committed", "To the manifest, in a second.", "short", one(rate(names.ROWS))),
                Panel("Parts committed", "In a second.", "short", one(rate(names.PARTS))),
            ),
        ),
    ),
)

PAYERS = Board(
    "payers",
    "tss-ray: cost and quality",
    "What does it cost, what will it cost, what is saved, and how good is it?",
    (
        Row(
            "Cost",
            (
                Panel(
                    "So far",
                    "Devices for as long as they are held.",
                    "currencyUSD",
                    one(now(names.COST_USD, also=_RENTED)),
                    "stat",
                ),
                Panel(
                    "At the end",
                    "At the pace so far.",
                    "currencyUSD",
                    one(now(names.PREDICTED_USD, also=_RENTED)),
                    "stat",
                ),
                Panel(
                    "For 1000 images",
                    "Rented so far, over what is finished.",
                    "currencyUSD",
                    one(f"1000 * {now(names.COST_USD, also=_RENTED)} / {now(names.FINISHED)}"),
                    "stat",
                ),
                Panel(
                    "Spent",
                    "Rented, and the part of it in which devices computed.",
                    "currencyUSD",
                    one(now(names.COST_USD, "kind"), "{{kind}}"),
                ),
                Panel(
                    "Device time, predicted and planned",
                    "At the end; planned only under a budget.",
                    "s",
                    (
                        Query(now(names.PREDICTED_DEVICE_SECONDS), "predicted"),
                        Query(now(names.PLANNED_DEVICE_SECONDS), "planned"),
                    ),
                ),
                Panel(
                    "Device-seconds an image",
                    "Computed, in the mean.",
                    "s",
                    one(f"{rate(names.DEVICE_SECONDS)} / {rate(names.IMAGES)}"),
                ),
            ),
        ),
        Row("Progress", _PROGRESS),
        Row(
            "Savings",
            (
                Panel(
                    "Denoiser work saved",
                    "Pixels run, against the top rung for every image.",
                    "percentunit",
                    one(f"1 - {rate(names.RUN_PIXELS)} / {rate(names.RUN_PIXELS_TOP_RUNG)}"),
                    top=1,
                ),
                Panel("Steps an image, mean", "Of upscaled images.", "short", one(mean(names.STEPS_RUN, names.STEPS))),
                Panel(
                    "Images by steps",
                    "A second, with at most so many steps.",
                    "short",
                    one(rate(names.STEPS, "le", part="_bucket"), "{{le}}"),
                ),
            ),
        ),
        Row(
            "Quality",
            (
                Panel(
                    "LR consistency",
                    "How well outputs, reduced again, fit their inputs: the median, and one in twenty is below 5%.",
                    "dB",
                    quantiles(names.LR_CONSISTENCY, {"median": 0.5, "5%": 0.05}),
                ),
                Panel(
                    "Colour ΔE",
                    "CIEDE2000 of outputs, reduced again, to their inputs; above 1 it may be seen.",
                    "short",
                    quantiles(names.COLOUR_DELTA_E, {"median": 0.5, "95%": 0.95}),
                ),
                Panel(
                    "Not usable",
                    "Share of inputs that were quarantined.",
                    "percentunit",
                    one(f"{rate(names.IMAGES, also=_QUARANTINED)} / {rate(names.IMAGES)}"),
                ),
            ),
        ),
    ),
)

BOARDS = (OPERATORS, PAYERS)
