"""Promises of fetching: whole or absent, once per machine, and nothing that is not needed."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from tss_ray.errors import ModelError, StorageError
from tss_ray.models.fetch import Source, fetch, pickled, wanted
from tss_ray.models.registry import load_model


@dataclass(frozen=True)
class Info:
    key: str
    size_bytes: int
    etag: str | None


class Shelf:
    """Objects in memory that count their reads; one may break."""

    def __init__(self, files: dict[str, bytes], broken: str | None = None) -> None:
        self.files, self.broken, self.reads = files, broken, []

    def list(self, prefix: str = "") -> Iterator[Info]:
        return (Info(key, len(data), str(hash(data))) for key, data in self.files.items())

    def read(self, key: str, max_bytes: int | None = None) -> bytes:
        self.reads.append(key)
        if key == self.broken:
            raise StorageError("the line went dead")
        return self.files[key]


@pytest.fixture
def shelf(tiny_model_folder: Path) -> Shelf:
    return Shelf({file.name: file.read_bytes() for file in tiny_model_folder.iterdir()} | {"notes.md": b"x"})


def source(shelf: Shelf, tmp_path: Path) -> Source:
    return Source(lambda uri: shelf, tmp_path / "cache")


def test_a_model_on_s3_is_fetched_once_and_loads(shelf: Shelf, tmp_path: Path) -> None:
    first, second = (fetch("s3://bucket/models/tiny", source(shelf, tmp_path)) for _ in range(2))
    assert first == second
    assert sorted(shelf.reads) == ["card.json", "model.safetensors"]
    assert load_model(first, torch.device("cpu"), torch.float32).card.model_id == "tiny"


def test_workers_that_come_at_once_fetch_once(shelf: Shelf, tmp_path: Path) -> None:
    read = shelf.read
    shelf.read = lambda key, max_bytes=None: (threading.Event().wait(0.05), read(key))[1]
    found: list[str] = []
    workers = [
        threading.Thread(target=lambda: found.append(fetch("s3://b/tiny", source(shelf, tmp_path)))) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert sorted(shelf.reads) == ["card.json", "model.safetensors"]


def test_a_fetch_that_breaks_off_leaves_no_folder_and_the_next_one_is_whole(shelf: Shelf, tmp_path: Path) -> None:
    shelf.broken = "model.safetensors"
    with pytest.raises(StorageError):
        fetch("s3://b/tiny", source(shelf, tmp_path))
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    shelf.broken = None
    assert {file.name for file in Path(fetch("s3://b/tiny", source(shelf, tmp_path))).iterdir()} == {
        "card.json",
        "model.safetensors",
    }


def test_other_contents_are_another_folder(shelf: Shelf, tmp_path: Path) -> None:
    first = fetch("s3://b/tiny", source(shelf, tmp_path))
    shelf.files["card.json"] += b" "
    assert fetch("s3://b/tiny", source(shelf, tmp_path)) != first


def test_a_prefix_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds neither card\.json nor model_index\.json; give the prefix"):
        fetch("s3://b/none", source(Shelf({"a/b/c.txt": b""}), tmp_path))


def test_a_cache_that_cannot_be_written_is_named(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(ModelError, match=r"cannot be written: .*; set checkpoint\.cache"):
        fetch("s3://b/tiny", source(shelf, tmp_path))


def test_of_a_checkpoint_only_what_is_needed_is_taken() -> None:
    names = [
        "README.md",
        "model_index.json",
        "card.json",
        "x4-upscaler-ema.safetensors",
        "safety_checker/config.json",
        "safety_checker/model.safetensors",
        "feature_extractor/preprocessor_config.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.fp16.safetensors",
        "text_encoder/pytorch_model.bin",
        "tokenizer/merges.txt",
        "unet/deep/er.json",
        "../outside.json",
    ]
    text = ["README.md", "card.json", "model_index.json", "tokenizer/merges.txt", "unet/config.json"]
    safe = ["unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.fp16.safetensors"]
    assert wanted(names, allow_pickles=False) == sorted(text + safe)
    assert wanted(names, allow_pickles=True) == sorted([*text, *safe, "text_encoder/pytorch_model.bin"])
    assert pickled(names) == ["text_encoder/pytorch_model.bin"]


def test_of_a_resshift_folder_the_configuration_and_one_file_of_each_weights_are_taken() -> None:
    names = ["README.md", "card.json", "realsr.yaml", "net.pth", "net.safetensors", "autoencoder_vq_f4.pth", "a/b.pth"]
    assert wanted(names, allow_pickles=False) == ["card.json", "net.safetensors", "realsr.yaml"]
    assert wanted(names, allow_pickles=True) == [
        "autoencoder_vq_f4.pth",
        "card.json",
        "net.safetensors",
        "realsr.yaml",
    ]
    assert pickled(names) == ["autoencoder_vq_f4.pth"]
    assert wanted(["model_index.json", "v1.yaml", "v1.safetensors"], allow_pickles=True) == ["model_index.json"]


PICKLES_ALONE = ["README.md", "model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.bin"]


def test_what_lies_there_as_pickles_alone_is_refused_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf(dict.fromkeys(PICKLES_ALONE, b"x"))
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", lambda self, repo, revision: PICKLES_ALONE)
    for name in ("s3://b/old", "hf://owner/old"):
        with pytest.raises(
            ModelError, match=r"unet/diffusion_pytorch_model\.bin as pickles alone.*add --allow-pickles"
        ):
            fetch(name, source(shelf, tmp_path))
    assert not shelf.reads
    fetch("s3://b/old", Source(lambda uri: shelf, tmp_path / "cache", allow_pickles=True))
    assert sorted(shelf.reads) == PICKLES_ALONE


REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def offline_hub(tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """The hub's own cache with one model, and no network."""
    repo = tmp_path / "hub" / "models--someone--tiny"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(REVISION)
    snapshot = repo / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    for file in tiny_model_folder.iterdir():
        (snapshot / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return Source(lambda uri: Shelf({}), tmp_path / "hub")


@pytest.mark.parametrize("name", ["hf://someone/tiny", f"hf://someone/tiny@{REVISION}", "hf://someone/tiny@main"])
def test_a_model_of_the_hub_that_was_fetched_before_is_found_without_a_network(offline_hub: Source, name: str) -> None:
    folder = fetch(name, offline_hub)
    assert Path(folder).name == REVISION
    assert load_model(folder, torch.device("cpu"), torch.float32).card.model_id == "tiny"


@pytest.mark.parametrize("name", ["hf://someone/other", "hf://someone/tiny@v2"])
def test_without_a_network_what_is_not_there_is_refused_with_the_remedy(offline_hub: Source, name: str) -> None:
    with pytest.raises(ModelError, match=r"the hub cannot be reached \(OfflineModeIsEnabled\).*`tss-ray models fetch`"):
        fetch(name, offline_hub)


@pytest.mark.parametrize("name", ["hf://tiny", "hf://a/b/c", "hf:///"])
def test_a_name_that_is_no_repository_is_refused(offline_hub: Source, name: str) -> None:
    with pytest.raises(ModelError, match="need hf://owner/name, with @revision"):
        fetch(name, offline_hub)


def test_the_hub_is_asked_for_what_is_needed_of_the_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}
    files = ["model_index.json", "unet/config.json", "unet/a.safetensors", "unet/a.bin"]
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", lambda self, repo, revision: files)
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda repo, **told: (asked.update(told, repo=repo), str(tmp_path))[1]
    )
    assert fetch("hf://owner/name@v1", Source(lambda uri: Shelf({}), tmp_path)) == str(tmp_path)
    assert asked == {
        "repo": "owner/name",
        "revision": "v1",
        "cache_dir": tmp_path,
        "allow_patterns": ["model_index.json", "unet/a.safetensors", "unet/config.json"],
    }


def test_other_names_are_left_as_they_are(tmp_path: Path) -> None:
    for name in ("tss-x4-small", "a/folder", str(tmp_path)):
        assert fetch(name, Source(lambda uri: Shelf({}))) == name
