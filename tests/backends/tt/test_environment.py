"""ttnn's files go where they disturb nobody, unless the user says otherwise."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bitnet_tt.backends.tt.device.shared_memory import remove_own_locks
from bitnet_tt.backends.tt.environment import is_mock, keep_folders_clean, limit_power

NAMES = ("TT_METAL_LOGS_PATH", "TT_METAL_SHM_TRACKING_DISABLED", "OMPI_MCA_btl", "OMPI_COMM_WORLD_SIZE")


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        for name in (*NAMES, "TT_METAL_TDP_LIMIT_WATTS", "TT_METAL_MOCK_CLUSTER_DESC_PATH", "TT_METAL_SIMULATOR"):
            patch.setenv(name, "")  # so that it is restored
            patch.delenv(name)
        yield


def test_files_stay_out_of_the_working_directory_and_of_shared_memory() -> None:
    keep_folders_clean()
    assert Path(os.environ["TT_METAL_LOGS_PATH"]).is_relative_to(Path.home())
    assert os.environ["TT_METAL_SHM_TRACKING_DISABLED"] == "1"
    assert os.environ[NAMES[2]] == "^sm"


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES[:3]:
        monkeypatch.setenv(name, "mine")
    keep_folders_clean()
    assert [os.environ[name] for name in NAMES[:3]] == ["mine"] * 3


def test_processes_of_mpirun_talk_as_mpirun_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    keep_folders_clean()
    assert "OMPI_MCA_btl" not in os.environ


def test_the_limit_of_power_is_ttnns_own_variable() -> None:
    limit_power(120)
    assert os.environ["TT_METAL_TDP_LIMIT_WATTS"] == "120"


def test_a_simulator_with_a_descriptor_is_no_mock(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_mock()
    monkeypatch.setenv("TT_METAL_MOCK_CLUSTER_DESC_PATH", "cluster_descriptor.yaml")
    assert is_mock()
    monkeypatch.setenv("TT_METAL_SIMULATOR", "libttsim.so")
    assert not is_mock()


def test_only_locks_of_this_process_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "dev/shm"
    folder.mkdir(parents=True)
    own = folder / f"TT_UMD_LOCK.ARC_MSG_{os.getpid() * 32 + 1}_PCIe"
    others = [folder / "TT_UMD_LOCK.ARC_MSG_0_PCIe", folder / f"TT_UMD_LOCK.ARC_MSG_{os.getpid() * 32 + 32}_PCIe"]
    for path in (own, *others):
        path.touch()
    remove_own_locks(tmp_path)
    assert sorted(folder.iterdir()) == sorted(others)
