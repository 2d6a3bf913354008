"""Conversions of BatchNorm to other norms: whole models or chosen layers, live or as operations for the source."""

from normadvisor.rewrite.convert.followed import with_activation
from normadvisor.rewrite.convert.frozen import FrozenBatchNorm
from normadvisor.rewrite.convert.live import ConversionResult, Converted, convert_norms
from normadvisor.rewrite.convert.operations import conversion_operations

__all__ = ["ConversionResult", "Converted", "FrozenBatchNorm", "conversion_operations", "convert_norms", "with_activation"]
