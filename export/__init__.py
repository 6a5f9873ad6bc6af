"""Checkpoint -> bundle, with the parity gate. Imports reid only."""
