"""`resolve` finds what users name and downloads only safe files; every refusal says what to do.

The hub is a small local server, and the real client library talks to it.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from bitnet_tt.checkpoint import Checkpoint, hub, resolve
from bitnet_tt.errors import CheckpointError
from tests import golden_checkpoints as golden
from tests.checkpoint import small

COMMIT = "a" * 40
FOLDER = {path.name: path.read_bytes() for path in (golden.FOLDER / "bitnet-packed").iterdir()}
REPOSITORIES: dict[str, dict[str, bytes]] = {
    "org/packed": FOLDER
    | {"pytorch_model.bin": b"p", "modeling.py": b"p", "README.md": b"r", "sub/x.safetensors": b"s"},
    "org/chats": FOLDER
    | {"chat_template.jinja": b"c", "additional_chat_templates/rag.jinja": b"r", "other/x.jinja": b"x"},
    "org/gguf": {"ggml-model-i2_s.gguf": b"GGUF i2_s", "ggml-model-tl1.gguf": b"GGUF tl1", "config.json": b"{}"},
    "org/ggufs": {"a.gguf": b"GGUF a", "b.gguf": b"GGUF b"},
    "org/capitals": {"MODEL.GGUF": b"GGUF m", "config.json": b"{}"},
    "org/split": {
        "x-i2_s-00001-of-00002.gguf": b"GGUF one",
        "x-i2_s-00002-of-00002.gguf": b"GGUF two",
        "x-tl1.gguf": b"GGUF tl1",
        "sub/y-00001-of-00002.gguf": b"GGUF three",
        "sub/y-00002-of-00002.gguf": b"GGUF four",
    },
    "org/splits": {f"{name}-0000{part}-of-00002.gguf": b"GGUF" for name in "ab" for part in (1, 2)},
    "org/incomplete": {"x-00001-of-00003.gguf": b"GGUF one", "x-00003-of-00003.gguf": b"GGUF three"},
    "org/pickle": {"pytorch_model.bin": b"p", "config.json": b"{}"},
    "org/gated": {},
}


class Hub(BaseHTTPRequestHandler):
    """Answers the requests of the hub's protocol that a download makes."""

    served: ClassVar[list[str]] = []
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        parts = self.path.split("?")[0].strip("/").split("/")
        kind, parts = (parts[0], parts[2:]) if parts[0] == "api" else ("file", parts)
        repo, rest = "/".join(parts[:2]), parts[2:]
        if repo not in REPOSITORIES:
            self.reply(404, X_Error_Code="RepoNotFound")
        elif repo == "org/gated":
            self.reply(403, X_Error_Code="GatedRepo")
        elif rest[1:2] not in ([], ["main"], [COMMIT]):
            self.reply(404, X_Error_Code="RevisionNotFound")
        elif kind == "api":
            self.list_files(repo, tree=rest[:1] == ["tree"])
        else:
            name = "/".join(rest[2:])
            Hub.served.append(name)
            content = REPOSITORIES[repo][name]
            etag = hashlib.sha1(content, usedforsecurity=False).hexdigest()
            self.reply(200, content, ETag=f'"{etag}"', X_Repo_Commit=COMMIT)

    def do_HEAD(self) -> None:
        self.do_GET()

    def list_files(self, repo: str, tree: bool) -> None:
        files = REPOSITORIES[repo]
        if tree:
            body: object = [
                {"type": "file", "path": name, "size": len(data), "oid": "0" * 40} for name, data in files.items()
            ]
        else:
            siblings = [{"rfilename": name, "size": len(data)} for name, data in files.items()]
            body = {"id": repo, "sha": COMMIT, "siblings": siblings}
        self.reply(200, json.dumps(body).encode(), Content_Type="application/json")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def use(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture(autouse=True)
def _our_hub(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use(server, monkeypatch)


def test_chat_templates_are_downloaded(tmp_path: Path) -> None:
    folder = resolve("org/chats", cache_dir=tmp_path)
    templates = {str(path.relative_to(folder)) for path in folder.rglob("*.jinja")}
    assert templates == {"chat_template.jinja", "additional_chat_templates/rag.jinja"}


def test_only_safe_files_are_downloaded(tmp_path: Path) -> None:
    Hub.served.clear()
    folder = resolve("org/packed", cache_dir=tmp_path)
    assert {path.name for path in folder.iterdir()} == {"config.json", "generation_config.json", "model.safetensors"}
    assert not {"pytorch_model.bin", "modeling.py", "sub/x.safetensors"} & set(Hub.served)
    assert Checkpoint.open(folder).load_weights().layers
    for model, name in (
        ("org/gguf", "ggml-model-i2_s.gguf"),
        ("org/ggufs:b.gguf", "b.gguf"),
        ("org/capitals", "MODEL.GGUF"),
        ("org/capitals:MODEL.GGUF", "MODEL.GGUF"),
    ):
        path = resolve(model, cache_dir=tmp_path, revision="main")
        assert path.read_bytes() == REPOSITORIES[model.split(":")[0]][name]


@pytest.mark.parametrize(
    ("model", "first"),
    [
        ("org/split", "x-i2_s-00001-of-00002.gguf"),
        ("org/split:x-i2_s-00002-of-00002.gguf", "x-i2_s-00001-of-00002.gguf"),
        ("org/split:sub/y-00001-of-00002.gguf", "sub/y-00001-of-00002.gguf"),
    ],
)
def test_all_parts_of_a_split_model_are_downloaded(tmp_path: Path, model: str, first: str) -> None:
    second = first.replace("00001-of", "00002-of")
    path = resolve(model, cache_dir=tmp_path)
    folder = path.parents[first.count("/")]
    names = {str(file.relative_to(folder)) for file in folder.rglob("*.gguf")}
    assert names == {first, second}
    assert str(path.relative_to(folder)) == (model.split(":")[1] if ":" in model else first)
    assert resolve(model, cache_dir=tmp_path, local_files_only=True) == path
    assert resolve(path.parent) == folder / first
    (folder / second).unlink()
    with pytest.raises(CheckpointError, match=rf"of a split model, but {second} is missing; download all parts"):
        resolve(f"org/split:{first}", cache_dir=tmp_path, local_files_only=True)


def test_the_cache_is_used_without_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    online = [resolve(model, cache_dir=tmp_path) for model in ("org/packed", "org/ggufs:b.gguf")]
    assert [
        resolve(model, cache_dir=tmp_path, local_files_only=True) for model in ("org/packed", "org/ggufs:b.gguf")
    ] == online
    with pytest.raises(CheckpointError, match=r"org/gguf is not in the cache .* the network may not be used"):
        resolve("org/gguf", cache_dir=tmp_path, local_files_only=True)
    use("http://127.0.0.1:9", monkeypatch)
    assert resolve("org/packed", cache_dir=tmp_path) == online[0]
    with pytest.raises(CheckpointError, match=r"org/gguf is not in the cache .* fetching it failed"):
        resolve("org/gguf", cache_dir=tmp_path)


@pytest.mark.parametrize(
    ("model", "revision", "message"),
    [
        ("org/none", None, "org/none does not exist, or is private: check the name"),
        ("org/gated", None, "org/gated is gated: accept its terms"),
        ("org/packed", "v9", "org/packed has no revision 'v9'"),
        ("org/pickle", None, "only as pickle"),
        ("org/ggufs", None, r"several \.gguf files; give one of them: a\.gguf, b\.gguf"),
        ("org/splits", None, r"several \.gguf files; give one of them: a-00001-of-00002\.gguf, b-00001-of-00002\.gguf"),
        (
            "org/incomplete",
            None,
            r"org/incomplete has x-00001-of-00003\.gguf, part 1 of 3 of a split model, but x-00002-of-00003\.gguf is "
            "missing; download all parts into the same folder",
        ),
        ("org/incomplete:x-00003-of-00003.gguf", None, r"has x-00003-of-00003\.gguf, part 3 of 3 of a split model"),
        ("org/ggufs:c.gguf", None, r"has no c\.gguf; its \.gguf files: a\.gguf, b\.gguf"),
    ],
)
def test_hub_models_that_cannot_be_used_are_refused(
    tmp_path: Path, model: str, revision: str | None, message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        resolve(model, revision=revision, cache_dir=tmp_path)


@pytest.mark.parametrize(
    "model", ["./none", "/none/at/all", "~/none", "model.gguf", "gpt2", "a/b/c", Path("org/name"), ""]
)
def test_names_that_are_no_hub_id_are_paths(model: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(CheckpointError, match=r"there is no such file or folder|holds no model"):
        resolve(model)


@pytest.mark.parametrize("name", ["x.gguf", "X.GGUF", "x.Gguf"])
def test_local_paths(tmp_path: Path, name: str) -> None:
    folder = small.write_folder(tmp_path / "folder")
    assert resolve(folder) == folder
    assert resolve(str(folder)) == folder
    gguf = tmp_path / "gguf" / name
    gguf.parent.mkdir()
    gguf.touch()
    assert resolve(gguf) == resolve(gguf.parent) == gguf
    (gguf.parent / "y.gguf").touch()
    with pytest.raises(CheckpointError, match="several"):
        resolve(gguf.parent)
    with pytest.raises(CheckpointError, match=r"not a \.gguf file; for safetensors, give the folder"):
        resolve(folder / "model.safetensors")


def test_the_demo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hub, "DEMO_FOLDER", tmp_path / "demo")
    with pytest.raises(CheckpointError, match="has no demo model"):
        resolve("demo")
    small.write_folder(tmp_path / "demo")
    assert resolve("demo") == tmp_path / "demo"


def test_the_hub_library_is_imported_only_when_needed() -> None:
    code = "import sys, bitnet_tt.checkpoint; assert not {'huggingface_hub', 'tokenizers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
