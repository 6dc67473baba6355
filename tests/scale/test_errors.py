"""What cannot work is said in one line that names the remedy."""

import importlib.util
import os
import socket
import subprocess
from pathlib import Path

import pytest

from bitnet_tt.errors import ConfigError
from bitnet_tt.scale.cluster import ClusterSettings
from tests.cli.conftest import run  # noqa: F401 (a fixture)
from tools.scale.fleet import COMMAND


@pytest.mark.parametrize("command", ["frontend", "worker", "status"])
def test_a_missing_extra(run, monkeypatch: pytest.MonkeyPatch, command: str) -> None:  # noqa: F811
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "dynamo" else find(name))
    result = run("scale", command)
    assert result.exit_code == 1
    assert f"bitnet-tt scale {command} needs the extra `scale`: run `uv sync --extra scale`" in result.stderr
    assert result.stderr.count("\n") == 1


def test_no_etcd(run) -> None:  # noqa: F811
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    result = run("scale", "status", "--etcd", f"http://127.0.0.1:{port}")
    assert result.exit_code == 1
    assert "no etcd answers there (Connection refused); start etcd" in result.stderr


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = (*COMMAND, "scale", "frontend", "--folder", str(tmp_path), "--port", port)
        result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert f"error: port {port} of 127.0.0.1 is in use" in result.stderr


def test_a_folder_that_others_can_write_to(run, tmp_path: Path) -> None:  # noqa: F811
    tmp_path.chmod(0o777)
    result = run("scale", "status", "--folder", str(tmp_path))
    assert result.exit_code == 1
    assert "other users can write there" in result.stderr


def test_a_new_folder_is_ones_own(tmp_path: Path) -> None:
    ClusterSettings(tmp_path / "new").check()
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="File exists"):
        ClusterSettings(tmp_path / "file").check()


@pytest.mark.parametrize("address", ["0.0.0.0", "localhost", "::1", ""])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(ConfigError, match="address must be the IPv4 address of one network"):
        ClusterSettings(Path(os.curdir), address=address)


@pytest.mark.parametrize("namespace", ["", "a.b", "a b", "é"])
def test_names_that_cannot_be_names_of_clusters(namespace: str) -> None:
    with pytest.raises(ConfigError, match="namespace must be letters, digits and hyphens"):
        ClusterSettings(Path(os.curdir), namespace=namespace)
