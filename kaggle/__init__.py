"""A model for Kaggle's notebooks that have no network: `bundle` packs it, `submit.ipynb` predicts with it.

Kaggle's own command line tool has a package of the same name; nothing here imports it.
"""
