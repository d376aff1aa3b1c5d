"""KV caches of conversations: kept on the disk when the model goes, put back when the conversation goes on.

What is put back is verified: the bytes by their checksum, and how far llama.cpp then says that it remembers.
A file that is damaged, or that another model, another llama.cpp or other settings wrote, is never used.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import logging
import os
import re
import threading
import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core import checksums
from core.native import clear_memory
from core.session_files import JOURNAL, PART, RECORD, STATE, unlink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from llama_cpp import Llama
    from numpy.typing import NDArray

    from core.model_files import ModelSpec

log = logging.getLogger(__name__)

LEAST_TOKENS = 64
"""Fewer are evaluated about as quickly as they are read from the disk."""
NAME = re.compile(rf"[0-9a-f]{{1,64}}|{JOURNAL}[0-9-]{{1,64}}")
REFUSED = "does-not-restore"
BLOCK = 1 << 20
RECORD_BYTES = 8
"""Of a record for each token, about."""


@dataclass(frozen=True, slots=True)
class Saved:
    """One conversation's KV cache: what it holds, in tokens, and the size (bytes) and checksum of its file."""

    state: Path
    tokens: NDArray[np.int32]
    size: int
    crc32: int


class Sessions:
    """The saved KV caches of one model, under `root`, which holds at most `limit` bytes of them for all models.

    `wanted` tells whether what has a name still exists: of a deleted conversation nothing is written, nothing is kept.
    """

    def __init__(self, root: Path, spec: ModelSpec, limit: int, wanted: Callable[[str], bool]) -> None:
        self._root = root
        self._spec = spec
        self._limit = limit
        self._wanted = wanted
        self._folder: Path | None = None
        self._saved: dict[str, Saved] = {}
        self._whole: tuple[Saved, os.stat_result] | None = None
        """What was found whole already, while the model was being loaded, and how its file was then."""
        self._opener = threading.Thread(target=self._open, name="sessions", daemon=True)
        self._opener.start()

    def _open(self) -> None:
        """On a thread, beside the loading: the first hashing of a large file takes seconds.

        The conversation that was used last is most likely the one that goes on, so its file is read already.
        """
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for left in self._root.glob(f"*/*{PART}"):  # by a worker that was ended while it saved
                left.unlink()
            self._make_room(0)
            if self._limit == 0:
                return
            folder = self._root / _key(self._spec, _sha256(self._spec.path, self._root / "hashes.json"))
            folder.mkdir(mode=0o700, exist_ok=True)
            self._saved = {path.stem: saved for path in folder.glob(f"*{RECORD}") if (saved := _read(path))}
            self._folder = folder
            last = max(self._saved.values(), key=lambda saved: saved.state.stat().st_mtime_ns, default=None)
            if last is not None:
                found = last.state.stat()
                self._whole = (last, found) if _is_whole(last) else None
        except OSError as error:
            log.warning("Conversations of %s are not kept over an unload. %s", self._spec.name, error)

    def best(self, tokens: Sequence[int]) -> tuple[Saved | None, int]:
        """The saved cache that shares the longest beginning with a prompt, and how many tokens that is."""
        import numpy as np

        if self._folder is None or self._refused:
            return None, 0
        wanted = np.asarray(tokens, np.int32)
        shared = [(common(each.tokens, wanted), each) for each in self._saved.values()]
        count, saved = max(shared, key=lambda each: each[0], default=(0, None))
        return saved, count

    def save(self, llama: Llama, name: str, spare: Saved | None = None) -> None:
        """Write what `llama` holds as the conversation `name`; what cannot be written is evaluated again later.

        `spare` is not removed to make room.
        """
        self._opener.join()
        if self._folder is None or self._refused or llama.n_tokens < LEAST_TOKENS or not NAME.fullmatch(name):
            return
        try:
            self._forget_deleted()
            if self._wanted(name):
                self._write(llama, name, self._folder, spare)
        except OSError as error:
            log.warning("The conversation %s is not kept over an unload. %s", name, error)

    def restore(self, llama: Llama, saved: Saved) -> bool:
        """Put a saved cache back in place of what `llama` holds; False, and nothing held, where that failed."""
        import llama_cpp
        import numpy as np

        self._opener.join()
        clear_memory(llama)
        llama.n_tokens = 0
        count = len(saved.tokens)
        if count > llama.n_ctx():
            return False
        if not self._found_whole(saved) and not _is_whole(saved):
            self._drop(saved.state.stem)
            return False
        tokens, read = (llama_cpp.llama_token * count)(), ctypes.c_size_t()
        path = str(saved.state).encode()
        done = llama_cpp.llama_state_seq_load_file(llama.ctx, path, 0, tokens, count, ctypes.byref(read))
        memory = llama_cpp.llama_get_memory(llama.ctx)
        held = llama_cpp.llama_memory_seq_pos_max(memory, 0) + 1 if done else 0
        if held != count or read.value != count or not np.array_equal(np.ctypeslib.as_array(tokens), saved.tokens):
            clear_memory(llama)
            if _is_whole(saved):  # so it is not the file
                log.info("%s restored %d of %d tokens; from now on it evaluates them.", self._spec.name, held, count)
                self._refuse()
            self._drop(saved.state.stem)
            return False
        llama.input_ids[:count] = saved.tokens
        llama.n_tokens = count
        with suppress(OSError):  # somebody may have removed it by now
            os.utime(saved.state)
        return True

    def _found_whole(self, saved: Saved) -> bool:
        """Whether it was looked through before and nobody has touched it since."""
        if self._whole is None or self._whole[0] is not saved:
            return False
        before = self._whole[1]
        try:
            now = saved.state.stat()
        except OSError:
            return False
        return (now.st_ino, now.st_size, now.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)

    @property
    def _refused(self) -> bool:
        return self._folder is not None and (self._folder / REFUSED).exists()

    def _refuse(self) -> None:
        """Remember that this model does not restore."""
        if self._folder is not None:
            with suppress(OSError):
                (self._folder / REFUSED).touch()
        for name in list(self._saved):
            self._drop(name)

    def _write(self, llama: Llama, name: str, folder: Path, spare: Saved | None) -> None:
        import llama_cpp
        import numpy as np

        tokens: NDArray[np.int32] = llama.input_ids[: llama.n_tokens].astype(np.int32)
        before = self._saved.get(name)
        if before is not None and np.array_equal(before.tokens, tokens):
            os.utime(before.state)
            return
        size = llama_cpp.llama_state_seq_get_size(llama.ctx, 0) + tokens.nbytes + RECORD_BYTES * len(tokens)
        self._drop(name)
        if size > self._limit or not self._make_room(size, spare):
            return
        part, state = folder / f"{name}{PART}", folder / f"{name}{STATE}"
        try:
            given = (llama_cpp.llama_token * len(tokens))(*tokens.tolist())
            if not llama_cpp.llama_state_seq_save_file(llama.ctx, str(part).encode(), 0, given, len(tokens)):
                return
            saved = Saved(state, tokens, part.stat().st_size, _crc32(part))
            part.replace(state)
            record = {"of": folder.name, "size": saved.size, "crc32": saved.crc32, "tokens": tokens.tolist()}
            part.write_text(json.dumps(record))
            part.replace(folder / f"{name}{RECORD}")
        finally:
            part.unlink(missing_ok=True)
        self._saved[name] = saved

    def _make_room(self, size: int, spare: Saved | None = None) -> bool:
        """Remove what was used longest ago, of any model, until `size` bytes more fit."""
        states = [(path.stat(), path) for path in self._root.glob(f"*/*{STATE}")]
        states.sort(key=lambda each: each[0].st_mtime_ns)
        sizes = {path: stat.st_size + _size(path.with_suffix(RECORD)) for stat, path in states}
        used = sum(sizes.values())
        for path, taken in sizes.items():
            if used + size <= self._limit:
                break
            if spare is None or path != spare.state:
                self._saved.pop(path.stem, None)
                unlink(path)
                used -= taken
        return used + size <= self._limit

    def _forget_deleted(self) -> None:
        for path in self._root.glob(f"*/*{RECORD}"):
            if not self._wanted(path.stem):
                self._saved.pop(path.stem, None)
                unlink(path)

    def _drop(self, name: str) -> None:
        if saved := self._saved.pop(name, None):
            unlink(saved.state)


def common(held: NDArray[np.int32], tokens: NDArray[np.int32]) -> int:
    """How many tokens two prompts begin with together."""
    import numpy as np

    length = min(len(held), len(tokens))
    differ = np.flatnonzero(held[:length] != tokens[:length])
    return int(differ[0]) if differ.size else length


def _read(record: Path) -> Saved | None:
    """What a record says; None, with its files removed, for one that is not one of ours."""
    import numpy as np

    state = record.with_suffix(STATE)
    try:
        found = json.loads(record.read_bytes())
        saved = Saved(state, np.asarray(found["tokens"], np.int32), int(found["size"]), int(found["crc32"]))
        own = found["of"] == record.parent.name  # and was not copied here from another model's
        if own and saved.tokens.ndim == 1 and len(saved.tokens) and state.stat().st_size == saved.size:
            return saved
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        pass
    unlink(record)
    return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _is_whole(saved: Saved) -> bool:
    try:
        return saved.state.stat().st_size == saved.size and _crc32(saved.state) == saved.crc32
    except OSError:
        return False


def _crc32(path: Path) -> int:
    crc = 0
    with path.open("rb", buffering=0) as file:
        while part := file.read(BLOCK):
            crc = zlib.crc32(part, crc)
    return crc


def _key(spec: ModelSpec, sha256: str) -> str:
    """Names the folder of all that makes one saved cache good for another load."""
    import llama_cpp

    build = f"{llama_cpp.__version__} {llama_cpp.llama_print_system_info().decode(errors='replace')}"
    return hashlib.sha256(f"{sha256} {spec.kv_type} {build}".encode()).hexdigest()[:32]


def _sha256(path: Path, cache: Path) -> str:
    """The hash of a model file, read once for each state of the file."""
    found = path.stat()
    kept = checksums.read(path)
    if kept is not None and (kept.modified, kept.bytes) == (found.st_mtime_ns, found.st_size):
        return kept.sha256
    try:
        known = json.loads(cache.read_bytes())
        if not isinstance(known, dict):
            known = {}
    except (OSError, ValueError):
        known = {}
    stamp = [found.st_mtime_ns, found.st_size, found.st_ino]
    match known.get(str(path)):
        case [*before, str(digest)] if before == stamp:
            return digest
    digest = checksums.sha256_of(path)
    known[str(path)] = [*stamp, digest]
    part = cache.with_suffix(".part")
    part.write_text(json.dumps(known))
    part.replace(cache)
    return digest
