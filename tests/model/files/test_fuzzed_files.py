"""Promise: however a file is spoilt, its reader takes it or refuses it in one sentence.

Hypothesis draws how. SOFTSTEP_FUZZ=1000 asks for so many files of each kind, drawn anew each time;
`python -m softstep.bench.studies.trust.fuzz` runs by the clock.
"""

import importlib.util
import json
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn_arrays

from softstep import SoftmaxRegression, SoftmaxSweep
from softstep.bench.studies.trust import fuzz
from softstep.model import CheckpointError, checkpoint
from softstep.model.landscape import Line, Surface
from softstep.model.resume import store

ASKED = int(os.environ.get("SOFTSTEP_FUZZ", "0"))
NEEDS = {"parquet": "pyarrow", "feather": "pyarrow", "torch": "torch", "safetensors": "safetensors"}
NEEDS |= {"model in safetensors": "safetensors", "model in onnx": "onnx"}


def fuzzed(count):
    """So many examples, the same each time unless more are asked for."""
    return settings(
        max_examples=ASKED or count,
        derandomize=not ASKED,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


EDITS = st.lists(
    st.builds(
        fuzz.Edit,
        st.sampled_from(fuzz.KINDS),
        st.floats(0, 0.999),
        st.integers(0, 64),
        st.sampled_from([*fuzz.NUMBERS, *fuzz.WORDS]) | st.binary(max_size=20),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("name", fuzz.DOORS)
def test_spoilt_bytes(name, tmp_path):
    if name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed")
    door = fuzz.DOORS[name]
    path = tmp_path / door.file
    door.write(path)
    sound = path.read_bytes()
    assert fuzz.fault(door, path) is None
    outcomes = set()

    @fuzzed(60)
    @given(EDITS)
    def try_one(edits):
        content = sound
        for edit in edits:
            content = edit.of(content)
        path.write_bytes(content)
        found = fuzz.fault(door, path)
        outcomes.add(found)
        assert not found

    try_one()
    assert "" in outcomes  # some are refused


# Files whose digests are right, but not what they hold.

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "mse", "auto", "pixels", "nan", "\x1b[2J", "x" * 100]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
ARRAYS = drawn_arrays.arrays(
    st.sampled_from(["f4", "f8", "i8", "u1", "?", "c16", "U3", "S2", "f2"]),
    drawn_arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)


def resealed(path, kind, data):
    """Change a saved file in one place, and save it with the digests of what it is now."""
    arrays, about = checkpoint.load(path, kind)
    if data.draw(st.booleans()):
        name = data.draw(st.sampled_from(sorted(arrays)))
        old = arrays[name]
        like_it = drawn_arrays.arrays(old.dtype, old.shape) if old.dtype.kind != "U" else ARRAYS
        arrays[name] = data.draw(ARRAYS | like_it)
    else:
        place = about
        if isinstance(about.get("params"), dict) and data.draw(st.booleans()):
            place = about["params"]
        name = data.draw(st.sampled_from(sorted(place)) | st.text(max_size=5))
        place[name] = data.draw(JSON)
    return arrays, about


def refused_or(found, path):
    """What `found` gives, or None if the file is refused as promised."""
    try:
        return found(path)
    except CheckpointError as error:
        told = str(error)
    assert "\n" not in told
    assert len(told) < fuzz.LONGEST
    return None


@fuzzed(150)
@given(st.data())
def test_a_model_that_is_taken_predicts(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "resealed-model.npz"
    fuzz.DOORS["model"].write(path)
    arrays, about = resealed(path, checkpoint.FORMAT, data)
    checkpoint.save(path, arrays, about)
    model = refused_or(SoftmaxRegression.load, path)
    if model is not None:
        P = model.predict_proba(fuzz.X)
        assert P.shape == (len(fuzz.X), len(model.classes_))
        assert np.isfinite(P).all()
        assert np.isin(model.predict(fuzz.X), model.classes_).all()
        model.save(path)


@pytest.mark.parametrize(("name", "kind"), [("surface", Surface), ("line", Line)])
def test_a_surface_or_line_that_is_taken_is_whole(name, kind, tmp_path):
    path = tmp_path / "resealed.npz"
    fuzz.DOORS[name].write(path)

    @fuzzed(100)
    @given(st.data())
    def try_one(data):
        changed = tmp_path / "changed.npz"
        changed.write_bytes(path.read_bytes())
        arrays, about = resealed(changed, kind.FORMAT, data)
        checkpoint.save(changed, arrays, about, kind.FORMAT)
        found = refused_or(kind.load, changed)
        if found is not None:
            found.save(changed)
            assert np.isfinite(found.loss).all()

    try_one()


def sweep(**keeping):
    model = SoftmaxSweep(
        {"learning_rate": [0.1, 1.0]},
        cv=2,
        epochs=3,
        batch_size=3,
        patience=2,
        random_state=0,
        backend="numpy",
    )
    return model.fit(fuzz.X, fuzz.Y, **keeping)


@pytest.mark.parametrize("fit", [fuzz._fitted, sweep])
def test_a_checkpoint_that_is_taken_trains_to_the_end(fit, tmp_path):
    (tmp_path / "sound").mkdir()
    fit(checkpoint=tmp_path / "sound", checkpoint_every=0)
    newest = max((tmp_path / "sound").glob("checkpoint-*"))
    sound = newest.read_bytes()
    folder = tmp_path / "changed"
    folder.mkdir()

    @fuzzed(150)
    @given(st.data())
    def try_one(data):
        for file in folder.iterdir():
            file.unlink()
        path = folder / "checkpoint-000001.npz"
        path.write_bytes(sound)
        arrays, about = resealed(path, store.FORMAT, data)
        checkpoint.save(path, arrays, about, store.FORMAT)

        def resumed(path):
            try:
                return fit(checkpoint=folder, checkpoint_every=1e9, resume=True)
            except FloatingPointError:  # weights beyond what is finite
                return None

        model = refused_or(resumed, path)
        if model is not None:
            best = getattr(model, "best_estimator_", model)
            assert best.coef_.shape == (2, 3)
            json.dumps(best.origin_)

    try_one()
