"""What a server has done, in the text format that Prometheus reads.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from contextvars import ContextVar

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Rows that the request at hand has asked for, one number a call; for its line in the log.
ROWS: ContextVar[list[int]] = ContextVar("ROWS")


class Metrics:
    """Counts since the start. Labels are route templates and statuses: no text of a client comes into a metric."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.below: Counter[tuple[str, float]] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.rows = self.batches = self.deaths = 0
        self.gauges: dict[str, tuple[str, Callable[[], float]]] = {}

    def note_request(self, route: str, status: int, seconds: float) -> None:
        self.requests[route, status] += 1
        self.seconds[route] += seconds
        for bound in SECONDS:
            self.below[route, bound] += seconds <= bound

    def note_batch(self, rows: int) -> None:
        self.rows += rows
        self.batches += 1

    def text(self) -> str:
        """All metrics, a line each."""
        lines: list[str] = []

        def head(name: str, kind: str, text: str) -> str:
            lines.extend([f"# HELP {name} {text}", f"# TYPE {name} {kind}"])
            return name

        name = head("arena_reward_requests_total", "counter", "Requests by route and HTTP status.")
        for (route, status), count in sorted(self.requests.items()):
            lines.append(f'{name}{{route="{route}",status="{status}"}} {count}')
        name = head("arena_reward_request_seconds", "histogram", "Time from a request's arrival to its answer.")
        for route in sorted(self.seconds):
            count = sum(number for (of, _), number in self.requests.items() if of == route)
            lines += [f'{name}_bucket{{route="{route}",le="{bound}"}} {self.below[route, bound]}' for bound in SECONDS]
            lines.append(f'{name}_bucket{{route="{route}",le="+Inf"}} {count}')
            lines.append(f'{name}_sum{{route="{route}"}} {self.seconds[route]:.6f}')
            lines.append(f'{name}_count{{route="{route}"}} {count}')
        for metric, text, count in (
            ("arena_reward_rows_total", "Rows scored: responses or battles.", self.rows),
            ("arena_reward_batches_total", "Batches given to a worker.", self.batches),
            ("arena_reward_worker_deaths_total", "Workers that ended and were started again.", self.deaths),
        ):
            lines.append(f"{head(metric, 'counter', text)} {count}")
        for metric, (text, value) in self.gauges.items():
            lines.append(f"{head(metric, 'gauge', text)} {value():g}")
        return "\n".join([*lines, ""])
