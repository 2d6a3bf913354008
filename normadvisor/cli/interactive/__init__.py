"""Findings one by one: code, reason, evidence and diff, and a key that says what to do."""

from __future__ import annotations

from normadvisor.cli.interactive.dialog import Dialog, Verify
from normadvisor.cli.interactive.keys import open_keys
from normadvisor.cli.interactive.screen import Screen, dialogue_stream
from normadvisor.cli.interactive.session import Checking, Finished, Item, Pick, Verified
from normadvisor.cli.interactive.views import Painter

__all__ = ["Checking", "Dialog", "Finished", "Item", "Painter", "Pick", "Screen", "Verified", "Verify", "dialogue_stream", "open_keys"]
