"""scikit-learn's interface to settings, without scikit-learn: clone() and GridSearchCV work."""

import inspect
import operator
import sys
from functools import cache
from typing import TYPE_CHECKING, Any, Self

from softstep.model import routing


def _differs(value, default):
    """Whether a setting is not its default; one that compares like an array is not."""
    if value is default:
        return False
    try:
        return bool(value != default)
    except ValueError:
        return True


@cache
def _defaults_of(cls):
    """The settings of this class, by name."""
    parameters = inspect.signature(cls.__init__).parameters
    return {name: p.default for name, p in parameters.items() if name != "self"}


@cache
def _reader_of(cls):
    """What gets all settings of an estimator of this class at once, as a tuple."""
    return operator.attrgetter(*_defaults_of(cls))


class Params:
    """get_params, set_params and repr from the signature of __init__, which only stores them."""

    @classmethod
    def _defaults(cls):
        return _defaults_of(cls)

    def _values(self):
        """The settings, in their order."""
        return _reader_of(type(self))(self)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The settings by name; `deep` exists for scikit-learn and has no effect."""
        return {name: getattr(self, name) for name in self._defaults()}

    def set_params(self, **params: Any) -> Self:
        """Change settings by name.

        Raises:
            ValueError: there is no setting of that name.
        """
        known = self._defaults()
        for name, value in params.items():
            if name not in known:
                raise ValueError(f"{type(self).__name__} has no setting {name!r}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        changed = (
            f"{name}={getattr(self, name)!r}"
            for name, default in self._defaults().items()
            if _differs(getattr(self, name), default)
        )
        return f"{type(self).__name__}({', '.join(changed)})"

    def _repr_html_(self):
        """What notebooks show: scikit-learn's diagram where it is loaded; None, the repr, else."""
        if "sklearn" not in sys.modules:
            return None
        from sklearn.utils import estimator_html_repr

        return estimator_html_repr(self)

    if not TYPE_CHECKING:  # it would let any attribute pass

        def __getattr__(self, name):
            return routing.attribute(self, name)

    def __sklearn_tags__(self) -> Any:  # called by scikit-learn alone
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(sparse=True),
        )
