"""Turn a model's name into a path on this machine: the demo, a local checkpoint, or one from the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from bitnet_tt.errors import CheckpointError
from bitnet_tt.formats.gguf import is_gguf_name, missing_parts_error, part_names
from bitnet_tt.formats.safetensors import no_model_error

DEMO_FOLDER = Path(__file__).parent.parent / "assets" / "demo"
"""The model that is part of this package."""

_TIMEOUT_SECONDS = 20.0
_HUB_ID = re.compile(r"(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)(:(?P<file>[\w./-]+\.(?i:gguf)))?")


def resolve(
    model: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> Path:
    """Return the folder or .gguf file that holds a model. Download the model if necessary.

    Only safetensors, JSON and tokenizer files are downloaded; or one .gguf file, if a repository has no safetensors. Of
    a model that is split into several .gguf files, all parts are downloaded.

    Args:
        model: `demo` (the model in this package), a folder, a .gguf file, a hub id `org/name`, or `org/name:file.gguf`.
            Any part of a split model stands for all of them.
        revision: Branch, tag or commit of a hub id. The default is the repository's default branch.
        cache_dir: Folder of the hub cache. The default is that of the hub library.
        local_files_only: Never use the network; a hub id must be in the cache.

    Raises:
        CheckpointError: The model does not exist or cannot be downloaded; the message says what to do.
    """
    if model == "demo":
        if not DEMO_FOLDER.is_dir():
            raise CheckpointError(
                f"{DEMO_FOLDER} is missing: this installation has no demo model; reinstall the package"
            )
        return DEMO_FOLDER
    path = _expand_user(Path(model))
    if path.exists():
        return _local(path)
    match = _HUB_ID.fullmatch(model) if isinstance(model, str) else None
    if match is None:
        raise CheckpointError(
            f"{model} does not exist: there is no such file or folder, and a hub id has the form org/name; check the "
            "spelling"
        )
    folder = _Repository(match["repo"], revision, cache_dir).snapshot(match["file"], local_files_only)
    return folder / match["file"] if match["file"] else _local(folder)


def _expand_user(path: Path) -> Path:
    """Replace `~` and `~user` by the home folder."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not exist: this system has no home folder for {path.parts[0]}") from error


def _local(path: Path) -> Path:
    """Return a .gguf file itself, the .gguf file to use in a folder, or a folder with safetensors."""
    if not path.is_dir():
        if is_gguf_name(path):
            return path
        raise CheckpointError(f"{path} is not a .gguf file; for safetensors, give the folder that holds config.json")
    names = [entry.name for entry in path.iterdir()]
    files = select_files(str(path), names, None)
    return path / files[0] if is_gguf_name(files[0]) else path


def select_files(where: str, names: Sequence[str], wanted: str | None) -> list[str]:
    """Choose the files of a model: safetensors with all JSON and tokenizer files, or one .gguf file with all its parts.

    Args:
        where: The repository or folder, for error messages.
        names: Relative paths of all its files.
        wanted: The .gguf file that the user named, or None.

    Returns:
        Relative paths of the model's files. The parts of a split .gguf model come in order.

    Raises:
        CheckpointError: There is no model, there are several, parts are missing, or the model is stored only as pickle.
    """
    if wanted is not None:
        if wanted not in names:
            listed = ", ".join(filter(is_gguf_name, names)) or "none"
            raise CheckpointError(f"{where} has no {wanted}; its .gguf files: {listed}")
        return _all_parts(where, wanted, names)
    top = sorted(name for name in names if "/" not in name)
    weights = _ending(top, ".safetensors")
    if weights:
        named = [name for name in weights if name.startswith("model")]
        templates = [name for name in names if name.startswith("additional_chat_templates/")]
        pooling = [name for name in names if name.endswith("_Pooling/config.json")]  # sentence-transformers
        others = [name for ending in (".json", "tokenizer.model", ".jinja") for name in _ending(top, ending)]
        return [*(named or weights), *others, *_ending(sorted(templates), ".jinja"), *pooling]
    ggufs = _first_parts(filter(is_gguf_name, top))
    if len(ggufs) > 1:
        plain = [name for name in ggufs if "i2_s" in name.lower()]
        if len(plain) != 1:
            raise CheckpointError(f"{where} has several .gguf files; give one of them: {', '.join(ggufs)}")
        ggufs = plain
    if ggufs:
        return _all_parts(where, ggufs[0], names)
    raise no_model_error(where, top)


def _first_parts(names: Iterable[str]) -> list[str]:
    """Return the names of .gguf files, of a split model only the first one."""
    return list({part_names(name)[0]: name for name in sorted(names, reverse=True)}.values())[::-1]


def _all_parts(where: str, name: str, names: Collection[str]) -> list[str]:
    """Return the name of a .gguf file, or of all parts if it is one of a split model."""
    parts = part_names(name)
    missing = [part for part in parts if part not in names]
    if missing:
        raise missing_parts_error(f"{where} has {name}, part {parts.index(name) + 1} of {len(parts)}", missing)
    return parts


def _ending(names: Sequence[str], ending: str) -> list[str]:
    return [name for name in names if name.endswith(ending)]


class _Repository:
    """One revision of a hub repository, and the cache for its files."""

    def __init__(self, repo: str, revision: str | None, cache_dir: str | Path | None) -> None:
        self.repo = repo
        self.where: dict[str, Any] = {"repo_id": repo, "revision": revision}
        self.cache: dict[str, Any] = {"cache_dir": cache_dir}

    def snapshot(self, wanted: str | None, local_files_only: bool) -> Path:
        """Return the folder of the model's files in the cache. Download those that are missing.

        Without a network, a model that is completely in the cache is used.

        Args:
            wanted: The .gguf file that the user named, or None.
            local_files_only: Do not use the network.
        """
        import huggingface_hub
        from huggingface_hub import constants, errors

        if local_files_only or constants.HF_HUB_OFFLINE:
            return self._cached(wanted, "and the network may not be used")
        try:
            info = huggingface_hub.HfApi().model_info(**self.where, timeout=_TIMEOUT_SECONDS)
            names = [file.rfilename for file in info.siblings or ()]
            files = select_files(f"hub repository {self.repo}", names, wanted)
            return Path(huggingface_hub.snapshot_download(**self.where, **self.cache, allow_patterns=files))
        except errors.GatedRepoError as error:
            self._fail("is gated: accept its terms on its hub page, then log in with `hf auth login`", error)
        except errors.RevisionNotFoundError as error:
            self._fail(f"has no revision {self.where['revision']!r}; its hub page lists branches and tags", error)
        except errors.RepositoryNotFoundError as error:
            self._fail("does not exist, or is private: check the name, or log in with `hf auth login`", error)
        except CheckpointError:
            raise
        except Exception as error:  # the type of a connection error depends on the version of the hub library
            return self._cached(wanted, f"and fetching it failed ({error})")

    def _cached(self, wanted: str | None, why: str) -> Path:
        """Return the folder of the model's files in the cache; `why` says why the network was not used."""
        import huggingface_hub
        from huggingface_hub import errors

        nothing: list[str] = []  # with any other pattern the library reports files that we never download as missing
        try:
            folder = Path(
                huggingface_hub.snapshot_download(
                    **self.where, **self.cache, allow_patterns=nothing, local_files_only=True
                )
            )
        except (errors.LocalEntryNotFoundError, ValueError) as error:
            self._fail(f"is not in the cache on this machine, {why}; download it while online", error)
        names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
        select_files(f"the cached copy of {self.repo} ({folder})", names, wanted)
        return folder

    def _fail(self, problem: str, error: Exception) -> NoReturn:
        raise CheckpointError(f"hub repository {self.repo} {problem}") from error
