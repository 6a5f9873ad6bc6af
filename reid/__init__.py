"""What a crop, a model, a bundle, a profile and a ranking are. Imports nothing else of the project."""
