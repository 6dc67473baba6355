from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.forge.toolchain import Toolchain


@pytest.fixture(scope="session")
def toolchain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toolchain]:
    folder = tmp_path_factory.mktemp("forge")
    yield Toolchain(folder)
    shutil.rmtree(folder)
