"""`charlie programs`: what optimizers have found for each program, and which of it the app uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.ask import AsJson

if TYPE_CHECKING:
    from core.compiled import Compiled
    from core.model_files import ModelSpec
    from core.paths import Paths
    from core.saved_programs import SavedProgram

programs = typer.Typer(
    help="See what optimizers have found for the model's tasks, and choose what is used.", rich_markup_mode=None
)

Name = Annotated[str, typer.Argument(help="A compiled program, as `charlie programs list` names it.")]
AS_IT_COMES = "as it comes"
OWN_WORDS = ("mood", "title", "recall")
"""What the starter is asked for in the words of its training, with which it does as well as by a program."""


@programs.command("list")
def list_programs(as_json: AsJson = False) -> None:
    """List the programs with what is used of each, then all that optimizers have found."""
    from app.output import data, data_json, table, talk
    from core.compiled import compiled, used_file
    from core.programs import PROGRAMS

    paths = _paths()
    found = compiled(paths)
    there = any(used_file(paths, program).exists() for program in PROGRAMS)
    model = _configured(paths) if there or any(each.saved for each in found) else ""
    used = {program: _used(paths, program, found, model) for program in PROGRAMS}
    if as_json:
        listed = [_as_json(each, model) for each in found]
        data_json({"programs": used, "compiled": listed})
        return
    data(table((program, each["in_use"] or AS_IT_COMES, each["error"]) for program, each in used.items()))
    if not found:
        talk("No optimizer has written a program yet; `python optimizers/optimize_title.py --help` tells of one.")
        return
    data("")
    data(table(_row(each, model) for each in found if each.saved is not None))
    for each in found:
        if each.saved is None:
            data(f"{each.name}  {each.error}")


@programs.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show how a compiled program was found, and its instructions and examples in full."""
    from app.output import data, data_json, table
    from core.compiled import find

    paths = _paths()
    saved = find(paths, name)
    if as_json:
        data_json(saved.model_dump())
        return
    run = saved.run
    fits = _fits(saved, _configured(paths))
    data(
        table(
            [
                ("program", run.program),
                ("optimizer", f"{run.optimizer}, a budget of {run.budget:,} answers, seed {run.seed}"),
                ("before", _score(run.before)),
                ("after", _score(run.after)),
                ("gain", f"{_score(run.gain)}, {_significance(saved)}"),
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
    """Have the app use a compiled program from the next job on."""
    from app.output import talk
    from core import compiled
    from core.errors import CharlieError
    from core.programs import PROGRAMS
    from core.saved_programs import load_program

    paths = _paths()
    program = compiled.find(paths, name).run.program
    if program not in PROGRAMS:
        raise CharlieError(
            f"'{name}' is for a program '{program}', which this version does not have.",
            f"It has {', '.join(PROGRAMS)}.",
        )
    file = compiled.folder(paths) / f"{name}.json"
    saved = load_program(file, PROGRAMS[program](), _model_id(paths))
    compiled.use(paths, saved)
    talk(f"The program '{program}' is '{name}' from the next job on.")
    if program in OWN_WORDS and _spec(paths).starter:
        talk(f"The starter model does as well without it, or better; `charlie programs reset {program}` goes back.")


@programs.command()
def reset(
    program: Annotated[str | None, typer.Argument(help="Of this program alone; without it, of all.")] = None,
) -> None:
    """Have the app use a program as it comes, or all of them, from the next job on."""
    from app.output import talk
    from core import compiled
    from core.errors import CharlieError
    from core.programs import PROGRAMS

    if program is not None and program not in PROGRAMS:
        raise CharlieError(f"There is no program '{program}'.", f"There are {', '.join(PROGRAMS)}.")
    paths = _paths()
    changed = [each for each in ([program] if program else PROGRAMS) if compiled.reset(paths, each)]
    for each in changed:
        talk(f"The program '{each}' is used as it comes from the next job on.")
    if not changed:
        talk(f"The program '{program}' was used as it comes." if program else "All programs were used as they come.")


def _paths() -> Paths:
    from core.paths import find_paths
    from core.settings import load_settings

    load_settings()  # a broken configuration is told of first
    paths = find_paths()
    paths.make()
    return paths


def _model_id(paths: Paths) -> str:
    """Of the instruct model that is configured now. Raises CharlieError when it cannot be used."""
    from core.model_hash import file_id

    spec = _spec(paths)
    return file_id(spec.path, spec.header.chat_template)


def _spec(paths: Paths) -> ModelSpec:
    from core.model_files import resolve
    from core.settings import Role, load_settings

    return resolve(load_settings(), paths, Role.INSTRUCT)


def _configured(paths: Paths) -> str:
    """The same; empty, having said so, when it cannot be used."""
    from app.output import talk
    from core.errors import CharlieError

    try:
        return _model_id(paths)
    except CharlieError as error:
        talk(f"The instruct model cannot be used, so nothing fits it: {error}")
        return ""


def _used(paths: Paths, program: str, found: list[Compiled], model: str) -> dict[str, str]:
    """The name of what is used of a program (empty: as it comes), and why it is not used after all."""
    from core.compiled import in_use, used_file
    from core.errors import CharlieError

    try:
        saved = in_use(paths, program)
    except CharlieError as error:
        return {"in_use": str(used_file(paths, program)), "error": error.message}
    if saved is None:
        return {"in_use": "", "error": ""}
    name = next((each.name for each in found if each.saved == saved), "")
    other = "" if saved.run.model == model else "It was made for another model, so the program is used as it comes."
    return {"in_use": name or f"{saved.run.optimizer} of {saved.created}", "error": other}


def _fits(saved: SavedProgram, model: str) -> str:
    return "fits the model" if saved.run.model == model else "made for another model"


def _as_json(each: Compiled, model: str) -> dict[str, Any]:
    if each.saved is None:
        return {"name": each.name, "error": each.error}
    return {
        "name": each.name,
        "in_use": each.in_use,
        "fits": each.saved.run.model == model,
        "significant": each.saved.run.gain.low > 0,
        "run": each.saved.run.model_dump(),
        "signature": each.saved.signature,
        "created": each.saved.created,
        "versions": each.saved.versions,
    }


def _row(each: Compiled, model: str) -> tuple[str, ...]:
    if each.saved is None:
        raise AssertionError("a row is of a file that holds a program")
    run = each.saved.run
    return (
        each.name,
        run.program,
        run.optimizer,
        f"{run.before.mean:.1f} → {_score(run.after)}",
        f"gain {_score(run.gain)}",
        _significance(each.saved),
        _sets(each.saved),
        _fits(each.saved, model),
        each.saved.created[:10],
    )


def _score(score: Any) -> str:
    """In percent, with its 95% interval."""
    return f"{score.mean:.1f}% [{score.low:.1f}, {score.high:.1f}]"


def _significance(saved: SavedProgram) -> str:
    return "significant" if saved.run.gain.low > 0 else "not significant"


def _sets(saved: SavedProgram) -> str:
    sets = saved.run.sets
    return f"{sets.train}/{sets.validation}/{sets.test} train/validation/test"
