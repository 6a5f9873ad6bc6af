"""Dataset -> checkpoint. Imports reid only."""
