"""SAEs to and from other packages: their files, and what of ours fits into them exactly."""
