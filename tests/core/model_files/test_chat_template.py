from __future__ import annotations

from datetime import datetime

import pytest

from core.model_files.chat_template import ChatTemplate, Supports, TemplateError
from core.settings import Thinking

USER = {"role": "user", "content": "hello"}
LOOP = "{% for m in messages %}[{{ m.role }}: {{ m.content }}]{% endfor %}"
IN_PARTS = (
    "{% for m in messages %}[{{ m.role }}: {% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}"
    "{% endif %}{% endfor %}]{% endfor %}"
)


def test_content_is_given_as_text() -> None:
    assert ChatTemplate(LOOP).render([USER]) == "[user: hello]"


def test_content_is_given_in_parts_where_a_text_would_be_lost() -> None:
    template = ChatTemplate(IN_PARTS)
    assert template.render([{"role": "system", "content": "Be kind."}, USER]) == "[system: Be kind.][user: hello]"
    assert template.supports.parts


def test_a_list_rendered_as_a_whole_is_no_part() -> None:
    assert not ChatTemplate(LOOP).supports.parts
    assert not ChatTemplate(LOOP.replace("m.content", "m.content | tojson")).supports.parts


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{% frobnicate %}", "Encountered unknown tag 'frobnicate'"),
        ("{% for m in messages %}", "Unexpected end of template"),
        ("hello", "it leaves out the text of messages"),
        ("{{ messages[-1].content }}", "it leaves out the text of messages"),
        ("{{ raise_exception('Not today.') }}", "Not today"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ ''.__class__.__mro__ }}", "access to attribute '__class__' of 'str' object is unsafe"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused_with_its_reason(source: str, reason: str) -> None:
    with pytest.raises(TemplateError) as refused:
        ChatTemplate(source)
    assert str(refused.value).startswith(reason)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "refusing",
    [
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + LOOP,
        LOOP.replace("messages %}", "messages if m.role != 'system' %}"),
    ],
    ids=["raises", "ignores it"],
)
def test_a_system_prompt_that_the_template_has_no_place_for_begins_the_first_turn(refusing: str) -> None:
    template = ChatTemplate(refusing)
    assert template.render([{"role": "system", "content": "Be kind."}, USER]) == "[user: Be kind.\n\nhello]"
    assert template.render([USER]) == "[user: hello]"
    assert not template.supports.system


@pytest.mark.parametrize(
    "source",
    [
        "{% for tool in tools %}{{ tool.name }}{% endfor %}",
        "{% if tools is defined %}{{ tools | length }}{% endif %}",
        "{{ 'functions: ' + functions }}",
        "{% if tool_choice is defined and tool_choice.name %}{% endif %}",
        "{% if reasoning_effort is defined and reasoning_effort not in ['low'] %}{{ raise_exception('?') }}{% endif %}",
    ],
)
def test_what_is_absent_is_not_none(source: str) -> None:
    assert ChatTemplate(source + LOOP).render([USER]).endswith("[user: hello]")


def test_it_gets_what_llama_cpp_gives() -> None:
    now = datetime.now().astimezone()
    source = (
        "{{ bos_token }}{{ date_string }}|{{ datetime }}|{{ strftime_now('%Y') }}|{{ enable_thinking }}|"
        "{% generation %}{{ [messages[0].role] | tojson }}{% endgeneration %}{{ eos_token }}" + LOOP
    )
    rendered = ChatTemplate(source, "<s>", "</s>").render([USER])
    dates = f"{now:%d %b %Y}|{now:%b %d %Y}|{now:%Y}"
    assert rendered == f'<s>{dates}|True|["user"]</s>[user: hello]'


def test_thoughts_are_given_to_a_template_that_asks_for_them() -> None:
    source = "{% for m in messages %}<{{ m.reasoning_content if 'reasoning_content' in m }}>{{ m.content }}{% endfor %}"
    turns = [USER, {"role": "assistant", "content": "Hi.", "reasoning_content": "A greeting."}]
    assert ChatTemplate(source).render(turns) == "<>hello<A greeting.>Hi."


def test_thinking_is_switched_by_what_a_template_reads() -> None:
    source = (
        "{{ enable_thinking }} {{ thinking is defined and thinking }} {{ reasoning_effort or 'default' }}"
        + LOOP
        + "{# %s #}"
    )
    for literal, expected in (
        ("", {"auto": "True False default", "on": "True True default", "off": "False False low"}),
        ("'no_think'", {"auto": "True False default", "on": "True True high", "off": "False False no_think"}),
        ('"none"', {"auto": "True False default", "on": "True True default", "off": "False False none"}),
    ):
        template = ChatTemplate(source.replace("%s", literal))
        assert {each: template.render([USER], thinking=each).partition("[")[0] for each in Thinking} == expected


def test_what_it_supports_is_probed() -> None:
    switch = "{% if not enable_thinking %}<think></think>{% endif %}"
    tools = "{% if tools %}{{ tools | tojson }}{% endif %}"
    assert ChatTemplate(LOOP).supports == Supports(system=True, thinking=False, tools=False, parts=False)
    assert ChatTemplate(tools + LOOP + switch).supports == Supports(system=True, thinking=True, tools=True, parts=False)
