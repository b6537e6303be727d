"""Training runs: SAEs of one source trained together, with checkpoints and exact resume."""
