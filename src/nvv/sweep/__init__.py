"""Grids of runs: planned from YAML, run on one machine or on Slurm, resumed, and reported in tables."""
