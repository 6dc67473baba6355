"""Templates give the texts that transformers gives. tools/record_transformers recorded these in the JSON file."""

import datetime
import json
from pathlib import Path

import pytest

from bitnet_tt.errors import TokenizerError
from bitnet_tt.tokenizer import chat_template, template_environment

FOLDER = Path(__file__).parent
RECORDED = json.loads((FOLDER / "recorded_templates.json").read_text(encoding="utf-8"))
CHATS = RECORDED["chats"]
TEMPLATES = {path.stem: path.read_text(encoding="utf-8") for path in (FOLDER / "chat_templates").glob("*.jinja")}


class FixedTime(datetime.datetime):
    @classmethod
    def now(cls, tz: object = None) -> datetime.datetime:
        return datetime.datetime.fromisoformat(RECORDED["now"])


@pytest.fixture(autouse=True)
def time_of_the_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_environment, "datetime", FixedTime)


def render(source: str, chat: str) -> str | None:
    """Return the text, or None for an error."""
    try:
        variables = {**RECORDED["special_tokens"], **CHATS[chat]}
        return chat_template.render(source, variables.pop("messages"), variables)
    except TokenizerError:
        return None


def test_every_template_is_recorded() -> None:
    assert TEMPLATES.keys() == RECORDED["templates"].keys()


@pytest.mark.parametrize("chat", CHATS)
@pytest.mark.parametrize("template", TEMPLATES)
def test_templates_in_the_style_of_chat_models(template: str, chat: str) -> None:
    assert render(TEMPLATES[template], chat) == RECORDED["templates"][template][chat]


@pytest.mark.filterwarnings("ignore::SyntaxWarning")  # Python says so of `1[0]`
@pytest.mark.parametrize("index", range(len(RECORDED["fragments"])))
def test_random_templates(index: int) -> None:
    source, chat, text = RECORDED["fragments"][index]
    assert render(source, chat) == text


@pytest.mark.parametrize("template", TEMPLATES)
def test_long_chats_are_within_the_limits(template: str) -> None:
    turns = [{"role": "user", "content": "x " * 500}, {"role": "assistant", "content": "<think>y</think>" + "z " * 500}]
    text = chat_template.render(TEMPLATES[template], turns * 250, {"bos_token": "<s>", "eos_token": "</s>"})
    assert len(text) > 400_000
