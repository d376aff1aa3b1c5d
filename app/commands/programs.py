"""`charlie programs`: lists the compiled programs of optimizers, and chooses the ones in use."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.commands.output import AsJson, data, data_json, note, table
from core.errors import CharlieError
from core.model_files.fingerprint import file_id
from core.model_files.gguf import Header
from core.model_files.spec import resolve
from core.paths import Paths, find_paths
from core.programs import in_use
from core.programs.saved import SavedProgram, load_program, read_program
from core.programs.signatures import PROGRAMS
from core.roles import Role
from core.settings_file import load_settings

Found = dict[str, SavedProgram | CharlieError]
Used = dict[str, dict[str, str]]
programs = typer.Typer(rich_markup_mode=None)

Name = Annotated[str, typer.Argument(help="A compiled program; `charlie programs list` has the names.")]


@programs.command("list")
def list_programs(as_json: AsJson = False) -> None:
    """List the programs with the version in use, then all compiled ones."""
    paths = _paths()
    header = _header_or_note(paths)
    found = in_use.compiled(paths, header)
    there = found or any(in_use.file_in_use(paths, program, header) for program in PROGRAMS)
    model = _id(header) if there else ""
    used = {program: _used(paths, program, found, header, model) for program in PROGRAMS}
    if as_json:
        data_json({"programs": used, "compiled": [_as_json(name, each, used, model) for name, each in found.items()]})
        return
    data(table((program, each["in_use"] or "default", each["error"]) for program, each in used.items()))
    if not found:
        note("No optimizer has written a program yet; see `python optimizers/optimize_title.py --help`.")
        return
    data("")
    data(table(_row(name, each, model) for name, each in found.items() if isinstance(each, SavedProgram)))
    for name, each in found.items():
        if isinstance(each, CharlieError):
            data(f"{name}  {each.message}")


@programs.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show the search for a compiled program, and its instructions and examples."""
    paths = _paths()
    saved = read_program(in_use.find(paths, name))
    if as_json:
        data_json(saved.model_dump())
        return
    run = saved.run
    fits = _fits(saved, _id(_header_or_note(paths)))
    data(
        table(
            [
                ("program", run.program),
                ("optimizer", f"{run.optimizer}, a budget of {run.budget:,} answers, seed {run.seed}"),
                ("before", str(run.before)),
                ("after", str(run.after)),
                ("gain", f"{run.gain}, {_significance(saved)}"),
                ("examples", _sets(saved)),
                ("search", f"{run.candidates:,} candidates, {run.answers:,} answers, {run.seconds:,.0f} s"),
                ("model", f"{run.model} ({fits})"),
                ("signature", saved.signature),
                ("made", f"{saved.created} with " + ", ".join(f"{key} {of}" for key, of in saved.versions.items())),
            ]
        )
    )
    for key, predictor in saved.predictors.items():
        data(f"\nInstructions of {key}\n{predictor.instructions}")
        for number, demo in enumerate(predictor.demos, start=1):
            data(f"\nExample {number} of {key}")
            for field, value in demo.items():
                data(f"{field}: {value}")


@programs.command()
def use(name: Name) -> None:
    """Use a compiled program, from the next job on."""
    paths = _paths()
    file = in_use.find(paths, name)
    run = read_program(file).run
    program = run.program
    if run.gain.mean < 0:
        raise CharlieError(
            f"'{name}' answers worse than the default ({run.gain}), so it is not offered.",
            "Run the optimizer again with another method or a higher budget.",
        )
    if program not in PROGRAMS:
        raise CharlieError(
            f"'{name}' is for a program '{program}', which this version does not have.",
            f"It has {', '.join(PROGRAMS)}.",
        )
    saved = load_program(file, PROGRAMS[program](), _id(_header(paths)))
    in_use.use(paths, saved)
    note(f"'{program}' now uses '{name}', starting with the next job.")


@programs.command()
def reset(
    program: Annotated[str | None, typer.Argument(help="Without it, all programs are reset.")] = None,
) -> None:
    """Use the default of a program, or of all, from the next job on."""
    if program is not None and program not in PROGRAMS:
        raise CharlieError(f"There is no program '{program}'.", f"There are {', '.join(PROGRAMS)}.")
    paths = _paths()
    header = _header_or_note(paths)
    changed = [each for each in ([program] if program else PROGRAMS) if in_use.reset(paths, each, header)]
    for each in changed:
        note(f"'{each}' now uses its default, starting with the next job.")
    if not changed:
        note(f"'{program}' already uses its default." if program else "All programs already use their defaults.")


def _paths() -> Paths:
    load_settings()  # report a broken configuration first
    paths = find_paths()
    paths.make()
    return paths


def _id(header: Header | None) -> str:
    """What a program is bound to; reads the whole file of the model."""
    return file_id(header, header.chat_template) if header else ""


def _header(paths: Paths) -> Header:
    """Of the configured instruct model. Raises CharlieError when it cannot be used."""
    return resolve(load_settings(), paths, Role.INSTRUCT).header


def _header_or_note(paths: Paths) -> Header | None:
    try:
        return _header(paths)
    except CharlieError as error:
        note(f"The instruct model cannot be used, so no program fits it: {error}")
        return None


def _used(paths: Paths, program: str, found: Found, header: Header | None, model: str) -> dict[str, str]:
    """The name of the compiled program in use (empty: the default), and the reason when it cannot be used."""
    try:
        saved = in_use.in_use(paths, program, header)
    except CharlieError as error:
        return {"in_use": str(in_use.used_file(paths, program)), "error": error.message}
    if saved is None:
        return {"in_use": "", "error": ""}
    name = next((name for name, each in found.items() if each == saved), "")
    other = "" if saved.run.model == model else "It was made for another model, so the default is used."
    return {"in_use": name or f"{saved.run.optimizer} of {saved.created}", "error": other}


def _fits(saved: SavedProgram, model: str) -> str:
    return "fits the model" if saved.run.model == model else "made for another model"


def _as_json(name: str, each: SavedProgram | CharlieError, used: Used, model: str) -> dict[str, Any]:
    if isinstance(each, CharlieError):
        return {"name": name, "error": each.message}
    return {
        "name": name,
        "in_use": any(one["in_use"] == name for one in used.values()),
        "fits": each.run.model == model,
        "significant": each.run.gain.low > 0,
        **each.model_dump(exclude={"format", "predictors"}),
    }


def _row(name: str, saved: SavedProgram, model: str) -> tuple[str, ...]:
    run = saved.run
    return (
        name,
        run.program,
        run.optimizer,
        f"{run.before.mean:.1f} → {run.after}",
        f"gain {run.gain}",
        _significance(saved),
        _sets(saved),
        _fits(saved, model),
        saved.created[:10],
    )


def _significance(saved: SavedProgram) -> str:
    return "significant" if saved.run.gain.low > 0 else "not significant"


def _sets(saved: SavedProgram) -> str:
    sets = saved.run.sets
    return f"{sets.train}/{sets.validation}/{sets.test} train/validation/test"
