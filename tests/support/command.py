"""The command `softstep`, called within the test's own process."""

from softstep import cli


def softstep(capsys, *arguments):
    """Exit code, standard output, standard error."""
    code = cli.main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err
