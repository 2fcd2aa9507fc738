"""Known answers of each lab, right ones and wrong ones: what the tests of the checkers are made of."""

from collections.abc import Callable
from typing import Any, TypeVar

Answer = TypeVar("Answer")


class Answers:
    """The known answers of one lab: right ones by exercise, wrong ones with the key of the hint each must get."""

    def __init__(self) -> None:
        self.RIGHT: dict[str, list[Any]] = {}
        self.WRONG: dict[str, list[tuple[Any, str]]] = {}

    def right(self, exercise: str) -> Callable[[Answer], Answer]:
        """Register an answer that must pass."""

        def register(answer: Answer) -> Answer:
            self.RIGHT.setdefault(exercise, []).append(answer)
            return answer

        return register

    def wrong(self, exercise: str, key: str) -> Callable[[Answer], Answer]:
        """Register a mistake."""

        def register(answer: Answer) -> Answer:
            self.WRONG.setdefault(exercise, []).append((answer, key))
            return answer

        return register
