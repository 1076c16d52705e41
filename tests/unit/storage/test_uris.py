import pytest

from tss_ray.errors import SpecError
from tss_ray.storage.uris import check_output_path, join_uri, parse_uri


@pytest.mark.parametrize("key", ["a b.png", "100%25.png", "日本.png", "a#b?c.png", "line\nbreak.png", "a//b", "/lead"])
def test_an_s3_key_is_taken_letter_for_letter(key):
    where = parse_uri(f"s3://bucket/{key}")
    assert (where.scheme, where.bucket, where.path) == ("s3", "bucket", key)
    assert str(where) == f"s3://bucket/{key}"
    assert parse_uri(join_uri("s3://bucket", key)).path == key


def test_a_prefix_ends_in_one_slash_however_it_was_written():
    assert parse_uri("s3://b/in").prefix == parse_uri("s3://b/in/").prefix == "in/"
    assert parse_uri("s3://b").prefix == parse_uri("s3://b/").prefix == ""
    assert join_uri("s3://b/in/", "k") == join_uri("s3://b/in", "k") == "s3://b/in/k"


def test_local_paths_and_file_uris():
    assert parse_uri("photos/a%20b").path == "photos/a%20b"
    assert parse_uri("file:///photos/a%20b").path == "/photos/a b"
    assert parse_uri("file://localhost/x").path == "/x"
    assert join_uri("/photos/", "a.png") == "/photos/a.png"


@pytest.mark.parametrize("uri", ["", "s3://", "s3:///key", "gs://b/k", "file://host/x", "sample://cats", "a\0b"])
def test_what_is_not_served_is_refused_with_a_remedy(uri):
    with pytest.raises(SpecError, match=r"write|copy|give|remove"):
        parse_uri(uri)


def test_an_output_must_be_writable_by_kind(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SpecError, match="read-only"):
        check_output_path("sample://photos")
    with pytest.raises(SpecError, match="is a file"):
        check_output_path(str(tmp_path / "file"))
    assert check_output_path(str(tmp_path / "new")).scheme == "file"
