"""Evaluation runs: SAEs measured on held-out text, matched and compared with each other."""
