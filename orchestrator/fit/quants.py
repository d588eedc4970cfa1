"""The shape of a model whose header was read in another quantization."""

from dataclasses import replace

from orchestrator.fit.shape import ModelShape


def scaled(shape: ModelShape, weights_bytes: int) -> ModelShape:
    """The same model with weights of another size in all, each part of them in proportion.

    Quantizations differ a little in which parts they spare, so this is right for the whole and some percent off for a
    part.
    """
    whole = max(1, shape.weights_bytes)

    def part(size: int) -> int:
        return size * max(0, weights_bytes) // whole

    return replace(
        shape,
        layers=tuple(replace(layer, weights_bytes=part(layer.weights_bytes)) for layer in shape.layers),
        embedding_bytes=part(shape.embedding_bytes),
        output_bytes=part(shape.output_bytes),
        other_bytes=part(shape.other_bytes),
        draft_bytes=part(shape.draft_bytes),
        padding_bytes=part(shape.padding_bytes),
    )
