"""Promises about a job's model: what does not fit is refused before the run."""

import logging
from pathlib import Path

import pytest
from checkpoints import write_sd_controlnet, write_sd_upscaler
from resshift import write_resshift
from tiny import write_tiny_model

from tss_ray.errors import SpecError
from tss_ray.pipeline.model import check_models_fit, job_cards
from tss_ray.spec import JobSpec, load_spec


def job(model: Path, **settings: object) -> JobSpec:
    fixed = {"input": "in", "output": "out", "model": str(model), "tiles.tile_px": 32, "tiles.overlap_px": 8}
    return load_spec(None, fixed | {name.replace("__", "."): value for name, value in settings.items()})


def check(spec: JobSpec) -> None:
    check_models_fit(spec, job_cards(spec))


@pytest.fixture
def one_step(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "one-step", num_steps=[1])


def test_a_one_step_model_runs_one_step_or_none_and_no_other(one_step: Path) -> None:
    check(job(one_step, budget__policy="fixed", budget__num_steps=1))
    check(job(one_step, budget__ladder=(0, 1), budget__thresholds=(0.1,)))
    with pytest.raises(
        SpecError, match=r"was made for 1 steps, and images may get \[2, 4, 7, 10, 15\]; give --steps 1"
    ):
        check(job(one_step))
    with pytest.raises(SpecError, match=r"images may get \[2\]"):
        check(job(one_step, budget__policy="fixed", budget__num_steps=2))


def test_a_one_step_model_takes_rung_1_of_another_s_ladder(one_step: Path, tmp_path: Path) -> None:
    four = write_tiny_model(tmp_path / "four", num_steps=[4])
    spec = job(four, one_step_model=str(one_step), budget__ladder=(0, 1, 4), budget__thresholds=(0.1, 0.5))
    check(spec)
    cards = job_cards(spec)
    assert [cards.at(num) for num in (0, 1, 4)] == [cards.main, cards.one_step, cards.main]
    assert cards.num_steps == (1, 4)
    assert spec.spec_hash(*cards.sha256s) != spec.spec_hash(cards.main.sha256)
    assert job_cards(job(four)).num_steps == (4,)


def test_a_second_model_that_does_not_fit_is_refused(one_step: Path, tmp_path: Path) -> None:
    main, second = write_tiny_model(tmp_path / "main"), {"one_step_model": str(one_step)}
    with pytest.raises(SpecError, match="no image may get 1 step, which tiny is for; add 1 to"):
        check(job(main, **second, budget__policy="fixed", budget__num_steps=2))
    with pytest.raises(SpecError, match="leave it or one_step_model out"):
        check(job(main, **second, budget__by_tile=True))
    with pytest.raises(SpecError, match=r"was made for 4 steps, and images may get \[1\]"):
        check(job(main, one_step_model=str(write_tiny_model(tmp_path / "four", num_steps=[4]))))
    with pytest.raises(SpecError, match="tiny and tiny take no prompt"):
        check(job(main, **second, checkpoint__prompt="a cat"))
    with pytest.raises(SpecError, match="tiny enlarges by 2, tiny by 4; choose models of one scale"):
        check(job(main, one_step_model=str(write_tiny_model(tmp_path / "two", scale=2))))
    bound = write_tiny_model(tmp_path / "m", licence="S-Lab License 1.0")
    with pytest.raises(SpecError, match="--use commercial is refused"):
        check(job(main, one_step_model=str(bound), checkpoint__use="commercial"))


def test_more_steps_than_timesteps_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="budget of 51 steps: tiny has 50 timesteps; lower it"):
        check(job(write_tiny_model(tmp_path / "m"), budget__policy="fixed", budget__num_steps=51))


def test_a_prompt_for_a_model_that_takes_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"takes no prompt; remove checkpoint\.prompt"):
        check(job(write_tiny_model(tmp_path / "m"), checkpoint__prompt="a cat"))


def test_a_setting_of_another_family_is_refused(tmp_path: Path) -> None:
    model = write_sd_controlnet(tmp_path / "m")
    check(job(model, checkpoint__prompt="a cat", checkpoint__controlnet_conditioning_scale=0.8))
    with pytest.raises(SpecError, match=r"takes no noise_level; remove checkpoint\.noise_level$"):
        check(job(model, checkpoint__prompt="a cat", checkpoint__noise_level=10))


def test_more_noise_than_the_model_takes_is_refused_before_the_job(tmp_path: Path) -> None:
    model = write_sd_upscaler(tmp_path / "m")
    check(job(model, checkpoint__noise_level=35))
    with pytest.raises(SpecError, match=r"noise_level=36 is above its 35; lower checkpoint\.noise_level"):
        check(job(model, checkpoint__noise_level=36))


def test_compiling_what_is_not_compiled_is_refused_before_the_job(tmp_path: Path) -> None:
    check(job(write_tiny_model(tmp_path / "tiny"), compute__compile="on"))
    with pytest.raises(SpecError, match=r"resshift is not compiled yet; leave compute\.compile at auto"):
        check(job(write_resshift(tmp_path / "resshift"), compute__compile="on"))


def test_a_licence_that_forbids_the_use_is_refused(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "m", licence="S-Lab License 1.0")
    with pytest.raises(SpecError, match=r"is under the licence 'S-Lab License 1\.0': .*--use commercial is refused"):
        check(job(model, checkpoint__use="commercial"))
    check(job(model, checkpoint__use="research"))


def test_a_licence_with_limits_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        check(job(write_tiny_model(tmp_path / "m", licence="openrail++"), checkpoint__use="commercial"))
    assert "openrail++" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        check(job(write_tiny_model(tmp_path / "n"), checkpoint__use="commercial"))
    assert not caplog.text


def test_a_share_of_noise_for_a_model_with_a_rule_of_its_own_is_refused(tmp_path: Path) -> None:
    model = write_resshift(tmp_path / "resshift")
    check(job(model))
    with pytest.raises(SpecError, match=r"leave plan\.eta at 0"):
        check(job(model, plan__eta=0.5))
