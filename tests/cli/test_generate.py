"""`bitnet-tt generate` prints what the Python API generates with the same options, and keeps text after Ctrl-C."""

import json

import pytest

from bitnet_tt import BitNetModel

STORY = "Once upon a time"


@pytest.fixture(scope="module")
def model() -> BitNetModel:
    return BitNetModel.from_pretrained("demo")


def test_standard_output_is_the_generated_text_alone(run, model: BitNetModel) -> None:
    result = run("generate", STORY, "-n", "20")
    assert result.stdout == model.generate(STORY, max_new_tokens=20) + "\n"
    assert result.stderr == ""


def test_the_prompt_can_come_from_standard_input(run) -> None:
    assert run("generate", "-", "-n", "9", stdin=STORY).stdout == run("generate", STORY, "-n", "9").stdout


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_one_newline_at_the_end_of_standard_input_is_dropped(run, newline: str) -> None:
    def prompt_of(stdin: str) -> str:
        return json.loads(run("generate", "-", "-n", "1", "--json", stdin=stdin).stdout)["prompt"]

    assert prompt_of(f"{STORY}{newline}") == STORY
    assert prompt_of(f"\n{STORY}{newline}{newline}") == f"\n{STORY}\n"


def test_options_reach_the_sampler(run, model: BitNetModel) -> None:
    arguments = "-n 30 -t 1.1 --top-k 50 --top-p 0.9 --min-p 0.01 --repetition-penalty 1.2 --seed 7 --stop zz --stop yy"
    arguments += " --presence-penalty 0.4 --frequency-penalty 0.3"
    options = {"max_new_tokens": 30, "temperature": 1.1, "top_k": 50, "top_p": 0.9, "min_p": 0.01, "seed": 7}
    penalties = {"presence_penalty": 0.4, "frequency_penalty": 0.3}
    expected = model.generate(STORY, repetition_penalty=1.2, stop=["zz", "yy"], **penalties, **options)
    assert run("generate", STORY, *arguments.split()).stdout == expected + "\n"


def test_device_options_do_not_change_the_text(run) -> None:
    plain = run("generate", STORY, "-n", "25").stdout
    arguments = ["--device", "cpu", "--threads", "1", "--isa", "scalar", "--context", "64"]
    assert run("generate", STORY, "-n", "25", *arguments).stdout == plain


def test_json_has_everything_a_program_needs(run, model: BitNetModel) -> None:
    result = json.loads(run("generate", STORY, "-n", "5", "--json", "--logprobs", "2").stdout)
    assert result["text"] == model.generate(STORY, max_new_tokens=5)
    assert result["prompt"] == STORY
    assert result["finish_reason"] == "length"
    assert result["device"].startswith("cpu")
    assert len(result["token_ids"]) == len(result["logprobs"]) == result["timings"]["generated_tokens"] == 5
    assert len(result["logprobs"][0]["top"]) == 2
    times = result["load_times"]
    assert times["seconds"] > max(times["tokenizer_seconds"], times["weights_seconds"]) > 0


def test_stats_go_to_standard_error(run) -> None:
    result = run("generate", STORY, "-n", "5", "--stats")
    assert "tokens/s" in result.stderr
    assert "tokens/s" not in result.stdout


def test_ctrl_c_keeps_the_text_so_far(run, interrupted, model: BitNetModel) -> None:
    expected = "".join(piece.text for piece in list(model.stream(STORY, max_new_tokens=20))[:4])
    interrupted(4)
    result = run("generate", STORY, "-n", "20")
    assert (result.exit_code, result.stdout) == (130, expected + "\n")
    interrupted(4)
    result = run("generate", STORY, "-n", "20", "--json")
    report = json.loads(result.stdout)
    assert (result.exit_code, report["text"], report["finish_reason"]) == (130, expected, None)


def test_text_that_is_not_unicode_is_one_clear_error(run) -> None:
    result = run("generate", "a\udcff")
    assert (result.exit_code, result.stderr) == (1, "error: the text is not valid Unicode\n")
    result = run("generate", "-", stdin=b"\xff")
    assert (result.exit_code, result.stderr) == (1, "error: the input is not UTF-8 text\n")
