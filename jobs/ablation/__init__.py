"""Experiments that compare data recipes by the models trained on their data."""
