"""How work reports on itself while it runs: one object that is handed down, not a callback for each purpose."""


class Listener:
    """Is called while work runs. This class does nothing: a program overrides the methods that it wants to hear.

    The methods may be called from any thread that works. They have to return quickly.
    """

    def step(self, name: str) -> None:
        """Hear that a step begins.

        Args:
            name: the step's name, such as `clone`. Reports use the same names for their milliseconds.
        """

    def note(self, text: str) -> None:
        """Hear what a person may want to know meanwhile.

        Args:
            text: one sentence, without a line end.
        """

    def progress(self, what: str, done: int, total: int | None = None) -> None:
        """Hear how much is done.

        Args:
            what: what is counted, in the plural: `photos`, `faces`, `rows`.
            done: how many are done.
            total: how many there are; None while nobody knows.
        """


#: For callers that want to hear nothing.
SILENT = Listener()
