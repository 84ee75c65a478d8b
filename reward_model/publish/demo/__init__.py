"""The demo page: a model that a person tries in a browser."""
