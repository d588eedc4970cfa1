"""From what the headers of files say to the shape that predictions are made from."""

from orchestrator.fit.config_shape import shape_from_config
from orchestrator.fit.gguf_shape import shape_from_gguf
from orchestrator.fit.shape import ModelShape
from orchestrator.models.headers import Headers

_PACKED = {"U8", "I32", "F4", "F8_E8M0"}
"""Element types of safetensors that hold several weights, or none."""


def shape_of(headers: Headers) -> ModelShape:
    """The shape of a model. Never raises: what makes no sense becomes a doubt."""
    if headers.format == "gguf":
        return shape_from_gguf(headers.metadata, headers.tensors)
    packed = any(tensor.kind in _PACKED for tensor in headers.tensors)
    parameters = 0 if packed else sum(tensor.elements for tensor in headers.tensors)
    return shape_from_config(headers.config, headers.tensor_bytes, parameters=parameters)
