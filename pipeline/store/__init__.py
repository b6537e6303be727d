"""Activation stores: layout, shards with checksums, and reading them back in batches."""
