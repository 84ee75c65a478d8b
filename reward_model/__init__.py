"""Battles in, calibrated probabilities of A, B and tie out: links, model, batching, trainer, calibration, blending."""
