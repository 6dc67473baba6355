"""Fixtures: fleets of programs, and the model that they must agree with."""

import importlib.util
from collections.abc import Callable, Iterator

import pytest

from bitnet_tt import BitNetModel
from tools.scale.fleet import Fleet

if importlib.util.find_spec("dynamo") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def demo() -> Iterator[BitNetModel]:
    with BitNetModel.from_pretrained("demo", threads=1) as model:
        yield model


@pytest.fixture
def make_fleet(tmp_path) -> Iterator[Callable[..., Fleet]]:
    fleets: list[Fleet] = []

    def make(*arguments, **options) -> Fleet:
        fleets.append(Fleet(tmp_path, *arguments, **options))
        return fleets[-1]

    yield make
    for fleet in fleets:
        fleet.end()


@pytest.fixture(scope="module")
def slow_fleet(tmp_path_factory) -> Iterator[Fleet]:
    """Three workers whose steps take some milliseconds."""
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), 0.004)
    try:
        fleet.start(3)
        fleet.wait_for_members(3)
        yield fleet
    finally:
        fleet.end()
