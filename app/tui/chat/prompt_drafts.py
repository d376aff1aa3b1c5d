"""The text of each conversation that was not sent yet."""

from __future__ import annotations

import asyncio
from typing import cast

from textual.widget import Widget

from app.tui.chat.prompt import Prompt
from app.tui.shared.draft_writer import DraftWriter
from app.tui.textual_fixes import QuietApp


class PromptDrafts:
    """The prompt shows the draft of one conversation. All are kept in files too, so that they outlive a crash.

    An id is that of a conversation, empty for a new one, or of an edited turn: `<turn>@<conversation>`.
    """

    def __init__(self, view: Widget, prompt: Prompt) -> None:
        self.shown = ""
        """The conversation that the prompt's text belongs to: the open one, or one being opened."""
        self.begun = asyncio.Event()
        """Set once it is decided which conversation is open first; what is sent earlier waits to belong to it."""
        self.writer = DraftWriter(view)
        self._view = view
        self._prompt = prompt
        self._hidden: dict[str, str] = {}
        self._held: list[tuple[str, str]] = []
        self._taken: set[str] = set()

    def switch(self, id_: str) -> None:
        """Show the draft of another conversation."""
        if id_ != self.shown:
            self._hidden[self.shown], self.shown = self._prompt.draft, id_
            self._prompt.replace_text(self._hidden.pop(id_, ""))
            self._view.run_worker(self.load(id_))

    def move(self, id_: str) -> None:
        """Give the prompt's text to another conversation, which may have a draft already."""
        old, self.shown = self.shown, id_
        if text := self._hidden.pop(id_, ""):
            self._prompt.prepend(text)
        self.keep(old)
        self._view.run_worker(self.load(id_))

    async def load(self, id_: str) -> bool:
        """Add what an ended process left; True if there is something."""
        text = "" if id_ in self._taken else await self.writer.take(_place(id_))
        if id_ not in self._taken:
            self._taken.add(id_)
            self.give_back(id_, text)
        self.keep(id_)
        return bool(text)

    def give_back(self, id_: str, text: str) -> None:
        """Put a text that was not sent before what was typed since."""
        if text and id_ == self.shown:
            self._prompt.prepend(text)
        elif text:
            self._hidden[id_] = self._prompt.joined(text, self._hidden.get(id_, ""))

    def hold(self, id_: str, text: str) -> None:
        """Keep a text that is in neither the prompt nor the database, until `release`."""
        self._held.append((id_, text))
        self.keep(id_)

    def release(self, id_: str, text: str) -> None:
        self._held.remove((id_, text))
        self.keep(id_)

    def keep(self, id_: str) -> None:
        """Write the draft of a conversation soon, unless that would hide what an ended process left."""
        if id_ in self._taken:
            held = [text for of, text in self._held if of == id_]
            draft = self._prompt.draft if id_ == self.shown else self._hidden.get(id_, "")
            self.writer.put(_place(id_), "\n".join(part for part in (*held, self._prompt.whole(draft)) if part))

    async def close(self) -> None:
        """Write everything before the process ends."""
        if not self._taken and cast("QuietApp", self._view.app).failure is not None:
            return  # the client could not be opened
        self._taken.add(self.shown)
        self.keep(self.shown)
        await self.writer.write()


def _place(id_: str) -> str:
    return f"chat:{id_}"
