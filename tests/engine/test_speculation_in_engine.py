"""Speculation changes no token, no log-probability and no usage; only the number of steps."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bitnet_tt import BitNetModel
from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine import BLOCK_SIZE, Engine
from tests.engine.fake_backend import RepeatingBackend
from tests.engine.small_engine import make_engine, results

REPETITIVE = "The fox ran. The fox ran. The fox ran. The fox"


def run(engine: Engine, prompts: list[list[int]], configs: list[GenerationConfig]) -> list[list[tuple]]:
    return results(engine, [engine.request(prompt, config) for prompt, config in zip(prompts, configs, strict=True)])


prompts = st.lists(st.integers(0, 4), min_size=1, max_size=12)
configs = st.builds(
    GenerationConfig,
    max_new_tokens=st.integers(1, 60),
    temperature=st.sampled_from([0.0, 0.3, 1.0]),
    top_p=st.sampled_from([1.0, 0.8]),
    presence_penalty=st.sampled_from([0.0, 1.5]),
    stop_token_ids=st.lists(st.integers(0, 20), max_size=2),
    logprobs=st.sampled_from([None, 1]),
    seed=st.integers(0, 5),
)


@settings(max_examples=60)
@given(data=st.data(), blocks=st.sampled_from([None, 8]), batch_tokens=st.sampled_from([4, 64]))
def test_results_are_the_same_with_and_without(data: st.DataObject, blocks: int | None, batch_tokens: int) -> None:
    count = data.draw(st.integers(1, 4))
    texts = [data.draw(prompts) * data.draw(st.integers(1, 5)) for _ in range(count)]
    chosen = [data.draw(configs) for _ in range(count)]
    options = {"num_blocks": blocks, "max_batch_tokens": batch_tokens}
    plain = run(make_engine(RepeatingBackend(), **options), texts, chosen)
    assert run(make_engine(RepeatingBackend(), speculate=True, **options), texts, chosen) == plain


def test_repeating_texts_take_fewer_steps() -> None:
    config = GenerationConfig(max_new_tokens=200)
    steps = {}
    for speculate in (False, True):
        backend = RepeatingBackend(step_seconds=0.003)  # more rows take no longer, whatever else the machine does
        run(make_engine(backend, speculate=speculate), [[1, 2, 3, 4, 5] * 4], [config])
        steps[speculate] = len(backend.batches)
    assert steps[True] < 0.8 * steps[False]


def test_the_demo_gives_the_same_text_in_fewer_steps() -> None:
    texts, steps = {}, {}
    for speculate in (False, True):
        with BitNetModel.from_pretrained("demo", speculate=speculate) as model:
            config = GenerationConfig(max_new_tokens=60, repetition_penalty=0.5)  # repeats itself
            texts[speculate] = [model.generate(REPETITIVE, config), model.generate(REPETITIVE, temperature=0.7, seed=1)]
            steps[speculate] = model.engine.stats().steps
    assert texts[True] == texts[False]
    assert steps[True] < steps[False]


def test_drafts_end_at_the_context() -> None:
    for length in (BLOCK_SIZE - 1, BLOCK_SIZE, 3 * BLOCK_SIZE - 5):
        prompt = [1, 2] * (length // 2)
        config = GenerationConfig(max_new_tokens=None)
        plain = run(make_engine(RepeatingBackend()), [prompt], [config])
        assert run(make_engine(RepeatingBackend(), speculate=True), [prompt], [config]) == plain
