"""Pages to be turned: an explorer of one number, with buttons.

Rule of this file: it turns pages. What is on them is the function's business.

Keys: Tab reaches the buttons and the slider, Space presses a button, arrows move the slider.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import ipywidgets as widgets

from lbcore.show.explorer import Explorer

BUTTONS = (("First", -(10**9)), ("Back", -1), ("Next", 1), ("Last", 10**9))


class Stepper(Explorer):
    """The pages `draw(step=0)` to `draw(step=last)`; the saved page shows `start`."""

    def __init__(self, draw: Callable[..., Any], last: int, *, hint: str, start: int = 0) -> None:
        if not 0 <= start <= last:
            raise ValueError(f"start is {start}, wanted a step from 0 to {last}")
        slider = widgets.IntSlider(start, 0, last, layout={"width": "320px"})
        self.buttons = {name: widgets.Button(description=name, layout={"width": "70px"}) for name, _ in BUTTONS}
        for name, by in BUTTONS:
            self.buttons[name].on_click(partial(self._turn, by))
        super().__init__(draw, hint, True, {"step": slider})

    def _turn(self, by: int, _: Any) -> None:
        slider = self.controls["step"]
        slider.value = max(slider.min, min(slider.max, slider.value + by))

    def _box(self) -> Any:
        return widgets.VBox([widgets.HBox([*self.buttons.values(), self.controls["step"]]), self.view])
