"""The official clients of the server under test, and the paths of its chats."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.server.conftest import CLIENTS_MISSING

if TYPE_CHECKING:
    import anthropic
    import openai

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"
USER = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture
def client(server) -> Iterator[openai.OpenAI]:
    openai = pytest.importorskip("openai", reason=CLIENTS_MISSING)
    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as one:
        yield one


@pytest.fixture
def claude(server) -> Iterator[anthropic.Anthropic]:
    anthropic = pytest.importorskip("anthropic", reason=CLIENTS_MISSING)
    with anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0) as one:
        yield one
