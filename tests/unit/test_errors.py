"""Promises of the exception tree."""

import inspect
import re

import pytest

from tss_ray import errors
from tss_ray.errors import ImageError, TssRayError

CLASSES = {name: value for name, value in vars(errors).items() if inspect.isclass(value)}


def test_every_class_is_public_and_nothing_else_is() -> None:
    assert sorted(errors.__all__) == errors.__all__ == sorted(CLASSES)


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    assert errors.__doc__ is not None
    drawn: dict[str, str] = {}
    ancestors: list[str] = []
    for line in errors.__doc__.splitlines():
        if found := re.match(r"([│├└─ ]*)([A-Z]\w+Error)\b", line):
            depth = len(found[1]) // 4
            ancestors[depth:] = [found[2]]
            drawn[found[2]] = ancestors[depth - 1] if depth else "Exception"
    assert drawn == {name: value.__bases__[0].__name__ for name, value in CLASSES.items()}


def test_the_exit_codes_are_the_documented_ones() -> None:
    documented = dict(re.findall(r"(\w+Error)\b.*exit code (\d)", errors.__doc__ or ""))
    assert set(documented.values()) == {"1", "2"}
    for name, code in documented.items():
        assert CLASSES[name].exit_code == int(code)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_class_says_what_it_is_for(name: str) -> None:
    assert CLASSES[name].__doc__
    assert issubclass(CLASSES[name], TssRayError)


def test_an_image_error_keeps_its_kind_and_its_message() -> None:
    error = ImageError("truncated", "it ends early; copy it again")
    assert (error.kind, str(error)) == ("truncated", "it ends early; copy it again")
