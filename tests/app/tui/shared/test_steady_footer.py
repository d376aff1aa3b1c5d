"""The footer changes with the keys that it shows, and with nothing else."""

from __future__ import annotations

from typing import ClassVar, cast

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.pilot import Pilot
from textual.widgets import Input, OptionList
from textual.widgets._footer import FooterKey

from app.tui.shared.steady_footer import SteadyFooter


class Page(App[None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("f5", "nothing", "Nothing")]
    ENABLE_COMMAND_PALETTE = False

    def compose(self) -> ComposeResult:
        yield Input(id="one")
        yield Input(id="two")
        yield Chosen()
        yield SteadyFooter()

    def action_nothing(self) -> None: ...


class Chosen(OptionList):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("f6", "more", "More")]


async def keys_after(pilot: Pilot[None], focus: str) -> list[FooterKey]:
    cast("Page", pilot.app).query_one(focus).focus()
    await pilot.pause()
    await pilot.pause()
    return list(pilot.app.query(FooterKey))


async def test_a_change_of_focus_makes_the_same_keys_no_second_time() -> None:
    async with Page().run_test() as pilot:
        before = await keys_after(pilot, "#one")
        assert [key.description for key in before] == ["Nothing"]
        assert await keys_after(pilot, "#two") == before


async def test_other_keys_are_shown() -> None:
    async with Page().run_test() as pilot:
        await keys_after(pilot, "#one")
        assert {key.description for key in await keys_after(pilot, "Chosen")} == {"Nothing", "More"}
        assert {key.description for key in await keys_after(pilot, "#two")} == {"Nothing"}
