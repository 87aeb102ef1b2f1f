"""What `scoring=` and `refit=` ask for."""

from dataclasses import dataclass, replace
from typing import Any

from softstep.model import inputs
from softstep.model.scores.scorers import by_function, of_scikit_learn
from softstep.model.scores.table import ALWAYS, SCORES, Score, find


@dataclass(frozen=True)
class Asked:
    """scores: those that `scoring` names, by name. ranked: those by which settings are ranked, that
    of `refit` first. patience: by which a head has got better, or not.

    Pickled, it has the scores that are built in, for workers, which need no others: a user's
    functions may be of this process alone.
    """

    scores: dict[str, Score]
    ranked: tuple[Score, ...]
    patience: Score

    @property
    def refit(self) -> Score:
        return self.ranked[0]

    def refuse_in_workers(self) -> None:
        """Raise ValueError where heads cannot be judged in other processes than this one."""
        if self.refit.kind == "estimator":
            raise ValueError(
                f"refit={self.refit.name!r} is a function of an estimator, which the workers of an "
                "executor do not call: refit by a score that is built in"
            )

    def __reduce__(self) -> Any:
        built_in = {name: s for name, s in self.scores.items() if s.kind != "estimator"}
        return Asked, (built_in, self.ranked, self.patience)

    @property
    def of_estimators(self) -> list[str]:
        """The names of those that functions of an estimator compute."""
        return [name for name, score in self.scores.items() if score.kind == "estimator"]


def asked(scoring: Any, refit: Any, losses: set[str]) -> Asked:
    """What `scoring` and `refit` of a sweep ask for, in whose grid there are these losses.

    Raises:
        TypeError: `scoring` is of no such form. ValueError: a score that is not known, or not
            computed; refit="loss" where there are several losses, which do not compare.
    """
    scores = _scores(scoring)
    known = {name: SCORES[name] for name in ALWAYS} | scores
    if refit is None:
        refit = next(iter(scores), "accuracy")
    elif isinstance(refit, str) and refit not in known and find(refit) is not None:
        raise ValueError(f"refit={refit!r} is not computed: name it in scoring too")
    inputs.choice("refit", refit, known)
    if refit == "loss" and len(losses) > 1:
        raise ValueError(
            "refit='loss' needs one loss in the grid: different losses do not compare; sweep "
            "each by itself, or judge by accuracy"
        )
    ranking = [name for name in (refit, *ALWAYS) if name != "loss" or len(losses) == 1]
    ranked = tuple(known[name] for name in dict.fromkeys(ranking))
    return Asked(scores, ranked, ranked[0] if scores else SCORES["loss"])


def _scores(scoring: Any) -> dict[str, Score]:
    if scoring is None:
        return {}
    if isinstance(scoring, str):
        scoring = [scoring]
    elif callable(scoring):
        scoring = {"score": scoring}
    if isinstance(scoring, list | tuple) and all(isinstance(name, str) for name in scoring):
        twice = [name for name in scoring if scoring.count(name) > 1]
        if twice:
            raise ValueError(f"scoring names {twice[0]!r} twice: name each score once")
        scoring = {name: name for name in scoring}
    if not isinstance(scoring, dict):
        raise TypeError(
            "scoring must be a name, a list of names, a dict of names and functions, or a "
            f"function, not {scoring!r}"
        )
    if not scoring:
        raise ValueError("scoring is empty: leave it out, or name a score")
    return {_name(name, of): _score(name, of) for name, of in scoring.items()}


def _name(name: Any, of: Any) -> str:
    if not isinstance(name, str) or not name:
        raise TypeError(f"scoring names a score {name!r}: names must be text")
    if name in ALWAYS and of != name:
        raise ValueError(
            f"scoring names a score {name!r}, which a sweep computes anyway: give it another name"
        )
    return name


def _score(name: str, of: Any) -> Score:
    if callable(of):
        return by_function(name, of)
    if not isinstance(of, str):
        raise TypeError(f"scoring[{name!r}] must be a name or a function, not {of!r}")
    found = find(of) or of_scikit_learn(of)
    return found if name == of else replace(found, name=name)
