"""Measurements. Every number in the README comes from one of these commands: a ratio within one run."""
