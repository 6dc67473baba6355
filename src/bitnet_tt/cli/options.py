"""The options that several commands share, and the loading of the model that they name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from bitnet_tt.backends.options import MAX_CARDS, Device, Precision, TernaryTiles
from bitnet_tt.cli.output import print_notes
from bitnet_tt.cli.progress import progress_bar
from bitnet_tt.cli.streams import separate_output
from bitnet_tt.config import GenerationConfig
from bitnet_tt.errors import ConfigError

if TYPE_CHECKING:
    from bitnet_tt.model import BitNetModel

_DEFAULT = GenerationConfig()

# Each kind of options has its own panel in --help.
_HubOption = partial(typer.Option, rich_help_panel="Hugging Face hub")
_DeviceOption = partial(typer.Option, rich_help_panel="Device")
_LengthOption = partial(typer.Option, rich_help_panel="Length")
_SamplingOption = partial(typer.Option, rich_help_panel="Sampling")

DEVICE_HELP = "Device to run on; tt is a Tenstorrent card."
TERNARY_TILES_HELP = (
    "Form of ternary weights on a Tenstorrent card: codes (2 bits each), or bfp2 (2.5 bits) if self-test fails with "
    "codes. The text is the same with both."
)
CARDS_HELP = "Number of connected Tenstorrent cards that share the layers. The text is the same with each."
TENSOR_PARALLEL_HELP = (
    "With 2 cards: share every matrix instead of the layers, which is faster for single texts with a long context. "
    "The text is the same."
)
MODEL_HELP = '"demo", a folder, a .gguf file, or a Hugging Face hub id.'


@dataclass(frozen=True, slots=True)
class HubOptions:
    """The options that find a model on the Hugging Face hub and in its cache."""

    revision: Annotated[str | None, _HubOption(help="Branch, tag or commit of the hub repository.")] = None
    cache_dir: Annotated[Path | None, _HubOption(help="Folder of the download cache.", file_okay=False)] = None
    offline: Annotated[
        bool,
        _HubOption("--offline", help="Never use the network; the model must be in the cache."),
    ] = False

    def resolve(self, model: str) -> Path:
        """Return the path of a model on this machine; download it if it is a hub id."""
        from bitnet_tt.checkpoint import resolve

        return resolve(model, revision=self.revision, cache_dir=self.cache_dir, local_files_only=self.offline)


@dataclass(frozen=True, slots=True)
class DeviceOptions:
    """The device that a model runs on and its settings, and an adapter to run it with."""

    device: Annotated[Device, _DeviceOption(help=DEVICE_HELP)] = "auto"
    threads: Annotated[
        int | None,
        _DeviceOption(help="Number of CPU threads. Default: one for each physical core that this process may use."),
    ] = None
    isa: Annotated[
        str | None,
        _DeviceOption(help="Use this CPU instruction set (doctor lists them). The text is the same with each."),
    ] = None
    precision: Annotated[
        Precision,
        _DeviceOption(help="Precision on a Tenstorrent card. The CPU is always exact."),
    ] = "fast"
    ternary_tiles: Annotated[
        TernaryTiles,
        _DeviceOption(help=TERNARY_TILES_HELP),
    ] = "codes"
    cards: Annotated[int, _DeviceOption(help=CARDS_HELP, min=1, max=MAX_CARDS)] = 1
    tensor_parallel: Annotated[bool, _DeviceOption("--tensor-parallel", help=TENSOR_PARALLEL_HELP)] = False
    context: Annotated[
        int | None,
        _DeviceOption(help="Maximum number of tokens of a text, including the prompt. Default: the model's limit."),
    ] = None
    adapter: Annotated[
        Path | None,
        _DeviceOption(metavar="FOLDER", help="Run the model with this LoRA adapter (PEFT's format; CPU only)."),
    ] = None


def load_model(
    model: str,
    device: DeviceOptions,
    hub: HubOptions,
    *,
    max_batch_size: int = 1,
    max_stall_ms: float | None = None,
    speculate: bool = False,
) -> BitNetModel:
    """Load a model, show a progress bar, and print what users should know about the model."""
    from bitnet_tt.model import BitNetModel

    if device.device == "tt":
        separate_output()
    with progress_bar(f"Loading {model}") as progress:
        loaded = BitNetModel.from_pretrained(
            model,
            device=device.device,
            threads=device.threads,
            isa=device.isa,
            precision=device.precision,
            ternary_tiles=device.ternary_tiles,
            cards=device.cards,
            tensor_parallel=device.tensor_parallel,
            context_length=device.context,
            adapter=device.adapter,
            revision=hub.revision,
            cache_dir=hub.cache_dir,
            local_files_only=hub.offline,
            max_batch_size=max_batch_size,
            max_stall_ms=max_stall_ms,
            speculate=speculate,
            progress=progress,
        )
    print_notes(loaded.checkpoint.notes)
    return loaded


@dataclass(frozen=True, slots=True)
class SamplingOptions:
    """The options that pick tokens and end the text: fields of `GenerationConfig`."""

    max_new_tokens: Annotated[int, _LengthOption("--max-new-tokens", "-n", help="Maximum number of new tokens.")] = (
        _DEFAULT.max_new_tokens or 0
    )
    stop: Annotated[list[str], _LengthOption(help="Text that ends the output. May be repeated.")] = field(
        default_factory=list
    )
    stop_token_ids: Annotated[
        list[int],
        _LengthOption("--stop-token-id", help="Token id that ends the output. May be repeated."),
    ] = field(default_factory=list)
    ignore_eos: Annotated[
        bool,
        _LengthOption("--ignore-eos", help="Continue after the model's end-of-text token."),
    ] = _DEFAULT.ignore_eos
    temperature: Annotated[
        float,
        _SamplingOption(
            "--temperature", "-t", help="Higher values vary the text more; 0 always picks the most probable token."
        ),
    ] = _DEFAULT.temperature
    top_k: Annotated[int, _SamplingOption(help="Pick from the k most probable tokens; 0 turns this off.")] = (
        _DEFAULT.top_k
    )
    top_p: Annotated[
        float,
        _SamplingOption(help="Pick from the most probable tokens that together have this probability."),
    ] = _DEFAULT.top_p
    min_p: Annotated[
        float,
        _SamplingOption(help="Drop tokens whose probability is below this fraction of the largest one."),
    ] = _DEFAULT.min_p
    repetition_penalty: Annotated[
        float,
        _SamplingOption(help="A value above 1 makes tokens that are already in the text less probable."),
    ] = _DEFAULT.repetition_penalty
    presence_penalty: Annotated[
        float,
        _SamplingOption(help="A value above 0 makes tokens less probable that were generated before; from -2 to 2."),
    ] = _DEFAULT.presence_penalty
    frequency_penalty: Annotated[
        float,
        _SamplingOption(help="The same, times how often the token was generated; from -2 to 2."),
    ] = _DEFAULT.frequency_penalty
    seed: Annotated[
        int | None,
        _SamplingOption(help="Seed of the random numbers. The same seed gives the same text on every CPU."),
    ] = None

    def config(self, logprobs: int | None = None) -> GenerationConfig:
        """Return the options as a GenerationConfig.

        Raises:
            typer.BadParameter: A value is out of range.
        """
        try:
            return GenerationConfig(
                max_new_tokens=self.max_new_tokens,
                temperature=self.temperature,
                top_k=self.top_k,
                top_p=self.top_p,
                min_p=self.min_p,
                repetition_penalty=self.repetition_penalty,
                presence_penalty=self.presence_penalty,
                frequency_penalty=self.frequency_penalty,
                stop=self.stop,
                stop_token_ids=self.stop_token_ids,
                ignore_eos=self.ignore_eos,
                seed=self.seed,
                logprobs=logprobs,
            )
        except ConfigError as error:
            raise typer.BadParameter(str(error)) from error


def expand(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command as Typer needs it: a parameter that is a dataclass becomes one option for each field."""
    hints = get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, type[Any]] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        hint = hints[name]
        if is_dataclass(hint) and isinstance(hint, type):
            groups[name] = hint
            options = get_type_hints(hint, include_extras=True)
            parameters += [_parameter(one.name, options[one.name], _default(one)) for one in fields(hint)]
        else:
            parameters.append(_parameter(name, hint, parameter.default))

    @wraps(command)
    def expanded(**values: Any) -> None:
        given = {
            name: group(**{one.name: values.pop(one.name) for one in fields(group)}) for name, group in groups.items()
        }
        command(**values, **given)

    expanded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    expanded.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return expanded


def _parameter(name: str, hint: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def _default(option: Any) -> Any:
    return option.default if option.default_factory is MISSING else option.default_factory()
