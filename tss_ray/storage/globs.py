"""Glob patterns over keys: `*`, `?` and `[..]` within a component, `**` for any number of folders."""

import fnmatch
import re

_MAGIC = re.compile(r"[*?[]")


def has_magic(path: str) -> bool:
    """Say whether a path may be a pattern; the caller asks first whether it exists letter for letter."""
    return _MAGIC.search(path) is not None


def split_glob(path: str) -> tuple[str, str]:
    """Split a pattern into the folder before the first magic component ("" if none) and the rest."""
    components = path.split("/")
    first = next(index for index, component in enumerate(components) if has_magic(component))
    folder = "/".join(components[:first])
    # "/*.png" begins at the root folder, not at the current one.
    return folder or "/" * (first > 0), "/".join(components[first:])


def literal_start(pattern: str) -> str:
    """Return what every match begins with, so that a store need not list the rest."""
    match = _MAGIC.search(pattern)
    return pattern[: match.start()] if match else pattern


def compile_glob(pattern: str) -> re.Pattern[str]:
    """Return what matches whole keys, relative to the pattern's folder."""
    parts = []
    components = pattern.split("/")
    for index, component in enumerate(components):
        last = index == len(components) - 1
        if component == "**":
            parts.append(".*" if last else "(?:[^/]+/)*")
        else:
            parts.append(_component(component) + ("" if last else "/"))
    return re.compile("".join(parts), re.DOTALL)


def _component(pattern: str) -> str:
    """Translate one component, in which no wildcard crosses a slash."""
    pieces = re.split(r"(\*|\?|\[[!^]?\]?[^\]]*\])", pattern)
    translated = []
    for piece in pieces:
        if piece == "*":
            translated.append("[^/]*")
        elif piece == "?":
            translated.append("[^/]")
        elif piece.startswith("[") and piece.endswith("]") and len(piece) > 2:
            # The lookahead, because [!a] would match a slash; fnmatch knows the odd corners of ranges.
            translated.append("(?!/)" + _inner(fnmatch.translate(piece)))
        else:
            translated.append(re.escape(piece))
    return "".join(translated)


def _inner(translated: str) -> str:
    return translated.removeprefix("(?s:").removesuffix(r")\Z").removesuffix(r")\z")
