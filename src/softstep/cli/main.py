"""The `softstep` command from its first moment: signals are handled before much is imported."""

from softstep.runs import interrupts, streams


def main(argv: list[str] | None = None) -> int:
    """Run a command. The exit code: 0 done, 1 a check failed, 2 bad input, 130 interrupted, 141 the
    reader of the output is gone, 143 terminated."""
    with interrupts.at_once():
        from softstep.cli import commands
    try:
        with interrupts.as_exceptions():
            return commands.run(argv)
    except KeyboardInterrupt:
        streams.say_at_last("\nsoftstep: interrupted")
        return 130
    except interrupts.Terminated:
        streams.say_at_last("\nsoftstep: terminated")
        return 143
