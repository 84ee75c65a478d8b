"""Questions about small models, answered on real battles with an interval: `python -m experiments`."""
