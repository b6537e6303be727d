"""On what a study's work runs: this process, several of one machine, or a cluster."""
