"""Fetch the JavaScript libraries and the font of the chat page into `src/bitnet_tt/server/page/vendor`.

`uv run python -m tools.vendor_page` asks npm for the exact versions below, copies the few files that the page loads,
and writes `manifest.json`: one entry for each file, with its version, its SHA-256 and its licence.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

VENDOR = Path(__file__).parents[2] / "src/bitnet_tt/server/page/vendor"

LANGUAGES = [
    "bash", "c", "cpp", "css", "diff", "go", "ini", "java", "javascript",
    "json", "markdown", "python", "rust", "sql", "typescript", "xml", "yaml",
]  # fmt: skip


@dataclass(frozen=True)
class Package:
    """An npm package: its version, and where its files go (file in the package -> file in `vendor`)."""

    name: str
    version: str
    license: str
    files: dict[str, str]
    license_file: str = "LICENSE"
    # Text that is replaced in every file. A browser resolves `from "preact"` only with an import map, and the page's
    # Content-Security-Policy forbids the inline script that an import map is.
    replace: dict[str, str] = field(default_factory=dict)


PACKAGES = (
    Package(
        name="preact",
        version="11.2.0",
        license="MIT",
        files={"dist/preact.mjs": "preact.js", "hooks/dist/hooks.mjs": "preact-hooks.js"},
        replace={'from"preact"': 'from"./preact.js"'},
    ),
    Package(name="htm", version="3.1.1", license="Apache-2.0", files={"dist/htm.mjs": "htm.js"}),
    Package(name="marked", version="18.2.1", license="MIT", files={"lib/marked.esm.js": "marked.js"}),
    Package(
        name="dompurify",
        version="3.5.0",
        license="MPL-2.0 OR Apache-2.0",
        files={"dist/purify.min.js": "dompurify.js"},
    ),
    Package(
        name="@highlightjs/cdn-assets",
        version="11.12.0",
        license="BSD-3-Clause",
        files={
            "es/core.min.js": "highlight/core.js",
            **{f"es/languages/{name}.min.js": f"highlight/{name}.js" for name in LANGUAGES},
        },
    ),
    Package(name="katex", version="0.19.1", license="MIT", files={"dist/katex.min.js": "katex.js"}),
    # A font with a MATH table, for devices without one: most phones. Browsers load it only if a formula needs it.
    Package(
        name="@fontsource/noto-sans-math",
        version="5.3.0",
        license="OFL-1.1",
        files={"files/noto-sans-math-latin-400-normal.woff2": "noto-sans-math.woff2"},
    ),
)


def install(folder: Path) -> None:
    """Let npm put the packages into `folder/node_modules`. No script of a package runs."""
    (folder / "package.json").write_text("{}")
    wanted = [f"{package.name}@{package.version}" for package in PACKAGES]
    options = ["--ignore-scripts", "--no-save", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(["npm", "install", *options, *wanted], cwd=folder, check=True)


def copy(package: Package, source: Path, vendor: Path) -> Iterator[dict[str, str]]:
    """Copy the files and the licence of one package, and yield their entries of the manifest."""
    license_file = f"licenses/{package.name.removeprefix('@').replace('/', '-')}.txt"
    (vendor / "licenses").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / package.license_file, vendor / license_file)
    for inside, target in package.files.items():
        content = (source / inside).read_bytes()
        for old, new in package.replace.items():
            content = content.replace(old.encode(), new.encode())
        # Source maps are not shipped, and a browser's tools would report them as missing.
        content = re.sub(rb"\n//# sourceMappingURL=\S*\s*$", b"\n", content)
        (vendor / target).parent.mkdir(parents=True, exist_ok=True)
        (vendor / target).write_bytes(content)
        yield {
            "name": package.name,
            "version": package.version,
            "file": target,
            "source": inside,
            "sha256": hashlib.sha256(content).hexdigest(),
            "license": package.license,
            "license_file": license_file,
        }


def main() -> int:
    """Replace the folder `vendor` by freshly fetched files."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        install(folder)
        shutil.rmtree(VENDOR, ignore_errors=True)
        entries = [
            entry for package in PACKAGES for entry in copy(package, folder / "node_modules" / package.name, VENDOR)
        ]
    (VENDOR / "manifest.json").write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    size = sum((VENDOR / entry["file"]).stat().st_size for entry in entries)
    print(f"{len(entries)} files, {size / 1000:.0f} kB, in {VENDOR}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
