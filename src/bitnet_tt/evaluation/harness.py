"""BitNetLM: runs a model in EleutherAI's lm-evaluation-harness, under the name `bitnet-tt`.

Importing this module registers the name. It needs the extra `eval`. Tokens, batches and scores are those of the engine,
so a result does not depend on the batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from tqdm import tqdm

from bitnet_tt.backends.options import Device, Precision
from bitnet_tt.config import GenerationConfig
from bitnet_tt.errors import ConfigError
from bitnet_tt.model import BitNetModel

_AUTO_BATCH = 8
"""Texts that are computed together if the batch size is `auto`."""

_NO_DEVICE = "cuda:0"
"""What the harness passes as the device if its user names none."""

_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed")
"""Generation settings of tasks that `GenerationConfig` has too, with the same meaning."""


@register_model("bitnet-tt")
class BitNetLM(TemplateLM):  # type: ignore[misc]
    """A BitNet model as the harness sees it. `--model_args` are the arguments up to `max_gen_toks`.

    Args:
        pretrained: A folder, a .gguf file or a hub id.
        revision: Branch, tag or commit of a hub id.
        context_length: The maximum number of tokens of one text. None means the model's limit.
        threads: CPU only: the maximum number of threads.
        precision: Tenstorrent card only.
        masters: The weights are master weights, although config.json does not say so.
        adapter: Folder of a low-rank adapter.
        max_gen_toks: The maximum number of new tokens if a task does not say it.
        batch_size: How many texts are computed together, or `auto`. It changes no result.
        max_batch_size: The limit of `auto` in the harness; not needed here.
        device: `cpu` or `tt`.
    """

    def __init__(
        self,
        pretrained: str = "demo",
        *,
        revision: str | None = None,
        context_length: int | None = None,
        threads: int | None = None,
        precision: Precision = "exact",
        masters: bool = False,
        adapter: str | None = None,
        max_gen_toks: int = 256,
        batch_size: int | str = _AUTO_BATCH,
        max_batch_size: int | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        self.batch_size = _AUTO_BATCH if str(batch_size).startswith("auto") else int(batch_size)
        self.model = BitNetModel.from_pretrained(
            pretrained,
            device=cast(Device, "auto" if device in (None, _NO_DEVICE) else device),
            revision=revision,
            context_length=context_length,
            threads=threads,
            precision=precision,
            masters=masters,
            adapter=adapter,
            max_batch_size=self.batch_size,
            max_stall_ms=None,
        )
        self.max_gen_toks = max_gen_toks
        self._name = pretrained

    @property
    def eot_token_id(self) -> int:
        """Id of the token that ends a text."""
        ids = [*self.model.tokenizer.eos_token_ids, *self.model.config.eos_token_ids]
        if not ids:
            raise ConfigError(f"{self._name} has no end-of-text token, which tasks with an empty context need")
        return ids[0]

    @property
    def prefix_token_id(self) -> int:
        """Id of the token that stands before a text without a context."""
        bos = self.model.tokenizer.bos_token_id
        return self.eot_token_id if bos is None else bos

    @property
    def max_length(self) -> int:
        """Maximum number of tokens of one text."""
        return self.model.engine.context_length

    @property
    def tokenizer_name(self) -> str:
        """A name for caches of requests."""
        return self._name.replace("/", "__")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Convert text to ids. None puts the tokens before it that the checkpoint says."""
        tokenizer = self.model.tokenizer
        return tokenizer.encode(string, add_bos=tokenizer.add_bos if add_special_tokens is None else add_special_tokens)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Return the chat template with a name, the usual one for True, None for False."""
        if not chat_template:
            return None
        return self.model.tokenizer.chat_templates.get("default" if chat_template is True else chat_template)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Render a chat with the model's template; without a generation prompt, its last message is continued."""
        return self.model.tokenizer.render_chat(
            chat_history, add_generation_prompt=add_generation_prompt, continue_last=not add_generation_prompt
        )

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Return the log-likelihood of whole texts, in windows of the context's length without overlap."""
        return list(self._in_batches(self._rolling, [request.args for request in requests], disable_tqdm))

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Continue texts until one of their stop strings, the end of the text, or their maximum length."""
        return list(self._in_batches(self._generate, [request.args for request in requests], disable_tqdm))

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], disable_tqdm: bool = False, **_: Any
    ) -> list[tuple[float, bool]]:
        """Score continuations; the harness has encoded them."""
        return list(self._in_batches(self._loglikelihood, requests, disable_tqdm))

    def _in_batches[Argument, Result](
        self, work: Callable[[Argument], Result], arguments: Sequence[Argument], disable_tqdm: bool
    ) -> Iterator[Result]:
        """Yield the result of each argument. The engine puts the texts of all threads into one batch."""
        with ThreadPoolExecutor(self.batch_size) as pool:
            yield from tqdm(pool.map(work, arguments), total=len(arguments), disable=disable_tqdm)

    def _loglikelihood(self, request: tuple[Any, list[int], list[int]]) -> tuple[float, bool]:
        texts, context, continuation = request
        result = self._score(context, continuation)
        if texts is not None:
            self.cache_hook.add_partial("loglikelihood", texts, result)
        return result

    def _score(self, context: list[int], continuation: list[int]) -> tuple[float, bool]:
        """Return the log-probability of a continuation, and whether greedy picks give it. Long contexts lose tokens."""
        token_ids = [*context, *continuation][-(self.max_length + 1) :]
        first = max(len(token_ids) - len(continuation), 1)
        scores = self.model.engine.score(token_ids, top=1, first=first)
        return sum(score.logprob for score in scores), all(score.top[0][0] == score.token_id for score in scores)

    def _rolling(self, arguments: tuple[str]) -> float:
        [text] = arguments
        windows = get_rolling_token_windows(
            self.tok_encode(text, add_special_tokens=False), self.prefix_token_id, self.max_length, context_len=1
        )
        total = sum(self._score(*make_disjoint_window(window))[0] for window in windows)
        self.cache_hook.add_partial("loglikelihood_rolling", arguments, total)
        return total

    def _generate(self, arguments: tuple[str, dict[str, Any]]) -> str:
        context, settings = arguments
        options = dict(normalize_gen_kwargs(settings, self.max_gen_toks))
        length = min(options.pop("max_gen_toks"), self.max_length - 1)
        stop = [one for one in options.pop("until") if one]
        if not options.pop("do_sample"):
            options["temperature"] = 0.0
        unknown = [name for name in options if name not in _SAMPLING]
        if unknown:
            raise ConfigError(
                f"generation settings {', '.join(unknown)} are not supported; known: {', '.join(_SAMPLING)}"
            )
        config = GenerationConfig(max_new_tokens=length, stop=stop, **options)
        token_ids = self.tok_encode(context)[-(self.max_length - length) :]
        text = self.model.generate(token_ids, config)
        self.cache_hook.add_partial("generate_until", arguments, text)
        return text
