"""KV caches of conversations, saved to disk before an unload and restored when the conversation continues.

app/library_changes.py deletes the caches of a deleted entry or conversation.

A restored cache is verified: its bytes by their checksum, its tokens by the positions that llama.cpp then reports.
A file that is damaged, or written by another model, version of llama.cpp or setting, is never used.
"""

from __future__ import annotations

import hashlib
import json
import logging
import mmap
import os
import re
import threading
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.files import PARTIAL_SUFFIX, stamp, write_atomically
from core.library.journal import JOURNAL
from core.llama.calls import Llama, NDArray, clear_memory, common, held_tokens, llama_cpp, np
from core.llama.checkpoints import BYTES, Checkpoint, nearest
from core.llama.load_options import SWA_FULL
from core.llama.session_files import RECORD, STATE, remove
from core.model_files.fingerprint import model_sha256
from core.model_files.spec import ModelSpec

log = logging.getLogger(__name__)

MIN_TOKENS = 64
"""Fewer tokens are evaluated about as fast as they are read from disk."""
NAME = re.compile(rf"[0-9a-f]{{1,64}}|{JOURNAL}[0-9-]{{1,64}}")
NOT_RESTORABLE = "does-not-restore"
"""Marks a model whose restored caches are incomplete."""
BLOCK = 1 << 22
"""Bytes under one checksum, so that two threads can verify one file."""
HEADER = 3
"""Numbers of 4 bytes before the tokens in llama.cpp's file; the last is the count of tokens (llama-context.cpp)."""
PREFIX = (0xAF143CD8, 0)
"""What llama.cpp wants before the same data in memory: io_magic, and a sequence that it ignores (llama-context.cpp)."""
VERSION = 4
"""Version 1 saved caches unchecked: with a sliding window they could be wrong. Version 2 had no checkpoints, version 3
one checksum for the whole file."""
RECORD_BYTES = 8
"""Approximate size of a record, for each token."""


@dataclass(frozen=True, slots=True)
class Saved:
    """One conversation's saved KV cache: its file, its tokens, and the file's size (bytes) and checksums by block."""

    state: Path
    tokens: NDArray[np.int32]
    size: int
    crc32: tuple[int, ...]
    checkpoints: tuple[tuple[int, int], ...]
    """Those at the end of the file, in this order: the tokens and the bytes of each."""

    def usable(self, shared: int) -> int:
        """How many of its first `shared` tokens can be kept in memory that cannot be cut."""
        return shared if shared == len(self.tokens) else nearest((position for position, _ in self.checkpoints), shared)


class _Mapped:
    """A saved cache's file in memory, which a thread verifies beside the load."""

    def __init__(self, saved: Saved) -> None:
        self.saved = saved
        self.stamp = stamp(saved.state)
        """It tells whether the file was changed after it was mapped."""
        self.data: Any = b""
        self._intact = True
        self._blocks = iter(enumerate(saved.crc32))  # shared by the threads that verify
        try:
            with saved.state.open("rb") as file:
                self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except (OSError, ValueError):  # ValueError: an empty file
            self._intact = False
        self._intact = self._intact and len(self.data) == saved.size
        self._thread = threading.Thread(target=self._verify, name="checksum", daemon=True)
        self._thread.start()

    def _verify(self) -> None:
        for number, crc32 in self._blocks:
            if not self._intact:
                return
            with memoryview(self.data) as data:
                if zlib.crc32(data[number * BLOCK : (number + 1) * BLOCK]) != crc32:
                    self._intact = False

    def is_intact(self) -> bool:
        """Verify what is left of the file, and wait for the thread."""
        self._verify()
        self._thread.join()
        return self._intact

    def state(self) -> NDArray[np.uint8]:
        """What llama.cpp restores; empty where the file has other tokens."""
        count, data = len(self.saved.tokens), np.frombuffer(self.data, np.uint8)
        start = 4 * (HEADER + count)
        if not np.array_equal(data[start - 4 * count - 4 : start].view(np.int32), [count, *self.saved.tokens]):
            return data[:0]
        data[start - 4 * len(PREFIX) : start].view(np.uint32)[:] = PREFIX  # in memory only, over the last tokens
        return data[start - 4 * len(PREFIX) : len(data) - sum(size for _, size in self.saved.checkpoints)]

    def checkpoints(self) -> list[Checkpoint]:
        end, found = len(self.data), list[Checkpoint]()
        for count, size in reversed(self.saved.checkpoints):
            part = np.frombuffer(self.data, np.uint8, size, end := end - size)
            found.insert(0, Checkpoint(self.saved.tokens[:count], part.copy()))
        return found


class SessionCache:
    """The saved KV caches of one model, under `root`, which holds at most `limit` bytes for all models.

    `exists(name)` is asked before a cache is written or kept, so a deleted conversation leaves none.
    """

    def __init__(self, root: Path, spec: ModelSpec, limit: int, exists: Callable[[str], bool]) -> None:
        self._root = root
        self._spec = spec
        self._limit = limit
        self._exists = exists
        self._folder: Path | None = None
        self._saved: dict[str, Saved] = {}
        self._mapped: _Mapped | None = None
        """The cache that will most likely be restored."""
        self._opener = threading.Thread(target=self._open, name="sessions", daemon=True)
        self._opener.start()

    def _open(self) -> None:
        """On a thread during the load: the first hashing of a large file takes seconds.

        The latest conversation will most likely continue, so its file is mapped and verified already.
        """
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for left in self._root.rglob(f"*{PARTIAL_SUFFIX}"):  # by a worker that was killed while it saved
                left.unlink(missing_ok=True)
            self._make_room(0)
            if self._limit == 0:
                return
            folder = self._root / _key(self._spec, model_sha256(self._spec.header, self._root / "hashes.json"))
            folder.mkdir(mode=0o700, exist_ok=True)
            self._saved = {path.stem: saved for path in folder.glob(f"*{RECORD}") if (saved := _read(path))}
            self._folder = folder
            last = max(self._saved.values(), key=lambda saved: saved.state.stat().st_mtime_ns, default=None)
            self._mapped = _Mapped(last) if last is not None else None
        except OSError as error:
            log.warning("KV caches of %s are not saved: %s", self._spec.name, error)

    def best(self, tokens: Sequence[int], cuttable: bool) -> tuple[Saved | None, int]:
        """The saved cache of which most tokens are usable, and their number; `cuttable`: all common ones are."""
        if self._folder is None or self._disabled:
            return None, 0
        wanted = np.asarray(tokens, np.int32)
        shared = [(common(each.tokens, wanted), each) for each in self._saved.values()]
        usable = [(count if cuttable else each.usable(count), each) for count, each in shared]
        count, saved = max(usable, key=lambda each: each[0], default=(0, None))
        if self._mapped is not None and self._mapped.saved is not saved:
            self._mapped = None  # its file may be deleted any time, and would be held
        return saved, count

    def save(self, llama: Llama, name: str, checkpoints: Sequence[Checkpoint] = (), keep: Saved | None = None) -> None:
        """Save the KV cache of `llama` as the conversation `name`. A failure is only logged.

        `keep` is not removed to make room.
        """
        self._opener.join()
        if self._folder is None or self._disabled or llama.n_tokens < MIN_TOKENS or not NAME.fullmatch(name):
            return
        if (held := held_tokens(llama)) != llama.n_tokens:
            log.warning("The KV cache of %s is not saved: it holds %d of %d tokens.", name, held, llama.n_tokens)
            return
        try:
            self._forget_deleted()
            if self._exists(name):
                self._write(llama, name, self._folder, checkpoints, keep)
        except OSError as error:
            log.warning("The KV cache of %s is not saved: %s", name, error)

    def restore(self, llama: Llama, saved: Saved) -> list[Checkpoint]:
        """Replace the KV cache of `llama` by a saved one, and return its checkpoints. On failure it is empty."""
        self._opener.join()
        clear_memory(llama)
        llama.n_tokens = 0
        count = len(saved.tokens)
        if count > llama.n_ctx():
            return []
        mapped, self._mapped = self._mapped, None
        if mapped is None or mapped.saved is not saved or mapped.stamp != stamp(saved.state):
            mapped = _Mapped(saved)
        if not mapped.is_intact():
            self._remove(saved.state.stem)
            return []
        state = mapped.state()
        read = llama_cpp.llama_state_seq_set_data(llama.ctx, state.ctypes.data_as(BYTES), state.size, 0)
        held = held_tokens(llama) if read == state.size > 0 else 0
        if held != count:  # the file is not the cause
            clear_memory(llama)
            log.info("%s restored %d of %d tokens; its KV caches are no longer saved.", self._spec.name, held, count)
            self._disable()
            return []
        llama.input_ids[:count] = saved.tokens
        llama.n_tokens = count
        with suppress(OSError):  # another process may have removed it
            os.utime(saved.state)
        return mapped.checkpoints()

    @property
    def _disabled(self) -> bool:
        return self._folder is not None and (self._folder / NOT_RESTORABLE).exists()

    def _disable(self) -> None:
        """Save no more caches of this model, whose restored caches are incomplete."""
        if self._folder is not None:
            with suppress(OSError):
                (self._folder / NOT_RESTORABLE).touch()
        for name in list(self._saved):
            self._remove(name)

    def _write(
        self, llama: Llama, name: str, folder: Path, checkpoints: Sequence[Checkpoint], keep: Saved | None
    ) -> None:
        tokens: NDArray[np.int32] = llama.input_ids[: llama.n_tokens].astype(np.int32)
        before = self._saved.get(name)
        if before is not None and np.array_equal(before.tokens, tokens):
            os.utime(before.state)
            return
        size = llama_cpp.llama_state_seq_get_size(llama.ctx, 0) + tokens.nbytes + RECORD_BYTES * len(tokens)
        size += sum(each.data.nbytes for each in checkpoints)
        self._remove(name)
        if size > self._limit or not self._make_room(size, keep):
            return
        part, state = folder / f"{name}{PARTIAL_SUFFIX}", folder / f"{name}{STATE}"
        try:
            given = (llama_cpp.llama_token * len(tokens))(*tokens.tolist())
            if not llama_cpp.llama_state_seq_save_file(llama.ctx, str(part).encode(), 0, given, len(tokens)):
                return
            with part.open("ab") as file:  # llama.cpp ignores what follows its own data
                for each in checkpoints:
                    each.data.tofile(file)
            sizes = tuple((len(each.tokens), each.data.nbytes) for each in checkpoints)
            saved = Saved(state, tokens, part.stat().st_size, _crc32(part), sizes)
            part.replace(state)
            record = {"of": folder.name, "size": saved.size, "crc32": saved.crc32, "tokens": tokens.tolist()}
            record["checkpoints"] = sizes
            write_atomically(folder / f"{name}{RECORD}", json.dumps(record), durable=False)
        finally:
            part.unlink(missing_ok=True)
        self._saved[name] = saved

    def _make_room(self, size: int, keep: Saved | None = None) -> bool:
        """Remove the least recently used caches, of any model, until `size` bytes fit."""
        states = sorted(self._root.glob(f"*/*{STATE}"), key=lambda path: path.stat().st_mtime_ns)
        sizes = {path: _size(path) + _size(path.with_suffix(RECORD)) for path in states}
        used = sum(sizes.values())
        for path, taken in sizes.items():
            if used + size <= self._limit:
                break
            if keep is None or path != keep.state:
                self._saved.pop(path.stem, None)
                remove(path)
                used -= taken
        return used + size <= self._limit

    def _forget_deleted(self) -> None:
        for path in self._root.glob(f"*/*{RECORD}"):
            if not self._exists(path.stem):
                self._saved.pop(path.stem, None)
                remove(path)

    def _remove(self, name: str) -> None:
        if saved := self._saved.pop(name, None):
            remove(saved.state)


def _read(record: Path) -> Saved | None:
    """A saved cache from its record; an invalid one is removed and gives None."""
    state = record.with_suffix(STATE)
    try:
        found = json.loads(record.read_bytes())
        checkpoints = tuple((int(position), int(size)) for position, size in found["checkpoints"])
        tokens = np.asarray(found["tokens"], np.int32)
        crc32 = tuple(map(int, found["crc32"]))
        saved = Saved(state, tokens, int(found["size"]), crc32, checkpoints)
        own = found["of"] == record.parent.name  # not copied from another model's folder
        whole = sum(size for _, size in checkpoints) < saved.size == state.stat().st_size <= BLOCK * len(crc32)
        inside = all(0 < position <= len(tokens) and size > 0 for position, size in checkpoints)
        if own and tokens.ndim == 1 and len(tokens) and whole and inside:
            return saved
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        pass
    remove(record)
    return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _crc32(path: Path) -> tuple[int, ...]:
    with path.open("rb", buffering=0) as file:
        return tuple(map(zlib.crc32, iter(lambda: file.read(BLOCK), b"")))


def _key(spec: ModelSpec, sha256: str) -> str:
    """Name of the folder: a hash of everything that must be equal for a cache to be valid."""
    build = f"{llama_cpp.__version__} {llama_cpp.llama_print_system_info().decode(errors='replace')}"
    return hashlib.sha256(f"{VERSION} {SWA_FULL} {sha256} {spec.kv_type} {build}".encode()).hexdigest()[:32]
