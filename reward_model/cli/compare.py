"""Says what people would vote: `arena-reward compare --prompt "…" --a "…" --b "…"`.

Three bars for P(A), P(B) and P(tie). Without `--model` a judge that ships with the package answers at once: `arena-style`,
which counts length, lists and the like, and reads no word. A trained model, or `arena-minilm`, also gives the reward of each
response. That leaves out what length and formatting explain and the probabilities do not: the difference is how far style
sways this battle.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from arena_data.arguments import CommandParser
from reward_model.cli.flags import command_parser, parse_command
from reward_model.pretrained.judges import DEFAULT, JUDGES, shipped_folder

if TYPE_CHECKING:
    from reward_model.api import RewardModel

WIDTH = 40  # characters of a bar at a probability of 1


def parser() -> CommandParser:
    command = command_parser("compare", __doc__)
    add = command.add_argument
    add(
        "--model",
        metavar="D",
        help=f"run or baseline directory, user/name on the Hub, {' or '.join(JUDGES)} (default: {DEFAULT})",
    )
    add("--prompt", required=True, metavar="TEXT", help="what was asked")
    add("--a", required=True, metavar="TEXT", help="response A")
    add("--b", required=True, metavar="TEXT", help="response B")
    add("--json", action="store_true", help="print the figures as JSON")
    return command


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status. Raises: InputError or ModelError, one line."""
    options = parse_command(parser(), arguments)
    from reward_model.api import RewardModel  # after the flags are known to be right

    model = RewardModel.from_pretrained(
        options.model or shipped_folder(DEFAULT),
        base_model=options.base_model,
        device=options.device,
        dtype=options.dtype,
        batch_tokens=options.batch_tokens,
    )
    figures = figures_of(model, options.prompt, options.a, options.b)
    print(json.dumps(figures, indent=1, ensure_ascii=False) if options.json else "\n".join(lines(figures)))
    return 0


def figures_of(model: "RewardModel", prompt: str, a: str, b: str) -> dict[str, Any]:
    """Probabilities, rewards where responses have them, who says so, and with what caution."""
    note = model.scorer.reward_note
    rewards = [None if note is None else model.reward(prompt, response) for response in (a, b)]
    usable = {}
    if model.scorer.is_grounded:
        usable = {f"usable_{side}": model.usable(prompt, response) for side, response in (("a", a), ("b", b))}
    return {
        **model.compare(prompt, a, b)._asdict(),
        **usable,
        "reward_a": rewards[0],
        "reward_b": rewards[1],
        "reward_note": note,
        "judge": model.scorer.name,
        "caution": model.scorer.caution,
        "away": model.scorer.away([prompt], [a], [b])[0],
    }


def lines(figures: dict[str, Any]) -> list[str]:
    """A bar a verdict, the rewards where responses have them, and the judge's caution."""
    shown = []
    for name, label in (("a", "A"), ("b", "B"), ("tie", "tie")):
        share = figures[name] or 0.0
        shown.append(f"{label:>3}  {share:5.1%}  {'█' * round(share * WIDTH)}")
    if figures["reward_a"] is not None:
        shown.append(
            f"reward of A {figures['reward_a']:+.2f}, of B {figures['reward_b']:+.2f}, {figures['reward_note']}"
        )
    if "usable_a" in figures:
        shown.append(f"usable: A {figures['usable_a']:.0%}, B {figures['usable_b']:.0%}")
    if figures["caution"]:
        shown.append(f"{figures['judge']}: {figures['caution']}")
    if figures["away"]:
        shown.append(f"away from home ({'; '.join(figures['away'])}): drawn towards the prior")
    return shown
