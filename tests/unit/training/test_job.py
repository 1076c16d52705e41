import json
import shutil
from pathlib import Path

import pytest
import yaml

from tss_ray.errors import TrainingError
from tss_ray.training import job
from tss_ray.training.recipe import Recipe


@pytest.mark.parametrize("github", [False, True])
def test_a_run_fetches_trains_and_returns_the_weights(
    github: bool, tiny: Recipe, photo_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "recipe.yaml"
    settings = tiny.model_dump(mode="json") | {"validation": {"every": 1, "crop_px": 96, "steps": [1]}}
    settings["crops"]["github"] = github
    recipe.write_text(yaml.safe_dump(settings))
    asked: list[tuple[str, ...]] = []

    def fetch(folder: Path, collections: tuple[str, ...]) -> None:
        asked.append(collections)
        shutil.copytree(photo_files[0].parent, folder)

    def found(folder: Path, split: str, collections: tuple[str, ...] = ("debian",)) -> list[Path]:
        assert collections == (asked[0] if split == "train" else ("debian",))
        return sorted(folder.glob("*.png"))

    monkeypatch.setattr(job, "fetch_photos", fetch)
    monkeypatch.setattr(job, "photos", found)
    weights = job.run(tmp_path / "photos", tmp_path / "out", recipe, device="cpu", stop_at=1)
    assert asked == [("debian", "github") if github else ("debian",)]
    assert weights == tmp_path / "out/model.safetensors"
    assert weights.exists()
    rows = [json.loads(line) for line in (tmp_path / "out/validation.jsonl").read_text().splitlines()]
    assert [(row["iteration"], row["num_steps"]) for row in rows] == [(1, 0), (1, 1)]
    assert (tmp_path / "out/validation_000001.png").exists()


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(TrainingError, match="choose auto, cpu or cuda"):
        job.pick_device("cuda:99")
    with pytest.raises(TrainingError, match="choose auto"):
        job.pick_device("abacus")
