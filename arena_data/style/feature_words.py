"""Names of style features for people: `log_bullets` is "bullets" on a page."""

_WORDS = {
    "length_sum": "length",
    "length_mean": "length, mean turn",
    "length_max": "length, longest turn",
    "length_log_sum": "length (log)",
    "length_log_mean": "length, mean turn (log)",
    "length_log_max": "length, longest turn (log)",
    "length_median": "length, median turn",
    "length_deviation": "unequal turns",
    "length_effective_mean": "length, turn of a random letter",
    "length_sum_over_prompt": "length beyond the prompt's",
    "length_mean_over_prompt": "mean turn beyond the prompt's",
    "length_max_over_prompt": "longest turn beyond the prompt's",
    "length_median_over_prompt": "median turn beyond the prompt's",
    "length_effective_mean_over_prompt": "turn of a random letter, beyond the prompt's",
    "log_numbered": "numbered items",
    "log_bold": "bold",
    "log_code_lines": "lines of code",
    "log_inline_code": "code within a line",
    "log_questions": "question marks",
    "log_exclamations": "exclamation marks",
    "repeated_four_grams": "repeated phrases",
    "self_naming": "names itself",
    "self_praise": "praises itself",
    "empty": "empty turns",
    "unfinished": "unfinished",
    "other_script": "another script",
}


def feature_words(name: str) -> str:
    """A few words for a feature; one without words of its own is its name with blanks."""
    return _WORDS.get(name) or name.removeprefix("log_").replace("_", " ")
