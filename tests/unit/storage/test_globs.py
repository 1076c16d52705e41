import pytest

from tss_ray.storage.globs import compile_glob, has_magic, literal_start, split_glob


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*.jpg", ["a.jpg", "a b.jpg"], ["x/a.jpg", "a.jpgx"]),
        ("**/*.jpg", ["a.jpg", "x/a.jpg", "x/y/a.jpg"], ["a.png"]),
        ("2024/**", ["2024/a", "2024/b/c"], ["2025/a"]),
        ("?[0-9].png", ["a1.png"], ["/1.png", "ab.png"]),
        ("[!a]b", ["cb"], ["ab", "/b"]),
        ("a.b+(c)*", ["a.b+(c)d"], ["aXb+(c)d"]),
        ("[x", ["[x"], ["x"]),
    ],
)
def test_wildcards_stay_within_a_component(pattern, yes, no):
    glob = compile_glob(pattern)
    assert [key for key in yes + no if glob.fullmatch(key)] == yes


def test_a_pattern_splits_before_its_first_wildcard():
    assert split_glob("photos/2024/**/*.jpg") == ("photos/2024", "**/*.jpg")
    assert split_glob("*.jpg") == ("", "*.jpg")
    assert split_glob("/*.jpg") == ("/", "*.jpg")
    assert literal_start("2024-*/x") == "2024-"
    assert has_magic("a?")
    assert not has_magic("a#b")
