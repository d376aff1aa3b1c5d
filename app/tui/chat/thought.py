"""The thought before a reply, folded into one line that opens and closes."""

from __future__ import annotations

import time
from typing import Any

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from core.figures import counted


class FoldedThought(Vertical):
    """Invisible until the thought has ended: until then the state of the job says that the model thinks."""

    def __init__(self, text: str) -> None:
        from app.tui.shared.streamed_markdown import StreamedMarkdown

        super().__init__(classes="thought")
        self.text = text
        self.display = False
        self._began = 0.0
        self._summary = ""
        self._line = Static(classes="fold")
        self._body = StreamedMarkdown()
        self._body.display = False

    def compose(self) -> ComposeResult:
        yield self._line
        yield self._body

    def write(self, text: str) -> None:
        self._began = self._began or time.monotonic()
        self.text += text

    def end(self, stats: dict[str, Any]) -> None:
        """Show the line. `stats` are the reply's, or empty while that streams."""
        if not self.text.strip():
            return
        seconds = stats.get("reasoning_ms", (time.monotonic() - self._began) * 1000 if self._began else 0) / 1000
        self._summary = f"thought for {seconds:,.0f} s" if seconds >= 1 else "thought"
        if tokens := stats.get("reasoning_tokens"):
            self._summary += f", {counted(tokens, 'token')}"
        if stats.get("reasoning_cut"):
            self._summary += ", cut at its limit"
        self.display = True
        self._draw()

    async def toggle(self) -> None:
        self._body.display = not self._body.display
        self._draw()
        if self._body.display:
            await self._body.update(self.text)  # only now: many a thought is long, and never looked at

    async def on_click(self, event: events.Click) -> None:
        if event.widget is self._line:
            await self.toggle()

    def _draw(self) -> None:
        self._line.update(Content(f"{'▾' if self._body.display else '▸'} {self._summary}"))
