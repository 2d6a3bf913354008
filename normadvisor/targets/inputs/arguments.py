"""Alternatives for each argument of a configured model's ``forward``, by the argument's name and the configuration."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from normadvisor.targets.inputs.configuration import Configuration
from normadvisor.targets.inputs.layers import BATCH, SEQUENCE
from normadvisor.targets.inputs.spec import TensorSpec, Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

__all__ = ["Arguments"]

SAMPLES = 16000
"""Samples of a sound: one second at the rate that speech models are trained at."""
FRAMES = 200
"""Frames of a spectrogram where the configuration leaves it open; unlike any usual number of mel bands."""
IDS = 100
"""Token ids stay below this, clear of the markers for images that stand at the end of a vocabulary."""

_FEATURES = (
    "num_mel_bins", "n_mels", "input_feat_per_channel", "feature_projection_input_dim", "input_feat_size", "mel_bins", "num_mels",
    "feature_size", "input_dim", "n_mel_channels", "audio_mel_bins", "input_channels", "mel_dim", "model_in_dim",
)  # fmt: skip


def _ids(shape: tuple[int, ...], high: int) -> TensorSpec:
    return TensorSpec(shape, "int64", high=max(1, high))


class Arguments:
    """Alternatives by argument name."""

    def __init__(self, model: nn.Module, names: frozenset[str]) -> None:
        self.config = Configuration(model.config)
        self.model = model
        self.names = names
        self.rules: tuple[tuple[str, Callable[[str], list[Value]]], ...] = (
            (r"spatial_shapes", lambda _: [self._per_image(4, 4)]),
            (r"target_sizes(_videos)?", self._target_sizes),
            (r"(image_|video_)?grid_thw|image_grid_hw|grid_hw", self._grid),
            (r"(image_|video_)?merge_sizes", lambda _: [TensorSpec((1,), "int64", values=(float(self._merge()),))]),
            (r"pixel_position_ids|image_position_ids", lambda _: [self._patch_positions()]),
            (r"hidden_states", self._hidden),
            (r".*pixel_values.*|image|images|flattened_patches", self._image),
            (r"(pixel|image|prompt)_(attention_)?masks?|bool_masked_pos", self._image_mask),
            (r"input_features|audio_mel|audio_features|audio_input_features|features", self._sound_features),
            (r"input_features_mask|feature_attention_mask|audio_mel_mask|features_mask", self._sound_mask),
            (r"(decoder_)?input_values|waveform|audio|audio_values", self._sound),
            (r"past_values|future_values", self._series),
            (r"past_observed_mask|observed_mask|past_values_padding", self._series_mask),
            (r"past_time_features|future_time_features", self._series_times),
            (r"states|actions|rewards|returns_to_go|timesteps", self._trajectory),
            (r"bbox|visual_bbox", lambda _: [_ids((BATCH, self._steps(), 4), 1)]),
            (r"visual_(feats|embeds|pos)", self._visual),
            (r"(query|noise|action)_embeds|(encoder|image|context)_hidden_states|(.*_)?inputs_embeds", self._states),
            (r"latents|audio_latents", self._latents),
            (r"(attention|input|decoder_attention|.*_attention)_mask", lambda _: [_ids((BATCH, self._steps()), 2)]),
            (r"input_boxes", lambda _: [TensorSpec((BATCH, 1, 4), values=(8.0, 8.0, 64.0, 64.0) * BATCH)]),
            (r"input_points", lambda _: [TensorSpec((BATCH, 1, 1, 2))]),
            (r"(.*_)?(input_ids|inputs|ids|codes)|input", self._tokens),
            (r"freq", lambda _: [_ids((BATCH, 1), 1)]),
            (r"labels", lambda _: [_ids((BATCH, self._steps()), 2)]),
        )

    def first(self, name: str) -> Value:
        """The likeliest value of an argument, ``None`` if nothing is known about it."""
        found = self.alternatives(name)
        return found[0] if found else None

    def alternatives(self, name: str) -> list[Value]:
        """Values to try for an argument, the likeliest first; a dict sets several arguments at once."""
        for pattern, rule in self.rules:
            if re.fullmatch(pattern, name):
                return rule(name)
        return []

    # text

    def _steps(self) -> int:
        """Tokens of a sequence: a model with a fixed factorised table of positions needs exactly that many."""
        axial = self.config.value("axial_pos_shape")
        if isinstance(axial, list | tuple) and self.config.value("axial_pos_embds"):
            return math.prod(axial)
        longest = self.config.text("max_position_embeddings", "n_positions", default=SEQUENCE)
        return min(SEQUENCE, longest)

    def _tokens(self, name: str) -> list[Value]:
        vocabulary = self.config.text("vocab_size", "n_words", default=IDS)
        ids = _ids((BATCH, self._steps()), min(vocabulary, IDS))
        books = self.config.number("num_codebooks", "num_code_books", "num_quantizers", "n_codebooks")
        alternatives: list[Value] = [ids]
        if name == "inputs":
            alternatives.insert(0, TensorSpec((BATCH, self._steps(), self.config.number("d_model", "hidden_size", default=64))))
        if books:
            shapes = ((BATCH, self._steps(), books), (BATCH, books, self._steps()), (BATCH * books, self._steps()))
            alternatives += [_ids(shape, min(vocabulary, IDS)) for shape in shapes]
        return alternatives

    def _states(self, name: str) -> list[Value]:
        width = self.config.number("hidden_size", "d_model", "n_embd", "dim", default=64)
        if name.startswith("encoder"):
            width = self.config.number("encoder_hidden_size", "cross_attention_hidden_size", default=width)
        steps = self.config.number("num_query_tokens", default=self._steps())
        return [TensorSpec((BATCH, steps if name == "query_embeds" else self._steps(), width))]

    # images and clips

    def _channels(self) -> int:
        return self.config.vision("num_channels", "in_channels", "in_chans", "image_channels", "input_channels", default=3)

    def _patch(self) -> int:
        return self.config.vision("patch_size", "image_patch_size", "model_patch_size", default=16)

    def _merge(self) -> int:
        return self.config.vision("spatial_merge_size", "merge_size", "window_kernel_size", default=1)

    def _side(self) -> int:
        """Patches along one side of a packed image: a multiple of what is merged."""
        return 4 * self._merge()

    def _packed(self) -> TensorSpec:
        """Patches of one image in rows, as models that take a grid want them."""
        time = self.config.vision("temporal_patch_size", default=1)
        return TensorSpec((self._side() ** 2, self._channels() * time * self._patch() ** 2))

    def _grid(self, name: str) -> list[Value]:
        side = float(self._side())
        if name.endswith("_hw"):
            return [TensorSpec((1, 2), "int64", values=(side, side))]
        return [TensorSpec((1, 3), "int64", values=(1.0, side, side))]

    def _per_image(self, height: int, width: int) -> TensorSpec:
        return TensorSpec((BATCH, 2), "int64", values=(float(height), float(width)) * BATCH)

    def _target_sizes(self, _: str) -> list[Value]:
        height, width = self.config.image_size()
        return [self._per_image(height // self._patch(), width // self._patch())]

    def _patch_positions(self) -> TensorSpec:
        side = self._side()
        cells = [(float(x), float(y)) for y in range(side) for x in range(side)]
        return TensorSpec((BATCH, side * side, 2), "int64", values=tuple(number for cell in cells for number in cell) * BATCH)

    def _hidden(self, name: str) -> list[Value]:
        return [self._packed()] if self._takes_grid() else self._states(name)

    def _takes_grid(self) -> bool:
        return bool(self.names & {"grid_thw", "image_grid_thw", "video_grid_thw", "grid_hw", "image_grid_hw"})

    def _image(self, name: str) -> list[Value]:
        height, width = self.config.image_size()
        channels = self._channels()
        picture = TensorSpec((BATCH, channels, height, width))
        frames = self._frames()
        clip = TensorSpec((BATCH, frames or 8, channels, height, width))
        alternatives: list[Value] = [picture, clip]
        if name.endswith("videos"):
            alternatives = [clip]
        elif frames and not self.config.anywhere("text_config"):
            alternatives = [clip, picture]
        if "spatial_shapes" in self.names:
            alternatives = [{name: TensorSpec((BATCH, 16, channels * self._patch() ** 2)), "spatial_shapes": self._per_image(4, 4)}]
        elif {"pixel_position_ids", "image_position_ids"} & self.names:
            alternatives.insert(0, TensorSpec((BATCH, self._side() ** 2, channels * self._patch() ** 2)))
        elif self._takes_grid():
            grid = next(key for key in ("grid_thw", "image_grid_thw", "video_grid_thw", "grid_hw", "image_grid_hw") if key in self.names)
            square = TensorSpec((self._side() ** 2, channels, self._patch(), self._patch()))
            alternatives[:0] = [{name: patches, grid: self._grid(grid)[0]} for patches in (self._packed(), square)]
        if name == "flattened_patches":
            alternatives = [TensorSpec((BATCH, self._side() ** 2, 2 + channels * self._patch() ** 2))]
        # Several images to a sample, images cut into tiles, pairs to be matched.
        return [*alternatives, *(TensorSpec((BATCH, *more, channels, height, width)) for more in ((1,), (1, 1), (2,)))]

    def _frames(self) -> int:
        return self.config.vision("num_frames", "frames_per_clip", "num_video_frames")

    def _image_mask(self, name: str) -> list[Value]:
        height, width = self.config.image_size()
        if name == "bool_masked_pos":
            return [TensorSpec((BATCH, (height // self._patch()) * (width // self._patch())), "bool")]
        if name.startswith("prompt"):
            return [TensorSpec((BATCH, self._channels(), height, width))]
        if "spatial_shapes" in self.names:
            return [_ids((BATCH, 16), 2)]
        return [TensorSpec((BATCH, height, width), "int64", values=None)]

    # sound

    def _mels(self) -> int:
        return self.config.audio(*_FEATURES, default=80)

    def _spectrogram_frames(self) -> int:
        positions = self.config.audio("max_source_positions")
        return 2 * positions if positions and positions <= 4096 else self.config.audio("max_length", "spec_size", default=FRAMES)

    def _sound_features(self, _: str) -> list[Value]:
        return list(self._spectrograms())

    def _spectrograms(self) -> list[TensorSpec]:
        mels, frames = self._mels(), self._spectrogram_frames()
        frames_last, features_last = TensorSpec((BATCH, mels, frames)), TensorSpec((BATCH, FRAMES, mels))
        if self.config.anywhere("spec_size"):
            return [TensorSpec((BATCH, 1, self.config.number("spec_size") * 4, mels)), frames_last]
        if self.config.anywhere("max_source_positions") and not self.config.anywhere("input_feat_per_channel"):
            return [frames_last, features_last]
        return [features_last, frames_last, TensorSpec((BATCH, 1, FRAMES, mels))]

    def _sound_mask(self, _: str) -> list[Value]:
        shape = self._spectrograms()[0].shape
        frames = shape[-1] if shape[-1] != self._mels() else shape[-2]
        return [TensorSpec((BATCH, frames), "bool"), _ids((BATCH, frames), 2)]

    def _sound(self, name: str) -> list[Value]:
        mels = self.config.audio(*_FEATURES)
        spectrogram: list[Value] = [TensorSpec((BATCH, self.config.number("max_length", default=FRAMES), mels))] if mels else []
        wave: list[Value] = [TensorSpec((BATCH, SAMPLES)), TensorSpec((BATCH, self.config.number("audio_channels", default=1), SAMPLES))]
        if name.startswith("decoder") or (spectrogram and not self.config.anywhere("conv_dim", "conv_kernel")):
            return [*spectrogram, *wave]
        if self.config.anywhere("codebook_size", "upsampling_ratios", "downsampling_ratios", "audio_channels"):
            wave.reverse()
        return [*wave, *spectrogram]

    def _latents(self, _: str) -> list[Value]:
        width = self.config.number("latent_dim", "latent_size", "vae_dim", "hidden_size", default=64)
        return [TensorSpec((BATCH, width, SEQUENCE)), TensorSpec((BATCH, SEQUENCE, width))]

    # series and trajectories

    def _past(self) -> int:
        lags = self.config.value("lags_sequence")
        return self.config.number("context_length", default=64) + (max(lags) if isinstance(lags, list | tuple) and lags else 0)

    def _series(self, _: str) -> list[Value]:
        return list(self._tables())

    def _tables(self) -> list[TensorSpec]:
        inputs = self.config.number("num_input_channels", "input_size", default=1)
        table, row = TensorSpec((BATCH, self._past(), inputs)), TensorSpec((BATCH, self._past()))
        return [table, row] if self.config.has("num_input_channels") or inputs > 1 else [row, table]

    def _series_mask(self, name: str) -> list[Value]:
        return [TensorSpec(self._tables()[0].shape, "float32" if name != "past_values_padding" else "int64")]

    def _series_times(self, name: str) -> list[Value]:
        steps = self._past() if name.startswith("past") else self.config.number("prediction_length", default=1)
        features = self.config.number("num_time_features", default=1)
        return [TensorSpec((BATCH, steps, features))]

    def _trajectory(self, name: str) -> list[Value]:
        if name == "timesteps":
            return [_ids((BATCH, SEQUENCE), SEQUENCE)]
        widths = {"states": self.config.number("state_dim", default=8), "actions": self.config.number("act_dim", "action_dim", default=4)}
        return [TensorSpec((BATCH, SEQUENCE, widths.get(name, 1)))]

    def _visual(self, name: str) -> list[Value]:
        position, features = self.config.number("visual_pos_dim", default=4), self.config.number("visual_feat_dim", "visual_embedding_dim")
        return [TensorSpec((BATCH, SEQUENCE, position if name.endswith("pos") else features or 64))]
