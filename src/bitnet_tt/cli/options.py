"""The options that commands share, written once, and the model they ask for."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from bitnet_tt.cli.progress import progress_bar
from bitnet_tt.config import GenerationConfig
from bitnet_tt.errors import ConfigError

if TYPE_CHECKING:
    from bitnet_tt.model import BitNetModel

_DEFAULT = GenerationConfig()
_SAMPLING = "Sampling"
_LENGTH = "Length"
_HUB = "Hugging Face hub"
_DEVICE = "Device"

MODEL_HELP = '"demo", a folder, a .gguf file, or a Hugging Face hub id.'


@dataclass(frozen=True, slots=True)
class HubOptions:
    """Where a model that is named by its hub id comes from."""

    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit of the hub repository.", rich_help_panel=_HUB)
    ] = None
    cache_dir: Annotated[
        Path | None, typer.Option(help="Folder of the download cache.", file_okay=False, rich_help_panel=_HUB)
    ] = None
    offline: Annotated[bool, typer.Option("--offline", help="Use only what is in the cache.", rich_help_panel=_HUB)] = (
        False
    )

    def resolve(self, model: str) -> Path:
        """Find a model on this machine, or download it."""
        from bitnet_tt.checkpoint import resolve

        return resolve(model, revision=self.revision, cache_dir=self.cache_dir, local_files_only=self.offline)


@dataclass(frozen=True, slots=True)
class DeviceOptions:
    """What a model runs on."""

    device: Annotated[Literal["auto", "cpu", "tt"], typer.Option(help="What to run on.", rich_help_panel=_DEVICE)] = (
        "auto"
    )
    threads: Annotated[
        int | None, typer.Option(help="CPU threads; default: one for each core we may use.", rich_help_panel=_DEVICE)
    ] = None
    isa: Annotated[
        str | None,
        typer.Option(help="Force a CPU instruction set (see doctor); never changes the text.", rich_help_panel=_DEVICE),
    ] = None
    precision: Annotated[
        Literal["exact", "fast"], typer.Option(help="Of a Tenstorrent card; the CPU is exact.", rich_help_panel=_DEVICE)
    ] = "fast"
    context: Annotated[
        int | None, typer.Option(help="Most tokens of a text, prompt included.", rich_help_panel=_DEVICE)
    ] = None


def load_model(model: str, device: DeviceOptions, hub: HubOptions) -> BitNetModel:
    """Load a model with a progress bar."""
    from bitnet_tt.model import BitNetModel

    with progress_bar(f"Loading {model}") as progress:
        return BitNetModel.from_pretrained(
            model,
            device=device.device,
            threads=device.threads,
            isa=device.isa,
            precision=device.precision,
            context_length=device.context,
            revision=hub.revision,
            cache_dir=hub.cache_dir,
            local_files_only=hub.offline,
            max_batch_size=1,
            progress=progress,
        )


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """How to pick tokens and when to stop: the fields of `GenerationConfig` that make sense on a command line."""

    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", "-n", help="Most tokens to write.", rich_help_panel=_LENGTH)
    ] = _DEFAULT.max_new_tokens or 0
    stop: Annotated[
        list[str], typer.Option(help="Text that ends the output; can be given again.", rich_help_panel=_LENGTH)
    ] = field(default_factory=list)
    stop_token_ids: Annotated[
        list[int],
        typer.Option("--stop-token-id", help="Token id that ends it; can be given again.", rich_help_panel=_LENGTH),
    ] = field(default_factory=list)
    ignore_eos: Annotated[
        bool, typer.Option("--ignore-eos", help="Write on past the model's own end.", rich_help_panel=_LENGTH)
    ] = _DEFAULT.ignore_eos
    temperature: Annotated[
        float,
        typer.Option("--temperature", "-t", help="0 always takes the likeliest token.", rich_help_panel=_SAMPLING),
    ] = _DEFAULT.temperature
    top_k: Annotated[
        int, typer.Option(help="Choose among the k likeliest tokens; 0 is off.", rich_help_panel=_SAMPLING)
    ] = _DEFAULT.top_k
    top_p: Annotated[
        float, typer.Option(help="Choose among the likeliest that make up this share.", rich_help_panel=_SAMPLING)
    ] = _DEFAULT.top_p
    min_p: Annotated[
        float,
        typer.Option(help="Drop tokens less likely than this share of the best one's.", rich_help_panel=_SAMPLING),
    ] = _DEFAULT.min_p
    repetition_penalty: Annotated[
        float, typer.Option(help="Above 1 makes tokens already used less likely.", rich_help_panel=_SAMPLING)
    ] = _DEFAULT.repetition_penalty
    seed: Annotated[
        int | None, typer.Option(help="Same seed, same text, on every machine.", rich_help_panel=_SAMPLING)
    ] = None

    def config(self, logprobs: int | None = None) -> GenerationConfig:
        """The options as a GenerationConfig.

        Raises:
            typer.BadParameter: A value out of range.
        """
        try:
            return GenerationConfig(**asdict(self), logprobs=logprobs)
        except ConfigError as error:
            raise typer.BadParameter(str(error)) from error


def expand(command: Callable[..., None]) -> Callable[..., None]:
    """Give Typer a command in which each parameter that is a dataclass of options is spelled out as those options."""
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
