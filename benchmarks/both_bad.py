"""What both-bad as an outcome costs and tells: `python -m benchmarks.both_bad --data_dir ../shared/data`.

Five grouped folds of arena/both_bad.jsonl, for several seeds. Each held-out battle is predicted by a regression on style, or
on style and a frozen backbone's vectors, that was fitted on the other folds: with three outcomes (`tie_links`), and with
four (`four_outcomes`). Both read the same features with the same ridge penalties, a multiple of which is chosen in inner
folds by the three-class log loss. `--with_arena` adds arena/train.csv and extra.jsonl to what is fitted; they do not tell
which ties were bad.

Figures: three-class log loss, the paired difference from three outcomes, and how well P(both bad) finds the battles whose
two responses were said to be bad (AUC), beside P(tie) of three outcomes.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import datasets
import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from arena_data.loading import load_battles
from arena_data.splits.both_bad import both_bad_of, four_shares
from arena_data.splits.extra_battles import rows_without_links
from arena_data.splits.folds import deal_folds, drop_duplicates
from arena_data.splits.linking import link_battles
from arena_data.style.features import style_arrays
from reward_model.baselines.base import verdicts_of
from reward_model.baselines.regression.embeddings import Embedder
from reward_model.evaluation.metrics import both_bad_auc
from reward_model.evaluation.probabilities import row_losses
from reward_model.evaluation.resampling import Resampling
from reward_model.model.four_outcomes import four_cross_entropy, four_log_probabilities, start_of, three_class
from reward_model.model.losses import cross_entropy
from reward_model.model.style_head import Scale
from reward_model.model.tie_links import LINKS, log_probabilities
from reward_model.train.initial_weights import tie_bias_of

FloatArray = npt.NDArray[np.float64]
# Of style's weights, of the vectors' for rewards, of their distances' for ties; all times one of the multiples.
STYLE, VECTORS, DISTANCES = 0.1, 3.0, 10.0
MULTIPLES = (0.3, 1.0, 3.0)


class Rows(NamedTuple):
    """float64 tensors: difference and level [n, P] of the two sides, even [n, Q], verdicts [n, 3], both_bad [n]."""

    difference: torch.Tensor
    level: torch.Tensor
    even: torch.Tensor
    verdicts: torch.Tensor
    both_bad: torch.Tensor

    def rows(self, chosen: npt.NDArray[np.int64]) -> "Rows":
        return Rows(*(values[torch.from_numpy(chosen)] for values in self))


class Fit(NamedTuple):
    """Weights of rewards [P] and of ties [Q], the tie bias and the absolute zero (None with three outcomes)."""

    reward: torch.Tensor
    even: torch.Tensor
    tie: torch.Tensor
    zero: torch.Tensor | None

    def readings(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        margin, level = rows.difference @ self.reward, rows.level @ self.reward
        level = level if self.zero is None else level - self.zero
        return level + margin / 2, level - margin / 2, rows.even @ self.even + self.tie

    def log_probs(self, rows: Rows, link: str) -> tuple[FloatArray, FloatArray]:
        """float64 [n, 3], and P(both bad) [n]; with three outcomes P(tie) stands for it."""
        a, b, tie = self.readings(rows)
        if self.zero is None:
            three = log_probabilities(a - b, tie, link)
            return three.numpy(), three[:, 2].exp().numpy()
        bad = four_log_probabilities(a, b, tie, link)[:, 3].exp()
        return log_probabilities(*three_class(a, b, tie, link), link).numpy(), bad.numpy()


def fit(rows: Rows, link: str, penalty: torch.Tensor, shares: FloatArray | None) -> Fit:
    """shares: of the four outcomes, where the fit starts; None for three outcomes. penalty: float64 [P + Q]."""
    width = rows.difference.shape[1]
    start = [tie_bias_of(rows.verdicts.mean(dim=0).numpy(), link)] if shares is None else list(start_of(shares, link))
    theta = torch.cat([torch.zeros(len(penalty), dtype=torch.float64), torch.tensor(start, dtype=torch.float64)])
    theta.requires_grad_(True)
    optimizer = torch.optim.LBFGS([theta], max_iter=150, line_search_fn="strong_wolfe")

    def unpacked() -> Fit:
        reward, even, rest = theta.split([width, len(penalty) - width, len(start)])
        return Fit(reward, even, rest[0], rest[1] if shares is not None else None)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        now = unpacked()
        a, b, tie = now.readings(rows)
        if now.zero is None:
            losses = cross_entropy(log_probabilities(a - b, tie, link), rows.verdicts)
        else:
            losses = four_cross_entropy(four_log_probabilities(a, b, tie, link), rows.verdicts, rows.both_bad)
        loss = losses.mean() + (penalty * theta[: len(penalty)] ** 2).sum() / 2
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        return Fit(*(None if part is None else part.detach().clone() for part in unpacked()))  # type: ignore[arg-type]


def read(battles: datasets.Dataset, embedder: Embedder | None) -> tuple[Rows, torch.Tensor]:
    """The rows, and the penalties [P + Q]."""
    style = style_arrays(battles, progress=False)
    scale = Scale.of(np.concatenate([style.a, style.b]))
    a, b = (scale.apply(side).astype(np.float64) for side in (style.a, style.b))
    even = np.concatenate([Scale.of(style.pair).apply(style.pair), (a + b) / 2], axis=1)
    sizes = [(STYLE, a.shape[1])], [(STYLE, even.shape[1])]
    if embedder is not None:
        vectors = embedder.sides(battles, "mean")
        scale = Scale.of(np.concatenate(vectors))
        first, second = (scale.apply(side).astype(np.float64) for side in vectors)
        distance = np.abs(vectors[0] - vectors[1])
        a, b = np.concatenate([a, first], axis=1), np.concatenate([b, second], axis=1)
        even = np.concatenate([even, Scale.of(distance).apply(distance)], axis=1)
        sizes = [*sizes[0], (VECTORS, first.shape[1])], [*sizes[1], (DISTANCES, distance.shape[1])]
    penalties = [torch.full((count,), value, dtype=torch.float64) for part in sizes for value, count in part]
    arrays = (a - b, (a + b) / 2, even, verdicts_of(battles), both_bad_of(battles))
    return Rows(*(torch.from_numpy(np.asarray(values, dtype=np.float64)) for values in arrays)), torch.cat(penalties)


def predicted(
    rows: Rows, groups: Sequence[str], own: int, link: str, penalty: torch.Tensor, shares: FloatArray | None, seed: int
) -> tuple[FloatArray, FloatArray]:
    """Of the first `own` battles, each by a fit on the others: float64 [own, 3] and P(both bad) [own]."""
    verdicts = rows.verdicts.numpy()[:own]
    part, count = deal_folds(groups[:own], verdicts, seed)
    log_probs, bad = np.empty((own, 3)), np.empty(own)
    others = np.arange(own, len(rows.verdicts))
    for fold in range(count):
        rest, held_out = np.flatnonzero(part != fold), np.flatnonzero(part == fold)
        inner, inner_count = deal_folds([groups[row] for row in rest.tolist()], verdicts[rest], seed)
        losses = []
        for multiple in MULTIPLES:
            each = []
            for number in range(inner_count):
                fitted = fit(
                    rows.rows(np.concatenate([rest[inner != number], others])), link, multiple * penalty, shares
                )
                chosen = rest[inner == number]
                each.append(row_losses(fitted.log_probs(rows.rows(chosen), link)[0], verdicts[chosen]))
            losses.append(float(np.concatenate(each).mean()))
        best = MULTIPLES[int(np.argmin(losses))]
        fitted = fit(rows.rows(np.concatenate([rest, others])), link, best * penalty, shares)
        log_probs[held_out], bad[held_out] = fitted.log_probs(rows.rows(held_out), link)
    return log_probs, bad


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", default="../shared/data", type=Path, help="with the folder arena/")
    parser.add_argument("--model_name_or_path", default="models/minilm", help="the frozen backbone")
    parser.add_argument("--seeds", type=int, default=3, help="how many dealings of folds")
    parser.add_argument("--with_arena", action="store_true", help="fit on train.csv and extra.jsonl too")
    options = parser.parse_args(arguments)
    arena = options.data_dir / "arena"
    [linked], links = link_battles(load_battles(arena / "both_bad.jsonl", labels="required"))
    print(links, file=sys.stderr)
    battles, _ = drop_duplicates(linked)
    own, whole = len(battles), battles
    if options.with_arena:
        more = drop_duplicates(load_battles([arena / "train.csv", arena / "extra.jsonl"], labels="required"))[0]
        whole = datasets.concatenate_datasets([battles, more.select(rows_without_links(more, battles))])
    groups, bad, verdicts = list(battles["group"]), both_bad_of(battles), verdicts_of(battles)
    resampling, shares = Resampling(groups), four_shares(battles)
    print(f"{own} battles, {int(bad.sum())} both bad; fitted on {len(whole) - own} others too")
    print(
        "| features | link | outcomes | log loss of three | minus three outcomes | AUC of both bad |\n"
        + "| --- " * 6
        + "|"
    )
    for name, embedder in (
        ("style", None),
        ("style and vectors", Embedder(options.model_name_or_path, 256, "float32")),
    ):
        rows, penalty = read(whole, embedder)
        for link in LINKS:
            plain: FloatArray | None = None
            for outcomes, start in (("three", None), ("four", shares)):
                seeds = tqdm(range(options.seeds), f"{name}, {link}, {outcomes}", leave=False)
                each = [predicted(rows, groups, own, link, penalty, start, seed) for seed in seeds]
                losses = np.mean([row_losses(log_probs, verdicts) for log_probs, _ in each], axis=0)
                plain = losses if plain is None else plain
                gain, loss = resampling.mean(losses - plain), resampling.mean(losses)
                auc = both_bad_auc(np.mean([p for _, p in each], axis=0), bad, groups)
                print(
                    f"| {name} | {link} | {outcomes} | {loss['value']:.4f} ({loss['low']:.4f} to {loss['high']:.4f}) |"
                    f" {gain['value']:+.4f} ({gain['low']:+.4f} to {gain['high']:+.4f}) |"
                    f" {auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f}) |",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
