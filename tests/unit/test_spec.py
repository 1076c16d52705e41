"""Promises of the job's spec."""

from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel, ValidationError

from tss_ray.diffusion.timesteps import MAX_N, PlanFamily
from tss_ray.errors import SpecError
from tss_ray.spec import JobSpec, PlanSpec, load_group, load_spec

SHA = "0" * 64
PLACES = {"input": "in", "output": "out"}


def build(**dotted: object) -> JobSpec:
    return load_spec(None, PLACES | {key.replace("__", "."): value for key, value in dotted.items()})


def leaves(model: BaseModel, prefix: str = "") -> set[str]:
    found = set()
    for name in type(model).model_fields:
        value = getattr(model, name)
        found |= leaves(value, f"{prefix}{name}.") if isinstance(value, BaseModel) else {prefix + name}
    return found


OTHER = {
    "seed": 1,
    "tiles.tile_px": 96,
    "tiles.overlap_px": 8,
    "plan.family": "uniform",
    "plan.a": 0.4,
    "plan.n": 3.0,
    "plan.eta": 0.5,
    "plan.a_range": (0.3, 0.6),
    "plan.n_range": (1, 3),
    "plan.eta_by_texture": True,
    "plan.levels": 4,
    "plan.by_steps": [{"up_to_steps": 4, "n_range": (1, 2)}],
    "plan.detail_gain": 1.5,
    "budget.policy": "fixed",
    "budget.num_steps": 8,
    "budget.by_tile": True,
    "budget.ladder": (0, 1, 2, 4, 7, 10, 16),
    "budget.thresholds": (0.03, 0.1, 0.2, 0.33, 0.48, 0.62),
    "budget.target": {
        "edges": (),
        "bins": ({"weight": 1, "steps": (0,), "cost": (0,), "quality": (0,)},),
        "tiles_per_image": 1,
        "multiplier": 0,
        "share": 0,
        "measured": {"model_sha256": "", "tile_px": 64, "overlap_px": 16, "plan": ""},
    },
    "encode.format": "webp",
    "encode.quality": 90,
    "encode.lossless": False,
    "encode.metadata": "strip",
    "encode.icc": "srgb",
    "decode.animation": "quarantine",
    "colour.correction": "mean",
    "scale": 2,
    "size.max_side_px": 2048,
    "size.target_megapixels": 4,
    "size.skip_larger_than_px": 1024,
    "size.skip_sharper_than": 0.3,
    "size.skip_sharper_from_px": 512,
    "limits.max_input_px": 1_000_000,
    "limits.max_input_bytes": 1_000_000,
    "compute.dtype": "float32",
    "compute.compile": "on",
    "tiles.sides_px": (64,),
    "checkpoint.prompt": "a cat",
    "checkpoint.negative_prompt": "blur",
    "checkpoint.guidance_scale": 4.0,
    "checkpoint.noise_level": 10,
    "checkpoint.controlnet_conditioning_scale": 0.5,
    "input_layout": "parquet",
    "output_layout": "parquet",
}
"""Another value for every setting that decides a pixel or a row's fate."""

HARMLESS = {
    "model": "another",
    "one_step_model": "another",
    "input": "elsewhere",
    "output": "elsewhere",
    "strict": True,
    "dedupe": False,
    "store.s3_endpoint_url": "http://localhost:1",
    "store.s3_region": "eu-west-1",
    "store.s3_addressing": "path",
    "large.from_px": 1000,
    "store.max_attempts": 3,
    "store.s3_profile": "lab",
    "store.s3_requester_pays": True,
    "store.prefixes": [{"prefix": "s3://b/in", "s3_region": "eu-west-1"}],
    "telemetry.log_format": "json",
    "telemetry.log_level": "debug",
    "telemetry.device_usd_per_hour": 2.5,
    "compute.actors": 3,
    "compute.min_actors": 1,
    "compute.gpus_per_actor": 0.5,
    "compute.threads_per_actor": 1,
    "compute.max_batch": 4,
    "compute.block_images": 8,
    "compute.part_rows": 100,
    "compute.wait_nodes_s": 60,
    "checkpoint.use": "research",
    "checkpoint.allow_pickles": True,
    "checkpoint.cache": "elsewhere",
    "metrics.names": ("niqe",),
    "metrics.share": 0.5,
    "metrics.reference": "originals",
    "metrics.workers": 2,
    "metrics.max_output_px": 1000,
}
"""Another value for every setting that decides none."""


@pytest.mark.parametrize("name", sorted(OTHER))
def test_the_hash_changes_with_what_decides_a_pixel_or_a_row(name: str) -> None:
    assert load_spec(None, PLACES | {name: OTHER[name]}).spec_hash(SHA) != build().spec_hash(SHA)


@pytest.mark.parametrize("name", sorted(HARMLESS))
def test_the_hash_does_not_change_with_where_and_on_what_the_job_runs(name: str) -> None:
    needed = {"compute.actors": 2, "compute.gpus_per_actor": 1}  # by wait_nodes_s, and harmless too
    assert load_spec(None, PLACES | needed | {name: HARMLESS[name]}).spec_hash(SHA) == build().spec_hash(SHA)


def test_every_setting_is_known_to_the_two_tests_above() -> None:
    assert leaves(build()) == OTHER.keys() | HARMLESS.keys()


def test_hashes_that_there_were_before_a_second_model_are_the_same() -> None:
    former = {"budget.thresholds": (0.02, 0.1, 0.2, 0.33, 0.48, 0.62), "plan.n": 2.0}
    assert load_spec(None, PLACES | former | {"model": "a"}).spec_hash("0" * 64) == "ee10cec5ccce9ece"
    target = {"budget.policy": "target", "budget.target": OTHER["budget.target"]}
    assert load_spec(None, PLACES | former | target).spec_hash("0" * 64) == "41f4c77eed35fd59"
    assert build().spec_hash("0" * 64, "1" * 64) != build().spec_hash("0" * 64)


def test_the_hash_changes_with_the_weights() -> None:
    assert build().spec_hash(SHA) != build().spec_hash("1" + SHA[1:])


def test_the_hash_is_16_hex_digits_and_the_same_however_the_spec_was_written(tmp_path: Path) -> None:
    written = tmp_path / "job.yaml"
    written.write_text("plan: {n: 1.5}\nseed: 0\noutput: out\ninput: in\n", encoding="utf-8")
    ours = load_spec(written, {}).spec_hash(SHA)
    assert len(ours) == 16
    assert int(ours, 16) >= 0
    assert ours == build().spec_hash(SHA)


def test_polynomial_is_another_name_of_tds_and_hashes_as_it() -> None:
    spec = build(plan__family="polynomial")
    assert spec.plan.family == "tds"
    assert spec.spec_hash(SHA) == build(plan__family="tds").spec_hash(SHA)


def test_a_plan_takes_exactly_the_families_and_the_strengths_that_plans_are_made_of() -> None:
    assert get_args(PlanSpec.model_fields["family"].annotation) == get_args(PlanFamily)
    assert build(plan__n=MAX_N).plan.n == MAX_N
    with pytest.raises(SpecError, match=r"plan\.n"):
        build(plan__n=MAX_N + 0.01)


def test_a_plan_alone_is_checked_like_one_in_a_job() -> None:
    assert load_group(PlanSpec, {"n": 3}) == build(plan__n=3).plan
    with pytest.raises(SpecError, match=r"^a: .*correct it\nm: no such setting; remove it"):
        load_group(PlanSpec, {"a": 1, "m": 2})


def test_flags_win_over_the_file_and_leave_its_other_settings(tmp_path: Path) -> None:
    written = tmp_path / "job.yaml"
    written.write_text("input: in\noutput: out\nplan: {family: uniform, n: 3}\nseed: 5\n", encoding="utf-8")
    spec = load_spec(written, {"plan.n": 4, "budget.policy": "fixed", "output": "there"})
    assert (spec.plan.family, spec.plan.n, spec.seed) == ("uniform", 4, 5)
    assert (spec.budget.policy, spec.output) == ("fixed", "there")


def test_what_yaml_reads_as_a_truth_turns_compiling_on_or_off(tmp_path: Path) -> None:
    for word in ("on", "off"):
        written = tmp_path / "job.yaml"
        written.write_text(f"input: in\noutput: out\ncompute:\n  compile: {word}\n", encoding="utf-8")
        assert load_spec(written, {}).compute.compile == word


def test_a_spec_is_frozen_down_to_its_groups() -> None:
    spec = build()
    with pytest.raises(ValidationError):
        spec.seed = 1  # type: ignore[misc]
    with pytest.raises(ValidationError):
        spec.plan.n = 1  # type: ignore[misc]


def test_a_spec_is_the_same_after_json() -> None:
    spec = build(plan__n=3, compute__actors=2)
    assert JobSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("input", ""),
        ("scale", 5),
        ("scale", 1),
        ("size.max_side_px", 0),
        ("size.target_megapixels", 0),
        ("encode.metadata", "some"),
        ("seed", -1),
        ("seed", 2**63),
        ("tiles.tile_px", 8),
        ("tiles.tile_px", 20),
        ("tiles.tile_px", 520),
        ("tiles.overlap_px", -1),
        ("tiles.overlap_px", 33),
        ("plan.family", "cubic"),
        ("plan.a", 0),
        ("plan.a", 1),
        ("plan.n", 0.9),
        ("plan.n", float("nan")),
        ("plan.eta", 1.1),
        ("plan.a_range", (0, 0.5)),
        ("plan.a_range", (0.6, 0.5)),
        ("plan.n_range", (1, 9)),
        ("plan.detail_gain", -0.1),
        ("plan.detail_gain", 3.1),
        ("plan.n_range", (3, 2)),
        ("plan.n_range", (1, 2, 3)),
        ("plan.levels", 0),
        ("plan.levels", 65),
        ("plan.by_steps", [{"up_to_steps": 0}]),
        ("plan.by_steps", [{"up_to_steps": 4, "n_range": (2, 1)}]),
        ("plan.by_steps", [{"up_to_steps": 4}, {"up_to_steps": 2}]),
        ("budget.num_steps", -1),
        ("budget.ladder", ()),
        ("budget.ladder", (0, 2, 1, 4, 7, 10, 15)),
        ("budget.ladder", (0, 1, 1, 4, 7, 10, 15)),
        ("budget.ladder", (-1, 1, 2, 4, 7, 10, 15)),
        ("budget.ladder", (0, 1)),
        ("budget.thresholds", (0.1,)),
        ("budget.thresholds", (0.5, 0.1, 0.2, 0.33, 0.48, 0.62)),
        ("budget.thresholds", (0.02, 0.1, 0.2, 0.33, 0.48, 1.2)),
        ("encode.format", "gif"),
        ("encode.quality", 0),
        ("limits.max_input_px", 0),
        ("store.max_attempts", 0),
        ("compute.actors", 0),
        ("compute.dtype", "float16"),
        ("compute.part_rows", 0),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_name_with_the_remedy(setting: str, value: object) -> None:
    with pytest.raises(SpecError, match="correct it") as raised:
        load_spec(None, PLACES | {setting: value})
    assert setting.partition(".")[0] in str(raised.value)


def test_bounds_belong_to_what_is_allowed() -> None:
    assert build(tiles__tile_px=64, tiles__overlap_px=32).tiles.overlap_px == 32


def test_tiles_come_in_every_multiple_of_8_up_to_the_largest_unless_a_list_is_given() -> None:
    assert build().tiles.sides == (16, 24, 32, 40, 48, 56, 64)
    assert build(tiles__sides_px=(32,)).tiles.sides == (32, 64)
    assert build(tiles__sides_px=()).tiles.sides == (64,)
    with pytest.raises(SpecError, match=r"sides_px \[72\]: need at most tile_px=64; remove them from tiles\.sides_px"):
        build(tiles__sides_px=(32, 72))
    assert build(seed=2**63 - 1, plan__eta=1, plan__n=1, budget__num_steps=0).plan.eta == 1


@pytest.mark.parametrize("key", ["plam", "plan.m", "budget.rungs", "s3_region"])
def test_an_unknown_setting_is_refused_by_name(key: str) -> None:
    with pytest.raises(SpecError, match=rf"{key}: no such setting; remove it or correct its spelling"):
        load_spec(None, PLACES | {key: 1})


def test_every_fault_is_told_at_once_a_line_each() -> None:
    with pytest.raises(SpecError) as raised:
        load_spec(None, {"input": "in", "plan.n": 0, "colour": True})
    lines = str(raised.value).splitlines()
    assert sorted(line.partition(":")[0] for line in lines) == ["colour", "output", "plan.n"]
    assert all("; " in line for line in lines)


def test_a_group_that_is_a_value_is_refused(tmp_path: Path) -> None:
    written = tmp_path / "job.yaml"
    written.write_text("plan: 3\n", encoding="utf-8")
    with pytest.raises(SpecError, match="plan is not a group of settings; remove it"):
        load_spec(written, PLACES | {"plan.n": 2})


@pytest.mark.parametrize("text", [b"input: [", b"- a\n- b\n", b"\xff\xfe\x00", b"just words"])
def test_a_file_that_holds_no_settings_is_refused(tmp_path: Path, text: bytes) -> None:
    written = tmp_path / "job.yaml"
    written.write_bytes(text)
    with pytest.raises(SpecError, match=r"; (correct the file or its name|see jobs)"):
        load_spec(written, {})


def test_a_file_that_does_not_exist_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"cannot read the spec .*none\.yaml"):
        load_spec(tmp_path / "none.yaml", {})


def test_an_empty_file_is_no_settings(tmp_path: Path) -> None:
    written = tmp_path / "job.yaml"
    written.write_text("# nothing\n", encoding="utf-8")
    assert load_spec(written, PLACES) == build()


def test_a_rule_for_few_steps_wins_up_to_its_steps_and_leaves_what_it_does_not_say() -> None:
    plan = build(
        plan__a=0.4,
        plan__n_range=(1, 3),
        plan__by_steps=[{"up_to_steps": 2, "n_range": (1, 1)}, {"up_to_steps": 4, "a_range": (0.2, 0.3)}],
    ).plan
    assert plan.ranges(1) == plan.ranges(2) == ((0.4, 0.4), (1, 1))
    assert plan.ranges(3) == plan.ranges(4) == ((0.2, 0.3), (1, 3))
    assert plan.ranges(5) == plan.ranges(15) == ((0.4, 0.4), (1, 3))
    assert build().plan.ranges(7) == ((0.5, 0.5), (1.5, 1.5))


@pytest.mark.parametrize(
    ("settings", "num_levels"),
    [
        ({}, 1),
        ({"n_range": (1, 1)}, 1),
        ({"n_range": (2, 2), "a_range": (0.4, 0.4)}, 1),
        ({"n_range": (1, 1), "a_range": (0.3, 0.6)}, 1),  # n = 1 is uniform wherever a is
        ({"n_range": (1, 3), "family": "uniform"}, 1),
        ({"n_range": (1, 3), "levels": 1}, 1),
        ({"eta_by_texture": True}, 1),  # of an eta of 0
        ({"n_range": (1, 3)}, 8),
        ({"a_range": (0.3, 0.6)}, 8),
        ({"by_steps": [{"up_to_steps": 2, "n_range": (1, 3)}]}, 8),
        ({"eta_by_texture": True, "eta": 0.1, "levels": 5}, 5),
    ],
)
def test_levels_are_told_apart_only_where_something_varies_with_them(
    settings: dict[str, object], num_levels: int
) -> None:
    assert build(**{f"plan__{name}": value for name, value in settings.items()}).plan.num_levels == num_levels
