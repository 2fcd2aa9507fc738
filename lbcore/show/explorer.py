"""A function of a few parameters, redrawn as the reader moves them.

Rule of this file: the widget and its static twin are drawn by the same function, and both say what to try.

Trap. An exception in a widget's callback vanishes into the server's log. Here it is written where the picture was,
and raised as well, so that the page's tests fail too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from html import escape
from typing import Any

import ipywidgets as widgets

from lbcore.show.style import VERMILION
from lbcore.show.twin import bundle, note, rendering


def slider_over(control: Any, default: Any) -> Any:
    """A slider that stops at each number of a list; None for anything else. (Of names, ipywidgets makes a menu.)"""
    if not isinstance(control, list) or {type(choice) for choice in control} not in ({int}, {float}):
        return None
    return widgets.SelectionSlider(options=control, value=default if default in control else control[0])


class Explorer:
    """`controls` by parameter name and the `view` (an HTML widget) that shows the function's result."""

    def __init__(self, function: Callable[..., Any], hint: str, continuous: bool, controls: dict[str, Any]) -> None:
        if not hint.strip():
            raise ValueError("hint is empty, wanted what the reader should try, e.g. 'take one backend away'")
        if not controls:
            raise ValueError("there are no controls, wanted at least one, e.g. backends=(2, 20)")
        self.function, self.hint = function, hint
        parameters = inspect.signature(function).parameters
        self.controls = {}
        for name, control in controls.items():
            default = parameters[name].default if name in parameters else inspect.Parameter.empty
            made = slider_over(control, default) or widgets.interactive.widget_from_abbrev(control, default)
            if made is None:
                raise ValueError(
                    f"control {name!r} is {control!r}, wanted (low, high[, step]), a list, a bool or a widget"
                )
            made.description = made.description or name.replace("_", " ")
            made.style = {"description_width": "initial"}
            if hasattr(made, "continuous_update"):
                made.continuous_update = continuous
            made.observe(self._moved, names="value")
            self.controls[name] = made
        self._start = self.values()
        self._twin, self._metadata, drawn = rendering(function(**self._start))
        self.view = widgets.HTML(drawn)

    def values(self) -> dict[str, Any]:
        """What the controls say now."""
        return {name: control.value for name, control in self.controls.items()}

    def _moved(self, _: Any) -> None:
        try:
            self.view.value = rendering(self.function(**self.values()))[2]
        except Exception as error:
            self.view.value = note(f"{type(error).__name__}: {error}", VERMILION)
            raise

    def _ipython_display_(self) -> None:
        from IPython.display import display

        words = f"Try: {self.hint}"
        display({"text/html": f"<p><i>{escape(words)}</i></p>", "text/plain": words}, raw=True)
        data, metadata = bundle(self._box(), {**self._twin, "text/plain": repr(self)}, self._metadata)
        display(data, metadata=metadata, raw=True)

    def _box(self) -> Any:
        return widgets.VBox([*self.controls.values(), self.view])

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self._start.items())
        return f"with {settings}:\n{self._twin['text/plain']}"


def explore(function: Callable[..., Any], *, hint: str, continuous: bool = False, **controls: Any) -> Explorer:
    """Controls for the parameters of `function`, which is called again whenever one moves.

    `function` returns what `show.finish` gives, an HTML string or an object with `_repr_html_`. A control is
    (low, high), (low, high, step), a list of numbers or of names, a bool, or any ipywidget; the parameter's default in
    the function's signature is where it starts. `hint` tells the reader what to try. `continuous` redraws while a
    slider is dragged, for functions that are quick. The saved page shows the drawing for the starting values.

    ValueError names a control that cannot be made; TypeError a result that cannot be shown.
    """
    return Explorer(function, hint, continuous, controls)
