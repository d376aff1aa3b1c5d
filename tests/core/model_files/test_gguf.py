from __future__ import annotations

import os
import struct
from time import perf_counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import ModelFileError
from core.model_files.gguf import read_header
from core.model_files.parts import UNFINISHED
from core.model_files.spec import check_role, describe
from core.roles import Role

if TYPE_CHECKING:
    from pathlib import Path


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def entry(key: str, value: bytes) -> bytes:
    return text(key.encode()) + struct.pack("<I", 8) + text(value)


def number(key: str, value: int) -> bytes:
    return text(key.encode()) + struct.pack("<II", 4, value)


def strings(key: str, count: int) -> bytes:
    return text(key.encode()) + struct.pack("<IIQ", 9, 8, count) + b"".join(text(b"token%d" % n) for n in range(count))


def tensor(name: str, *shape: int, kind: int = 0, offset: int = 0) -> bytes:
    return text(name.encode()) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def model(entries: list[bytes], tensors: list[bytes], version: int = 3, data: int = 0) -> bytes:
    body = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(entries)) + b"".join(entries + tensors)
    return body + b"\0" * (-len(body) % 32 + data)


SMALL = model(
    [
        entry("general.architecture", b"llama"),
        number("llama.block_count", 2),
        number("llama.embedding_length", 64),
        number("llama.attention.head_count", 4),
        number("llama.attention.head_count_kv", 2),
        number("llama.context_length", 512),
        number("general.file_type", 15),
        strings("tokenizer.ggml.tokens", 40),
    ],
    [tensor("a", 64, 8), tensor("b", 256, 2, kind=12, offset=2048)],
    data=2048 + 288,
)


def refused(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        read_header(path)
    assert caught.value.hint
    assert "\n" not in caught.value.message
    return caught.value.message


def test_the_fields_of_a_header(tmp_path: Path) -> None:
    path = tmp_path / "small.gguf"
    path.write_bytes(SMALL)
    header = read_header(path)
    assert (header.architecture, header.name, header.layers, header.context_length) == ("llama", "llama 0M", 2, 512)
    assert (header.heads, header.kv_heads, header.head_dim_key, header.head_dim_value) == (4, 2, 16, 16)
    assert (header.vocab_size, header.quantization, header.parameters) == (40, "Q4_K_M", 1024)
    assert (header.tensor_bytes, header.file_bytes) == (2048 + 288, len(SMALL))
    assert (header.pooling, header.chat_template) == (None, None)


def test_the_headers_of_three_roles(tiny: dict[Role, Path]) -> None:
    instruct, embedding, reranker = (read_header(tiny[role]) for role in Role)
    assert "<|im_start|>" in (instruct.chat_template or "")
    assert not instruct.is_encoder
    assert (embedding.pooling, embedding.is_encoder, embedding.is_reranker) == ("mean", True, False)
    assert (reranker.pooling, reranker.is_encoder, reranker.is_reranker) == ("rank", True, True)


def test_the_header_agrees_with_the_gguf_library(tiny: dict[Role, Path]) -> None:
    import gguf

    for path in tiny.values():
        ours, theirs = read_header(path), gguf.GGUFReader(path)
        assert ours.tensor_bytes == sum(int(each.n_bytes) for each in theirs.tensors)
        assert ours.parameters == sum(int(each.n_elements) for each in theirs.tensors)
        assert ours.vocab_size == len(theirs.fields["tokenizer.ggml.tokens"].data)


def test_files_that_are_not_models_are_refused(tmp_path: Path) -> None:
    assert "There is no model file" in refused(tmp_path / "missing.gguf")
    assert "is a folder" in refused(tmp_path)
    empty = tmp_path / "empty"
    empty.touch()
    assert "it is empty" in refused(empty)
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"%PDF-1.7" * 100)
    assert "not a GGUF file" in refused(foreign)
    os.mkfifo(tmp_path / "pipe")
    assert "not a file but" in refused(tmp_path / "pipe")


def test_the_error_of_a_truncated_file_names_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "cut"
    path.write_bytes(SMALL[:-1])
    assert f"{len(SMALL) - 1:,} of {len(SMALL):,} bytes" in refused(path)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 1), "claims"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 2**60), "claims"),
        (b"GGUF" + struct.pack("<IQQ", 9, 1, 1), "version is 9"),
        (b"GGUF" + struct.pack(">IQQ", 3, 1, 1), "version"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + struct.pack("<Q", 2**62), "claims"),
        (model([text(b"a") + struct.pack("<IIQ", 9, 8, 2**50)], []), "claims"),
        (model([text(b"a") + struct.pack("<IIQ", 9, 4, 2**20)], []), "claims"),
        (model([text(b"a") + struct.pack("<IIQ", 9, 9, 1)], []), "unknown kind"),
        (model([text(b"a") + struct.pack("<I", 77)], []), "unknown kind"),
        (model([number("general.alignment", 0)], []), "alignment"),
        (model([entry("general.architecture", b"llama")], [tensor("a", 2**40, 2**40)]), "cut off"),
        (model([entry("general.architecture", b"llama")], []), "no tensors"),
        (model([number("general.architecture", 7)], [tensor("a", 1)], data=32), "architecture"),
        (
            model(
                [entry("general.architecture", b"llama"), number("llama.block_count", 513)], [tensor("a", 1)], data=32
            ),
            "claims 513 layers",
        ),
        (b"GGUF", "cut off"),
    ],
    ids=range(15),
)
def test_a_nonsensical_header_is_refused_at_once(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "nonsense"
    path.write_bytes(data)
    began = perf_counter()
    assert reason in refused(path)
    assert perf_counter() - began < 1


@given(st.data())
@settings(max_examples=400, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_is_read_or_refused_in_one_sentence(tmp_path: Path, data: st.DataObject) -> None:
    damaged = bytearray(SMALL[: data.draw(st.integers(0, len(SMALL)))])
    header_end = len(SMALL) - 2048 - 288
    for _ in range(data.draw(st.integers(0, 4))):
        if damaged:
            damaged[data.draw(st.integers(0, min(len(damaged), header_end) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged"
    path.write_bytes(damaged)
    try:
        read_header(path)
    except ModelFileError as error:
        assert "\n" not in error.message  # noqa: PT017


def test_reading_a_large_file_takes_milliseconds(tmp_path: Path) -> None:
    entries = [entry("general.architecture", b"llama"), strings("tokenizer.ggml.tokens", 32_000)]
    path = tmp_path / "large"
    path.write_bytes(model(entries, [tensor("a", 250_000_000)]))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + 1_000_000_000)
    seconds = []
    for _ in range(5):
        began = perf_counter()
        assert read_header(path).vocab_size == 32_000
        seconds.append(perf_counter() - began)
    assert min(seconds) < 0.2


def refused_by_use(path: Path, data: bytes) -> ModelFileError:
    path.write_bytes(data)
    with pytest.raises(ModelFileError) as caught:
        check_role(read_header(path), Role.INSTRUCT)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("entries", "tensors", "kind"),
    [
        ([entry("general.architecture", b"clip")], 1, "an image or sound projector (mmproj)"),
        (
            [entry("general.type", b"mmproj"), entry("general.architecture", b"clip")],
            1,
            "an image or sound projector (mmproj)",
        ),
        (
            [
                entry("general.type", b"adapter"),
                entry("general.architecture", b"llama"),
                number("llama.block_count", 2),
            ],
            1,
            "an adapter (LoRA)",
        ),
        ([entry("general.type", b"imatrix")], 1, "an importance matrix"),
        (
            [
                entry("general.architecture", b"llama"),
                number("llama.block_count", 2),
                strings("tokenizer.ggml.tokens", 9),
            ],
            0,
            "a vocabulary without a model",
        ),
    ],
    ids=["an old mmproj", "mmproj", "lora", "imatrix", "vocab-only"],
)
def test_a_file_that_is_no_model_is_told_for_what_it_is(
    tmp_path: Path, entries: list[bytes], tensors: int, kind: str
) -> None:
    path = tmp_path / "other.gguf"
    error = refused_by_use(path, model(entries, [tensor("blk.0.a", 8)] * tensors, data=32))
    assert error.message == f"The file {path} holds no language model but {kind}."
    assert describe(read_header(path)) == kind


@pytest.mark.parametrize("length", [8, 100, len(SMALL) - 1], ids=["no header", "half a header", "half the weights"])
def test_a_file_that_is_too_short_may_still_be_downloading(tmp_path: Path, length: int) -> None:
    error = refused_by_use(tmp_path / "model.gguf", SMALL[:length])
    assert "is cut off" in error.message
    assert error.hint == "Wait for its download, or download it again."


@pytest.mark.parametrize("ending", UNFINISHED)
def test_a_name_of_an_unfinished_download_is_known(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"model.gguf{ending}"
    error = refused_by_use(path, SMALL)
    assert error.message == (
        f"The file {path} cannot be used as a model: it is still being downloaded, as {path.name}."
    )


def test_a_download_of_aria2_is_known_by_its_record(tmp_path: Path) -> None:
    (tmp_path / "model.gguf.aria2").touch()
    error = refused_by_use(tmp_path / "model.gguf", SMALL)
    assert "it is still being downloaded, as model.gguf.aria2" in error.message


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (
            {
                "name": "Smollm2 135M 8k Lc100K Mix1 Ep2",
                "basename": "smollm2",
                "size_label": "135M",
                "finetune": "8k-lc100k-mix1-ep2",
            },
            "smollm2 135M",
        ),
        (
            {"name": "Qwen3 8B Instruct", "basename": "Qwen3", "size_label": "8B", "finetune": "Instruct"},
            "Qwen3 8B Instruct",
        ),
        ({"basename": "Qwen3-30B-A3B", "size_label": "30B-A3B"}, "Qwen3-30B-A3B"),
        ({"basename": "Gemma-3-4B-It", "size_label": "4B", "finetune": "it"}, "Gemma-3-4B-It"),
        ({"basename": "Gemma-3", "finetune": "it"}, "Gemma-3 2M it"),
        ({"name": "mistralai_mistral-7b"}, "mistralai_mistral-7b"),
        ({"basename": "evil\n\x1b[31m", "size_label": "1B"}, "evil"),
        ({}, "llama 2M"),
    ],
    ids=["a training run", "qwen3", "experts", "all in the family", "no size", "only a name", "control", "nothing"],
)
def test_a_model_is_shown_by_its_family_and_size(tmp_path: Path, said: dict[str, str], name: str) -> None:
    path = tmp_path / "a file.gguf"
    entries = [entry(f"general.{key}", value.encode()) for key, value in said.items()]
    path.write_bytes(
        model([entry("general.architecture", b"llama"), *entries], [tensor("a", 2048, 1024)], data=2048 * 1024 * 4)
    )
    assert read_header(path).name == name
