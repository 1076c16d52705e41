"""`tss-ray models`: which there are, what one is, fetching it, and whether a downloaded one will run."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from tss_ray.errors import SpecError
from tss_ray.spec import CheckpointSpec, StoreSpec, load_group

app = typer.Typer(no_args_is_help=True, help="List, describe, fetch and check models.")

_PIPE_WIDTH = 4096
_MODEL = typer.Argument(metavar="MODEL", help="embedded name, folder, s3://…, hf://repo[@revision]")
Name = Annotated[str, _MODEL]
Pickles = Annotated[bool, typer.Option("--allow-pickles", help="read weights that are pickles, which may run code")]
Cache = Annotated[str | None, typer.Option(help="folder for what is fetched")]
Endpoint = Annotated[str | None, typer.Option(help="an S3-compatible server")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object")]


@app.command("list")
def list_models() -> None:
    """Name the embedded models and the families of checkpoints that can be given as folders."""
    from tss_ray.models.registry import EMBEDDED, FAMILIES, check_model

    embedded = Table("model", "family", "scale", "steps", "licence", title="embedded", title_justify="left")
    for name in EMBEDDED:
        card = check_model(name)
        steps = ", ".join(map(str, card.num_steps or ("any",)))
        embedded.add_row(name, card.family, f"×{card.scale}", steps, card.licence)
    families = Table("family", "a folder of", title="families", title_justify="left")
    families.add_row("residual_unet", "card.json and model.safetensors, as tss-ray train writes them")
    for family in FAMILIES:
        families.add_row(family.name, f"diffusers' {family.pipeline}")
    families.add_row("resshift", "ResShift's configuration (YAML), network and VQ-f4 autoencoder")
    _stdout().print(embedded, families)


@app.command()
def info(
    model: Name,
    allow_pickles: Pickles = False,
    cache: Cache = None,
    s3_endpoint_url: Endpoint = None,
    as_json: Json = False,
) -> None:
    """Say what a model is, by its card; what lies elsewhere is fetched first."""
    from tss_ray.models.licences import judge
    from tss_ray.models.registry import check_model
    from tss_ray.pipeline.model import load_settings, local_model

    checkpoint, store = _settings(allow_pickles, cache, s3_endpoint_url)
    card = check_model(local_model(model, checkpoint, store), load_settings(checkpoint))
    facts: dict[str, Any] = card.model_dump(mode="json") | {"tile_multiple_px": card.size_multiple}
    facts |= {use: judge(card.licence, use)[0] for use in ("commercial", "research")}
    _show(facts, as_json)


@app.command("fetch")
def fetch_model(
    model: Annotated[str | None, _MODEL] = None,
    metrics: Annotated[str | None, typer.Option(help="instead of a model: what these pyiqa metrics need")] = None,
    mirror: Annotated[str | None, typer.Option("--from", help="folder or s3://… of metrics' files")] = None,
    allow_pickles: Pickles = False,
    cache: Cache = None,
    s3_endpoint_url: Endpoint = None,
) -> None:
    """Bring a model, or the weights of metrics, to this machine and print the folder."""
    from tss_ray.models.registry import model_folder
    from tss_ray.pipeline.model import local_model

    if model is None and metrics is not None:
        typer.echo(_fetched_metrics(metrics, mirror, s3_endpoint_url))
        return
    if model is None or metrics is not None or mirror is not None:
        raise SpecError("fetch takes a model or --metrics, and --from only with --metrics; give one of the two")
    typer.echo(model_folder(local_model(model, *_settings(allow_pickles, cache, s3_endpoint_url))))


@app.command()
def check(
    model: Name,
    allow_pickles: Pickles = False,
    cache: Cache = None,
    s3_endpoint_url: Endpoint = None,
    as_json: Json = False,
) -> None:
    """Tell whether a checkpoint will run: load it here on the CPU, and make one step of one small tile."""
    from tss_ray.models.trial import try_model
    from tss_ray.pipeline.model import load_settings, local_model

    checkpoint, store = _settings(allow_pickles, cache, s3_endpoint_url)
    trial = try_model(local_model(model, checkpoint, store), load_settings(checkpoint))
    card = trial.card
    facts = {"model_id": card.model_id, "family": card.family, "scale": card.scale, "licence": card.licence}
    facts |= {"sha256": card.sha256, "tile_px": trial.tile_px}
    facts |= {name: round(getattr(trial, name), 3) for name in ("check_s", "load_s", "step_s", "decode_s")}
    _show({"runs": True} | facts, as_json)


def _fetched_metrics(names: str, mirror: str | None, endpoint: str | None) -> Path:
    from tss_ray.quality.staging import stage
    from tss_ray.storage.stores import open_store

    store = load_group(StoreSpec, {} if endpoint is None else {"s3_endpoint_url": endpoint})
    wanted = [name.strip() for name in names.split(",")]
    return stage(wanted, None if mirror is None else open_store(mirror, store).read)


def _settings(allow_pickles: bool, cache: str | None, endpoint: str | None) -> tuple[CheckpointSpec, StoreSpec]:
    store = {} if endpoint is None else {"s3_endpoint_url": endpoint}
    return load_group(CheckpointSpec, {"allow_pickles": allow_pickles, "cache": cache}), load_group(StoreSpec, store)


def _show(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return
    table = Table(show_header=False, box=None)
    for name, value in facts.items():
        table.add_row(name, value if isinstance(value, str) else json.dumps(value))
    _stdout().print(table, highlight=False)


def _stdout() -> Console:
    return Console() if sys.stdout.isatty() else Console(width=_PIPE_WIDTH)
