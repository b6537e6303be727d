"""The command line `sae`."""
