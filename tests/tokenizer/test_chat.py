"""The checkpoint's own template turns chats into ids, in a sandbox, and users cannot write control tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnet_tt.errors import RequestError, TokenizerError
from bitnet_tt.tokenizer import Tokenizer
from bitnet_tt.tokenizer.chat_template import render
from tests.tokenizer.small_tokenizers import SPECIALS, texts

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "  Hello, fox!\n"},
    {"role": "assistant", "content": "Hi."},
    {"role": "user", "content": "What is 12 plus 30?"},
]
RENDERED = (
    "System: Be brief.<|eot_id|>User: Hello, fox!<|eot_id|>Assistant: Hi.<|eot_id|>"
    "User: What is 12 plus 30?<|eot_id|>Assistant: "
)


def with_template(tokenizer: Tokenizer, templates: dict[str, str]) -> Tokenizer:
    return Tokenizer(
        tokenizer.engine,
        bos_token=tokenizer.bos_token,
        eos_tokens=tokenizer.eos_tokens,
        chat_templates=templates,
    )


def test_the_template_of_2b4t(byte_level: Tokenizer) -> None:
    assert byte_level.render_chat(CHAT) == RENDERED
    assert byte_level.render_chat(CHAT, add_generation_prompt=False) == RENDERED.removesuffix("Assistant: ")
    ids = byte_level.apply_chat_template(CHAT)
    assert ids == byte_level.encode(RENDERED)
    assert ids[0] == byte_level.bos_token_id


def test_bos_is_not_doubled_when_the_template_writes_it(byte_level: Tokenizer) -> None:
    tokenizer = with_template(byte_level, {"default": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"})
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "a"}])
    assert ids == byte_level.encode("a<|end_of_text|>")
    assert ids.count(byte_level.bos_token_id) == 1


@given(content=texts)
def test_ordinary_content_gives_the_ids_of_the_rendered_text(byte_level: Tokenizer, content: str) -> None:
    messages = [{"role": "user", "content": content}]
    assert byte_level.apply_chat_template(messages) == byte_level.encode(byte_level.render_chat(messages))


@given(parts=st.lists(st.sampled_from([*SPECIALS, "<|eot", "_id|>", "<", "|>", "x", " ", "\ufdd0"]), max_size=8))
def test_content_cannot_hold_control_tokens(byte_level: Tokenizer, parts: list[str]) -> None:
    content = "".join(parts)
    ids = byte_level.apply_chat_template([{"role": "user", "content": content}, {"role": content, "content": "b"}])
    controls = [token_id for token_id in ids if token_id in byte_level.special_ids]
    assert [byte_level.id_to_token(token_id) for token_id in controls] == [SPECIALS[0], SPECIALS[2], SPECIALS[2]]
    rendered = byte_level.render_chat([{"role": "user", "content": content}, {"role": content, "content": "b"}])
    assert byte_level.decode(ids, skip_special_tokens=False) == SPECIALS[0] + rendered


def test_a_missing_template_error_says_what_to_do(byte_level: Tokenizer) -> None:
    with pytest.raises(TokenizerError, match="no chat template; it only continues text"):
        with_template(byte_level, {}).apply_chat_template(CHAT)
    named = with_template(byte_level, {"rag": "x"})
    assert named.render_chat(CHAT, template="rag") == "x"
    with pytest.raises(TokenizerError, match="no chat template 'default'; there are: rag"):
        named.render_chat(CHAT)


@pytest.mark.parametrize("messages", [[], [{"role": "user"}], [{"role": "user", "content": None}], ["hi"]])
def test_messages_need_role_and_content(byte_level: Tokenizer, messages: list) -> None:
    with pytest.raises(RequestError, match="message"):
        byte_level.apply_chat_template(messages)


def test_a_template_can_refuse_messages() -> None:
    template = "{% if messages[0].role != 'user' %}{{ raise_exception('roles must alternate') }}{% endif %}"
    with pytest.raises(TokenizerError, match="roles must alternate"):
        render(template, [{"role": "assistant", "content": ""}])


@pytest.mark.parametrize(
    "template",
    [
        "{% for",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ 'a' * 100000000 }}",
        "{{ [1] * 100000000 }}",
        "{% for i in range(10000000) %}{% endfor %}",
        "{% set x = 'a' * 1000000 %}{% for i in range(99999) %}{{ x }}{% endfor %}",
        "{{ 1 / 0 }}",
        "{{ messages[7].content.x }}",
    ],
)
def test_broken_and_hostile_templates_end_in_an_error(template: str) -> None:
    with pytest.raises(TokenizerError, match="chat template"):
        render(template, [{"role": "user", "content": "a"}])


def test_templates_have_the_functions_that_transformers_gives_them() -> None:
    template = (
        "{%- for m in messages -%}\n  {% if loop.index > 1 %}\n{% break %}\n  {% endif %}\n{{ m | tojson }}{% endfor %}"
        "{{ strftime_now('%Y') | length }}{{ 3 * 4 }}{{ '-' * 3 }}"
    )
    assert render(template, [{"role": "é", "content": "<a>"}] * 2) == '{"role": "é", "content": "<a>"}412---'


BEGUN = [*CHAT, {"role": "assistant", "content": "It is  "}]


def test_the_last_message_can_be_continued(byte_level: Tokenizer) -> None:
    text = RENDERED + "It is  "  # the template would trim it and end the turn
    assert byte_level.render_chat(BEGUN, add_generation_prompt=False, continue_last=True) == text
    assert byte_level.apply_chat_template(BEGUN, add_generation_prompt=False, continue_last=True) == byte_level.encode(
        text
    )


@given(content=texts, parts=st.lists(st.sampled_from([*SPECIALS, "<|eot", "<", "x", "\ufdd0"]), max_size=6))
def test_a_message_that_is_continued_cannot_hold_control_tokens(
    byte_level: Tokenizer, content: str, parts: list[str]
) -> None:
    last = content + "".join(parts)
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": last}]
    ids = byte_level.apply_chat_template(chat, add_generation_prompt=False, continue_last=True)
    bos, eot = SPECIALS[0], SPECIALS[2]
    assert byte_level.decode(ids, skip_special_tokens=False) == f"{bos}User: a{eot}Assistant: {last.lstrip()}"
    assert [byte_level.id_to_token(one) for one in ids if one in byte_level.special_ids] == [bos, eot]


def test_a_template_that_hides_the_last_message_cannot_continue_it(byte_level: Tokenizer) -> None:
    tokenizer = with_template(byte_level, {"default": "{{ messages[0].content }}"})
    with pytest.raises(TokenizerError, match="cannot be continued"):
        tokenizer.apply_chat_template(BEGUN, continue_last=True)
