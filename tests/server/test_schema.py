"""No request that our own OpenAPI schema allows or forbids makes the server fail: never a 500."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings

from bitnet_tt.server.settings import Limits, ServerSettings
from tests.server.conftest import CLIENTS_MISSING, RunningServer, serving

schemathesis = pytest.importorskip("schemathesis", reason=CLIENTS_MISSING)


@pytest.fixture(scope="module")
def small_server(demo) -> Iterator[RunningServer]:
    """A server whose answers are short."""
    with serving(demo, ServerSettings(limits=Limits(new_tokens=4, choices=2))) as server:
        yield server


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_never_a_500(small_server: RunningServer, mode: schemathesis.GenerationMode) -> None:
    schema = schemathesis.openapi.from_url(f"{small_server.url}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) > 10
    for operation in operations:
        if mode == schemathesis.GenerationMode.NEGATIVE and not len(operation.body):
            continue  # nothing in it can be wrong

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        def check(case: schemathesis.Case) -> None:
            response = case.call()
            assert response.status_code < 500
            if response.status_code >= 400:
                assert response.json()["error"]["message"]

        check()
    assert [line for line in small_server.log if line["status"] >= 500] == []
