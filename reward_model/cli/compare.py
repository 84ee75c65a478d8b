"""Says what people would vote: `arena-reward compare --model runs/minilm --prompt "…" --a "…" --b "…"`.

Three bars for P(A), P(B) and P(tie), and the reward of each response. The reward leaves out what length and formatting
explain, the probabilities do not: the difference is how far style sways this battle.
"""

import json
from collections.abc import Sequence

from arena_data.arguments import CommandParser
from reward_model.cli.flags import command_parser, parse_command

WIDTH = 40  # characters of a bar at a probability of 1


def parser() -> CommandParser:
    command = command_parser("compare", __doc__)
    add = command.add_argument
    add("--model", required=True, metavar="D", help="run directory, or user/name on the Hub")
    add("--prompt", required=True, metavar="TEXT", help="what was asked")
    add("--a", required=True, metavar="TEXT", help="response A")
    add("--b", required=True, metavar="TEXT", help="response B")
    add("--json", action="store_true", help="print the figures as JSON")
    return command


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status. Raises: InputError or ModelError, one line."""
    options = parse_command(parser(), arguments)
    from reward_model.api import RewardModel  # seconds to import, after the flags are known to be right

    model = RewardModel.from_pretrained(
        options.model,
        base_model=options.base_model,
        device=options.device,
        dtype=options.dtype,
        batch_tokens=options.batch_tokens,
    )
    probabilities = model.compare(options.prompt, options.a, options.b)
    rewards = [
        model.reward(options.prompt, response) if model.member.encoding.scores_responses else None
        for response in (options.a, options.b)
    ]
    figures = {**probabilities._asdict(), "reward_a": rewards[0], "reward_b": rewards[1]}
    if model.member.is_grounded:
        responses = {"usable_a": options.a, "usable_b": options.b}
        figures |= {name: model.usable(options.prompt, response) for name, response in responses.items()}
    print(json.dumps(figures, indent=1) if options.json else "\n".join(lines(figures)))
    return 0


def lines(figures: dict[str, float | None]) -> list[str]:
    """A bar a verdict, then the rewards where responses have them."""
    shown = []
    for name, label in (("a", "A"), ("b", "B"), ("tie", "tie")):
        share = figures[name] or 0.0
        shown.append(f"{label:>3}  {share:5.1%}  {'█' * round(share * WIDTH)}")
    if figures["reward_a"] is not None and figures["reward_b"] is not None:
        shown.append(
            f"reward of A {figures['reward_a']:+.2f}, of B {figures['reward_b']:+.2f}, length and format left out"
        )
    if "usable_a" in figures:
        shown.append(f"usable: A {figures['usable_a']:.0%}, B {figures['usable_b']:.0%}")
    return shown
