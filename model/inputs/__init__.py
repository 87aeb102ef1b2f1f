"""What the estimators are given: one door for X, one for y, one for weights, one for settings.

Each converts first, whatever library the values come from, and asks later.
"""

from softstep.model.inputs.arrays import as_given, host_array
from softstep.model.inputs.label_sets import (
    LabelSet,
    by_name,
    check_missing,
    label_sets,
    set_names,
)
from softstep.model.inputs.names import NamedColumns, keys_for_json, names_of
from softstep.model.inputs.rows import Features, features, labels_of, refuse_non_finite
from softstep.model.inputs.scale import Kind, check_scale
from softstep.model.inputs.scaled import Factors, ScaledRows, measured, refuse_on_gpu, scaled
from softstep.model.inputs.schema import Schema
from softstep.model.inputs.settings import (
    check_seed,
    choice,
    flag,
    function,
    integer,
    number,
    seed,
)
from softstep.model.inputs.sharded import ShardedRows
from softstep.model.inputs.sparse import MadeRows, SparseRows, by_rows, placed
from softstep.model.inputs.spread import warn_of_spread
from softstep.model.inputs.targets import (
    are_same,
    class_values,
    encode,
    is_soft,
    label_values,
    soft_target_rows,
    target_array,
    warn_of_other_rows,
    warn_of_regression,
)
from softstep.model.inputs.warnings import warn
from softstep.model.inputs.weights import (
    check_class_weight,
    of_mean_one,
    refuse_balanced_in_parts,
    row_weights,
    weight_array,
)

__all__ = [
    "Factors",
    "Features",
    "Kind",
    "LabelSet",
    "MadeRows",
    "NamedColumns",
    "ScaledRows",
    "Schema",
    "ShardedRows",
    "SparseRows",
    "are_same",
    "as_given",
    "by_name",
    "by_rows",
    "check_class_weight",
    "check_missing",
    "check_scale",
    "check_seed",
    "choice",
    "class_values",
    "encode",
    "features",
    "flag",
    "function",
    "host_array",
    "integer",
    "is_soft",
    "keys_for_json",
    "label_sets",
    "label_values",
    "labels_of",
    "measured",
    "names_of",
    "number",
    "of_mean_one",
    "placed",
    "refuse_balanced_in_parts",
    "refuse_non_finite",
    "refuse_on_gpu",
    "row_weights",
    "scaled",
    "seed",
    "set_names",
    "soft_target_rows",
    "target_array",
    "warn",
    "warn_of_other_rows",
    "warn_of_regression",
    "warn_of_spread",
    "weight_array",
]
