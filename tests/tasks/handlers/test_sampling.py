"""Where the sampling of a job comes from: the job, its kind, the settings, the model's header, the defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from core.events.types import JobKind
from core.roles import Role
from core.settings import Sampling
from tasks.handlers.context import TaskContext
from tests.model_files import write_random
from tests.tasks.conftest import context_here

if TYPE_CHECKING:
    from pathlib import Path

    from app.client import Client


def add_sampling(writer: Any) -> None:
    writer.add_sampling_temp(0.6)
    writer.add_sampling_top_k(20)
    writer.add_sampling_top_p(7.0)  # no probability
    writer.add_sampling_min_p(float("nan"))
    writer.add_sampling_penalty_repeat(1.05)


@pytest.fixture
def context(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TaskContext:
    file = write_random(tmp_path / "model.gguf", also=add_sampling)
    monkeypatch.setenv("CHARLIE_INSTRUCT__FILE", str(file))
    return context_here(client)


def sampling_of(client: Client, context: TaskContext, defaults: dict[str, Any], **own: Any) -> Sampling:
    return context.sampling(client.submit(JobKind.ASK, {"sampling": own}), defaults)


def test_the_headers_valid_values_are_defaults(client: Client, context: TaskContext) -> None:
    expected = Sampling(temperature=0.6, top_k=20, repeat_penalty=1.05)
    assert sampling_of(client, context, {}) == expected
    assert (expected.top_p, expected.min_p) == (0.95, 0.05)


def test_a_job_and_its_kind_win_over_the_header(client: Client, context: TaskContext) -> None:
    found = sampling_of(client, context, {"temperature": 0}, top_k=3)
    assert (found.temperature, found.top_k, found.repeat_penalty) == (0, 3, 1.05)


def test_the_persons_settings_win_over_the_header(
    client: Client, context: TaskContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Equal to Charlie's own default, and yet said by the person.
    monkeypatch.setenv("CHARLIE_INSTRUCT__SAMPLING__TEMPERATURE", "0.7")
    client.paths.config_file.write_text("[instruct.sampling]\ntop_k = 50\n")
    found = sampling_of(client, context, {})
    assert (found.temperature, found.top_k, found.repeat_penalty) == (0.7, 50, 1.05)
    assert context.manager.wanted(Role.INSTRUCT).header.sampling[0] == ("temperature", 0.6)
