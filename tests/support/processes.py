"""Commands in processes of their own."""

import subprocess


def run(*command, **keywords):
    """Standard output of a command that succeeds."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, **keywords
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
