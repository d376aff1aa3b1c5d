"""`charlie models …` in a process of its own: it can be stopped at once and never blocks the interface."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio import StreamReader
from collections.abc import Callable
from typing import Any, cast

from core.die_with_parent import bound_to_parent
from core.errors import CharlieError


async def models_command(arguments: list[str], on_line: Callable[[dict[str, Any]], None] = lambda _: None) -> None:
    """Run a command of `charlie models`; `on_line` gets each line of its JSON output.

    A download that is cancelled keeps its part, and the next one continues it. Raises CharlieError.
    """
    command = [sys.executable, "-P", "-m", "app", "models", *arguments]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *bound_to_parent(signal.SIGTERM, command), stdin=pipe, stdout=pipe, stderr=pipe
    )
    out, err = cast("StreamReader", process.stdout), cast("StreamReader", process.stderr)
    try:
        async for line in out:
            on_line(json.loads(line))
        errors = (await err.read()).decode("utf-8", "replace").split()
        if await process.wait():
            reason = " ".join(errors).removeprefix("charlie: ")
            raise CharlieError(reason or f"`charlie models {arguments[0]}` ended early.")
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
