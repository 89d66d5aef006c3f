"""The one error that a user's mistake raises."""


class MedFuseError(ValueError):
    """Bad input, said in one line: which file or key, what is wrong with it, and the cure.

    Commands print the line on stderr and exit with code 2; the Python face raises it as it is.
    """

    def __init__(self, message: str):
        super().__init__(" ".join(str(message).split()))
