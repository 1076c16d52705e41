import pytest

from tss_ray.errors import SpecError
from tss_ray.storage.overlap import check_output_outside_input


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("in", "in"),
        ("in", "in/out"),
        ("in/", "./in/../in/out"),
        ("in", "link/out"),
        ("in/**/*.png", "in/out"),
        ("in/*/*/*.png", "in/out"),
        ("out/images", "out"),
        ("out/images/2024", "out"),
        ("s3://b/in", "s3://b/in"),
        ("s3://b/in/", "s3://b/in/out"),
        ("s3://b", "s3://b/out"),
        ("s3://b/out/images/x", "s3://b/out/"),
        ("s3://b/in/**/*.png", "s3://b/in/out"),
    ],
)
def test_an_output_that_meets_the_input_is_refused(tmp_path, monkeypatch, source, output):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to("in")
    with pytest.raises(SpecError, match="choose an"):
        check_output_outside_input(source, output)


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("in", "in-out"),
        ("in", "in/../out"),
        ("in/*.png", "in/out"),
        ("in/a.png", "out"),
        ("s3://b/in", "s3://b/in-out"),
        ("s3://b/in", "s3://c/in"),
        ("s3://b/in/../out", "s3://b/out"),
        ("s3://b/in", "b/in"),
        ("out/imagesque", "out"),
        ("sample://photos", "out"),
    ],
)
def test_an_output_beside_the_input_passes(tmp_path, monkeypatch, source, output):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    check_output_outside_input(source, output)
