"""Pages of docs/ that say what the studies of examples/ found, made of a workspace's tables."""
