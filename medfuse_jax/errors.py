"""The one error that a user's mistake raises."""


class MedFuseError(ValueError):
    """Bad input, said in one line: which file or key, what is wrong with it, and the cure.

    Commands print the line on stderr and exit with code 2; the Python face raises it as it is.
    """

    def __init__(self, message: str):
        shown = str(message).encode("utf-8", "backslashreplace").decode()       # a path may hold what is no text
        super().__init__(" ".join(shown.split()))
