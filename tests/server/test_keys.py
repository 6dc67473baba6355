"""API keys: without a right one, nothing but health and the page; keys are read from a file, or as hashes."""

import hashlib
from pathlib import Path

import pytest

from bitnet_tt.errors import ConfigError
from bitnet_tt.server.auth import ApiKeys

CHAT = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}


@pytest.fixture
def keys(tmp_path: Path) -> ApiKeys:
    path = tmp_path / "keys"
    path.write_text(f"# team\nfirst-key\n\nsha256:{hashlib.sha256(b'second-key').hexdigest()}\n")
    return ApiKeys.from_file(path)


def test_both_kinds_of_header_are_taken(serve, keys: ApiKeys) -> None:
    with serve(api_keys=keys) as server:
        for headers in ({"authorization": "Bearer first-key"}, {"x-api-key": "second-key"}):
            assert server.post("/v1/chat/completions", CHAT, headers=headers).status_code == 200
        names = {line["key"] for line in server.logged(2)}
        assert names == {hashlib.sha256(key).hexdigest()[:16] for key in (b"first-key", b"second-key")}
        for path in ("/health", "/ready", "/docs"):
            assert server.get(path).status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer wrong"}, {"authorization": "Basic first-key"}, {"x-api-key": "é"}]
)
def test_without_a_right_key_it_is_401(serve, keys: ApiKeys, headers: dict[str, str]) -> None:
    raw = {name: value.encode() for name, value in headers.items()}
    with serve(api_keys=keys) as server:
        for path in ("/v1/models", "/v1/nothing", "/metrics", "/props"):
            assert server.get(path, headers=raw).status_code == 401
        response = server.post("/v1/chat/completions", CHAT, headers=raw)
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "invalid_api_key"
        assert response.headers["www-authenticate"] == "Bearer"
        error = server.post("/v1/messages", CHAT, headers=raw).json()
        assert error["error"]["type"] == "authentication_error"


@pytest.mark.parametrize("text", ["", "# only a comment\n", "short\n", "sha256:12\n", b"\xff\xfe"])
def test_files_without_keys_are_refused(tmp_path: Path, text: str | bytes) -> None:
    path = tmp_path / "keys"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match="keys"):
        ApiKeys.from_file(path)


def test_pages_of_other_origins_are_kept_out_unless_asked_for(serve) -> None:
    headers = {"origin": "https://page.example"}
    with serve() as server:
        assert "access-control-allow-origin" not in server.get("/v1/models", headers=headers).headers
    with serve(cors_origins=("https://page.example",)) as server:
        answer = server.get("/v1/models", headers=headers)
        assert answer.headers["access-control-allow-origin"] == "https://page.example"
