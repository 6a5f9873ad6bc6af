"""Networks: `spec.py` says what one is, `build.py` makes it."""
