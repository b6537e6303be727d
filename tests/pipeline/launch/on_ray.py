"""Makes the small study on two Ray nodes of this machine, a worker of which dies.

    python -m tests.pipeline.launch.on_ray WORKSPACE TEXTS

A process of its own: Ray leaves sockets and processes to the end of the one that starts it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pipeline.harvest import spans
from pipeline.launch.config import LaunchConfig
from tests.pipeline.launch.worlds import made, make_and_die

NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}


def main(folder: str, texts: str) -> None:
    """Starts the nodes, makes the study, ends them."""
    os.environ["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if entry)
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    os.environ["RAY_AUTH_MODE"] = "disabled"
    import ray
    from ray.cluster_utils import Cluster

    spans.make_span = make_and_die
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    try:
        cluster.add_node(**NODE)
        made(Path(folder), Path(texts), LaunchConfig(engine="ray", address=cluster.address))
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
