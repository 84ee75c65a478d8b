"""What the exploration page says, in which order: sections of notes, pictures and tables of ready text.

Cells are made here so that the template only lays them out. Notes say what a reader must know to trust a number, and
where there is nothing to show, why.
"""

from arena_data.exploration.model_statistics import MODELS_SHOWN
from arena_data.exploration.shares import Figures, count_text, share_text, verdict_texts
from arena_data.style.feature_words import feature_words
from arena_data.webpage.page import Group, Section, Table

ENDS_SHOWN = 10
LEAST_BATTLES = 20  # of a model that gets a rank
NO_LABELS = "No row has a verdict, so there are no figures on wins and ties."
NO_NAMES = "No row names both of its models."


def _overview(figures: Figures) -> Section:
    overview = figures["overview"]
    notes = [] if overview["labelled"] else [NO_LABELS]
    if overview["soft_verdicts"]:
        notes.append(f"{overview['soft_verdicts']:,} verdicts are soft: shares of A, B and tie.")
    rows = [[name, count_text(share["count"]), share_text(share)] for name, share in overview["verdicts"].items()]
    table = Table("Verdicts", ["verdict", "battles", "share"], rows if overview["labelled"] else [])
    return Section("verdicts-section", "Verdicts", notes, [Group(["verdicts"], [table])])


def _models(figures: Figures) -> Section:
    models = figures["models"]
    missing = figures["overview"]["battles"] - models["rows_naming_both"]
    notes = [NO_NAMES] if not models["rows_naming_both"] else []
    if missing and not notes:
        notes.append(f"{missing:,} battles do not name both models and are left out of this section.")
    if models["self_battles"]:
        notes.append(f"In {models['self_battles']:,} battles a model met itself. These count as neither won nor lost.")
    rows = [
        [
            row["model"],
            count_text(row["battles"]),
            count_text(row["wins"]),
            count_text(row["ties"]),
            count_text(row["losses"]),
            _ratio(row),
            share_text(row["decided_win_share"]),
        ]
        for row in models["records"]
    ]
    heads = ["model", "battles", "won", "tied", "lost", "won : lost", "won of decided"]
    by_name = dict(zip((row[0] for row in rows), rows, strict=True))
    rated = [[by_name[name][place] for place in (0, 2, 4, 5)] for name in models["ratios"]["models"]]
    ratio_heads = ["model", "won", "lost", "won : lost"]
    least = models["ratios"]["minimum_decided"]
    best, worst = rated[:ENDS_SHOWN], rated[ENDS_SHOWN:][-ENDS_SHOWN:][::-1]
    pairs = [
        [
            " – ".join(pair["models"]),
            *(count_text(pair[key]) for key in ("battles", "first_wins", "ties", "second_wins")),
        ]
        for pair in models["pairs"]
    ]
    return Section(
        "models-section",
        "Models and pairs of models",
        notes,
        [
            Group(["battles"], [Table("All models, most battled first", heads, rows)], tall=True),
            Group(["heat-map"]),
            Group(
                tables=[
                    Table(f"Best win–loss ratio, of models with {least} decided battles or more", ratio_heads, best),
                    Table(f"Worst win–loss ratio, of models with {least} decided battles or more", ratio_heads, worst),
                    Table("Most compared pairs", ["pair", "battles", "first won", "tied", "second won"], pairs),
                ]
            ),
        ],
    )


def _ratio(row: Figures) -> str:
    if row["win_loss_ratio"] is None:
        return "never lost" if row["wins"] else "–"
    return f"{row['win_loss_ratio']:.2f}"


def _ranking(figures: Figures) -> Section:
    ranking = figures["models"]["ranking"]
    if ranking is None:
        return Section("ranking-section", "Ranking", [NO_LABELS if figures["models"]["models"] else NO_NAMES], [])
    position = ranking["first_position_elo"]
    notes = [
        "The table shows Bradley–Terry strengths with ties, in Elo points above the average model. The model is Davidson's, "
        "with a term for the side shown first. Few battles say little, so a normal prior pulls every strength to the "
        f"average. Its standard deviation is {ranking['prior_sd_elo']:.0f} points. 95 % intervals are Laplace's. A model is "
        "surely above another only where their intervals are well apart.",
        f"Being shown as A is worth {_signed(position['value'])} points ({_signed(position['low'])} to "
        f"{_signed(position['high'])}).",
    ]
    if ranking["islands"] > 1:
        notes.append(
            f"The models form {ranking['islands']} groups that never met. Across groups the order means nothing."
        )
    if len(ranking["models"]) > MODELS_SHOWN:
        notes.append(f"The picture shows the {MODELS_SHOWN} models with the most battles. The tables show all.")
    enough = [row for row in ranking["models"] if row["battles"] >= LEAST_BATTLES]
    few = [row for row in ranking["models"] if row["battles"] < LEAST_BATTLES]
    groups = [
        Group(["ranking"], [_strengths(f"Models with {LEAST_BATTLES} battles or more", enough, ranked=True)], tall=True)
    ]
    if few:
        notes.append(
            f"Models with fewer than {LEAST_BATTLES} battles have no rank. They stand in a table of their own."
        )
        groups.append(Group(tables=[_strengths(f"Models with fewer than {LEAST_BATTLES} battles", few, ranked=False)]))
    return Section("ranking-section", "Ranking", notes, groups)


def _strengths(caption: str, models: list[Figures], *, ranked: bool) -> Table:
    """The models' strengths, the strongest first; ranks count only those of the table."""
    rows = [
        [
            row["model"],
            *([str(place)] if ranked else []),
            _signed(row["elo"]),
            f"{_signed(row['low'])} to {_signed(row['high'])}",
            count_text(row["battles"]),
        ]
        for place, row in enumerate(models, start=1)
    ]
    return Table(caption, ["model", *(["rank"] if ranked else []), "Elo", "95 % interval", "battles"], rows)


def _signed(points: float) -> str:
    return f"{points:+.0f}".replace("-", "\N{MINUS SIGN}")


def _lengths(figures: Figures) -> Section:
    lengths = figures["lengths"]
    rows = [
        [
            f"{name}, {unit}",
            *(count_text(None if value is None else round(value)) for value in lengths[unit][key].values()),
        ]
        for unit in ("characters", "words")
        for key, name in (("prompt", "prompt"), ("response_a", "A"), ("response_b", "B"))
    ]
    spreads = Table("Lengths, all turns together", ["", "mean", "median", "95th percentile", "99th", "longest"], rows)
    names = {"response_a_with_response_b": "A with B", "prompt_with_response": "prompt with response"}
    correlations = [
        [name, *("–" if value is None else f"{value:.2f}" for value in lengths["correlation"][key].values())]
        for key, name in names.items()
    ]
    related = Table(
        "Correlation of lengths in characters", ["", "Pearson's of logs", "Spearman's of ranks"], correlations
    )
    turns = figures["turns"]
    turn_rows = [
        ["one turn", share_text(turns["single"])],
        ["mean", "–" if turns["mean"] is None else f"{turns['mean']:.2f}"],
        ["99th percentile", count_text(turns["p99"])],
        ["longest", count_text(turns["max"])],
    ]
    if not figures["overview"]["battles"]:
        return Section("lengths-section", "Lengths and turns", ["There is no battle to measure."], [])
    return Section(
        "lengths-section",
        "Lengths and turns",
        ["A word is text between white space. Each Chinese character and each kana counts as one word."],
        [
            Group(["lengths"], [spreads]),
            Group(["length-pairs"], [related]),
            Group(["turns"], [Table("Turns", ["", "turns"], turn_rows)]),
        ],
    )


def _sway(figures: Figures) -> Section:
    if not figures["overview"]["labelled"]:
        return Section("sway-section", "What sways the verdict", [NO_LABELS], [])
    verbosity, near = figures["verbosity"], f"{100 * figures['verbosity']['near_means_within']:.0f} %"
    buckets = [
        [
            f"{row['from']:+,.0f} to {row['to']:+,.0f}".replace("-", "\N{MINUS SIGN}"),
            f"{row['battles']:,}",
            *verdict_texts(row["verdicts"]),
        ]
        for row in verbosity["buckets"]
    ]
    ties = [
        ["the longer response wins, of decided", share_text(verbosity["longer_wins"])],
        [f"ties, lengths within {near} of the longer", share_text(verbosity["ties_when_near"])],
        [f"ties, lengths further apart than {near}", share_text(verbosity["ties_when_not_near"])],
    ]
    sides = [["all battles", share_text(figures["position"]["a_among_decided"]), "–"]] + [
        [row["model"], share_text(row["decided_win_share_as_a"]), share_text(row["decided_win_share_as_b"])]
        for row in figures["models"]["records"]
    ]
    promotion = [
        [
            f"{name.replace('_', '-')}",
            share_text(trait["responses"]),
            count_text(trait["one_of_two"]["battles"]),
            *(share_text(trait["one_of_two"][outcome]) for outcome in ("won", "tied", "lost")),
            share_text(trait["neither"]["tie"]),
        ]
        for name, trait in figures["self_promotion"].items()
    ]
    promotion_heads = [
        "",
        "of responses",
        "battles where one of two does",
        "it won",
        "tied",
        "it lost",
        "ties where neither does",
    ]
    style = [
        [feature_words(row["feature"]), row["note"], count_text(row["battles"]), share_text(row["won_of_decided"])]
        for row in figures["style"]
        if row["battles"]
    ]
    none_found = not any(trait["responses"]["count"] for trait in figures["self_promotion"].values())
    notes = ["No figure is corrected for the others. Longer responses may win because they are better."]
    if none_found:
        notes.append("No response names or praises itself in a stock phrase.")
    return Section(
        "sway-section",
        "What sways the verdict",
        notes,
        [
            Group(
                ["verbosity"],
                [
                    Table(
                        "Verdict by characters of A less those of B",
                        ["difference", "battles", "A wins", "B wins", "tie"],
                        buckets,
                    )
                ],
            ),
            Group(
                tables=[
                    Table("Length and ties", ["", "share"], ties),
                    Table("Self-promotion", promotion_heads, promotion),
                ]
            ),
            Group(["self-promotion"]),
            Group(
                ["position"], [Table("Won of decided battles by the side shown on", ["model", "as A", "as B"], sides)]
            ),
            Group(
                ["style"],
                [
                    Table(
                        "Win share of the response with more of a feature, clearest first",
                        ["feature", "what it is", "battles", "won of decided"],
                        style,
                        wordy=True,
                    )
                ],
            ),
        ],
    )


def _languages(figures: Figures) -> Section:
    rows = [
        [
            row["language"],
            count_text(row["battles"]["count"]),
            share_text(row["battles"]),
            *verdict_texts(row["verdicts"]),
        ]
        for row in figures["languages"]
    ]
    recorded = figures["overview"]["battles"] - figures["nulls"]["language"]
    notes = [] if recorded else ["The language of a battle is not recorded in this data."]
    table = Table("Languages", ["language", "battles", "share", "A wins", "B wins", "tie"], rows if recorded else [])
    return Section("languages-section", "Languages", notes, [Group(["languages"], [table])])


def _oddities(figures: Figures) -> Section:
    repeats = figures["repeats"]
    rows = [
        ["duplicate battles, beyond the first", count_text(repeats["duplicate_battles"])],
        ["duplicates with A and B exchanged", count_text(repeats["swapped_duplicates"])],
        ["battles with identical responses", count_text(repeats["identical_responses"])],
        ["distinct prompts", count_text(repeats["distinct_prompts"])],
        ["battles that share their prompt", share_text(repeats["battles_sharing_a_prompt"])],
        *([f"no {name.replace('_', ' ')}", count_text(count)] for name, count in figures["nulls"].items()),
    ]
    odd = [[row["oddity"], row["means"], count_text(row["battles"])] for row in figures["oddities"]]
    prompts = [[row["prompt"], count_text(row["battles"])] for row in repeats["most_repeated_prompts"]]
    return Section(
        "odd-section",
        "Duplicates, nulls and odd rows",
        ["Odd rows are handled when the battles are read, and never dropped. The second table says how."],
        [
            Group(
                tables=[
                    Table("Duplicates and nulls", ["", "battles"], rows),
                    Table("Odd rows", ["kind", "what was done", "battles"], odd, wordy=True),
                ]
            ),
            Group(tables=[Table("Prompts asked more than once", ["prompt", "battles"], prompts)]),
        ],
    )


def build_sections(figures: Figures) -> list[Section]:
    """All sections of the page, in reading order. figures: as `arena_data.exploration.statistics.describe` gives them."""
    parts = (_overview, _models, _ranking, _lengths, _sway, _languages, _oddities)
    return [part(figures) for part in parts]
