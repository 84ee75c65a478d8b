"""TF-IDF and a linear model, a linear SVM or a random forest: the classic notebook, without its mistakes.

One vocabulary for all texts. A battle is [A - B, 0.3 |A - B|]: differences for who wins, their sizes, held back more, for
whether it is a tie; both orders in training, both asked in prediction. Regularisation is chosen by cross-validation over
prompts, with the vectoriser fitted once, since it sees no verdict.

Source: https://scikit-learn.org/stable/modules/feature_extraction.html#tfidf-term-weighting; Platt (1999) for the SVM's
probabilities, fitted on folds that its margins were not trained on.
"""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import datasets
import joblib
import numpy as np
from scipy import sparse
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from arena_data.splits.folds import deal_folds
from reward_model.baselines import skops_files
from reward_model.baselines.base import Baseline, FloatArray, verdicts_of
from reward_model.baselines.classical.lemmas import clean
from reward_model.baselines.cross_validation import choose, splits
from reward_model.baselines.swap import both_orders, from_both_orders, labels_of
from reward_model.evaluation.probabilities import row_losses

VECTORISER, CLASSIFIER = "vectoriser.skops", "classifier.skops"
COLUMNS = ("prompt", "response_a", "response_b")
# With as much freedom as the differences, what tells ties fits noise.
TIE_SCALE = 0.3
FOLDS = 3
Orders = tuple[sparse.csr_matrix, sparse.csr_matrix]


@dataclass
class TfIdf(Baseline):
    """What the three have in common.

    Args:
        analyzer: `word` for words and pairs of words, `char` for runs of 1 to 4 characters, markup among them.
        clean: stop words out and words to their lemmas first.
        max_features: size of the vocabulary, the most frequent terms.
        min_df: texts that a term must be in.
    """

    analyzer: str = "word"
    clean: bool = False
    max_features: int = 10_000
    min_df: int = 5
    # What regularisation may be, from strong to weak.
    strengths: ClassVar[tuple[float, ...]]

    def __post_init__(self) -> None:
        if self.analyzer not in ("word", "char"):
            raise ValueError(f"analyzer is {self.analyzer!r}; expected word or char")

    @abstractmethod
    def classifier(self, strength: float, groups: np.ndarray) -> Any:
        """A scikit-learn classifier with predict_proba. groups: int [m], a number for the prompt of each row."""

    def fit(self, battles: datasets.Dataset, extra: datasets.Dataset | None = None) -> None:
        verdicts = verdicts_of(battles)
        part, _ = deal_folds(battles["group"], verdicts, folds=FOLDS)
        _, group = np.unique(np.asarray(list(battles["group"])), return_inverse=True)
        texts = self._texts(battles)
        self.vectoriser = TfidfVectorizer(
            analyzer=self.analyzer,
            ngram_range=(1, 2) if self.analyzer == "word" else (1, 4),
            min_df=self.min_df,
            max_features=self.max_features,
            sublinear_tf=True,
            dtype=np.float64,
        ).fit([text for column in texts for text in column])
        orders = self._orders(texts)

        def held_out(strength: float, rows: np.ndarray, rest: np.ndarray) -> FloatArray:
            fitted = self._fit_classifier(strength, (orders[0][rows], orders[1][rows]), verdicts[rows], group[rows])
            return row_losses(_predict(fitted, (orders[0][rest], orders[1][rest])), verdicts[rest])

        self.strength, _ = choose(self.strengths, part, held_out)
        self.fitted = self._fit_classifier(self.strength, orders, verdicts, group)

    def log_probabilities(self, battles: datasets.Dataset) -> FloatArray:
        return _predict(self.fitted, self._orders(self._texts(battles)))

    def save_state(self, directory: Path) -> None:
        skops_files.save(directory / VECTORISER, self.vectoriser)
        skops_files.save(directory / CLASSIFIER, self.fitted)

    def load_state(self, directory: Path) -> None:
        self.vectoriser = skops_files.load(directory / VECTORISER)
        self.fitted = skops_files.load(directory / CLASSIFIER)

    def _texts(self, battles: datasets.Dataset) -> list[list[str]]:
        """[3][n]: all turns of the prompt, of A and of B, as one text each."""
        joined = [["\n".join(turn or "" for turn in turns) for turns in battles[column]] for column in COLUMNS]
        return [[clean(text) for text in column] for column in joined] if self.clean else joined

    def _orders(self, texts: list[list[str]]) -> Orders:
        """Features of the battles as they are, and of the same with A and B exchanged."""
        if not texts[0]:
            empty = sparse.csr_matrix((0, 2 * len(self.vectoriser.vocabulary_)))
            return empty, empty
        a, b = (self.vectoriser.transform(column) for column in texts[1:])
        size = TIE_SCALE * abs(a - b)
        return sparse.hstack([a - b, size], format="csr"), sparse.hstack([b - a, size], format="csr")

    def _fit_classifier(self, strength: float, orders: Orders, verdicts: FloatArray, group: np.ndarray) -> Any:
        row, label, weight = labels_of(verdicts)
        classifier = self.classifier(strength, np.concatenate([group, group])[row])
        return classifier.fit(both_orders(*orders)[row], label, sample_weight=weight)


@dataclass
class TfIdfLogistic(TfIdf):
    kind: ClassVar[str] = "tfidf_logistic"
    __doc__ = (TfIdf.__doc__ or "").replace(
        "What the three have in common", "Multinomial logistic regression on TF-IDF"
    )
    strengths: ClassVar[tuple[float, ...]] = (0.1, 0.3, 1.0, 4.0)

    def classifier(self, strength: float, groups: np.ndarray) -> LogisticRegression:
        return LogisticRegression(C=strength, max_iter=200, tol=1e-3)


@dataclass
class TfIdfSVM(TfIdf):
    kind: ClassVar[str] = "tfidf_svm"
    __doc__ = (TfIdf.__doc__ or "").replace("What the three have in common", "Linear SVM on TF-IDF, made probabilities")
    strengths: ClassVar[tuple[float, ...]] = (0.003, 0.01, 0.03, 0.1)

    def classifier(self, strength: float, groups: np.ndarray) -> CalibratedClassifierCV:
        # Folds by prompt: both orders of a battle are on the same side of each split.
        return CalibratedClassifierCV(LinearSVC(C=strength), cv=list(splits(groups % 3)), ensemble=False)


@dataclass
class TfIdfForest(TfIdf):
    kind: ClassVar[str] = "tfidf_forest"
    __doc__ = (TfIdf.__doc__ or "").replace("What the three have in common", "Random forest on TF-IDF") + (
        "    trees: how many.\n    "
    )
    max_features: int = 2_000
    trees: int = 100
    # The fewest rows in a leaf.
    strengths: ClassVar[tuple[float, ...]] = (30, 10, 3)

    def classifier(self, strength: float, groups: np.ndarray) -> RandomForestClassifier:
        return RandomForestClassifier(
            self.trees, min_samples_leaf=int(strength), max_features="sqrt", n_jobs=joblib.cpu_count(), random_state=0
        )

    def fit(self, battles: datasets.Dataset, extra: datasets.Dataset | None = None) -> None:
        super().fit(battles, extra)
        # Several threads add the trees up in whatever order they end; one adds them up the same way every time.
        self.fitted.n_jobs = 1


def _predict(classifier: Any, orders: Orders) -> FloatArray:
    answers = []
    for features in orders:
        predicted = np.zeros((features.shape[0], 3))
        if features.shape[0]:
            predicted[:, classifier.classes_] = classifier.predict_proba(features)
        answers.append(predicted)
    return from_both_orders(*answers)
