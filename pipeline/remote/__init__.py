"""A workspace's remote place: finished activations and SAEs in an object store, s3:// or file://."""
