"""Event files as TensorBoard reads them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from normadvisor.errors import UsageError
from normadvisor.report.logs.names import clean_name, curves_of, said
from normadvisor.report.logs.step import StepNumbers
from normadvisor.types import Finding

__all__ = ["EventFiles"]


class EventFiles:
    """A file in ``folder``; the numbers of a model that has a name go into a folder of that name below it."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._writers: dict[str, EventFileWriter] = {}

    def write(self, numbers: StepNumbers) -> None:
        """Add one point to each curve, and what rules said, as text.

        Raises:
            UsageError: the folder cannot be written.

        """
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in curves_of(numbers)]
        if numbers.findings:
            values.append(_text("findings", numbers.findings))
        if not values:
            return
        try:
            writer = self._writer(numbers.model)
            writer.add_event(Event(step=numbers.step, wall_time=time.time(), summary=Summary(value=values)))
            writer.flush()
        except OSError as error:
            raise UsageError(f"cannot write to '{self._folder}': {error.strerror or error}") from error

    def close(self) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()

    def _writer(self, model: str) -> EventFileWriter:
        if model not in self._writers:
            name = re.sub(r"[/\s]+", "_", clean_name(model))
            self._writers[model] = EventFileWriter(f"{self._folder.rstrip('/')}/{name}" if name else self._folder)
        return self._writers[model]


def _text(tag: str, findings: Iterable[Finding]) -> Summary.Value:
    """A value for the tab TEXT, made as torch's SummaryWriter makes it."""
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    text = "\n".join(f"* {said(finding)}" for finding in findings)
    return Summary.Value(tag=tag, metadata=metadata, tensor=TensorProto(dtype=DT_STRING, string_val=[text.encode()], tensor_shape=shape))
