"""Test-time adaptation: unlabeled crops of a site in, a BatchNorm profile out."""
