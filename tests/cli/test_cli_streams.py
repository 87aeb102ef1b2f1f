"""Promise: nothing that a file holds acts on the terminal, and a label takes one line."""

import sys

import numpy as np
import pytest

from softstep.cli.main import main
from softstep.runs import streams

CLEAR = "\x1b[2J"
NASTY = [f"a{CLEAR}", "b\nb", "\rc", "d\x9b2J"]


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(40) % 4
    X = rng.normal(size=(40, 4)) + 4 * np.eye(4)[y]
    data, rows = tmp_path / "data.npz", tmp_path / "rows.npy"
    np.savez(data, X=X, y=np.array(NASTY)[y])
    np.save(rows, X[:4])
    model = tmp_path / "m.npz"
    assert main(["train", str(data), "--epochs", "30", "--out", str(model)]) == 0
    return model, rows, data


def test_labels_come_out_one_in_a_line_without_control_characters(files, capsys):
    model, rows, _ = files
    capsys.readouterr()
    assert main(["predict", str(model), str(rows)]) == 0
    out = capsys.readouterr().out
    assert out.splitlines() == [r"a\x1b[2J", r"b\x0ab", r"\x0dc", r"d\x9b2J"]


@pytest.mark.parametrize("command", ["explain", "train"])
def test_commands_that_print_names_print_no_control_characters(command, files, tmp_path, capsys):
    _, _, data = files
    more = ["--out", str(tmp_path / "n.npz")] if command == "train" else []
    main([command, str(data), *more])
    said = "".join(capsys.readouterr())
    assert said
    assert not [c for c in said if ord(c) in streams.OF_A_TEXT]


def test_the_name_of_a_file_in_an_error_is_printable(tmp_path, capsys):
    assert main(["train", str(tmp_path / f"no{CLEAR}.csv")]) == 2
    err = capsys.readouterr().err
    assert r"no\x1b[2J.csv" in err
    assert "\x1b" not in err


def test_a_progress_may_return_to_the_start_of_its_line(capsys):
    with streams.printable():
        print("\r[##] a\rb", end="")
    assert capsys.readouterr().out == "\r[##] a\\x0db"


@pytest.mark.parametrize("arguments", [("train", "a.csv"), (), ("train", "--loss")])
def test_arguments_that_are_refused_are_printable(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*arguments, f"x{CLEAR}"])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert r"x\x1b[2J" in err
    assert "\x1b" not in err


def test_lines_that_are_written_at_once_are_printable_too(capsys):
    with streams.printable():
        sys.stdout.writelines([f"a{CLEAR}\n", "b\n"])
    assert capsys.readouterr().out == "a\\x1b[2J\nb\n"
