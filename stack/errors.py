"""What can go wrong while bringing the stack up, each with one sentence for a person.

StackError
├── MissingProgram      a program is not installed
├── PortTaken           a port that was asked for is in use
├── AlreadyRunning      another supervisor owns the data folder
└── StartFailed         a process ended, or did not answer in time
"""


class StackError(Exception):
    """The message is shown as it is, without a stack trace."""


class MissingProgram(StackError):
    """`program` is not installed; `packages` are the Debian packages that bring it."""

    def __init__(self, program: str, packages: tuple[str, ...]) -> None:
        super().__init__(
            f"{program} is not installed. Install it with: apt-get install {' '.join(packages)}"
        )
        self.program = program
        self.packages = packages


class PortTaken(StackError):
    """The port that was asked for by number is in use by another process."""

    def __init__(self, name: str, port: int, hint: str) -> None:
        super().__init__(f"Port {port} for {name} is in use by another program. {hint}")
        self.port = port


class AlreadyRunning(StackError):
    """Another supervisor holds the lock of this data folder."""


class StartFailed(StackError):
    """A process ended early or never answered; `log_tail` holds its last lines."""

    def __init__(self, sentence: str, log_tail: str = "") -> None:
        super().__init__(f"{sentence}\n{log_tail}".rstrip())
        self.log_tail = log_tail
