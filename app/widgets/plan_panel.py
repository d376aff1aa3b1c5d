"""What loading a role's model would take, as the worker says it when asked; nothing is loaded for it."""

from __future__ import annotations

from asyncio import to_thread
from typing import TYPE_CHECKING, Any, cast

from textual import on
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from app import plans
from app.widgets.following import Following
from core.text import one_line, printable
from tasks.jobs import Ended, JobState

if TYPE_CHECKING:
    from app.tui import CharlieApp
    from core.settings import Role
    from tasks.jobs import Job

LONGEST_NAME = 40
LONGEST = 800


def plan_text(plan: dict[str, Any]) -> Content:
    """The verdict, what is chosen and what is needed by device; by part, or why it does not fit and what would help."""
    name = f"Plan of {plan['role']} · {one_line(str(plan['model']), LONGEST_NAME)}"
    reason = one_line(str(plan["reason"]), LONGEST)
    verdict = (reason, "bold $text-success") if plan["fits"] else ("does not fit", "bold $text-warning")
    choice = f"{plan['context']:,} ctx · {plans.offload(plan)} · {plans.first(plan)}"
    needs = " · ".join(f"{one_line(device, 12)} {said}" for device, said in plans.devices(plan))
    lines = [Content.assemble((name, "bold"), "  ", verdict), Content(choice), Content(needs)]
    if plan["fits"]:
        lines.append(Content.styled(plans.parts(plan), "$foreground-muted"))
    else:
        lines += [Content.styled(reason, "$text-warning"), Content(one_line(str(plan["hint"]), LONGEST))]
    return Content("\n").join(lines)


class PlanPanel(Static):
    """Hidden but for a plan that was asked for, from then on until it says nothing of the present any more."""

    DEFAULT_CSS = "PlanPanel { height: auto; padding: 0 1; margin-top: 1; display: none; }"

    class Changed(Message):
        """It was shown or hidden."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._following: Following | None = None
        self._awaited: Role | None = None
        """The role whose plan has been asked for and not come yet."""

    async def on_unmount(self) -> None:
        if (following := self._following) is not None:
            following.stop()
            await to_thread(following.join)

    def begin(self, role: Role) -> None:
        """Say that the plan of a role is on its way."""
        self._stop()
        self._awaited = role
        self._tell(Content.styled(f"planning {role} …", "$foreground-muted"))

    def follow(self, job: Job) -> None:
        """Show the result of a job, unless its role is not of interest any more."""
        if job.subject == self._awaited:
            self._stop()
            self._following = Following(cast("CharlieApp", self.app).client, job.id, self)

    def outdated(self) -> None:
        """Hide a plan made before the machine changed; one that is still to come is made after it."""
        if self._awaited is None:
            self.drop()

    def drop(self) -> None:
        self._stop()
        self._awaited = None
        self._tell(Content(""))

    @on(Following.Came)
    def came(self, message: Following.Came) -> None:
        message.stop()
        for output in message.following.take():
            if message.following is self._following and isinstance(output, Ended):
                self._following = self._awaited = None
                self._show(output)

    def _show(self, ended: Ended) -> None:
        if ended.state is JobState.DONE and ended.result:
            self._tell(plan_text(ended.result))
        elif ended.state is JobState.CANCELLED:
            self.drop()
        else:
            told = f"✕ {printable(ended.error or 'The worker ended while it planned.')} {printable(ended.hint)}"
            self._tell(Content.styled(told.strip(), "$text-error"))

    def _tell(self, text: Content) -> None:
        self.update(text)
        self.display = bool(text.plain)
        self.post_message(self.Changed())

    def _stop(self) -> None:
        if self._following is not None:
            self._following.stop()
            self._following = None
