"""Every vendored library of the chat page is the recorded file, has its licence beside it, and loads nothing else."""

import hashlib
import json
import re
from pathlib import Path

import pytest

import bitnet_tt

VENDOR = Path(bitnet_tt.__file__).parent / "server/page/vendor"
MANIFEST: list[dict[str, str]] = json.loads((VENDOR / "manifest.json").read_text(encoding="utf-8"))


def test_manifest_lists_every_file_in_the_folder():
    present = {path.relative_to(VENDOR).as_posix() for path in VENDOR.rglob("*") if path.is_file()}
    listed = {entry["file"] for entry in MANIFEST} | {entry["license_file"] for entry in MANIFEST}
    assert present == listed | {"manifest.json"}


@pytest.mark.parametrize("entry", MANIFEST, ids=lambda entry: entry["file"])
def test_file_has_its_recorded_hash_version_and_licence(entry: dict[str, str]):
    assert hashlib.sha256((VENDOR / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", entry["version"])
    assert entry["license"]
    assert len((VENDOR / entry["license_file"]).read_text(encoding="utf-8")) > 500


def test_vendored_files_import_only_files_in_the_folder():
    # The grammars of highlight/ contain words such as import, and are single files.
    for entry in (entry for entry in MANIFEST if re.fullmatch(r"[^/]+\.js", entry["file"])):
        text = (VENDOR / entry["file"]).read_text(encoding="utf-8")
        for name in re.findall(r"""\bimport\s*(?:[\w{}\s,*]*\bfrom\s*)?["']([^"']+)["']""", text):
            assert (VENDOR / name).is_file(), f"{entry['file']} imports {name}"


def test_page_knows_every_vendored_language():
    files = {entry["file"] for entry in MANIFEST if entry["file"].startswith("highlight/")} - {"highlight/core.js"}
    code = (VENDOR.parent / "text/code.js").read_text(encoding="utf-8")
    [names] = re.findall(r'new Set\(\s*"([^"]+)"', code)
    assert {f"highlight/{name}.js" for name in names.split()} == files
