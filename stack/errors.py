"""What can go wrong while bringing the stack up, each with one sentence for a person.

StackError
├── MissingProgram      a program is not installed
├── PortTaken           a port that was asked for is in use
├── PortRefused         this machine lets nobody, or not us, listen there
├── DataFolderUnusable  no rights, not a folder, read-only, or full
├── AlreadyRunning      another supervisor owns the data folder
└── StartFailed         a process ended, or did not answer in time
"""


class StackError(Exception):
    """The message is shown as it is, without a stack trace."""


class MissingProgram(StackError):
    """`program` is not installed; `command` brings it."""

    def __init__(self, program: str, command: str) -> None:
        super().__init__(f"{program} is not installed. Install it with: {command}")
        self.program = program


class PortTaken(StackError):
    """The port that was asked for by number is in use by another process."""

    def __init__(self, name: str, port: int, hint: str) -> None:
        super().__init__(f"Port {port} for {name} is in use by another program. {hint}")
        self.port = port


class PortRefused(StackError):
    """No listener may bind there, for another reason than that somebody else has it."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"Nothing can listen on port {port} of {host}: {reason}.")


class AlreadyRunning(StackError):
    """Another supervisor holds the lock of this data folder."""


class DataFolderUnusable(StackError):
    """The data folder cannot hold data."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(
            f"The data folder {where} cannot be used: {reason}. Choose another with "
            "SCOREBOARD_DATA_DIR, or repair this one."
        )


class StartFailed(StackError):
    """A process ended early or never answered; `log_tail` holds its last lines."""

    def __init__(self, sentence: str, log_tail: str = "") -> None:
        super().__init__(f"{sentence}\n{log_tail}".rstrip())
        self.log_tail = log_tail
