from __future__ import annotations

from pathlib import Path

from core.llama.engine import InstructModel, load_as
from core.llama.instruct import Completion, Message
from core.model_files.gguf import read_header
from core.model_files.spec import default_spec
from core.settings import Sampling
from tests.model_variants import write_chain


def test_dry_ends_a_loop_and_leaves_what_is_said_once(tmp_path: Path) -> None:
    """The chain repeats its last token for ever; what follows where that is not allowed is of no matter."""
    file = write_chain(tmp_path / "loop.gguf", ["It", " was", " the", " river", ", on"])
    model = load_as(InstructModel, default_spec(read_header(file)))
    prompt = model.fit([Message("user", "Who was it?")], 60)
    said = []
    for dry in (False, True):
        *pieces, end = model.stream(prompt, Sampling(temperature=0, max_tokens=60), dry=dry)
        assert isinstance(end, Completion)
        said.append("".join(map(str, pieces)))
    model.close()
    looping, ended = said
    assert looping == "It was the river" + ", on" * 56
    assert ended.startswith("It was the river, on, on")
    assert ended.count(", on, on, on, on, on, on, on, on, on, on, on, on") == 0
