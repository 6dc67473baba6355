"""Make random tokenizer folders, and record the ids that Hugging Face transformers 5 gives to random texts.

    python tools/record_transformers/record_tokenizers.py tests/tokenizer/recorded_tokenizers.json

A folder has a tokenizer.json, and at random tokenizer_config.json, special_tokens_map.json, added_tokens.json and
config.json. They name tokens and their flags in every way that transformers reads, with two exceptions: no folder has
`image_token` in two files, and none has added_tokens.json beside names that are objects in tokenizer_config.json, which
transformers then does not recognise as special. See README.md for the environment.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer
from transformers.utils import logging

CORPUS = [
    "Once upon a time there was a little fox who couldn't swim. I'll learn it!",
    "Paris; 12 plus 30 is 42.\n\n Indented  text.",
    "naïve café, đem č Привет",
] * 4
TOKENS = ["<s>", "</s>", "<|im_end|>", "<|im_start|>", "<|eot_id|>", "<pad>", "<mask>", "<|tool|>"]
TOKENS += ["fox", " spaced ", "café", "đem"]
WORDS = [*TOKENS, "the fox", " ", " in", "the", "x", "<unk>", "naïve", "\n", "  ", "</", "s>"]
NAMES = ("bos_token", "eos_token", "pad_token", "unk_token", "mask_token")
CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend", "LlamaTokenizer", "LlamaTokenizerFast", "BitnetTokenizer")


def byte_level() -> dict[str, Any]:
    """Return the tokenizer.json of a byte-level vocabulary."""
    engine = Tokenizer(models.BPE())
    pattern = Regex(r"'s| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    engine.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(pattern, "isolated"), bytes_only])
    engine.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        special_tokens=["<s>", "</s>", "<|im_end|>"],
    )
    engine.train_from_iterator(CORPUS, trainer)
    return json.loads(engine.to_str()) | {"added_tokens": []}


def sentencepiece(spaces: str) -> dict[str, Any]:
    """Return the tokenizer.json of a sentencepiece vocabulary, whose rule for spaces is `legacy` or Metaspace's."""
    letters = [chr(code) for code in range(33, 127)]
    byte_pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    merges = [("▁", "t"), ("h", "e"), ("▁t", "he"), ("▁", "f"), ("o", "x"), ("▁f", "ox"), ("i", "n"), ("▁", "▁")]
    pieces = ["<unk>", "<s>", "</s>", *byte_pieces, "▁", *letters, *map("".join, merges), "<|im_end|>"]
    vocab = {piece: index for index, piece in enumerate(pieces)}
    engine = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    if spaces == "legacy":
        engine.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        engine.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=spaces, split=False)
    strip = [] if spaces == "never" else [decoders.Strip(" ", 1, 0)]
    engine.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    return json.loads(engine.to_str())


BASES = {spaces: sentencepiece(spaces) for spaces in ("legacy", "first", "always", "never")}
BASES["byte_level"] = byte_level()


class Folder:
    """The files of one random folder."""

    def __init__(self, seed: int) -> None:
        """Draw everything from a generator with this seed."""
        self.random = random.Random(seed)
        self.base = self.random.choice(["byte_level", "byte_level", *BASES])
        self.ids = dict(BASES[self.base]["model"]["vocab"])
        chosen = self.random.sample(TOKENS, self.random.randint(0, 6))
        saved = [{"id": self.id_of(token), **self.flags(token)} for token in chosen]
        saved.sort(key=lambda token: token["id"])
        self.tokenizer = {"added_tokens": saved, "post_processor": self.post_processor()}
        self.files: dict[str, Any] = {}
        if self.chance(0.9):
            self.files["tokenizer_config.json"] = self.tokenizer_config()
        if self.chance(0.35):
            self.files["special_tokens_map.json"] = self.special_tokens(typed=False)
        named_by_objects = "AddedToken" in json.dumps(self.files.get("tokenizer_config.json"))
        if self.chance(0.25) and not named_by_objects:
            chosen = self.random.sample(TOKENS, self.random.randint(1, 3))
            self.files["added_tokens.json"] = {token: self.id_of(token) for token in chosen}
        if self.chance(0.7):
            self.files["config.json"] = {"model_type": self.random.choice(["bitnet", "llama"])}
        self.texts = ["".join(self.random.choices(WORDS, k=self.random.randint(1, 7))) for _ in range(3)]

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self.random.random() < probability

    def id_of(self, token: str) -> int:
        """Return the id of a token. A token without one gets the next free id."""
        return self.ids.setdefault(token, len(self.ids))

    def flags(self, token: str) -> dict[str, Any]:
        """Return a token with random flags."""
        chances = {"single_word": 0.1, "lstrip": 0.2, "rstrip": 0.2, "normalized": 0.3, "special": 0.6}
        return {"content": token} | {flag: self.chance(probability) for flag, probability in chances.items()}

    def spelled(self, token: str, *, typed: bool) -> Any:
        """Return a token as a string or as an object, which tokenizer_config.json marks by `__type`."""
        if self.chance(0.6):
            return token
        return self.flags(token) | ({"__type": "AddedToken"} if typed else {})

    def special_tokens(self, *, typed: bool) -> dict[str, Any]:
        """Return the settings that name special tokens."""
        settings: dict[str, Any] = {}
        texts = {"bos_token": "<s>", "eos_token": self.random.choice(["</s>", "<|im_end|>"]), "pad_token": "<pad>"}
        texts |= {"unk_token": self.random.choice(["<unk>", "<pad>"]), "mask_token": "<mask>"}
        for name in NAMES:
            if self.chance(0.8 if name in ("bos_token", "eos_token") else 0.2):
                settings[name] = None if self.chance(0.05) else self.spelled(texts[name], typed=typed)
        if self.chance(0.3):
            chosen = self.random.sample(TOKENS, self.random.randint(0, 3))
            settings["additional_special_tokens"] = [self.spelled(t, typed=True) if typed else t for t in chosen]
        if self.chance(0.2):
            chosen = [self.spelled(token, typed=typed) for token in self.random.sample(TOKENS, 2)]
            named = {"image_token": self.random.choice(TOKENS)}
            settings["extra_special_tokens"] = self.random.choice([chosen, named]) if typed else chosen
        return settings

    def tokenizer_config(self) -> dict[str, Any]:
        """Return a tokenizer_config.json."""
        settings = self.special_tokens(typed=True)
        if self.chance(0.85):
            settings["tokenizer_class"] = self.random.choice(CLASSES)
        flags = {"add_bos_token": 0.4, "add_eos_token": 0.4, "clean_up_tokenization_spaces": 0.3}
        flags |= {"legacy": 0.2, "add_prefix_space": 0.2}
        settings |= {flag: self.chance(0.5) for flag, probability in flags.items() if self.chance(probability)}
        if self.chance(0.35):
            chosen = self.random.sample(TOKENS, self.random.randint(1, 5))
            settings["added_tokens_decoder"] = {str(self.id_of(token)): self.flags(token) for token in chosen}
        return settings

    def post_processor(self) -> dict[str, Any] | None:
        """Return a post-processor that puts `<s>`, `<s>` and `</s>`, or nothing around a text."""

        def template(*tokens: str) -> dict[str, Any]:
            single: list[Any] = [{"SpecialToken": {"id": token, "type_id": 0}} for token in tokens]
            single.insert(1, {"Sequence": {"id": "A", "type_id": 0}})
            ids = {token: {"id": token, "ids": [self.id_of(token)], "tokens": [token]} for token in tokens}
            pair = [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"]
            return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": ids}

        byte_offsets = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
        both = {"type": "Sequence", "processors": [byte_offsets, template("<s>")]}
        return self.random.choice([None, template("<s>"), template("<s>"), template("<s>", "</s>"), byte_offsets, both])


def record(folder: Folder) -> dict[str, Any] | None:
    """Return what transformers makes of a folder, or None if it refuses it."""
    with tempfile.TemporaryDirectory() as path:
        files = {"tokenizer.json": BASES[folder.base] | folder.tokenizer} | folder.files
        for name, content in files.items():
            (Path(path) / name).write_text(json.dumps(content))
        try:
            tokenizer = AutoTokenizer.from_pretrained(path)
        except TypeError:  # an object without `__type`, or two flags `special`
            return None
    return {
        "bos_token": tokenizer.bos_token,
        "eos_token": tokenizer.eos_token,
        "special_ids": sorted(tokenizer.all_special_ids),
        "ids": [tokenizer(text).input_ids for text in folder.texts],
    }


def main() -> None:
    """Read the command line and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="file to write")
    parser.add_argument("--first-seed", type=int, default=0, help="seed of the first folder")
    parser.add_argument("--count", type=int, default=100, help="number of folders")
    args = parser.parse_args()
    logging.set_verbosity_error()
    lines = []
    for seed in range(args.first_seed, args.first_seed + args.count):
        folder = Folder(seed)
        expected = record(folder)
        if expected is not None:
            case = {"seed": seed, "base": folder.base, "tokenizer": folder.tokenizer, "files": folder.files}
            lines.append(json.dumps(case | {"texts": folder.texts, "expected": expected}, ensure_ascii=False))
    cases = ",\n".join(lines)
    bases = json.dumps(BASES, ensure_ascii=False, separators=(",", ":"))
    args.out.write_text(f'{{"bases": {bases},\n"cases": [\n{cases}\n]}}\n', encoding="utf-8")
    print(f"{args.out}: {len(lines)} folders of {args.count}, {3 * len(lines)} texts")


if __name__ == "__main__":
    main()
