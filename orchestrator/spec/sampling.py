"""How text is sampled: one block that becomes Ollama's PARAMETERs and vLLM's generation_config.json."""

from typing import Annotated

from pydantic import Field, Strict

from orchestrator.spec.fields import Count, Section, Text

StopWord = Annotated[Text, Field(min_length=1)]


class Sampling(Section):
    """Sampling defaults of the served model; a request may override each. None leaves it to the engine.

    The numbers are those of the worked example's generation_config. It has two temperatures, 0.5 in the Modelfile and
    0.0 in generation_config; one block must become both, and 0.5 is taken: a temperature of 0 repeats itself on
    long stories. ``max_tokens`` guards against runaway output of clients that send no limit (DESIGN 5.17).
    """

    temperature: Annotated[float, Strict(), Field(ge=0, le=2)] | None = Field(
        default=0.5, description="Randomness; 0 always takes the likeliest token.", examples=[0.5]
    )
    top_p: Annotated[float, Strict(), Field(gt=0, le=1)] | None = Field(
        default=0.8, description="Keep the likeliest tokens up to this sum of probabilities.", examples=[0.8]
    )
    top_k: Annotated[int, Strict(), Field(ge=0, le=1_000_000)] | None = Field(
        default=20, description="Keep this many of the likeliest tokens; 0 keeps all.", examples=[20]
    )
    min_p: Annotated[float, Strict(), Field(ge=0, le=1)] | None = Field(
        default=None, description="Drop tokens less likely than this share of the likeliest one.", examples=[0.05]
    )
    repetition_penalty: Annotated[float, Strict(), Field(gt=0, le=10)] | None = Field(
        default=1.05,
        description="Penalty on tokens that already occurred; 1 is none (Ollama's repeat_penalty).",
        examples=[1.05],
    )
    presence_penalty: Annotated[float, Strict(), Field(ge=-2, le=2)] | None = Field(
        default=None, description="Penalty on tokens that occurred at all.", examples=[0.0]
    )
    frequency_penalty: Annotated[float, Strict(), Field(ge=-2, le=2)] | None = Field(
        default=None, description="Penalty on tokens by how often they occurred.", examples=[0.0]
    )
    seed: Annotated[int, Strict(), Field(ge=0, le=2**31 - 1)] | None = Field(
        default=None, description="Start of the random numbers, for repeatable answers.", examples=[42]
    )
    max_tokens: Count | None = Field(
        default=4096,
        description="Most tokens of one answer when a request sets no limit (num_predict). Ollama only: at vLLM it "
        "would cap every request.",
        examples=[4096],
    )
    stop: tuple[StopWord, ...] = Field(
        default=(), description="Texts that end an answer where they occur.", examples=[["<|im_end|>"]]
    )
