"""The raw engine: llama-cpp-python in one process, without a queue, a database or a stream.

Run as a module it is that process: it reads one JSON object per line and answers each with one.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PARTS = 8
"""Parts of a completion that are timed separately, to see whether a token's cost grows."""


@dataclass(frozen=True, slots=True)
class Timed:
    """Seconds from the request to the first token, to the last one, and to the end of each part (`marks`)."""

    first_s: float
    total_s: float
    tokens: int
    marks: list[float]

    @property
    def rate(self) -> float:
        return self.tokens / self.total_s


class Raw:
    """Handle of such a process. It takes the times itself, so the pipe does not count."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def load(self, file: Path, *, context: int, threads: int, embedding: bool = False) -> None:
        self._ask(op="load", file=str(file), context=context, threads=threads, embedding=embedding)

    def close(self) -> None:
        self._ask(op="close")

    def complete(self, prompt: str, tokens: int) -> Timed:
        """Calls `Llama.generate`, greedy; the time includes tokenizing."""
        return Timed(**self._ask(op="complete", prompt=prompt, tokens=tokens))

    def chat(self, messages: list[dict[str, str]], tokens: int) -> Timed:
        """Calls `Llama.create_chat_completion(stream=True)`, greedy."""
        return Timed(**self._ask(op="chat", messages=messages, tokens=tokens))

    def swap(self, file: Path, prompt: str, *, context: int, threads: int) -> Timed:
        """Closes the loaded model, loads the file and generates one token; the times include all of it."""
        return Timed(**self._ask(op="swap", file=str(file), prompt=prompt, context=context, threads=threads))

    def save(self, path: Path) -> None:
        """Saves the KV cache and its tokens."""
        self._ask(op="save", path=str(path))

    def resume(self, file: Path, saved: Path, fresh: int, *, context: int, threads: int) -> Timed:
        """Loads the file, restores a saved KV cache, reads `fresh` more tokens and generates one."""
        return Timed(
            **self._ask(op="resume", file=str(file), saved=str(saved), fresh=fresh, context=context, threads=threads)
        )

    def _ask(self, **request: Any) -> Any:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(request) + "\n")
        stdin.flush()
        return json.loads(stdout.readline())


@contextmanager
def raw(environment: Mapping[str, str] | None = None) -> Iterator[Raw]:
    process = subprocess.Popen([sys.executable, "-m", __spec__.name], stdin=-1, stdout=-1, text=True, env=environment)
    with process:
        try:
            yield Raw(process)
        finally:
            process.kill()


def _load(file: str, context: int, threads: int, *, embedding: bool = False) -> Any:
    from llama_cpp import Llama

    return Llama(
        file, n_ctx=context, n_batch=512, n_threads=threads, n_threads_batch=threads,
        flash_attn=not embedding, embedding=embedding, verbose=False,
    )  # fmt: skip


def _complete(llama: Any, prompt: str, count: int, began: float) -> dict[str, Any]:
    tokens = llama.tokenize(prompt.encode(), add_bos=llama._model.add_bos_token(), special=True)
    times: list[float] = []
    for token in llama.generate(tokens, temp=0.0):
        times.append(time.perf_counter() - began)
        if len(times) == count or token == llama.token_eos():
            break
    return _timings(times)


def _chat(llama: Any, messages: list[dict[str, str]], count: int, began: float) -> dict[str, Any]:
    chunks = llama.create_chat_completion(messages, max_tokens=count, temperature=0.0, stream=True)
    return _timings([time.perf_counter() - began for chunk in chunks if chunk["choices"][0]["delta"].get("content")])


def _save(llama: Any, path: str) -> None:
    import llama_cpp

    count = llama.n_tokens
    tokens = (llama_cpp.llama_token * count)(*llama.input_ids[:count].tolist())
    assert llama_cpp.llama_state_seq_save_file(llama.ctx, path.encode(), 0, tokens, count)


def _restore(llama: Any, path: str) -> None:
    import llama_cpp

    tokens, count = (llama_cpp.llama_token * llama.n_ctx())(), ctypes.c_size_t()
    assert llama_cpp.llama_state_seq_load_file(llama.ctx, path.encode(), 0, tokens, len(tokens), ctypes.byref(count))
    llama.n_tokens = count.value
    llama.input_ids[: count.value] = tokens[: count.value]


def _read(llama: Any, fresh: int, began: float) -> dict[str, Any]:
    """Reads tokens that the KV cache has already, one place further on."""
    llama.eval(llama.input_ids[:fresh].tolist())
    llama.sample(temp=0.0)
    return _timings([time.perf_counter() - began])


def _timings(times: list[float]) -> dict[str, Any]:
    marks = [times[len(times) * part // PARTS - 1] for part in range(1, PARTS + 1)] if len(times) >= PARTS else []
    return {"first_s": times[0], "total_s": times[-1], "tokens": len(times), "marks": marks}


def _serve() -> None:
    llama: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        began, answer = time.perf_counter(), {}
        match request.pop("op"):
            case "load":
                llama = _load(**request)
            case "close":
                llama.close()
            case "complete":
                answer = _complete(llama, request["prompt"], request["tokens"], began)
            case "chat":
                answer = _chat(llama, request["messages"], request["tokens"], began)
            case "swap":
                prompt = request.pop("prompt")
                llama.close()
                llama = _load(**request)
                answer = _complete(llama, prompt, 1, began)
            case "save":
                _save(llama, **request)
            case "resume":
                saved, fresh = request.pop("saved"), request.pop("fresh")
                llama = _load(**request)
                _restore(llama, saved)
                answer = _read(llama, fresh, began)
        sys.__stdout__.write(json.dumps(answer) + "\n")  # type: ignore[union-attr]  # it is a pipe
        sys.__stdout__.flush()  # type: ignore[union-attr]


if __name__ == "__main__":
    _serve()
