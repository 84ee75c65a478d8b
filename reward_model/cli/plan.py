"""Says whether a run fits and how long it takes: `arena-reward plan --config recipes/X.yaml --gpus 2 --memory 16`."""

import sys
from collections.abc import Sequence

from reward_model.plan.plan import parse, plan, plan_table
from reward_model.plan.plan import parser as parser


def main(arguments: Sequence[str]) -> int:
    """Prints the plan."""
    settings = parse(arguments)
    found = plan(settings)
    print(plan_table(settings, found))
    if found.fitting(settings.memory):
        return 0
    print(
        "fits nowhere: lower batch_tokens or max_length, turn gradient_checkpointing on, or take more devices",
        file=sys.stderr,
    )
    return 1
