"""Lets a person write a text in $VISUAL or $EDITOR, and keeps its file until the text is saved."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.commands.output import note
from core.errors import CharlieError
from core.library.text_input import BOM, decode
from core.paths import find_paths


@contextmanager
def edited(text: str = "") -> Iterator[str]:
    """The text after the editor has ended; the block saves it.

    Reach the database first, so that the person does not write what cannot be saved. Save in the block and do all
    else after it, since an error in it keeps the editor's file and names it::

        with session(worker=False) as running:
            entry = running.client.journal.entry(id_)
        with edited(entry.text) as text, session(worker=False) as running:
            write_entry(running.client, id_, text, entry.revision, "editor")

    A text that was left as it was is yielded too. Raises CharlieError when the editor cannot be started, fails, or
    leaves no text, and for each error of the block.
    """
    drafts = find_paths().drafts
    drafts.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=drafts, prefix="editor-"))
    file = folder / "text.md"
    # Editors end the last line, so a missing end is added before and removed after.
    end = "\n" if text and not text.endswith("\n") else ""
    before = f"{text}{end}".encode()
    kept = False
    try:
        file.write_bytes(before)
        kept = True  # a signal ends this process, not the editor
        failure = _run(file)
        after = file.read_bytes() if file.exists() else b""
        kept = bool(after.decode(errors="replace").lstrip(BOM).strip()) and after != before
        yield _checked(after, failure, "" if kept else "Set EDITOR, or pipe the text in.").removesuffix(end)
        kept = False
    except Exception as error:
        if not kept:
            raise
        from app.error_report import explained  # imports Redis, which `--help` does not need

        failed = explained(error)
        raise CharlieError(failed.message, f"{failed.hint} The text is in {file}.".lstrip()) from error
    except BaseException:  # Ctrl+C, or the terminal is closed
        if kept:
            with suppress(OSError):
                note(f"The text is in {file}.")
        raise
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)


def _checked(after: bytes, failure: str, hint: str) -> str:
    """The text of the file after the editor has ended. Raises CharlieError."""
    if failure:
        raise CharlieError(failure, hint)
    text = decode(after)
    if not text.strip():
        raise CharlieError("The editor saved no text, so nothing was changed.")
    return text


def _run(file: Path) -> str:
    """Open the editor and wait for its end; returns why it failed, empty if it did not."""
    editor = next((found for name in ("VISUAL", "EDITOR") if (found := os.environ.get(name, "").strip())), "vi")
    # Ctrl+C is for the editor. A handler, unlike SIG_IGN, does not pass on to it.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        status = subprocess.Popen([*shlex.split(editor), str(file)]).wait()
    except (OSError, ValueError) as error:
        return f"The editor {editor!r} cannot be started: {getattr(error, 'strerror', error)}."
    finally:
        signal.signal(signal.SIGINT, before)
    if status < 0:
        return f"The editor {editor!r} was ended by {signal.Signals(-status).name}."
    return f"The editor {editor!r} ended with status {status}." if status else ""
