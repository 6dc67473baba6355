"""docs/server-fields.md says of each field of each endpoint what the code does with it."""

import json
import re
from pathlib import Path

import pytest

from bitnet_tt.server.api.chat import ChatRequest
from bitnet_tt.server.api.completions import CompletionRequest
from bitnet_tt.server.api.embeddings import EmbeddingsRequest
from bitnet_tt.server.api.messages import CountTokensRequest, MessagesRequest
from bitnet_tt.server.api.responses import ResponsesRequest
from bitnet_tt.server.api.schema import ApiRequest
from bitnet_tt.server.api.tokens import DetokenizeRequest, TemplateRequest, TokenizeRequest

PAGE = (Path(__file__).parents[2] / "docs/server-fields.md").read_text(encoding="utf-8")
REQUESTS = {
    "/v1/chat/completions": ChatRequest,
    "/v1/completions": CompletionRequest,
    "/v1/embeddings": EmbeddingsRequest,
    "/v1/responses": ResponsesRequest,
    "/v1/messages": MessagesRequest,
    "/v1/messages/count_tokens": CountTokensRequest,
    "/tokenize": TokenizeRequest,
    "/detokenize": DetokenizeRequest,
    "/apply-template": TemplateRequest,
}


@pytest.mark.parametrize("path", REQUESTS)
def test_the_page_lists_every_field(path: str) -> None:
    request: type[ApiRequest] = REQUESTS[path]
    section = PAGE.partition(f"## POST {path}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|(.*)\|$", section, re.MULTILINE)
    listed = {status: {name for name, one, _ in rows if one == status} for status in ("honoured", "ignored", "refused")}
    assert listed == {
        "honoured": set(request.model_fields),
        "ignored": set(request.ignored),
        "refused": set(request.refused),
    }
    for name, status, text in rows:
        if status == "refused":
            for value in request.refused[name].neutral:
                written = json.dumps(value)
                assert written in text or (name == "text" and "plain text" in text)


def test_the_page_covers_every_endpoint_with_a_body(server) -> None:
    paths = server.get("/openapi.json").json()["paths"]
    with_body = {path for path, methods in paths.items() if "requestBody" in methods.get("post", {})}
    assert with_body == set(REQUESTS)
