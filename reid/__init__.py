"""The ground floor of Resight: what a crop, a model, a bundle, a profile and a ranking are. Imports nothing
of the project."""
