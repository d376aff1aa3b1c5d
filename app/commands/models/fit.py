"""`charlie models fit`: whether a model fits this machine, and how fast it would be. Nothing is loaded."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from app.commands.output import AsJson, StatusLine, answer, note, table
from app.model_facts import UsableModel, read_facts
from app.plan_text import rows
from app.process import exit_on_signals
from core.errors import CharlieError
from core.figures import rate, size
from core.files import stamp
from core.llama.thoughts import can_think
from core.memory.footprint import estimate
from core.memory.rates import Rates, rates
from core.memory.readings import read_ram
from core.memory.speed import ANSWER, PROMPT, THOUGHTS, answer_seconds, predict, suits
from core.memory.types import Memory
from core.model_files import hub
from core.model_files.gguf import Header, read_header
from core.model_files.spec import available, check_role, locate, role_of, spec_for
from core.paths import Paths, find_paths
from core.roles import Role
from core.settings import Settings, Thinking
from core.settings_file import load_settings
from states.memory_plan import make_plan

REMOTE = re.compile(r"([\w.-]+/[\w.-]+)(?:/(.+\.gguf))?")


def fit(
    model: Annotated[
        str | None, typer.Argument(help="A GGUF file, or OWNER/NAME or OWNER/NAME/FILE.gguf on Hugging Face.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show whether a model would fit, and its speed, before it is downloaded or loaded; else all models here."""
    settings, paths = load_settings(), find_paths()
    paths.make()
    exit_on_signals()
    found = []
    with StatusLine() as status:
        status.show("measuring the speed of this machine …")
        here = rates(paths)
        memory = replace(read_ram(), devices=here.devices)
        if model is not None:
            found.append(_judged(_header(model, paths, status), settings, memory, here))
        else:
            used = [each.spec.path for each in read_facts(paths) if isinstance(each, UsableModel)]
            for path in {stamp(path): path for path in (*used, *available(paths))}.values():
                try:
                    found.append(_judged(read_header(path), settings, memory, here))
                except CharlieError as error:
                    note(error.message)
    answer(found, "\n\n".join(table(_rows(each)) for each in found), as_json=as_json)


def _header(model: str, paths: Paths, status: StatusLine) -> Header:
    path = Path(model).expanduser()
    path = path.absolute() if path.exists() else locate(paths, path)
    remote = None if path.exists() else REMOTE.fullmatch(model)
    if remote is None:
        return read_header(path)
    status.show(f"asking for {model} …")
    return hub.remote_header(remote[1], remote[2], lambda done: status.show(f"reading the header: {size(done)}"))


def _judged(header: Header, settings: Settings, memory: Memory, here: Rates) -> dict[str, Any]:
    """The plan with the largest context that fits, and the predicted speed."""
    role = role_of(header)
    check_role(header, role)
    spec = spec_for(settings.role(role).model_copy(update={"context_length": "auto"}), header, role)
    plan = make_plan(spec, lambda each: estimate(each, memory.devices), memory, settings.memory)
    layers, context = plan.spec.gpu_layers, plan.spec.context_length
    speed = predict(header, min(context, PROMPT + ANSWER), layers, here)
    found = {**plan.data(), "prefill": speed.prefill}
    if role is not Role.INSTRUCT:
        return found
    thinks = can_think(header.chat_template or "") and settings.instruct.thinking is not Thinking.OFF
    thoughts = THOUGHTS if thinks else 0
    return found | {
        "decode": speed.decode, "decode_full": predict(header, context, layers, here).decode,
        "thoughts": thoughts, "seconds": answer_seconds(speed, thoughts), "suits": plan.fits and suits(speed, thoughts),
    }  # fmt: skip


def _rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    lines = [*rows(found), ("prefill", rate(found["prefill"]))]
    if "decode" in found:
        words = f" and {found['thoughts']} of thoughts" if found["thoughts"] else ""
        lines += [
            ("decode", f"{rate(found['decode'])}, with a full context {rate(found['decode_full'])}"),
            ("answer", f"{found['seconds']:.0f} s for {ANSWER} tokens{words} to a prompt of {PROMPT}"),
            ("suits", "yes" if found["suits"] else "no"),
        ]
    return lines
