"""Health, readiness, metrics, properties, tokens: what operators and their programs read."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bitnet_tt import BitNetModel
from bitnet_tt.engine import Engine
from bitnet_tt.server.settings import ServerSettings
from tests.server.conftest import serving


def test_health_and_ready(server) -> None:
    assert server.get("/health").json() == {"status": "ok"}
    assert server.get("/ready").json() == {"status": "ready", "running": 0, "waiting": 0}


def test_models(server) -> None:
    [model] = server.get("/v1/models").json()["data"]
    assert (model["id"], model["object"]) == ("demo", "model")
    assert server.get("/v1/models/demo").json() == model


def test_props_say_what_clients_need(server, demo) -> None:
    props = server.get("/props").json()
    assert props["context_length"] == demo.engine.context_length
    assert props["chat_template"] == demo.tokenizer.chat_templates["default"]
    assert props["limits"]["queue"] > 0
    assert props["limits"]["max_stall_ms"] == 200
    assert props["needs_key"] is False


def metrics_of(server) -> dict[str, float]:
    """Return the values of the metrics without labels."""
    response = server.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(response.text)
    samples = [sample for family in families for sample in family.samples]
    assert all(sample.name.startswith("bitnet_") for sample in samples)
    return {sample.name: sample.value for sample in samples if not sample.labels}


def test_metrics_count_what_clients_got(serve) -> None:
    with serve() as server:
        before = metrics_of(server)
        usage = server.post("/v1/completions", {"prompt": "Once", "max_tokens": 5}).json()["usage"]
        server.logged(2)
        after = metrics_of(server)
    for name, count in (
        ("bitnet_prompt_tokens_total", usage["prompt_tokens"]),
        ("bitnet_generation_tokens_total", usage["completion_tokens"]),
        ("bitnet_prefix_cache_queries_total", usage["prompt_tokens"]),
        ("bitnet_time_to_first_token_seconds_count", 1),
        ("bitnet_inter_token_latency_seconds_count", usage["completion_tokens"] - 1),
        ("bitnet_request_queue_time_seconds_count", 1),
        ("bitnet_request_prefill_time_seconds_count", 1),
        ("bitnet_request_decode_time_seconds_count", 1),
        ("bitnet_e2e_request_latency_seconds_count", 1),
    ):
        assert after[name] - before[name] == count, name
    assert after["bitnet_requests_running"] == 0
    parts = ("request_queue_time", "request_prefill_time", "time_to_first_token")
    queue, prefill, first_token = (
        after[f"bitnet_{one}_seconds_sum"] - before[f"bitnet_{one}_seconds_sum"] for one in parts
    )
    assert queue + prefill == pytest.approx(first_token)


def test_metrics_count_preemptions() -> None:
    with BitNetModel.from_pretrained("demo") as loaded:
        shape = {"vocab_size": loaded.config.vocab_size, "context_length": loaded.engine.context_length}
        small_cache = Engine(loaded.backend, tokenizer=loaded.tokenizer, num_blocks=1, **shape)
        model = BitNetModel(
            loaded.checkpoint, loaded.tokenizer, loaded.options, loaded.backend, small_cache, loaded.load_times
        )
        with model, serving(model, ServerSettings()) as server:
            server.post("/v1/completions", {"prompt": "Once", "max_tokens": 400, "ignore_eos": True, "n": 4})
            assert metrics_of(server)["bitnet_preemptions_total"] > 0


def test_metrics_count_drafts() -> None:
    with BitNetModel.from_pretrained("demo", speculate=True) as model, serving(model, ServerSettings()) as server:
        # A text at temperature 0 soon repeats itself.
        server.post("/v1/completions", {"prompt": "Once", "max_tokens": 480, "temperature": 0, "ignore_eos": True})
        metrics = metrics_of(server)
    drafted, accepted = (metrics[f"bitnet_spec_decode_{one}_tokens_total"] for one in ("draft", "accepted"))
    assert 0 < accepted <= drafted


def test_tokenize_and_back(server, demo) -> None:
    text = "Grüße, <|eot_id|> 🙂"
    tokens = server.post("/tokenize", {"content": text}).json()["tokens"]
    assert tokens == demo.tokenizer.encode(text, add_bos=False, parse_special=False)
    assert server.post("/detokenize", {"tokens": tokens}).json() == {"content": text}
    special = server.post("/tokenize", {"content": text, "add_special": True, "parse_special": True}).json()["tokens"]
    assert special == demo.tokenizer.encode(text)
    assert server.post("/detokenize", {"tokens": special}).json() == {"content": "<|begin_of_text|>" + text}
    pieces = server.post("/tokenize", {"content": "Hé", "with_pieces": True}).json()["tokens"]
    parts = [one["piece"].encode() if isinstance(one["piece"], str) else bytes(one["piece"]) for one in pieces]
    assert b"".join(parts).decode() == "Hé"


def test_apply_template(server, demo) -> None:
    messages = [{"role": "user", "content": "Hello"}]
    answer = server.post("/apply-template", {"messages": messages}).json()
    assert answer == {
        "prompt": demo.tokenizer.render_chat(messages),
        "tokens": demo.tokenizer.apply_chat_template(messages),
    }


def test_docs_list_the_endpoints_and_load_nothing(server) -> None:
    page = server.get("/docs")
    assert "POST /v1/chat/completions" in page.text
    assert "https://" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
