"""The worker's plan for loading a role's model, made on request, without loading it."""

from __future__ import annotations

from asyncio import to_thread
from typing import Any

from textual import on
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from app import plan_text as plans
from app.tui.host import host
from app.tui.shared.job_follower import JobFollower
from core.events.types import JobState
from core.roles import Role
from core.text import one_line, printable
from tasks.jobs.records import Ended, Job

LONGEST_NAME = 40
LONGEST = 800


def plan_text(plan: dict[str, Any]) -> Content:
    """The verdict, the choices and the needs by device; then the needs by part, or the reason and the remedy."""
    name = f"Plan of {plan['role']} · {one_line(str(plan['model']), LONGEST_NAME)}"
    reason = one_line(str(plan["reason"]), LONGEST)
    verdict = (reason, "bold $text-success") if plan["fits"] else ("does not fit", "bold $text-warning")
    choice = f"{plan['context']:,} ctx · {plans.offload(plan)} · {plans.first(plan)}"
    needs = " · ".join(f"{one_line(device, 12)} {need}" for device, need in plans.devices(plan))
    lines = [Content.assemble((name, "bold"), "  ", verdict), Content(choice), Content(needs)]
    if plan["fits"]:
        lines.append(Content.styled(plans.parts(plan["parts"]), "$foreground-muted"))
    else:
        lines += [Content.styled(reason, "$text-warning"), Content(one_line(str(plan["hint"]), LONGEST))]
    return Content("\n").join(lines)


class PlanPanel(Static):
    """Shown from the request of a plan until the plan is out of date."""

    DEFAULT_CSS = "PlanPanel { height: auto; padding: 0 1; margin-top: 1; display: none; }"

    class Changed(Message):
        """The panel was shown or hidden."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._follower: JobFollower | None = None
        self._awaited: Role | None = None
        """The role whose plan was requested and is not there yet."""

    async def on_unmount(self) -> None:
        if (follower := self._follower) is not None:
            follower.stop()
            await to_thread(follower.join)

    def begin(self, role: Role) -> None:
        """Announce the plan of a role."""
        self._stop()
        self._awaited = role
        self._set_text(Content.styled(f"planning {role} …", "$foreground-muted"))

    def follow(self, job: Job) -> None:
        """Show the result of a job, unless another role has been selected."""
        if job.subject == self._awaited:
            self._stop()
            self._follower = JobFollower(host(self).client, job.id, self)

    def outdated(self) -> None:
        """Hide a plan after a change of the machine; a requested one is made after the change."""
        if self._awaited is None:
            self.hide()

    def hide(self) -> None:
        self._stop()
        self._awaited = None
        self._set_text(Content(""))

    @on(JobFollower.Came)
    def came(self, message: JobFollower.Came) -> None:
        message.stop()
        for output in message.follower.take():
            if message.follower is self._follower and isinstance(output, Ended):
                self._follower = self._awaited = None
                self._show(output)

    def _show(self, ended: Ended) -> None:
        if ended.state is JobState.DONE and ended.result:
            self._set_text(plan_text(ended.result))
        elif ended.state is JobState.CANCELLED:
            self.hide()
        else:
            error = (
                f"✕ {printable(ended.error or 'The worker ended before the plan was made.')} {printable(ended.hint)}"
            )
            self._set_text(Content.styled(error.strip(), "$text-error"))

    def _set_text(self, text: Content) -> None:
        self.update(text)
        self.display = bool(text.plain)
        self.post_message(self.Changed())

    def _stop(self) -> None:
        if self._follower is not None:
            self._follower.stop()
            self._follower = None
