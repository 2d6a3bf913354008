"""Leads through the questions: shows views, reads answers, lets fixes be tried."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeAlias

from rich.text import Text

from normadvisor.cli.interactive.keys import RESIZED, Keys
from normadvisor.cli.interactive.screen import Screen
from normadvisor.cli.interactive.session import (
    Checking,
    Event,
    Explained,
    Explanation,
    Finished,
    Item,
    Menu,
    Pressed,
    Question,
    Session,
    Verified,
    View,
)
from normadvisor.cli.interactive.views import Painter

__all__ = ["Dialog", "Verify"]

Verify: TypeAlias = Callable[[Checking, Callable[[str], None]], Verified]
"""Tries picks together, telling what it is at."""

_MORE = frozenset({" ", "\r", "\n", "f", "j"})
"""Keys that turn the page."""


class Dialog:
    """One session with a user.

    Args:
        screen: where questions are drawn.
        keys: where answers come from.
        painter: draws the views; its width is replaced by that of the screen.
        verify: tries picks.

    """

    def __init__(self, screen: Screen, keys: Keys, painter: Painter, verify: Verify) -> None:
        self._screen = screen
        self._keys = keys
        self._painter = painter
        self._verify = verify

    def run(self, items: Iterable[Item]) -> Finished:
        """Ask until all is decided or the user ends it.

        Raises:
            KeyboardInterrupt: Ctrl-C, at a question or while fixes are tried.

        """
        session = Session(items)
        view = session.view
        try:
            while not isinstance(view, Finished):
                view = session.handle(self._event(view))
        except KeyboardInterrupt:
            self._screen.write("\n")  # off the line of the prompt
            raise
        self._screen.show([*self._paint().finished(view), Text()])
        return view

    def _paint(self) -> Painter:
        return self._painter.at_width(self._screen.options.width)

    def _event(self, view: View) -> Event:
        match view:
            case Question() | Menu():
                return Pressed(self._ask(view))
            case Explanation(rule):
                self._screen.write("\n")
                self._screen.pages(self._paint().explanation(rule), self._goes_on)
                return Explained()
            case Checking(new=new):
                words = "checking the fix" if len(new) == 1 else f"checking {len(new)} fixes"
                with self._screen.busy(words) as tell:
                    found = self._verify(view, tell)
                self._keys.drop()
                return found
            case _:
                raise AssertionError(view)

    def _ask(self, view: Question | Menu) -> str:
        """Draw a question until it is answered; anew whenever the terminal has changed."""
        while True:
            painter = self._paint()
            self._screen.show(painter.question(view) if isinstance(view, Question) else painter.menu(view), prompt=True)
            key = self._keys.next()
            if key is not RESIZED:
                break
            self._screen.clear()
            if view.again:
                view = replace(view, again=False, notices=())
        if not self._keys.echoes:
            self._screen.write((key if key.isprintable() else "") + "\n")
        return key

    def _goes_on(self) -> bool:
        while (key := self._keys.next()) is RESIZED:
            pass
        return key in _MORE
