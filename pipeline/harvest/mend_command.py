"""The command that mends a source.

python -m pipeline.harvest.mend_command pylm.trained.resid_post.3 [--workspace FOLDER]
"""

from __future__ import annotations

import argparse
import sys

from pipeline.errors import UserError
from pipeline.harvest.damage import find_damage
from pipeline.harvest.mend import mend, site_manifest
from pipeline.harvest.run import open_task
from pipeline.progress import Progress
from pipeline.study.config import ModelConfig
from pipeline.study.names import Source
from pipeline.study.registry import Registry
from pipeline.workspace import Workspace


def main(arguments: list[str]) -> int:
    """The command `python -m pipeline.harvest.mend_command`; 0, or 2 with an error on stderr."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.harvest.mend_command")
    parser.add_argument("source", help="such as pylm.trained.resid_post.3")
    parser.add_argument("--workspace", help="the workspace folder")
    parser.add_argument("--dry-run", action="store_true", help="only say what is damaged")
    given = parser.parse_args(arguments)
    try:
        workspace, source = Workspace.open(given.workspace), Source.parse(given.source)
        config = model_config(workspace, source)
        _command(workspace, config, source, dry_run=given.dry_run)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def model_config(workspace: Workspace, source: Source) -> ModelConfig:
    """The model of a source, as the workspace's studies describe it."""
    registry = Registry.load(workspace)
    registry.check_source(source)
    return registry.models[source.model]


def _command(workspace: Workspace, config: ModelConfig, source: Source, *, dry_run: bool) -> None:
    if dry_run:
        task = open_task(workspace, source.model, config, source.weights)
        manifest = site_manifest(task, source)
        damage = find_damage(task, manifest)
        names = damage.names(manifest, task.manifest.origin)
        print(", ".join(names) if names else "nothing is damaged")
        print(f"mending runs the language model over {damage.tokens:,} tokens")
        return
    told: set[str] = set()

    def show(progress: Progress) -> None:
        if progress.stage == "mend" and progress.note not in told:
            told.add(progress.note)
            print(progress.note, flush=True)

    result = mend(workspace, source.model, config, source, report=show)
    count = len(result.damaged)
    print(f"mended {count} shard{'' if count == 1 else 's'} in {result.seconds:.1f} s")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
