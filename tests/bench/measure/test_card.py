"""The power of a card is that of samples during generation, for chip and board apart; what is unknown stays unknown."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest

from bitnet_tt.backends.tt.device.telemetry import Reading, Snapshot, TelemetryError
from bitnet_tt.bench.measure.card import Sampler, Window, card_power, card_report
from bitnet_tt.bench.measure.workload import Workload
from tests.engine.fake_backend import VOCAB_SIZE, FakeBackend

CHIP = Reading("p150a", "19.4.1.0", 40.0, 60.0, 50.0, 90.0, 1350.0, 150.0, None, True)
SNAPSHOT = Snapshot((CHIP,), "TT-KMD 2.4.1", in_use=False)


def test_only_samples_during_generation_count() -> None:
    windows = [Window(10, 12, 300), Window(20, 21, 150)]
    idle = replace(CHIP, chip_watts=10.0, board_watts=20.0, megahertz=800.0)
    samples = [(9.9, idle), (10.0, CHIP), (11.0, replace(CHIP, board_watts=90.0)), (15.0, idle), (20.5, CHIP)]
    power = card_power(8, windows, samples)
    assert (power.batch, power.samples, power.megahertz) == (8, 3, 1350)
    assert (power.board_watts, power.chip_watts) == (pytest.approx(70), pytest.approx(40))
    assert power.tokens_per_board_joule == pytest.approx(150 / 70)  # 450 tokens in 3 seconds
    assert power.tokens_per_chip_joule == pytest.approx(150 / 40)


def test_what_the_card_does_not_report_is_unknown() -> None:
    power = card_power(1, [Window(0, 1, 10)], [(0.5, replace(CHIP, board_watts=None))])
    assert (power.board_watts, power.tokens_per_board_joule) == (None, None)
    assert power.tokens_per_chip_joule == pytest.approx(10 / 40)
    nothing = card_power(1, [Window(0, 1, 10)], [(2.0, CHIP)])
    assert (nothing.samples, nothing.chip_watts, nothing.megahertz) == (0, None, None)


def test_the_sampler_stops_with_the_first_error() -> None:
    answers = iter([SNAPSHOT, SNAPSHOT])

    def read() -> Snapshot:
        for answer in answers:
            return answer
        raise TelemetryError("tt-smi failed", "reset it")

    with Sampler(read) as sampler:
        while sampler.error is None:
            pass
    assert [chip for _, chip in sampler.samples] == [CHIP, CHIP]


@pytest.fixture
def work() -> Workload:
    return Workload(FakeBackend(), VOCAB_SIZE, prompt_length=8, context=4, new_tokens=3, batch=2)


def test_a_report_has_every_batch_and_the_versions(work: Workload) -> None:
    reads = count()

    def read() -> Snapshot:
        next(reads)
        return SNAPSHOT

    report = card_report(work, (1, 2), read=read, seconds=0.05)
    assert [power.batch for power in report.power] == [1, 2]
    assert next(reads) > 1
    assert report.boards == ("p150a",)
    assert (report.tdp_limit_watts, report.board_limit_watts) == (150, None)
    assert report.versions["firmware"] == "19.4.1.0"
    assert report.versions["driver"] == "TT-KMD 2.4.1"


def test_without_telemetry_the_report_says_why(work: Workload) -> None:
    def read() -> Snapshot:
        raise TelemetryError("tt-smi is not installed", "uv tool install tt-smi")

    report = card_report(work, (1,), read=read)
    assert report.power == ()
    assert report.note == "not available: tt-smi is not installed; uv tool install tt-smi"
    assert "bitnet-tt" in report.versions
