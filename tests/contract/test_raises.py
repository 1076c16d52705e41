"""The contract on errors: what is raised on purpose is a TssRayError, so that the command line ends with its remedy."""

import ast
from collections.abc import Iterator
from pathlib import Path

import tss_ray
from tss_ray import errors

assert tss_ray.__file__ is not None
PACKAGE = Path(tss_ray.__file__).parent

NOT_OURS = {
    ("engine/stream.py", "BaseException"): "what the engine died of, on its way to who waits for it",
    ("engine/stream.py", "CancelledError"): "what a future says to who waits for what was given up",
    ("cli_cluster.py", "Exit"): "typer's way to end with an exit code",
    ("cli.py", "Exit"): "typer's way to end with an exit code",
    ("imaging/decode.py", "ValueError"): "raised and caught in one function, to be told as a DecodeError",
    ("imaging/deep.py", "ValueError"): "caught by decode, to be told as a DecodeError",
    ("pipeline/job.py", "KeyboardInterrupt"): "the second Ctrl-C",
    ("models/resshift_folder.py", "ValueError"): "what a pydantic validator raises; _part turns it into a ModelError",
    ("models/swin_unet.py", "ValueError"): "what a pydantic validator raises; resshift_folder tells it as a ModelError",
    ("models/vq_autoencoder.py", "ValueError"): "what a pydantic validator raises; told as a ModelError likewise",
    ("spec/group.py", "PydanticCustomError"): "what a pydantic validator raises; load_group turns it into a SpecError",
    ("spec/budgets.py", "ValueError"): "what a pydantic validator raises; load_group turns it into a SpecError",
    ("spec/images.py", "ValueError"): "what a pydantic validator raises; load_group turns it into a SpecError",
    ("spec/plans.py", "ValueError"): "what a pydantic validator raises; load_group turns it into a SpecError",
    ("spec/runs.py", "ValueError"): "what a pydantic validator raises; load_group turns it into a SpecError",
    ("storage/s3.py", "Exception"): "what came through is passed on as it was",
    ("training/recipe.py", "ValueError"): "what a pydantic validator raises; load_recipe turns it into a TrainingError",
}
"""Everything else that a raise statement may name, by file, and why."""


def raised(path: Path) -> Iterator[tuple[int, str | None]]:
    """Yield (line, class) of every raise statement of a file; helpers that return an error stand for their class.

    None is what this reading cannot settle.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    helpers = {
        node.name: ast.unparse(node.returns)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.returns is not None
    }
    variables = {
        node.target.id: ast.unparse(node.annotation).removesuffix(" | None")
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            thing = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = ast.unparse(thing).rpartition(".")[2]
            name = helpers.get(name, variables.get(name, name))
            yield node.lineno, name if name[:1].isupper() else None


def test_every_error_raised_on_purpose_is_one_of_ours() -> None:
    seen = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(PACKAGE).as_posix()
        for line, name in raised(path):
            assert name is not None, f"{file}:{line} raises what cannot be read off; annotate it"
            if name not in errors.__all__:
                assert (file, name) in NOT_OURS, f"{file}:{line} raises {name}"
                seen.add((file, name))
    assert seen == NOT_OURS.keys()  # no excuse outlives its reason
