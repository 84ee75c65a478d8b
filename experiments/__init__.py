"""Questions about small models, each answered on real battles with an interval: `python -m experiments`."""
