"""The same request with the same seed gives the same bytes and usage, alone or among others."""

from __future__ import annotations

from tests.server.determinism import answers, check_everything, fresh_server, make_requests


def test_200_requests_give_the_same_alone_and_all_at_once() -> None:
    """With and without prefix cache and speculation, while other clients leave."""
    check_everything(count=200, longest=24)


def test_the_number_of_texts_in_a_batch_changes_nothing() -> None:
    todo = make_requests(24, seed=7, longest=30)
    found = []
    for size in (1, 2, 3, 8, 32):
        with fresh_server(max_batch_size=size) as server:
            found.append(answers(server, todo, together=True)[0])
    assert all(one == found[0] for one in found)


def test_equal_requests_beside_each_other_get_equal_answers() -> None:
    path, body = "/v1/completions", {"model": "demo", "prompt": "Once upon a time", "seed": 42, "max_tokens": 40}
    with fresh_server(max_batch_size=4) as server:
        same, _ = answers(server, [(path, body)] * 12, together=True)
        others, _ = answers(server, [(path, body | {"seed": seed}) for seed in range(12)], together=True)
    assert all(one == same[0] for one in same)
    assert len({one[0][0]["text"] for one in others}) == 12


def test_a_prompt_from_the_cache_gives_the_same_as_a_new_one() -> None:
    prompts = [
        "Once upon a time there was a little fox who lived in the wood. " * count for count in (1, 2, 4, 4, 2, 1)
    ]
    todo = [("/v1/completions", {"model": "demo", "prompt": prompt, "seed": 5, "max_tokens": 20}) for prompt in prompts]
    new = []
    for request in todo:
        with fresh_server() as server:
            one, cached = answers(server, [request], together=False)
            assert cached == 0
            new += one
    with fresh_server() as server:
        assert answers(server, todo, together=False)[0] == new
        again, cached = answers(server, todo, together=False)
        assert again == new
        assert cached > 0
