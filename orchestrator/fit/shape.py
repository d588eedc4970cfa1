"""What of a model decides how much memory it takes: the values that readers of headers fill and predictors read.

Counts are elements or tokens, sizes are bytes, and names say which. All of it comes from files of strangers: the
readers in ``gguf_shape`` and ``config_shape`` bring every number within bounds and put down as a doubt what they had
to guess, and a prediction with doubts is an estimate, never a firm yes.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

MOST_LAYERS = 1024
"""More than any model has; llama.cpp itself stops at 512."""
MOST = 1 << 40
"""No count of a model is larger, in whatever unit."""


@dataclass(frozen=True)
class Layer:
    """One block of a model.

    ``kv_heads`` is 0 where it keeps no cache per token; ``key_length`` and ``value_length`` are elements per head (MLA:
    one head, and no values). ``window`` is in tokens, 0 for the whole context. A recurrent layer keeps per request
    ``conv_elements`` and ``state_elements`` instead. ``feed_forward`` is the width of its dense part, or of one expert
    where ``expert``. ``weights_bytes`` is its share of the file.
    """

    kv_heads: int = 0
    heads: int = 0
    key_length: int = 0
    value_length: int = 0
    window: int = 0
    conv_elements: int = 0
    state_elements: int = 0
    feed_forward: int = 0
    expert: bool = False
    weights_bytes: int = 0

    @property
    def recurrent(self) -> bool:
        """Whether it keeps a state of fixed size per request."""
        return self.conv_elements + self.state_elements > 0


@dataclass(frozen=True)
class ModelShape:
    """A model as the predictors see it.

    Of the weights, ``layers`` hold their own, ``embedding_bytes`` is the table that llama.cpp leaves in main memory
    (with tables per layer), ``output_bytes`` the output matrix (0 when ``tied``: then the embedding serves twice),
    ``other_bytes`` the rest, ``draft_bytes`` layers of multi-token prediction, ``projector_bytes`` a vision projector
    in a file of its own. ``padding_bytes`` is what vLLM adds to a GGUF whose stacked matrices differ in type.
    ``latent_elements`` is the MLA row of a layer (0: none), also where the file still lists whole heads.
    ``quantized`` says that weights have fewer than 16 bits; ``kv_cache_dtype`` is what the checkpoint asks for, empty
    for that of its weights. ``doubts`` say why a prediction is only an estimate.
    """

    architecture: str
    source: Literal["gguf", "config"]
    layers: tuple[Layer, ...] = field(repr=False)
    hidden: int
    vocabulary: int
    training_context: int
    embedding_bytes: int
    output_bytes: int
    other_bytes: int
    parameters: int = 0
    tied: bool = False
    draft_bytes: int = 0
    draft_layers: int = 0
    projector_bytes: int = 0
    padding_bytes: int = 0
    latent_elements: int = 0
    experts: int = 0
    experts_used: int = 0
    rope_tables: int = 1
    quantized: bool = False
    kv_cache_dtype: str = ""
    doubts: tuple[str, ...] = ()

    @property
    def certain(self) -> bool:
        """Whether a prediction may be a firm yes."""
        return not self.doubts

    @property
    def weights_bytes(self) -> int:
        """Everything the model's own files hold, without a projector from another file."""
        layers = sum(layer.weights_bytes for layer in self.layers)
        return layers + self.embedding_bytes + self.output_bytes + self.other_bytes + self.draft_bytes

    @property
    def bits_per_weight(self) -> float:
        """How much a parameter takes on average; 0 when the number of parameters is not known."""
        return self.weights_bytes * 8 / self.parameters if self.parameters else 0.0

    @property
    def attention(self) -> tuple[Layer, ...]:
        """The layers that keep a cache per token."""
        return tuple(layer for layer in self.layers if layer.kv_heads > 0)

    @property
    def recurrent(self) -> tuple[Layer, ...]:
        """The layers that keep a state per request."""
        return tuple(layer for layer in self.layers if layer.recurrent)

    @property
    def moe(self) -> bool:
        """Whether tokens are sent to a few of many experts."""
        return self.experts > 0

    def doubting(self, *reasons: str) -> "ModelShape":
        """The same with further reasons why a prediction is only an estimate."""
        return replace(self, doubts=tuple(dict.fromkeys((*self.doubts, *reasons))))
