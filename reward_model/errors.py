"""What can go wrong with a model, and an error as one line."""


class ModelError(ValueError):
    """A model that cannot be loaded, trained or used as asked; the message is one line and says what to do."""


class ScoringError(ModelError):
    """A text that a model could not score; the message is one line and says which one and why."""


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
