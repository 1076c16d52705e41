"""Whatever an object holds and whatever it is called: it becomes a row, and nothing is written beside the output."""

import os
import resource
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from photos import photo_bytes

from tss_ray.errors import ImageError
from tss_ray.imaging.decode import decode
from tss_ray.pipeline.prepare import Prepare
from tss_ray.records import ManifestRow
from tss_ray.spec import StoreSpec, load_spec
from tss_ray.storage.inputs import list_inputs
from tss_ray.storage.layout import output_key
from tss_ray.storage.local import LocalStore
from tss_ray.storage.stores import open_store

MEDIA = {"video", "audio", "vector", "document", "archive", "unsupported_format"}
KINDS = {"empty", "not_an_image", "too_large", "corrupt", "unsupported_mode", *MEDIA}
MAX_PX = 100_000
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF")


@cache
def valid(image_format: str) -> bytes:
    return photo_bytes(1, 40, 30, image_format=image_format)


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )


def nested_tiff(depth: int) -> bytes:
    """Return a TIFF whose directories point at each other, and at themselves."""
    data = bytearray(b"II*\0" + struct.pack("<I", 8))
    for i in range(depth):
        here = 8 + i * 18
        child = 8 + ((i + 1) % depth) * 18
        data += struct.pack("<HHHIII", 1, 330, 4, 1, child, here if i % 2 else child)
    return bytes(data)


def corpus() -> dict[str, bytes]:
    """Return what is found in real buckets, by name."""
    whole = {image_format: valid(image_format) for image_format in FORMATS}
    exif = b"Exif\0\0" + nested_tiff(200)
    bomb = zlib.compress(b"A" * 50_000_000)
    files = {
        f"cut-{name}-{share}": data[: len(data) * share // 10] for name, data in whole.items() for share in (1, 5, 9)
    }
    files |= {f"flipped-{name}": bytes(b ^ (i % 97 == 3) for i, b in enumerate(data)) for name, data in whole.items()}
    return files | {
        "nothing": b"",
        "one-byte": b"\x89",
        "wrong-extension.png": b"%PDF-1.7 not an image at all",
        "html.jpg": b"<!doctype html><title>404</title>",
        "script.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "bomb-png": png(60_000, 60_000),
        "bomb-png-negative": png(0x7FFFFFFF, 0x7FFFFFFF),
        "bomb-gif": b"GIF89a" + struct.pack("<HH", 60_000, 60_000) + b"\0\0\0" + b"\x2c" + b"\0" * 20,
        "bomb-text": png(30, 20, (b"zTXt", b"Comment\0\0" + bomb)),
        "bomb-profile": png(30, 20, (b"iCCP", b"p\0\0" + bomb)),
        "nested-exif": png(30, 20, (b"eXIf", nested_tiff(200))),
        "nested-exif-jpeg": whole["JPEG"][:2]
        + b"\xff\xe1"
        + struct.pack(">H", len(exif) + 2)
        + exif
        + whole["JPEG"][2:],
        "nested-tiff": nested_tiff(50),
        "endless-tiff": b"II*\0" + struct.pack("<IHI", 8, 0, 8),
        "polyglot": whole["JPEG"] + b"PK\x03\x04" + whole["PNG"],
        "zeros": bytes(10_000),
    }


@pytest.fixture(scope="module")
def prepare(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bytes], ManifestRow]:
    """Return the whole way from a file to its row, without Ray."""
    folder = tmp_path_factory.mktemp("rotten")
    spec = load_spec(None, {"input": str(folder), "output": "out", "limits.max_input_px": MAX_PX})
    stage, path = Prepare(spec, "0", None), folder / "object"

    def prepared(image_key: str, data: bytes) -> ManifestRow:
        path.write_bytes(data)
        image = stage.prepare({"image_key": image_key, "uri": str(path)}, decode)
        assert (image.pixels is None) == (image.row.status == "quarantined")
        if image.pixels is not None:
            assert image.pixels.dtype == np.uint8
            assert 0 < image.pixels.shape[0] * image.pixels.shape[1] <= MAX_PX
        return image.row

    return prepared


@pytest.mark.parametrize("name", sorted(corpus()))
def test_what_is_found_in_buckets_is_a_row(prepare: Callable[[str, bytes], ManifestRow], name: str) -> None:
    row = prepare(name, corpus()[name])
    assert row.error_kind is None or row.error_kind in KINDS
    if name.startswith("bomb-") and "text" not in name and "profile" not in name:
        assert row.error_kind == "too_large"
    if row.error_kind is not None:
        assert row.error_message


def test_a_header_of_60_000_by_60_000_px_allocates_nothing_of_that_size() -> None:
    code = f"""
import resource, sys
from tss_ray.errors import DecodeError
from tss_ray.imaging.decode import decode
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode(sys.stdin.buffer.read(), {MAX_PX})
except DecodeError as error:
    print(error.kind, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code], input=png(60_000, 60_000), capture_output=True, check=True)
    kind, grown_kib = done.stdout.split()
    assert kind == b"too_large"
    assert int(grown_kib) < 50_000


@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(FORMATS),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=12),
    st.floats(0, 1),
    st.booleans(),
)
@example("PNG", [], 0.0, False)
def test_a_mutated_file_is_pixels_or_a_row(
    prepare: Callable[[str, bytes], ManifestRow],
    image_format: str,
    edits: list[tuple[float, int]],
    kept: float,
    in_header: bool,
) -> None:
    data = bytearray(valid(image_format))
    reach = 64 if in_header else len(data)
    for place, value in edits:
        data[int(place * reach)] = value
    row = prepare("a.png", bytes(data[: round(len(data) * kept)]))
    assert row.status == "pending" or row.error_kind in KINDS


MUTATE_MANY = """
import random, resource, sys, time
from tss_ray.errors import DecodeError
from tss_ray.imaging.decode import decode
KINDS = sys.argv.pop()
files, worst = [open(path, "rb").read() for path in sys.argv[3:]], 0.0
for data in files:
    decode(data, 100_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for seed in range(int(sys.argv[1]), int(sys.argv[2])):
    chance = random.Random(seed)
    data = bytearray(files[seed % len(files)])
    reach = len(data) if chance.random() < 0.5 else 96
    for _ in range(chance.choice((1, 1, 2, 8, 40))):
        data[chance.randrange(reach)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    if chance.random() < 0.3:
        del data[chance.randrange(1, len(data)):]
    print(seed, file=sys.stderr, flush=True)
    began = time.process_time()
    try:
        decode(bytes(data), 100_000)
    except DecodeError as error:
        assert error.kind in KINDS.split(), error.kind
    worst = max(worst, time.process_time() - began)
print(worst, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_5000_mutated_files_neither_crash_nor_hang_nor_fill_the_memory(tmp_path: Path) -> None:
    paths = []
    for image_format in FORMATS:
        paths.append(tmp_path / image_format)
        paths[-1].write_bytes(valid(image_format))
    call = [sys.executable, "-c", MUTATE_MANY, "0", "5000", *map(str, paths), " ".join(KINDS)]
    done = subprocess.run(call, capture_output=True, text=True, timeout=3000, check=False)
    assert done.returncode == 0, f"the last seed and what came of it: {done.stderr[-600:]}"
    worst_s, grown_kib = map(float, done.stdout.split())
    assert worst_s < 5
    assert grown_kib < 150_000


HOSTILE = (
    "../escape.png",
    "a/../../escape.png",
    "..",
    "/etc/passwd",
    "a//b.png",
    "./a.png",
    "a/./b.png",
    "a\\..\\..\\b.png",
    "new\nline.png",
    "nul\0.png",
    "tab\t.png",
    "x" * 300 + ".png",
    "/".join(["d" * 200] * 30) + ".png",
    " space .png",
    "ünïcödé 雪 😀.png",
    "per%cent%20%2e%2e%2f.png",
    "%2e%2e/%2e%2e/x.png",
    "-rf.png",
    "a;rm -rf *.png",
    "$(touch x).png",
    "~/home.png",
    "con.png",
    ".png",
    "..png",
    "...",
    "images/../manifest/part-0.parquet",
)


def outputs_stay_inside(folder: Path, image_key: str) -> None:
    """Write what the key leads to, as the upscaler does; only the output may hold anything afterwards."""
    out = folder / "out"
    with suppress(ImageError):
        LocalStore(str(out)).write(output_key(image_key, "png"), b"x")
    written = [Path(at) / name for at, _, names in os.walk(folder) for name in names]
    assert all(path.is_relative_to(out / "images") for path in written), image_key
    for path in written:
        path.unlink()


@pytest.mark.parametrize("image_key", HOSTILE)
def test_a_hostile_key_never_leads_out_of_the_output(tmp_path: Path, image_key: str) -> None:
    outputs_stay_inside(tmp_path, image_key)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.sampled_from("./\\ab%2e\0\n~ é"), min_size=1, max_size=24))
def test_no_key_leads_out_of_the_output(tmp_path: Path, image_key: str) -> None:
    outputs_stay_inside(tmp_path, image_key)


@settings(deadline=None, max_examples=300)
@given(st.text(st.sampled_from("./\\ab%2e\0\n~ é"), min_size=1, max_size=24) | st.sampled_from(HOSTILE))
def test_on_s3_every_name_lies_under_the_prefix_and_holds_no_way_up(image_key: str) -> None:
    try:
        name = output_key(image_key, "png")
    except ImageError:
        return
    uri = open_store("s3://bucket/some/prefix", StoreSpec()).uri(name)
    assert uri.startswith("s3://bucket/some/prefix/images/")
    assert not {"", ".", ".."} & set(uri.removeprefix("s3://").split("/"))


def test_every_file_with_a_hostile_name_is_listed_and_gets_a_row_or_an_image(
    tmp_path: Path, prepare: Callable[[str, bytes], ManifestRow]
) -> None:
    names = [key for key in HOSTILE if "/" not in key and "\0" not in key and len(key) < 250 and key[0] != "."]
    for name in names:
        (tmp_path / name).write_bytes(valid("PNG"))
    items = {item.image_key: item for item in list_inputs(str(tmp_path), StoreSpec())}
    assert set(items) == set(names)
    for name in names:
        row = prepare(name, valid("PNG"))
        assert row.error_kind in (None, "bad_key")
        assert (row.error_kind == "bad_key") == any(c in name for c in "\\\n\t")


def test_the_corpus_is_watched_by_the_clock(prepare: Callable[[str, bytes], ManifestRow]) -> None:
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    for name, data in corpus().items():
        prepare(name, data)
    assert time.process_time() - began < 60
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000
