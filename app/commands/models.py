"""`charlie models`: which file has which role, what a file is, what loading it takes, and getting one.

Only `plan` needs a worker and starts one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.ask import AsJson
from app.commands.runtime import RoleName

if TYPE_CHECKING:
    from app.model_facts import Facts
    from core.gguf import Header

models = typer.Typer(help="See which model has which role, choose others, get one.", rich_markup_mode=None)

RoleArgument = Annotated[RoleName, typer.Argument(help="What the model is for.")]


@models.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the roles with their models and what these need, then the other files in the models folder."""
    from app.model_facts import Known, read_facts
    from app.output import data, data_json, table
    from core.model_files import available
    from core.paths import find_paths
    from core.settings import load_settings

    load_settings()
    paths = find_paths()
    paths.make()
    facts = read_facts(paths)
    used = {each.spec.path for each in facts if isinstance(each, Known)}
    others = [str(path) for path in available(paths) if path not in used]
    if as_json:
        data_json({"roles": [_as_json(each) for each in facts], "others": others})
        return
    data(table(_row(each) for each in facts))
    for path in others:
        data(path)


def _as_json(facts: Facts) -> dict[str, Any]:
    from app.model_facts import Known

    if not isinstance(facts, Known):
        return {"role": facts.role, "error": facts.error.message, "hint": facts.error.hint}
    spec = facts.spec
    return {
        "role": facts.role,
        "file": str(spec.path),
        "model": spec.name,
        "starter": spec.starter,
        "architecture": spec.header.architecture,
        "quantization": spec.header.quantization,
        "context_length": spec.context_length,
        "footprint": {"ram": facts.needs.ram, "vram": facts.needs.vram},
    }


def _row(facts: Facts) -> tuple[str, ...]:
    from app.model_facts import Known
    from app.output import size

    if not isinstance(facts, Known):
        return (facts.role, "cannot be used", "", "", str(facts.error))
    spec = facts.spec
    needs = f"needs {size(facts.needs.ram)}" + (f" + {size(facts.needs.vram)} VRAM" if facts.needs.vram else "")
    name = f"{spec.name} (starter)" if spec.starter else spec.name
    return (facts.role, name, f"{spec.context_length:,} tokens", needs, str(spec.path))


@models.command()
def inspect(file: Annotated[Path, typer.Argument(help="A GGUF file.")], as_json: AsJson = False) -> None:
    """Show what a model file's header says."""
    from dataclasses import asdict

    from app.output import data, data_json, size, table
    from core.gguf import read_header
    from core.model_files import describe

    header = read_header(file)
    if as_json:
        data_json({**asdict(header), "path": str(header.path), "kind": describe(header)})
        return
    data(
        table(
            [
                ("name", header.name),
                ("kind", describe(header)),
                ("architecture", header.architecture),
                ("parameters", f"{header.parameters:,}"),
                ("quantization", header.quantization),
                ("size", size(header.file_bytes)),
                ("layers", str(header.layers)),
                ("context length", f"{header.context_length:,} tokens"),
                ("embedding length", str(header.embedding_length)),
                ("heads", f"{header.heads}, {header.kv_heads} for keys and values"),
                ("vocabulary", f"{header.vocab_size:,} tokens"),
                ("pooling", header.pooling or "-"),
                ("chat template", "yes" if header.chat_template else "no"),
                ("needs", _needs(header)),
            ]
        )
    )


def _needs(header: Header) -> str:
    from app.output import size
    from core.footprint import estimate
    from core.memory import read_ram
    from core.model_files import describe_spec

    spec = describe_spec(header)
    need, free = size(estimate(spec).total), size(read_ram().available)
    return f"{need} of RAM at {spec.context_length:,} tokens without a GPU; {free} are available now"


@models.command()
def plan(
    role: RoleArgument,
    file: Annotated[Path | None, typer.Option(help="A GGUF file, instead of the one that the role has.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what loading a role's model would need and do now, by device. Nothing is loaded or unloaded for it."""
    from app.commands.session import session
    from app.output import data, data_json, table
    from app.plans import rows
    from core.model_files import locate
    from core.settings import Role

    with session(worker=True) as running:
        path = None
        if file is not None:
            path = file.expanduser()
            path = path.absolute() if path.exists() else locate(running.client.paths, path)
        name = None if path is None else str(path)
        result = running.follow(lambda: running.client.plan(Role(role), name), lambda _: None)
        if as_json:
            data_json(result)
        else:
            data(table(rows(result)))


@models.command()
def use(role: RoleArgument, file: Annotated[Path, typer.Argument(help="A GGUF file.")]) -> None:
    """Configure a file for a role; the next use of the role takes it."""
    from app.output import talk
    from core import checksums, model_files
    from core.paths import find_paths
    from core.settings import Role, load_settings

    load_settings()  # a broken configuration is told of before it is written to
    paths = find_paths()
    header = model_files.use(paths, Role(role), file)
    if checksums.has_changed(header.path):
        talk(f"The file {header.path} has changed since it was downloaded; `charlie doctor` says how to mend it.")
    talk(f"The role {role} has {header.name} now ({paths.config_file}).")


@models.command()
def pull(
    role: RoleArgument,
    repo: Annotated[str | None, typer.Option(help="A repository of the hub; without it, the recommended one.")] = None,
    file: Annotated[str | None, typer.Option(help="The file in it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Download a model for a role, going on where an earlier download ended, and configure it."""
    from app.commands.session import end_in_order
    from app.output import StatusLine, data, data_json, size, talk
    from core import model_files
    from core.paths import find_paths
    from core.settings import Role, load_settings

    if file is not None and repo is None:
        raise typer.BadParameter("--file names a file of --repo: give both.")
    load_settings()
    paths = find_paths()
    paths.make()
    end_in_order()
    with StatusLine() as status:

        def show(done: int, total: int) -> None:
            if as_json:
                data_json({"done": done, "total": total})
                return
            share = f" {done / total:.0%}" if total else ""
            status.show(f"downloading {size(done)} of {size(total)}{share}")

        got = model_files.pull(paths, Role(role), repo, file, show)
    if as_json:
        data_json({"file": str(got)})
    else:
        data(str(got))
    talk(f"The role {role} has {got.name} now.")
