"""/v1/embeddings gives what `BitNetModel.embed` gives, in both encodings, and names what it cannot do."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import numpy as np
import pytest

from bitnet_tt import BitNetModel
from bitnet_tt.server.settings import Limits, ServerSettings
from tests.embedding_model import END_ID, write_embedding_model
from tests.server.conftest import RunningServer, serving

TEXTS = ["What is BitNet?", "The capital of France is Paris", "The fox"]


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BitNetModel]:
    folder = write_embedding_model(tmp_path_factory.mktemp("embedding") / "model")
    with BitNetModel.from_pretrained(folder) as model:
        yield model


@pytest.fixture(scope="module")
def embedding_server(embedder: BitNetModel) -> Iterator[RunningServer]:
    with serving(embedder, ServerSettings(model_name="demo", limits=Limits(embedded_texts=40))) as running:
        yield running


def test_floats_and_base64(embedding_server: RunningServer, embedder: BitNetModel) -> None:
    expected = embedder.embed(TEXTS)
    body = embedding_server.post("/v1/embeddings", {"input": TEXTS, "user": "me"}).json()
    assert (body["object"], body["model"]) == ("list", "demo")
    assert [(one["object"], one["index"]) for one in body["data"]] == [("embedding", index) for index in range(3)]
    np.testing.assert_array_equal(np.array([one["embedding"] for one in body["data"]], np.float32), expected)
    tokens = sum(len(embedder.tokenizer.encode(text)) for text in TEXTS)
    assert body["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    coded = embedding_server.post("/v1/embeddings", {"input": TEXTS, "encoding_format": "base64"}).json()["data"]
    vectors = [np.frombuffer(base64.b64decode(one["embedding"]), "<f4") for one in coded]
    np.testing.assert_array_equal(vectors, expected)


def test_one_text_and_token_ids(embedding_server: RunningServer, embedder: BitNetModel) -> None:
    ids = embedder.tokenizer.encode(TEXTS[0])
    assert ids[-1] == END_ID
    answers = [
        embedding_server.post("/v1/embeddings", {"input": one, "dimensions": 128}).json()["data"]
        for one in (TEXTS[0], ids, [ids])
    ]
    assert answers[0] == answers[1] == answers[2]
    assert len(answers[0]) == 1


def test_many_texts_take_the_room_of_one(embedder: BitNetModel) -> None:
    settings = ServerSettings(model_name="demo", max_batch_size=2, limits=Limits(queue=0))
    with serving(embedder, settings) as server:
        response = server.post("/v1/embeddings", {"input": TEXTS * 10})
    assert response.status_code == 200
    assert len(response.json()["data"]) == 30


@pytest.mark.parametrize(
    ("change", "param", "message"),
    [
        ({"dimensions": 64}, "dimensions", "the embeddings of this model have 128"),
        ({"dimensions": 0}, "dimensions", "greater than or equal to 1"),
        ({"encoding_format": "int8"}, "encoding_format", "'float' or 'base64'"),
        ({"input": []}, "input", "none of them empty"),
        ({"input": [1, 600]}, "input", "the token id 600"),
        ({"input": [5] * 1025}, "input", "1025 tokens"),
        ({"input": ["x"] * 41}, "input", "has 41 texts; this server takes 40"),
        ({"truncate": "END"}, "truncate", "truncate"),
    ],
)
def test_mistakes_are_named(embedding_server: RunningServer, change: dict, param: str, message: str) -> None:
    response = embedding_server.post("/v1/embeddings", {"input": "text"} | change)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == param
    assert message in error["message"]


def test_a_model_that_writes_text_has_none(server: RunningServer) -> None:
    response = server.post("/v1/embeddings", {"input": "text"})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "unsupported_endpoint"
