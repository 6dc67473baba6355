"""Cards that wait for each other in every layer get their layers in turns."""

from __future__ import annotations

from bitnet_tt.backends.tt.model.turns import Part, run, run_in_turns


def part(card: str, layers: int, launched: list[str]) -> Part[str]:
    for layer in range(layers):
        launched.append(f"{card}{layer}")
        yield
    launched.append(f"{card} end")
    return card


def test_no_card_is_more_than_a_layer_ahead() -> None:
    launched: list[str] = []
    assert run_in_turns([part("a", 2, launched), part("b", 2, launched)]) == ["a", "b"]
    assert launched == ["a0", "b0", "a1", "b1", "a end", "b end"]


def test_a_part_without_layers_has_a_result() -> None:
    launched: list[str] = []
    assert run(part("a", 0, launched)) == "a"
    assert run(part("b", 1, launched)) == "b"
    assert launched == ["a end", "b0", "b end"]
