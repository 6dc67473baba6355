"""On a machine with several nodes of memory, weights, KV caches and screens lie on all of them, page by page.

A machine with one node is enough for the tests: the system lists the policy "interleave:0" of each piece of memory.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from bitnet_tt.backends.cpu.host import memory_nodes

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/numa_maps").exists() or 0 not in memory_nodes(),
    reason="the system does not list the memory policies of node 0",
)

# Runs two steps of a random model beside an arena of 8 MB, and prints how many bytes each policy has. Its arguments are
# the nodes that the backend finds, and whether the process has a policy of its own, as numactl would set it.
PROGRAM = """
import collections, ctypes, json, sys
from pathlib import Path
from bitnet_tt.backends.base import LogitFilter
from bitnet_tt.backends.cpu import arena, backend
from bitnet_tt.bench.synthetic import synthetic_config, synthetic_weights
from tests.backends.cpu.random_models import batch_of

nodes, binds = json.loads(sys.argv[1])
if binds:
    set_mempolicy, bind, node_0 = 238, 2, ctypes.c_ulong(1)
    assert ctypes.CDLL(None).syscall(set_mempolicy, bind, ctypes.byref(node_0), 64) == 0
backend.memory_nodes = lambda: nodes
config = synthetic_config("2b4t,hidden=512,intermediate=512,layers=2,heads=4,kv_heads=2,vocab=16384")
cpu = backend.CPUBackend(config, synthetic_weights(config), threads=2)
cpu.allocate(8, 64)
memory = arena._allocate(8 << 20)
memory[:] = 1
for _ in range(2):
    cpu.candidates(batch_of([(range(512), 0, range(8))], [511]), [LogitFilter(count=1)])
sizes = collections.Counter()
for line in Path("/proc/self/numa_maps").read_text().splitlines():
    _, policy, *fields = line.split()
    sizes[policy] += sum(int(field[5:]) for field in fields if field.startswith("anon=")) * 4096
stats = cpu.stats()
print(json.dumps({"sizes": sizes, "expected": len(memory) + stats.screen_bytes + stats.kv_cache_bytes}))
"""


def run(nodes: list[int], *, binds: bool = False) -> tuple[dict[str, int], int]:
    """Return the bytes of each policy, and those of arena, screen and KV cache together."""
    command = [sys.executable, "-c", PROGRAM, json.dumps([nodes, binds])]
    result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return result["sizes"], result["expected"]


def test_memory_is_spread_over_the_nodes() -> None:
    """The system leaves out the nodes that this machine does not have."""
    sizes, expected = run([0, 1])
    assert expected > 12 << 20
    assert sizes["interleave:0"] >= expected


def test_with_one_node_each_page_is_near_the_thread_that_touches_it() -> None:
    sizes, _ = run([0])
    assert not any(policy.startswith("interleave") for policy in sizes)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the number of the system call is that of x86-64")
def test_a_policy_of_the_process_is_kept() -> None:
    sizes, _ = run([0, 1], binds=True)
    assert "bind:0" in sizes
    assert not any(policy.startswith("interleave") for policy in sizes)
