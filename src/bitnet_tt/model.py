"""BitNetModel, the public class: text goes in, text comes out. It is thin over the other packages."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack, cast, overload

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.base import Backend
from bitnet_tt.backends.options import BackendOptions, Device, Precision, TernaryTiles
from bitnet_tt.backends.select import check_device, check_model, create_backend
from bitnet_tt.checkpoint import Checkpoint, resolve
from bitnet_tt.checkpoint.convert import convert
from bitnet_tt.checks import is_int, is_number, require
from bitnet_tt.config import GenerationConfig, GenerationOptions, ModelConfig
from bitnet_tt.engine import AsyncEngine, AsyncStream, Engine
from bitnet_tt.errors import ConfigError, RequestError, TokenizerError
from bitnet_tt.generation import Piece
from bitnet_tt.prompts import Messages, Prompt, as_token_ids, check_messages, is_one_prompt
from bitnet_tt.tokenizer import Tokenizer
from bitnet_tt.tokenizer.load import require_tokenizer


@dataclass(frozen=True, slots=True)
class LoadTimes:
    """How long a model took to load, in seconds.

    Attributes:
        seconds: From the call of `from_pretrained` until the model can run.
        tokenizer_seconds: The part of it that read the tokenizer.
        weights_seconds: The part of it for the weights alone. Most of their checks run while the tokenizer is read.
    """

    seconds: float
    tokenizer_seconds: float
    weights_seconds: float


class BitNetModel:
    """A BitNet b1.58 model on a device, ready to generate. Make one with `BitNetModel.from_pretrained`.

    Any thread may call any method. The requests of all threads and tasks share the engine's batches, which one thread
    of the engine computes. `close` frees the device and its memory, and so does the end of `with
    BitNetModel.from_pretrained(...) as model`.

    Attributes:
        checkpoint: The files of the model.
        config: The shape of the model.
        tokenizer: Converts text to token ids and back.
        options: The device and its settings.
        backend: The device with the weights on it.
        engine: Continues prompts in batches; `generate` and `stream` are thin over it. `AsyncEngine(model.engine)` is
            the same for asyncio.
        load_times: How long it took to load.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        tokenizer: Tokenizer,
        options: BackendOptions,
        backend: Backend,
        engine: Engine,
        load_times: LoadTimes,
    ) -> None:
        self.checkpoint = checkpoint
        self.config: ModelConfig = checkpoint.config
        self.tokenizer = tokenizer
        self.options = options
        self.backend = backend
        self.engine = engine
        self.load_times = load_times

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = "demo",
        *,
        device: Device = "auto",
        revision: str | None = None,
        context_length: int | None = None,
        max_batch_size: int = 8,
        max_queue: int | None = None,
        max_stall_ms: float | None = 200.0,
        speculate: bool = False,
        threads: int | None = None,
        isa: str | None = None,
        precision: Precision = "fast",
        ternary_tiles: TernaryTiles = "codes",
        cards: int = 1,
        tensor_parallel: bool = False,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        masters: bool = False,
        adapter: str | Path | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Self:
        """Load a model.

        Args:
            model: `demo` (the model in this package), a local folder, a `.gguf` file, or a Hugging Face hub id.
            device: `cpu`, `tt` (a Tenstorrent card), or `auto`: the CPU.
            revision: Branch, tag or commit of a hub id.
            context_length: Maximum number of tokens of one text, prompt included. None means the model's own limit,
                which is also the maximum.
            max_batch_size: Maximum number of prompts that are computed together; further ones wait.
            max_queue: Maximum number of prompts that wait while `max_batch_size` others are computed; one more raises
                QueueFullError. None means no limit.
            max_stall_ms: While texts are generated, new prompts are read in parts that take about this many
                milliseconds at most, so that no text stops for long. None reads prompts as fast as possible.
            speculate: Draft tokens from the texts themselves and verify several in a step, where that is faster. It
                changes no result.
            threads: CPU only: maximum number of threads. None means one for each physical core that this process may
                use.
            isa: CPU only: the instruction set to use, for tests. It changes no bit of a result. None means the fastest.
            precision: Tenstorrent card only: `fast`, or `exact` for float32 throughout. The CPU is always exact.
            ternary_tiles: Tenstorrent card only: the form of ternary weights in its memory, `codes` or `bfp2`; see
                `BackendOptions`. It changes no bit of a result.
            cards: Tenstorrent cards only: how many cards share the layers of the model, from 1 to 8. They are connected
                in a chain. It changes no bit of a result.
            tensor_parallel: With `cards=2` only: the cards share every matrix instead of the layers, which is faster
                for single texts with a long context (`bitnet-tt plan`). It changes no bit of a result.
            cache_dir: Folder of the hub cache. None means the hub library's default.
            local_files_only: Never use the network; a hub id must be in the cache.
            masters: The weights are master weights (floats that were trained with BitNet's quantisation), although
                config.json does not say so. They are quantised while they are read.
            adapter: CPU only: the folder of a low-rank adapter (LoRA) for this model, as PEFT saves it. The ternary
                weights stay as they are; the adapter is computed beside them.
            progress: Called with (done, total) bytes while weights are read and checked.

        Raises:
            CheckpointError: The model is not found, damaged, or of a kind this package does not know.
            ConfigError: A setting, or a field of config.json, cannot be used.
            DeviceError: The device is missing or has too little memory.
            TokenizerError: The model has no tokenizer, it cannot be read, or it is that of another model.
        """
        started = time.perf_counter()
        options = BackendOptions(device, threads, isa, precision, ternary_tiles, cards, tensor_parallel)
        check_device(options)
        require("max_batch_size", max_batch_size, "a positive integer", is_int(max_batch_size, 1))
        known = max_queue is None or is_int(max_queue, 0)
        require("max_queue", max_queue, "None or an integer of at least 0", known)
        known = max_stall_ms is None or (is_number(max_stall_ms, 0.0) and max_stall_ms > 0)
        require("max_stall_ms", max_stall_ms, "None or a positive number", known)
        path = resolve(model, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only)
        opening = time.perf_counter()
        checkpoint = Checkpoint.open(path, masters=masters, adapter=None if adapter is None else Path(adapter))
        opened = time.perf_counter()
        limit = checkpoint.config.max_position_embeddings
        context_length = limit if context_length is None else context_length
        if not is_int(context_length, 1, limit):
            raise ConfigError(f"context_length must be from 1 to {limit}, this model's limit, not {context_length!r}")
        check_model(checkpoint.config, options, embeds=checkpoint.pooling is not None, adapted=adapter is not None)
        require_tokenizer(path)
        beginning = time.perf_counter()
        with checkpoint.begin_loading(progress) as loading:
            reading = time.perf_counter()
            tokenizer = Tokenizer.from_path(path)
            _check_special_tokens(tokenizer, checkpoint)
            tokenizer_seconds = time.perf_counter() - reading
            weights = loading.result()
        weights_seconds = opened - opening + time.perf_counter() - beginning - tokenizer_seconds
        backend = create_backend(checkpoint.config, weights, options, context_length=context_length)
        try:
            engine = Engine(
                backend,
                vocab_size=checkpoint.config.vocab_size,
                context_length=context_length,
                tokenizer=tokenizer,
                eos_token_ids={*checkpoint.config.eos_token_ids, *tokenizer.eos_token_ids},
                max_batch_size=max_batch_size,
                max_queue=max_queue,
                max_stall_ms=max_stall_ms,
                speculate=speculate,
            )
        except BaseException:
            backend.close()
            raise
        load_times = LoadTimes(time.perf_counter() - started, tokenizer_seconds, weights_seconds)
        return cls(checkpoint, tokenizer, options, backend, engine, load_times)

    # A str is a Sequence[str] too, so two overloads fit it; type checkers take the first one.
    @overload
    def generate(  # type: ignore[overload-overlap]
        self, prompt: str, config: GenerationConfig | None = None, **options: Unpack[GenerationOptions]
    ) -> str: ...

    @overload
    def generate(
        self, prompt: Sequence[int], config: GenerationConfig | None = None, **options: Unpack[GenerationOptions]
    ) -> str: ...

    @overload
    def generate(
        self,
        prompt: Sequence[str] | Sequence[Sequence[int]],
        config: GenerationConfig | None = None,
        **options: Unpack[GenerationOptions],
    ) -> list[str]: ...

    def generate(
        self,
        prompt: str | Sequence[int] | Sequence[str] | Sequence[Sequence[int]],
        config: GenerationConfig | None = None,
        **options: Unpack[GenerationOptions],
    ) -> str | list[str]:
        """Continue a prompt, or each of a list of prompts.

        Args:
            prompt: A text or its token ids, or a list of texts or of lists of token ids. Ids are used as they are; a
                text gets the model's begin-of-text token. Each prompt of a list gives the text that it gives alone.
            config: How to pick tokens and when to stop. None means the defaults of `GenerationConfig`.
            **options: Fields of `GenerationConfig`; they replace those of `config`.

        Returns:
            The new text; for a list of prompts, a list of texts.

        Raises:
            ConfigError: An option is unknown or out of range.
            RequestError: A prompt is empty, too long, or has ids outside the vocabulary.
            DeviceError: The model is closed, or the device failed.
            QueueFullError: `max_queue` prompts wait already.
        """
        settings = (config or GenerationConfig()).with_options(**options)
        if is_one_prompt(prompt):
            return _text(self._pieces(self._encode(cast(Prompt, prompt)), settings))
        prompts = [self._encode(one) for one in cast(Sequence[Prompt], prompt)]
        requests = [self.engine.request(token_ids, settings) for token_ids in prompts]
        try:
            for request in requests:
                self.engine.submit(request)
            return [_text(self.engine.outputs(request)) for request in requests]
        finally:
            for request in requests:
                self.engine.cancel(request)

    def stream(
        self, prompt: Prompt, config: GenerationConfig | None = None, **options: Unpack[GenerationOptions]
    ) -> Iterator[Piece]:
        """Continue a prompt and yield the text as it is generated.

        Arguments and errors are those of `generate` for one prompt. The first piece that is asked for starts the
        generation, and closing the iterator stops it.
        """
        settings = (config or GenerationConfig()).with_options(**options)
        return self._pieces(self._encode(prompt), settings)

    def astream(
        self, prompt: Prompt, config: GenerationConfig | None = None, **options: Unpack[GenerationOptions]
    ) -> AsyncStream:
        """Continue a prompt in an event loop: `async for piece in model.astream(prompt)`.

        Arguments and errors are those of `generate` for one prompt. The generation starts at once. It stops if the task
        is cancelled, or if nobody holds the stream any more, so also by `break`.
        """
        settings = (config or GenerationConfig()).with_options(**options)
        return AsyncEngine(self.engine).stream(self._encode(prompt), settings)

    def chat(
        self, messages: Messages, config: GenerationConfig | None = None, **options: Unpack[GenerationOptions]
    ) -> str:
        """Answer a conversation, formatted by the model's own chat template.

        Args:
            messages: `{"role": "system" | "user" | "assistant", "content": text}`, oldest first.
            config: How to pick tokens and when to stop. None means the defaults of `GenerationConfig`.
            **options: Fields of `GenerationConfig`; they replace those of `config`.

        Returns:
            The assistant's next message.

        Raises:
            TokenizerError: The model has no chat template, or the template refuses these messages.
            ConfigError, RequestError, DeviceError: As in `generate`.
        """
        return _text(self.stream_chat(messages, config, **options))

    def stream_chat(
        self, messages: Messages, config: GenerationConfig | None = None, **options: Unpack[GenerationOptions]
    ) -> Iterator[Piece]:
        """Answer a conversation as `chat` does, and yield the text as it is generated."""
        settings = (config or GenerationConfig()).with_options(**options)
        return self._pieces(self._encode_chat(messages), settings)

    def astream_chat(
        self, messages: Messages, config: GenerationConfig | None = None, **options: Unpack[GenerationOptions]
    ) -> AsyncStream:
        """Answer a conversation in an event loop: as `chat`, but in pieces, as `astream` yields them."""
        settings = (config or GenerationConfig()).with_options(**options)
        return AsyncEngine(self.engine).stream(self._encode_chat(messages), settings)

    def logits(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """Return the logits of every position: row t scores each token as the one after `token_ids[:t + 1]`.

        Returns:
            float32 [len(token_ids), vocab].

        Raises:
            RequestError: There are no ids, too many, or some outside the vocabulary.
            DeviceError: The model is closed, or the device failed.
        """
        return self.engine.logits(as_token_ids(token_ids, "a list of token ids here"))

    def embed(self, texts: str | Sequence[int] | Sequence[str] | Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return the embedding of a text, or of each of a list of texts: the last token's hidden state, of length 1.

        Args:
            texts: A text or its token ids, or a list of texts or of lists of token ids. A text gets the tokens around
                it that the tokenizer says, such as the end-of-text token. The model reads only these texts: put an
                instruction before a query if its card asks for one.

        Returns:
            float32 [hidden]; for a list, float32 [texts, hidden]. Each row is what the text gives alone.

        Raises:
            ConfigError: This is no embedding model.
            RequestError: A text is empty, too long, or has ids outside the vocabulary.
            DeviceError: The model is closed, or the device failed.
            QueueFullError: `max_queue` prompts wait already.
        """
        if self.checkpoint.pooling is None:
            raise ConfigError(
                f"{self.checkpoint.path} is a model that writes text, and has no embeddings of texts; use an embedding "
                "model such as microsoft/bitnet-embedding-0.6b"
            )
        if is_one_prompt(texts):
            return self.engine.embed([self._encode(cast(Prompt, texts))])[0]
        vectors = self.engine.embed([self._encode(one) for one in cast(Sequence[Prompt], texts)])
        return np.array(vectors, np.float32).reshape(-1, self.config.hidden_size)

    def perplexity(self, text: str) -> float:
        """Return the perplexity of a text: exp of the mean negative log-likelihood of its tokens after the first.

        Raises:
            RequestError: The text is shorter than two tokens or longer than the context.
            DeviceError: The model is closed, or the device failed.
        """
        if not isinstance(text, str):
            raise RequestError(f"perplexity needs a str, not {type(text).__name__}")
        self.engine.check_open()
        token_ids = self.tokenizer.encode(text)
        if len(token_ids) < 2:
            raise RequestError("perplexity needs a text of at least two tokens")
        logprobs = self.engine.score(token_ids)
        return math.exp(-sum(one.logprob for one in logprobs) / len(logprobs))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model as a Hugging Face folder of packed weights, with its tokenizer.

        Raises:
            CheckpointError: The folder already exists or cannot be written.
        """
        convert(self.checkpoint.path, Path(folder), to="packed", masters=self.checkpoint.masters)

    def close(self) -> None:
        """Free the device and its memory, after the current step. Later calls raise DeviceError, except `close`."""
        self.engine.close()
        self.engine.join()

    def __enter__(self) -> Self:
        """Return the model itself: `with BitNetModel.from_pretrained(...) as model`."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the model."""
        self.close()

    def _encode(self, prompt: Prompt) -> list[int]:
        self.engine.check_open()  # before the tokenizer, whose locks a fork may leave held too
        return (
            self.tokenizer.encode(prompt)
            if isinstance(prompt, str)
            else as_token_ids(prompt, "a str or a list of token ids")
        )

    def _encode_chat(self, messages: Messages) -> list[int]:
        check_messages(messages)
        self.engine.check_open()
        return self.tokenizer.apply_chat_template(messages)

    def _pieces(self, token_ids: Sequence[int], config: GenerationConfig) -> Iterator[Piece]:
        return self.engine.outputs(self.engine.request(token_ids, config))


def _check_special_tokens(tokenizer: Tokenizer, checkpoint: Checkpoint) -> None:
    """Refuse a tokenizer whose begin-of-text or end-of-text tokens the model does not have."""
    for token in (tokenizer.bos_token, *tokenizer.eos_tokens):
        token_id = None if token is None else tokenizer.token_to_id(token)
        if token_id is not None and token_id >= checkpoint.config.vocab_size:
            raise TokenizerError(
                f"{checkpoint.path}: the special token {token!r} has id {token_id}, but the model has only "
                f"{checkpoint.config.vocab_size} tokens; take the tokenizer's files from the model's repository"
            )


def _text(stream: Iterator[Piece]) -> str:
    return "".join(piece.text for piece in stream)
