"""A download in a process of its own: it can be stopped at once and never blocks the interface."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import TYPE_CHECKING, cast

from core.die_with_parent import bound_to_parent
from core.errors import CharlieError

if TYPE_CHECKING:
    from asyncio import StreamReader
    from collections.abc import Callable

    from core.model_files.recommended import Recommended
    from core.roles import Role


async def fetch(role: Role, model: Recommended, on_progress: Callable[[int, int], None]) -> None:
    """Download a recommended model and configure it for a role; `on_progress(done, total)` counts bytes.

    A cancelled download keeps its part, and the next one continues it. Raises CharlieError with the command's error.
    """
    command = [sys.executable, "-P", "-m", "app", "models", "pull", role.value]
    command += ["--repo", model.repo, "--file", model.file, "--json"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *bound_to_parent(signal.SIGTERM, command), stdin=pipe, stdout=pipe, stderr=pipe
    )
    out, err = cast("StreamReader", process.stdout), cast("StreamReader", process.stderr)
    try:
        async for line in out:
            progress = json.loads(line)
            if "total" in progress:
                on_progress(progress["done"], progress["total"])
        errors = (await err.read()).decode("utf-8", "replace").split()
        if await process.wait():
            reason = " ".join(errors).removeprefix("charlie: ")
            raise CharlieError(reason or f"The download of {model.file} ended early.")
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
