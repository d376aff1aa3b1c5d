"""`charlie models`, `warm` and `unload`. Only `models plan`, `warm` and `unload` need a worker."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from app.commands.models.fit import fit
from app.commands.output import AsJson, StatusLine, answer, data, data_json, note, table
from app.commands.session import session
from app.model_facts import ModelFacts, UnusableModel, UsableModel, read_facts
from app.offers import Offer, best, find_offers
from app.plan_text import rows as plan_rows
from app.process import exit_on_signals
from core.errors import NoModelError
from core.figures import rate, size
from core.files import stamp
from core.memory import rates
from core.memory.footprint import estimate
from core.memory.readings import read_ram
from core.model_files import checksums, configure, hub
from core.model_files.catalogue import catalogue, refresh
from core.model_files.chat_template import TemplateError, chat_template
from core.model_files.gguf import FileKind, Header, read_header
from core.model_files.spec import available, default_spec, describe, locate
from core.paths import find_paths
from core.roles import Role
from core.settings_file import load_settings

models = typer.Typer(rich_markup_mode=None)
models.command()(fit)

RoleName = Literal["instruct", "embedding", "reranker"]

RoleArgument = Annotated[RoleName, typer.Argument(help="The model's role.")]


@models.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the roles' models with their memory needs, then the other files in the models folder."""
    load_settings()
    paths = find_paths()
    paths.make()
    facts = read_facts(paths)
    used = {stamp(each.spec.path) for each in facts if isinstance(each, UsableModel)}
    others = [str(path) for path in available(paths) if stamp(path) not in used]
    if as_json:
        data_json({"roles": [_as_json(each) for each in facts], "others": others})
        return
    data(table(_row(each) for each in facts))
    for path in others:
        data(path)


def _as_json(facts: ModelFacts) -> dict[str, Any]:
    if isinstance(facts, UnusableModel):
        return {"role": facts.role, "error": facts.error.message, "hint": facts.error.hint}
    spec = facts.spec
    return {
        "role": facts.role,
        "file": str(spec.path),
        "model": spec.name,
        "bundled": spec.bundled,
        "architecture": spec.header.architecture,
        "quantization": spec.header.quantization,
        "context_length": spec.context_length,
        "footprint": {"ram": facts.needs.ram, "vram": facts.needs.vram},
    }


def _row(facts: ModelFacts) -> tuple[str, ...]:
    if isinstance(facts, UnusableModel):
        words = "none" if isinstance(facts.error, NoModelError) else "cannot be used"
        return (facts.role, words, "", "", str(facts.error))
    spec = facts.spec
    needs = f"needs {size(facts.needs.ram)}" + (f" + {size(facts.needs.vram)} VRAM" if facts.needs.vram else "")
    name = f"{spec.name} (bundled)" if spec.bundled else spec.name
    return (facts.role, name, f"{spec.context_length:,} tokens", needs, str(spec.path))


@models.command()
def inspect(file: Annotated[Path, typer.Argument(help="A GGUF file.")], as_json: AsJson = False) -> None:
    """Show the header of a model file."""
    header = read_header(file)
    if as_json:
        files, template = [str(each.path) for each in header.files], _template(header)
        data_json(
            {**asdict(header), "path": str(header.path), "files": files, "kind": describe(header), "template": template}
        )
        return
    parts = f" in {len(header.files)} parts" if len(header.files) > 1 else ""
    rows = [
        ("name", header.name),
        ("kind", describe(header)),
        ("architecture", header.architecture or "-"),
        ("parameters", f"{header.parameters:,}"),
        ("quantization", header.quantization),
        ("size", f"{size(header.file_bytes)}{parts}"),
    ]
    if header.kind is FileKind.MODEL:
        rows += [
            ("layers", str(header.layers)),
            ("context length", f"{header.context_length:,} tokens"),
            ("embedding length", str(header.embedding_length)),
            ("heads", f"{header.heads}, {header.kv_heads} for keys and values"),
            ("vocabulary", f"{header.vocab_size:,} tokens"),
            ("pooling", header.pooling or "-"),
            ("chat template", _template_words(header)),
            ("sampling", ", ".join(f"{name} {value:g}" for name, value in header.sampling) or "-"),
            ("needs", _needs(header)),
        ]
    data(table(rows))


def _template(header: Header) -> dict[str, bool | str]:
    """What a chat template supports, or why it cannot be used; empty without a template."""
    try:
        return asdict(chat_template(header.chat_template).supports) if header.chat_template else {}
    except TemplateError as error:
        return {"error": str(error)}


def _template_words(header: Header) -> str:
    words: dict[bool | str, str] = {True: "yes", False: "no"}
    return ", ".join(f"{key}: {words.get(value, value)}" for key, value in _template(header).items()) or "no"


def _needs(header: Header) -> str:
    spec = default_spec(header)
    need, free = size(estimate(spec).total), size(read_ram().available)
    return f"{need} of RAM at {spec.context_length:,} tokens without a GPU; {free} are available now"


@models.command()
def plan(
    role: RoleArgument,
    file: Annotated[Path | None, typer.Option(help="A GGUF file, instead of the role's.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a role's load plan: memory by device, and unloads. Nothing is loaded."""
    with session(worker=True) as running:
        path = None
        if file is not None:
            path = file.expanduser()
            path = path.absolute() if path.exists() else locate(running.client.paths, path)
        name = None if path is None else str(path)
        result = running.follow(lambda: running.client.plan(Role(role), name), lambda _: None)
        answer(result, table(plan_rows(result)), as_json=as_json)


@models.command()
def use(role: RoleArgument, file: Annotated[Path, typer.Argument(help="A GGUF file.")]) -> None:
    """Use a model file for a role, from the next job on."""
    load_settings()  # report a broken configuration before changing it
    paths = find_paths()
    header = configure.use(paths, Role(role), file)
    for each in header.files:
        if checksums.has_changed(each.path):
            note(f"The file {each.path} has changed since it was downloaded; `charlie doctor` says how to fix it.")
    if reason := _template(header).get("error"):
        note(f"Its chat template cannot be used, so its prompts will have a plain form: {reason}.")
    note(f"The role {role} now uses {header.name} ({paths.config_file}).")


@models.command("catalogue")
def list_catalogue(
    refresh_from: Annotated[Path | None, typer.Option("--refresh", help="Take a newer list from this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the models that can be fetched, with their predicted speed on this machine."""
    settings, paths = load_settings(), find_paths()
    paths.make()
    if refresh_from is not None:
        refresh(paths, refresh_from)
    measured = rates.rates(paths)
    for role in Role:
        offers = find_offers(catalogue(paths)[role], role, read_ram(), settings.memory, measured)
        for each in offers:
            if as_json:
                data_json({"role": role, **asdict(each), "seconds": each.seconds, "best": each is best(offers)})
        if not as_json:
            data(table((role, *_offer(each, each is best(offers))) for each in offers))


def _offer(offer: Offer, chosen: bool) -> tuple[str, ...]:
    model, speed = offer.model, offer.speed
    note = "suits this machine" if chosen and offer.suits else "" if offer.fits else "too large now"
    speeds = f"prefill {rate(speed.prefill)}, decode {rate(speed.decode)}, {offer.seconds:.0f} s" if speed else ""
    needs = (f"{size(model.bytes)} file", f"{size(offer.memory)} memory", speeds)
    return (model.name, *needs, note, f"{model.repo} {model.file}", model.licence, model.good_for)


@models.command()
def pull(
    role: RoleArgument,
    repo: Annotated[str | None, typer.Option(help="A Hugging Face repository, if not what suits this machine.")] = None,
    file: Annotated[str | None, typer.Option(help="A file of the repository.")] = None,
    as_json: AsJson = False,
) -> None:
    """Download a model and use it for a role. An earlier download is resumed."""
    if (file is None) != (repo is None):
        raise typer.BadParameter("--file is a file of --repo: give both.")
    settings, paths = load_settings(), find_paths()
    paths.make()
    exit_on_signals()
    if repo is None or file is None:
        models, measured = catalogue(paths)[Role(role)], rates.rates(paths)
        model = best(find_offers(models, Role(role), read_ram(), settings.memory, measured)).model
        repo, file = model.repo, model.file
    with StatusLine() as status:

        def show(done: int, total: int) -> None:
            if as_json:
                data_json({"done": done, "total": total})
                return
            share = f" {done / total:.0%}" if total else ""
            status.show(f"downloading {size(done)} of {size(total)}{share}")

        got = hub.pull(paths, Role(role), repo, file, show)
    answer({"file": str(got)}, str(got), as_json=as_json)
    note(f"The role {role} now uses {got.name}.")


def warm(role: Annotated[RoleName, typer.Argument(help="The role whose model to load.")]) -> None:
    with session(worker=True) as running:
        result = running.follow(lambda: running.client.warm(Role(role)), lambda _: None)
        data(f"load_ms {result.get('load_ms', 0):.1f}")


def unload(role: Annotated[RoleName | None, typer.Argument(help="The role whose model to unload.")] = None) -> None:
    with session(worker=True) as running:
        result = running.follow(lambda: running.client.unload(Role(role) if role else None), lambda _: None)
        note(f"Unloaded {' and '.join(result['unloaded'])}." if result.get("unloaded") else "Nothing was loaded.")


def pin(
    role: RoleArgument,
    off: Annotated[bool, typer.Option("--off", help="Unload it again when it is idle.")] = False,
) -> None:
    load_settings()  # report a broken configuration before changing it
    paths = find_paths()
    configure.pin(paths, Role(role), not off)
    words = "is unloaded again when it is idle" if off else "stays loaded once it is used"
    note(f"The model of the role {role} {words} ({paths.config_file}).")
