"""`make test-peers`: our numbers in other packages' definitions beside what these packages give.

Each package lies in an environment of its own (`peer_environments`), whose Python runs
`peer_scripts/of_<package>.py`: the package's own evaluation functions, called on one scene. The
scene is that of tests/sae_core/metrics/test_compatibility.py, in float64, and a tiny language model
with an SAE spliced in, in float32. Ours come from the metrics and the sweep that evaluation uses.
Prints a table, writes it to benchmarks/results/peers.md with versions and date, and fails where a
number differs by more than 1e-9, or 1e-5 where the language model takes part.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peer_environments import PACKAGES, python_of
from tests.pipeline.evaluation.scene import SPECIAL, held_out_text, swept, tiny_lm
from tests.pipeline.evaluation.test_peer_losses import drawn_sae, scores
from tests.sae_core.metrics.test_compatibility import numbers, same_numbers, scene

RESULTS = Path(__file__).parent / "results" / "peers.md"
SCRIPTS = Path(__file__).parent / "peer_scripts"
EXACT, WITH_MODEL = 1e-9, 1e-5


def main() -> int:
    """Compares every number; 0 where all agree."""
    with tempfile.TemporaryDirectory() as folder:
        ours = _scene(Path(folder))
        told = {name: _told(name, folder) for name in PACKAGES}
    rows = [
        (package, number, ours[number], value)
        for package, one in told.items()
        for number, value in one["numbers"].items()
    ]
    worst = [abs(mine - theirs) / abs(theirs) for *_, mine, theirs in rows]
    bad = [row for row, off in zip(rows, worst, strict=True) if off > allowed(row[1])]
    page = _page(told, rows)
    print(page)
    if not bad:
        RESULTS.write_text(page, encoding="utf-8")
        print(f"wrote {RESULTS}")
    for package, number, mine, theirs in bad:
        print(f"DIFFERS: {number}: ours {mine!r}, {package} {theirs!r}")
    return int(bool(bad))


def allowed(number: str) -> float:
    """The relative difference that rounding may make."""
    return WITH_MODEL if number.startswith(("ce_", "frac_")) else EXACT


def _scene(folder: Path) -> dict[str, float]:
    """Writes the scene into a folder; gives our numbers of it."""
    x, x_hat, code = scene()
    lm = tiny_lm()
    text, sae = held_out_text(lm), drawn_sae()
    lm.model.save_pretrained(folder / "model")
    _tokenizer(lm.vocabulary).save_pretrained(folder / "model")
    np.savez(
        folder / "scene.npz",
        x=x.numpy(),
        x_hat=x_hat.numpy(),
        values=code.values.numpy(),
        tokens=text.tokens.astype(np.int64),
        special=SPECIAL,
        W_enc=sae.W_enc.detach().numpy(),
        W_dec=sae.W_dec.detach().numpy(),
        b_enc=sae.b_enc.detach().numpy(),
    )
    return numbers(x, x_hat, code) | same_numbers() | scores(swept(lm, text, sae)[0])


def _tokenizer(vocabulary: int) -> Any:
    """One word per token; its padding token never occurs in the text."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    words = {f"w{i}": i for i in range(vocabulary)}
    model = Tokenizer(WordLevel(words, unk_token="w1"))
    model.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=model, unk_token="w1", pad_token="[PAD]", eos_token=f"w{SPECIAL}"
    )


def _told(name: str, folder: str) -> dict[str, Any]:
    script = SCRIPTS / f"of_{name.replace('-', '_')}.py"
    command = [str(python_of(name)), str(script), folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"error: {script.name} failed in the environment of {name}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def _page(told: dict[str, Any], rows: list[tuple[str, str, float, float]]) -> str:
    lines = [
        "# Our numbers in other packages' definitions, beside the packages' own",
        "",
        f"Written by `make test-peers` on {date.today()}, Python {platform.python_version()}, "
        f"torch {torch.__version__}, CPU. Each package ran in an environment of its own:",
        "",
    ]
    for package, one in told.items():
        others = ", ".join(f"{n} {v}" for n, v in one["versions"].items() if n != package)
        lines.append(f"- `{PACKAGES[package]}` with {others}")
    lines += [
        "",
        f"Allowed relative difference: {EXACT:g} on arrays in float64; {WITH_MODEL:g} where a "
        "language model in float32 takes part.",
        "",
        "| package | number | ours | theirs | relative difference |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {package} | `{number}` | {mine:.15g} | {theirs:.15g} | "
        f"{abs(mine - theirs) / abs(theirs):.1e} |"
        for package, number, mine, theirs in rows
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
