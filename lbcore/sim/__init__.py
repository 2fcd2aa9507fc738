"""Simulations: models with their assumptions stated, checked against theory, labelled as what they are."""
