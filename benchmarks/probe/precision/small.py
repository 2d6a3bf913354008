"""Models of transformers in small, by name and configuration: targets of the benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

__all__ = ["SMALL", "build"]

_ENCODER: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 200,
}  # fmt: skip
_GROUPED = {**_ENCODER, "num_key_value_heads": 2}
_VISION: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
_STAGES: dict[str, Any] = {"hidden_sizes": [8, 16, 16, 32], "depths": [1, 1, 1, 1]}
_TWO_SIDES: dict[str, Any] = {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
}  # fmt: skip
_SPEECH: dict[str, Any] = {
    **_VISION, "conv_dim": [16] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2, "vocab_size": 32,
}  # fmt: skip
_SHORT_GPT: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 200}

SMALL: dict[str, dict[str, Any]] = {
    "AlbertForMaskedLM": {**_ENCODER, "embedding_size": 16},
    "ASTForAudioClassification": {**_VISION, "max_length": 128, "num_mel_bins": 32},
    "BartForConditionalGeneration": {**_TWO_SIDES, "vocab_size": 200, "max_position_embeddings": 64},
    "BertForMaskedLM": _ENCODER,
    "BertForSequenceClassification": _ENCODER,
    "BertModel": _ENCODER,
    "BigBirdForSequenceClassification": _ENCODER,
    "BloomForCausalLM": {"hidden_size": 32, "n_layer": 2, "n_head": 2, "vocab_size": 200},
    "CLIPVisionModel": _VISION,
    "ConvNextForImageClassification": _STAGES,
    "DebertaV2ForTokenClassification": _ENCODER,
    "DecisionTransformerModel": {"hidden_size": 32, "n_layer": 2, "n_head": 2},
    "DistilBertForSequenceClassification": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "vocab_size": 200},
    "DPTForDepthEstimation": {
        **_VISION, "num_hidden_layers": 4, "backbone_out_indices": [0, 1, 2, 3], "neck_hidden_sizes": [8, 8, 16, 16],
        "fusion_hidden_size": 16,
    },
    "ElectraForPreTraining": {**_ENCODER, "embedding_size": 16},
    "FalconForCausalLM": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 200},
    "FNetForSequenceClassification": _ENCODER,
    "GemmaForCausalLM": {**_GROUPED, "head_dim": 16},
    "GPT2LMHeadModel": _SHORT_GPT,
    "GPT2ForSequenceClassification": {**_SHORT_GPT, "pad_token_id": 0},
    "GPTNeoXForCausalLM": _ENCODER,
    "HubertForCTC": _SPEECH,
    "LayoutLMForTokenClassification": _ENCODER,
    "LlamaForCausalLM": _GROUPED,
    "LongformerForSequenceClassification": {**_ENCODER, "attention_window": 4},
    "MambaForCausalLM": {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 200, "state_size": 4},
    "MistralForCausalLM": _GROUPED,
    "MixtralForCausalLM": {**_GROUPED, "num_local_experts": 4},
    "MobileNetV2ForImageClassification": {"depth_multiplier": 0.35},
    "OPTForCausalLM": {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 64, "vocab_size": 200, "word_embed_proj_dim": 32,
    },
    "PerceiverForSequenceClassification": {
        "num_latents": 8, "d_latents": 32, "d_model": 32, "num_blocks": 1, "num_self_attends_per_block": 1,
        "num_self_attention_heads": 2, "num_cross_attention_heads": 2, "vocab_size": 200,
    },
    "PhiForCausalLM": _ENCODER,
    "Qwen2ForCausalLM": _GROUPED,
    "RegNetForImageClassification": {"embedding_size": 8, **_STAGES},
    "ResNetForImageClassification": {"embedding_size": 8, **_STAGES},
    "RobertaForMaskedLM": _ENCODER,
    "RwkvForCausalLM": {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 200, "context_length": 32},
    "SegformerForSemanticSegmentation": {**_STAGES, "num_attention_heads": [1, 2, 2, 4], "decoder_hidden_size": 16},
    "SqueezeBertForSequenceClassification": {**_ENCODER, "embedding_size": 32},
    "SwinForImageClassification": {"embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2]},
    "T5ForConditionalGeneration": {"d_model": 32, "d_ff": 64, "d_kv": 16, "num_layers": 2, "num_heads": 2, "vocab_size": 200},
    "TimeSeriesTransformerForPrediction": {
        "prediction_length": 6, "context_length": 12, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16,
        "decoder_ffn_dim": 16, "lags_sequence": [1, 2],
    },
    "VideoMAEForVideoClassification": {**_VISION, "image_size": 64},
    "ViTForImageClassification": _VISION,
    "ViTMAEForPreTraining": {
        **_VISION, "decoder_hidden_size": 16, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2,
        "decoder_intermediate_size": 32,
    },
    "Wav2Vec2ForCTC": _SPEECH,
    "WhisperForConditionalGeneration": {**_TWO_SIDES, "max_source_positions": 100},
    "XLNetForSequenceClassification": {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 64, "vocab_size": 200},
    "YolosForObjectDetection": {**_VISION, "image_size": [64, 64], "num_detection_tokens": 5},
}  # fmt: skip
"""Configuration by class; what it leaves out is as transformers has it."""


def build(name: str) -> nn.Module:
    """A model of transformers with the configuration of :data:`SMALL`."""
    import transformers  # noqa: PLC0415 - only the family asked for is imported

    made = getattr(transformers, name)
    model: nn.Module = made(made.config_class(**SMALL[name]))
    return model
