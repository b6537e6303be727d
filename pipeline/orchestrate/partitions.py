"""The partitions: sources, SAEs, and the grid of both in which one cell is one SAE."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from pipeline.study.names import SaeKey, Source

sources = dg.DynamicPartitionsDefinition(name="sources")
saes = dg.DynamicPartitionsDefinition(name="saes")
grid = dg.MultiPartitionsDefinition({"source": sources, "sae": saes})


def cell_key(source: Source, key: SaeKey) -> dg.MultiPartitionKey:
    """The grid's partition key of one SAE."""
    return dg.MultiPartitionKey({"source": str(source), "sae": str(key)})


def split_cell_key(partition: str) -> tuple[str, str]:
    """The source's and the SAE's text in a grid key, which may have come as plain text."""
    if not isinstance(partition, dg.MultiPartitionKey):
        partition = grid.get_partition_key_from_str(partition)
    keys = partition.keys_by_dimension
    return keys["source"], keys["sae"]


def add_partitions(
    instance: dg.DagsterInstance, chosen: Iterable[Source], keys: Iterable[SaeKey]
) -> None:
    """Makes the keys known to the instance; those it has already stay where they are."""
    for definition, texts in ((sources, map(str, chosen)), (saes, map(str, keys))):
        name = definition.name
        assert name is not None
        known = set(instance.get_dynamic_partitions(name))
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            instance.add_dynamic_partitions(name, new)
