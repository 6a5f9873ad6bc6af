"""Measurements. Every number in the README comes from one of these commands and is a ratio taken within one
run."""
