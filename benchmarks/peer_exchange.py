"""`python -m benchmarks.peer_exchange`: SAEs to and from the other packages themselves.

Each package runs in an environment of its own (peer_environments.py). It makes an SAE of each of
its classes and says their codes and reconstructions of the same rows. Those are read here, compared
and written for the other packages, beside an SAE of each architecture of ours. Each package then
loads what was written for it, and its codes and reconstructions are compared with those of the
SAE's maker. Besides, SAELens trains an SAE on activations of the embedded model, and its metrics
there and here are compared. Prints a table, writes docs/peers.md, and fails where a number differs
by more than 1e-5 (metrics: 1e-4 of themselves). `--record` also keeps the packages' folders for the
default suite.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import torch
from safetensors.torch import load_file, save_file

from benchmarks.peer_environments import PACKAGES, python_of
from benchmarks.peer_metrics import Metrics, compared_metrics
from pipeline.exchange.cannot_hold import CannotHold
from pipeline.exchange.foreign import About
from pipeline.exchange.formats import format_named, format_of, written_names
from pipeline.exchange.hosts import own_sae
from tests.pipeline.exchange.some_saes import ALL, activations, both, random_sae

TOLERANCE = 1e-5
ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/peers.md"
RECORDED = ROOT / "tests/pipeline/exchange/recorded"
_THERE = Path(__file__).parent / "exchange_there"


@dataclass(frozen=True)
class Compared:
    """One SAE on one way: the largest difference of its codes and reconstructions."""

    way: str
    sae: str
    code: float
    made: float


def main() -> int:
    """Runs all of it; 0 where everything agrees."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        save_file({"x": activations()}, work / "x.safetensors")
        for name in written_names():
            there(name, "make", work)
        rows = read_here(work) + written_there(work)
        metrics = compared_metrics(work, lambda: there("saelens", "train", work))
        loader = own_loader(work)
        if "--record" in sys.argv:
            record(work)
    page = report(rows, metrics, loader)
    PAGE.write_text(page, encoding="utf-8")
    print(page)
    agree = all(max(row.code, row.made) <= TOLERANCE for row in rows)
    return int(not (agree and metrics.agree))


def there(name: str, step: str, work: Path) -> None:
    """Runs a step in a package's environment."""
    module = format_named(name)
    script = _THERE / f"{name}.py"
    command = [str(python_of(module.PACKAGE)), "-W", "ignore", str(script), step, str(work)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def read_here(work: Path) -> list[Compared]:
    """What each package made, read here, against what it said of it; written for the others."""
    rows, x = [], load_file(work / "x.safetensors")["x"]
    for maker in written_names():
        for folder in sorted((work / "by" / maker).iterdir()):
            foreign = format_of(folder).read(folder)
            answer = load_file(work / "made" / maker / f"{folder.name}.safetensors")
            rows.append(_compared(f"{maker} → here", folder.name, _host(foreign)(x), answer))
            for format in written_names():
                name = f"{maker}.{folder.name}"
                _write(format_named(format), foreign.plain, work / "for" / format / name)
    return rows


def written_there(work: Path) -> list[Compared]:
    """What was written for each package, as it says, against what the maker says."""
    rows, x = [], load_file(work / "x.safetensors")["x"]
    made = {name: random_sae(name) for name in ALL}
    for name, sae in made.items():
        plain = sae.plain()
        for format in written_names():
            if plain is not None:
                _write(format_named(format), plain, work / "for" / format / f"here.{name}")
    for format in written_names():
        there(format, "answer", work)
        for path in sorted((work / "answers" / format).iterdir()):
            maker, name = path.stem.split(".", 1)
            ours = both(made[name], x) if maker == "here" else _said(work, maker, name)
            rows.append(_compared(f"{maker} → {format}", name, ours, load_file(path)))
    return rows


def own_loader(work: Path) -> str:
    """What SAELens's own loader makes of sparsify's folder."""
    folder = work / "layers.0"
    shutil.copytree(work / "by/sparsify/topk", folder)
    code = (
        f"import sys; sys.path.append({str(_THERE)!r}); from saelens import own_sparsify_loader; "
        f"from pathlib import Path; print('ANSWER', own_sparsify_loader(Path({str(folder)!r})))"
    )
    command = [str(python_of("sae-lens")), "-W", "ignore", "-c", code]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return next(line for line in output.splitlines() if line.startswith("ANSWER"))[7:]


def record(work: Path) -> None:
    """Keeps the packages' folders, their answers, and what made them."""
    shutil.rmtree(RECORDED, ignore_errors=True)
    shutil.copytree(work / "by", RECORDED / "by")
    shutil.copytree(work / "made", RECORDED / "made")
    shutil.copy(work / "x.safetensors", RECORDED / "x.safetensors")
    about = {
        "command": "python -m benchmarks.peer_exchange --record",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "packages": sorted(PACKAGES[format_named(name).PACKAGE] for name in written_names()),
        "torch": version("torch"),
    }
    (RECORDED / "about.json").write_text(json.dumps(about, indent=2) + "\n")


def report(rows: list[Compared], metrics: Metrics, loader: str) -> str:
    """The page: every way with the SAEs on it and their largest difference."""
    packages = ", ".join(PACKAGES[format_named(name).PACKAGE] for name in written_names())
    lines = [
        "# Exchange with the other packages themselves",
        "",
        "Written by `python -m benchmarks.peer_exchange`. Each package runs its own code in an",
        "environment of its own; codes and reconstructions are of the same 64 random rows.",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}; {packages}; torch {version('torch')}; "
        f"Python {platform.python_version()}.",
        "",
        "| way | SAEs | largest difference of codes | of reconstructions |",
        "| --- | --- | --- | --- |",
    ]
    for way in dict.fromkeys(row.way for row in rows):
        mine = [row for row in rows if row.way == way]
        names = ", ".join(row.sae for row in mine)
        code, made = max(row.code for row in mine), max(row.made for row in mine)
        lines.append(f"| {way} | {names} | {code:.1e} | {made:.1e} |")
    lines += [
        "",
        f"SAELens's own loader of sparsify's folders, on sparsify's `topk` above: {loader}",
        "",
        "## An SAE trained by SAELens, measured there and here",
        "",
        *metrics.lines,
        "",
    ]
    return "\n".join(lines)


def _host(foreign):
    """The function that gives codes and reconstructions of the SAE as one of ours, or as plain."""
    plain = foreign.plain
    try:
        sae = own_sae(foreign, write_site="mlp_out" if foreign.is_transcoder else None, scale=1.7)
    except CannotHold:
        return lambda x: (plain.encode(x), plain.reconstruct(x, plain.encode(x)))
    return lambda x: both(sae, x)


def _said(work: Path, maker: str, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    found = load_file(work / "made" / maker / f"{name}.safetensors")
    return found["code"], found["made"]


def _write(module: ModuleType, plain, folder: Path) -> None:
    try:
        files = module.files(module.fitted(plain), About({"sae": folder.name}))
    except CannotHold:
        return
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def _compared(
    way: str,
    name: str,
    ours: tuple[torch.Tensor, torch.Tensor],
    theirs: dict[str, torch.Tensor],
) -> Compared:
    differences = [
        float((a - b).abs().max())
        for a, b in zip(ours, (theirs["code"], theirs["made"]), strict=True)
    ]
    return Compared(way, name, *differences)


if __name__ == "__main__":
    sys.exit(main())
