"""What `scripts/gpu_check.sh` runs: a machine with an NVIDIA GPU is accepted or rejected, with reasons."""
