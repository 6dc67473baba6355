"""The reference shares no code with what it judges: it imports only the config and the data classes of weights."""

import ast
from pathlib import Path

from bitnet_tt import reference

ALLOWED = {
    "bitnet_tt.config.ModelConfig",
    "bitnet_tt.rope_settings.LinearScaling",
    "bitnet_tt.rope_settings.Llama3Scaling",
    "bitnet_tt.rope_settings.YarnScaling",
    "bitnet_tt.weights.GroupedMatrix",
    "bitnet_tt.weights.LayerWeights",
    "bitnet_tt.weights.LinearWeights",
    "bitnet_tt.weights.ModelWeights",
    "bitnet_tt.weights.TernaryMatrix",
    "bitnet_tt.weights.bfloat16_to_float32",
}


def imported_names(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names}
    return names


def test_the_reference_imports_no_production_code() -> None:
    files = sorted(Path(reference.__file__).parent.glob("*.py"))
    assert len(files) >= 4
    for file in files:
        ours = {name for name in imported_names(file) if name.startswith(("bitnet_tt", "."))}
        assert {name for name in ours if not name.startswith("bitnet_tt.reference.")} <= ALLOWED, file
