"""The chain of cards: opens one card, or several that are connected by Ethernet, and closes them on every path."""

from __future__ import annotations

import contextlib
import itertools
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import ttnn

from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.device.patience import Patience
from bitnet_tt.backends.tt.device.shared_memory import remove_own_locks
from bitnet_tt.backends.tt.device.traces import Traces
from bitnet_tt.backends.tt.environment import is_mock, keep_folders_clean, limit_waiting, time_limit
from bitnet_tt.backends.tt.planning.grid import TILE
from bitnet_tt.errors import DeviceError

_SECONDS = 60
"""How long to wait for a card of a chain. A card whose neighbour is gone would wait for ever. No step takes so long."""

_open: weakref.ref[_Mesh] | None = None
"""The mesh that this process has open."""


class _Mesh:
    """ttnn's mesh of 1 x n devices. It is closed when `close` is called, when it is collected, or when Python ends."""

    def __init__(self, mesh: Any, *, has_fabric: bool) -> None:
        self.mesh = mesh
        # Not the cards: they keep the mesh alive, and it would never be collected.
        self.used: list[tuple[Any, Traces]] = []
        self.close = weakref.finalize(self, _close, mesh, self.used, has_fabric)


def open_cards(count: int = 1, trace_bytes: int = 0) -> tuple[Card, ...]:
    """Open the first cards of this machine as a chain. A process can have one chain open.

    Each card is a mesh of one device with a command queue, memory and traces of its own. Neighbours in the chain are
    connected by Ethernet; ttnn's fabric runs on the Ethernet cores of all cards.

    Args:
        count: How many cards.
        trace_bytes: DRAM to reserve for traces on each card.

    Returns:
        The cards, in the order in which they are connected. `close` of any of them closes all.

    Raises:
        DeviceError: This process has cards open already, there are too few of them, two neighbours are not connected,
            or ttnn opens none; the message gives ttnn's reason.
    """
    global _open
    if _open is not None and (before := _open()) is not None and before.close.alive:
        raise DeviceError("this process has the Tenstorrent device open already; close the other model first")
    keep_folders_clean()
    if count > 1:
        limit_waiting(_SECONDS)
    mesh = _open_mesh(count, trace_bytes)
    try:
        devices = [mesh.mesh] if count == 1 else mesh.mesh.create_submeshes(ttnn.MeshShape(1, 1))
        patience = Patience(time_limit() if count > 1 else None)
        cards = tuple(Card(device, partial(_close_mesh, mesh), place, patience) for place, device in enumerate(devices))
        mesh.used += [(card.device, card.traces) for card in cards]
        _check_equal(cards)
        _check_links(cards)
        _let_routers_start(cards)
    except BaseException:
        mesh.close()
        raise
    _open = weakref.ref(mesh)
    return cards


def _let_routers_start(cards: Sequence[Card]) -> None:
    """Wait until the fabric's routers take packets, with slow dispatch.

    A router has two processors, and ttnn takes it for ready when one of them is. For about 2 us more, the other one
    clears the headers of packets. Cards take longer to start a program. But on the simulator, time passes only while
    programs run or the host reads: the first program could send packets too early. So other programs run before, each
    for a thousand cycles.
    """
    if len(cards) > 1 and cards[0].traces.recorder is None and not is_mock():
        for card in 8 * tuple(cards):
            ttnn.clone(card.zeros([1, 1, TILE, TILE], ttnn.float32)).cpu()


def check_queues(cards: Sequence[Card]) -> None:
    """Check that cards can wait for each other within a step.

    With slow dispatch, the host waits for a card's program before it launches the next one there. So it would wait for
    ever for a program that waits for another card.

    Raises:
        DeviceError: They cannot.
    """
    if cards[0].traces.recorder is None and not is_mock():
        raise DeviceError("tensor parallelism needs fast dispatch; unset TT_METAL_SLOW_DISPATCH_MODE")


def _are_neighbours(one: Card, other: Card) -> bool:
    """Whether two cards of a chain are connected by a cable, in both directions."""
    (row, column), (other_row, other_column) = _coordinates(one), _coordinates(other)
    beside = abs(row - other_row) + abs(column - other_column) == 1
    return beside and bool(_links(one, other)) and bool(_links(other, one))


def _coordinates(card: Card) -> tuple[int, int]:
    """Return row and column of a card in the grid that ttnn found the cards' cables to be."""
    _, columns = _grid_of_cards()
    row, column = divmod(int(card.node.chip_id), columns)
    return row, column


def _grid_of_cards() -> tuple[int, int]:
    """Return the rows and columns of the largest grid of connected cards, as ttnn found them."""
    rows, columns = next(iter(ttnn._ttnn.fabric.get_physical_mesh_shapes().values()))
    return int(rows), int(columns)


def _links(source: Card, target: Card) -> list[int]:
    """Return the links over which packets can go from one card to another."""
    links: list[int] = ttnn._ttnn.fabric.get_forwarding_link_indices(source.node, target.node)
    return links


def _close_mesh(mesh: _Mesh) -> None:
    """Close a mesh. A card keeps its mesh alive by this function."""
    mesh.close()


def _open_mesh(count: int, trace_bytes: int) -> _Mesh:
    if count > 1:
        return _open_chain(count, trace_bytes)
    try:
        mesh = ttnn.open_mesh_device(ttnn.MeshShape(1, 1), trace_region_size=trace_bytes)
    except RuntimeError as error:
        raise DeviceError(
            f"ttnn cannot open a Tenstorrent device ({_reason(error)}); check that the card is in, that the tt-kmd "
            "driver is installed (there is a /dev/tenstorrent), and that no other process uses the card "
            "(bitnet-tt doctor helps), or set TT_METAL_SIMULATOR"
        ) from None
    return _Mesh(mesh, has_fabric=False)


def _open_chain(count: int, trace_bytes: int) -> _Mesh:
    try:
        _check_count(count)
        ttnn.set_fabric_config(ttnn.FabricConfig.FABRIC_1D)
        _check_connected(count)
        mesh = ttnn.open_mesh_device(ttnn.MeshShape(1, count), trace_region_size=trace_bytes)
    except BaseException as error:
        with contextlib.suppress(RuntimeError):
            _stop_fabric()
        if not isinstance(error, RuntimeError):
            raise
        raise DeviceError(
            f"ttnn cannot open {count} Tenstorrent cards as a chain ({_reason(error)}); check the cables between them, "
            "that all have the same firmware, and that no other process uses them (bitnet-tt doctor helps)"
        ) from None
    return _Mesh(mesh, has_fabric=True)


def _check_count(count: int) -> None:
    found = ttnn.get_num_devices()
    if found < count:
        raise DeviceError(f"{count} Tenstorrent cards were asked for, but ttnn finds {found}")


def _check_connected(count: int) -> None:
    rows, columns = _grid_of_cards()
    if rows * columns < count:
        raise DeviceError(
            f"{count} Tenstorrent cards were asked for, but the largest group that is connected by Ethernet has "
            f"{rows * columns}; connect the QSFP-DD ports of the others with cables, or use fewer cards"
        )


def _check_equal(cards: Sequence[Card]) -> None:
    first = cards[0].grid
    for card in cards[1:]:
        if card.grid != first:
            raise DeviceError(
                f"card {card.place} ({card.grid}) is not like card 0 ({first}); all cards must be of one kind"
            )


def _check_links(cards: Sequence[Card]) -> None:
    for one, next_one in itertools.pairwise(cards):
        if not _are_neighbours(one, next_one):
            raise DeviceError(
                f"there is no Ethernet link between card {one.place} and card {next_one.place}; connect their QSFP-DD "
                "ports with a cable, or use fewer cards"
            )


def _close(mesh: Any, used: Sequence[tuple[Any, Traces]], has_fabric: bool) -> None:
    steps: list[Callable[[], object]] = []
    for device, traces in used:
        if traces.recorder is not None:
            # A step that nobody has read may still run.
            steps.append(partial(ttnn.synchronize_device, device))
        steps.append(traces.release)
    if has_fabric:
        # Each card is a mesh of its own. While one is open, a later chain would be refused.
        steps += [partial(ttnn.close_mesh_device, device) for device, _ in used]
    steps.append(partial(ttnn.close_mesh_device, mesh))
    if has_fabric:
        steps.append(_stop_fabric)
    steps.append(remove_own_locks)
    _run_all(steps)


def _run_all(steps: Sequence[Callable[[], object]]) -> None:
    """Run all steps, also after one has failed."""
    if steps:
        try:
            steps[0]()
        finally:
            _run_all(steps[1:])


def _stop_fabric() -> None:
    ttnn.set_fabric_config(ttnn.FabricConfig.DISABLED)


def _reason(error: RuntimeError) -> str:
    """Return the one line of a TT_FATAL message that is written for people."""
    lines = str(error).splitlines()
    for line, following in itertools.pairwise(lines):
        if line.strip() == "info:":
            return following.strip()
    return lines[0] if lines else "no reason given"
