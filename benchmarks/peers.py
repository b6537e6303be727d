"""`make test-peers`: our numbers in other packages' definitions beside what their own code gives.

Downloads the packages' wheels from the package index (pip download, without dependencies), takes
the evaluation code out of them as it stands, and runs it on the scene of
tests/sae_core/metrics/test_compatibility.py. The packages themselves are not installed: their pins
of torch and transformers conflict with ours. Prints a table and fails where a number differs.
"""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import tempfile
import types
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch

from tests.sae_core.metrics.test_compatibility import numbers, scene

PACKAGES = (
    "sae-lens==6.54.12",
    "sae-bench==0.6.0",
    "dictionary-learning==0.1.0",
    "eai-sparsify==1.3.3",
)
_FLAGS = ("compute_variance_metrics", "compute_sparsity_metrics", "compute_l2_norms")


def main() -> int:
    """Compares every number; 0 where all agree to 1e-9."""
    x, x_hat, code = scene()
    ours = numbers(x, x_hat, code)
    with tempfile.TemporaryDirectory() as folder:
        theirs = _theirs(_unpacked(Path(folder)), x, x_hat, code.values)
    print(f"torch {torch.__version__}; {', '.join(PACKAGES)}\n")
    print(f"{'number':30}{'ours':>22}{'theirs':>22}")
    worst = 0.0
    for name, value in ours.items():
        worst = max(worst, abs(value - theirs[name]) / abs(theirs[name]))
        print(f"{name:30}{value:22.15g}{theirs[name]:22.15g}")
    print(f"\nlargest relative difference: {worst:.1e}")
    return int(worst > 1e-9)


def _unpacked(folder: Path) -> Path:
    """The wheels' files, side by side."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
    subprocess.run([*command, str(folder), *PACKAGES], check=True)
    for wheel in folder.glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(folder)
    return folder


def _theirs(
    folder: Path, x: torch.Tensor, x_hat: torch.Tensor, values: torch.Tensor
) -> dict[str, float]:
    lens = _statements(folder / "sae_lens/evals.py", x, x_hat, values)
    bench = _statements(folder / "sae_bench/evals/core/main.py", x, x_hat, values)
    learning = _dictionary_learning(folder, x, x_hat, values)
    return {
        "ev_sae_lens": lens["explained_variance"],
        "ev_legacy": lens["explained_variance_legacy"],
        "ev_sae_bench": bench["explained_variance"],
        "ev_dictionary_learning": learning["frac_variance_explained"],
        "fvu_sparsify": _sparsify(folder / "sparsify/sparse_coder.py", x, x_hat),
        "mse_sae_lens": lens["mse"],
        "mse_sae_bench": bench["mse"],
        "l2_loss_dictionary_learning": learning["l2_loss"],
        "l2_ratio_sae_lens": lens["l2_ratio"],
        "l1_sae_lens": lens["l1"],
    }


def _statements(
    path: Path, x: torch.Tensor, x_hat: torch.Tensor, values: torch.Tensor
) -> dict[str, float]:
    """What get_sparsity_and_variance_metrics of SAELens or SAEBench does with one batch."""
    tree = ast.parse(path.read_text())
    names: dict[str, Any] = {
        "torch": torch,
        "flattened_sae_input": x,
        "flattened_sae_out": x_hat,
        "flattened_sae_feature_acts": values,
        "flattened_mask": torch.ones(len(x)),
        "metric_dict": defaultdict(list),
        "mean_sum_of_squares": [],
        "mean_act_per_dimension": [],
        "mean_sum_of_resid_squared": [],
        "metrics": {},
    }
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == "ExplainedVarianceCalculator":
            _run([node], path, names)
            names["explained_variance_calc"] = names[node.name]()
    function = _named(tree, "get_sparsity_and_variance_metrics")
    for node in ast.walk(function):
        if isinstance(node, ast.If) and ast.unparse(node.test) in _FLAGS:
            assigned = [t for s in node.body if isinstance(s, ast.Assign) for t in s.targets]
            if any(isinstance(target, ast.Name) for target in assigned):
                _run(node.body, path, names)
    if "explained_variance_calc" not in names:
        names["metric_dict"]["explained_variance"] = []
    loops = [n for n in function.body if isinstance(n, ast.For)]
    _run([n for n in loops if "metric_name" in ast.unparse(n.target)][:1], path, names)
    if "explained_variance_calc" in names:
        names["metrics"]["explained_variance"] = names["explained_variance_calc"].compute()
    return names["metrics"]


def _dictionary_learning(
    folder: Path, x: torch.Tensor, x_hat: torch.Tensor, values: torch.Tensor
) -> dict[str, float]:
    """`evaluate` as it stands; its language model and buffer are stand-ins it does not touch."""
    for name, members in (
        ("nnsight", ("LanguageModel",)),
        ("dictionary_learning", ()),
        ("dictionary_learning.buffer", ("ActivationBuffer", "NNsightActivationBuffer")),
    ):
        module = types.ModuleType(name)
        for member in members:
            setattr(module, member, type(member, (), {}))
        sys.modules[name] = module
    sys.modules["dictionary_learning"].__path__ = [str(folder / "dictionary_learning")]
    evaluation = importlib.import_module("dictionary_learning.evaluation")

    class Dictionary:
        dict_size, activation_dim = values.shape[1], x.shape[1]

        def __call__(self, given: torch.Tensor, output_features: bool) -> tuple[torch.Tensor, ...]:
            return x_hat, values

    return evaluation.evaluate(Dictionary(), iter([x]))


def _sparsify(path: Path, x: torch.Tensor, x_hat: torch.Tensor) -> float:
    """The statements of SparseCoder.forward that lead to fvu."""
    names: dict[str, Any] = {"y": x, "sae_out": x_hat, "total_variance": None}
    for node in _named(ast.parse(path.read_text()), "forward").body:
        text = ast.unparse(node)
        if text.startswith(("e = ", "if total_variance is None", "l2_loss = ", "fvu = ")):
            _run([node], path, names)
    return float(names["fvu"])


def _named(tree: ast.Module, name: str) -> ast.FunctionDef:
    nodes = ast.walk(tree)
    return next(n for n in nodes if isinstance(n, ast.FunctionDef) and n.name == name)


def _run(body: list[Any], path: Path, names: dict[str, Any]) -> None:
    exec(compile(ast.Module(body, []), str(path), "exec"), names)


if __name__ == "__main__":
    sys.exit(main())
