"""Every architecture's training loss written down a second time: dense, slow, from the formulas.

One file an architecture, named after it, found from its name. It defines `loss(sae, x, context)`,
which gives the total loss and the dense activations (n, f), and `SETTINGS`, the fields of a small
configuration that the shared tests train. Optional: `VARIANTS`, fields of the configurations whose
gradients are compared, where one is not enough; `values(sae, x)`, the activations (n, f) that
latents have where they are active, if not the pre-activations; `RECOVERY`, fields that replace
those where known directions are to be recovered; `RECOVERED`, the least MMCS there where it is not
0.9, with `WHY`, the reason. `FIRST_TERM`, the loss's first term, if it is not `reconstruction`;
`THROUGH_A_MODEL` where a loss reads the toy language model in `context.language_model`.
Where a batch holds several sites: `SITES`, how many (each of width 32), `values`, and
`decoded(sae, x, code)`, the reconstruction from a dense code; `known_directions(sae, *directions of
each site)` where they are not those of what is written.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from . import terms as terms
from . import toy_inputs as toy_inputs

NOT_ARCHITECTURES = {"__init__", "terms", "toy_inputs", "toy_language_model"}


def judges() -> dict[str, ModuleType]:
    """The second writings by architecture."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return {f.stem: _loaded(f) for f in files if f.stem not in NOT_ARCHITECTURES}


def _loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{__name__}.{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
