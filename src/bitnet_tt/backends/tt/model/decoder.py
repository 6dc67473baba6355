"""The decoder: the embedding and the layers of a card, for the rows of one step."""

from __future__ import annotations

from dataclasses import dataclass

import ttnn

from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.model.attention import Attention, Step
from bitnet_tt.backends.tt.model.gather import Gather
from bitnet_tt.backends.tt.model.mlp import MLP
from bitnet_tt.backends.tt.model.turns import Part
from bitnet_tt.backends.tt.ops.common.angles import Angles
from bitnet_tt.backends.tt.ops.common.link import Link
from bitnet_tt.backends.tt.ops.common.rows import IntegerProduct
from bitnet_tt.backends.tt.ops.common.strips import Strips
from bitnet_tt.backends.tt.ops.embed.op import embed
from bitnet_tt.backends.tt.ops.handoff.op import receive, send
from bitnet_tt.backends.tt.ops.norm_quantize.op import Norm, add, add_and_normalize, normalize
from bitnet_tt.backends.tt.planning.plan import Plan
from bitnet_tt.backends.tt.planning.shares import Share
from bitnet_tt.backends.tt.step.inputs import Inputs
from bitnet_tt.weights import LayerWeights, ModelWeights, as_array, bfloat16_to_float32


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: h = h + attention(norm(h)), then h = h + mlp(norm(h)).

    An addition and the norm after it are one program. So a layer leaves its last addition to the next layer.
    """

    input_norm: Norm | None
    attention: Attention
    post_attention_norm: Norm | None
    mlp: MLP

    @classmethod
    def load(cls, layer: LayerWeights, card: Card, plan: Plan, gather: Gather | None) -> Layer:
        """Put a layer's weights on the card."""
        eps = plan.config.rms_norm_eps
        return cls(
            Norm.load(card, layer.input_layernorm, eps),
            Attention(layer, card, plan, gather),
            Norm.load(card, layer.post_attention_layernorm, eps),
            MLP(layer, card, plan, gather),
        )

    def __call__(self, h: ttnn.Tensor, r: IntegerProduct | None, step: Step) -> tuple[ttnn.Tensor, IntegerProduct]:
        """Run the layer.

        Args:
            h: The residual stream, float32 [1, 1, rows, hidden].
            r: What the layer before leaves to add to h, [1, 1, rows, hidden]. None in the first layer.
            step: The step's shapes and inputs.

        Returns:
            h, and what is left to add to it.
        """
        if r is None:
            x = normalize(h, self.input_norm, self.attention.input_dtype)
        else:
            h, x = add_and_normalize(h, r, self.input_norm, self.attention.input_dtype)  # h = h + r; x = norm(h)
        r = self.attention(x, step)
        h, x = add_and_normalize(h, r, self.post_attention_norm, self.mlp.input_dtype)  # h = h + r; x = norm(h)
        return h, self.mlp(x)

    def of_few_rows(self, h: Strips, step: Step) -> Strips:
        """Run the layer on the residual stream of a few rows, and return what it becomes."""
        h = self.attention.of_few_rows(h, self.input_norm, step)
        return self.mlp.of_few_rows(h, self.post_attention_norm)


class Decoder:
    """A card's layers, with the residual stream in float32: behind the embedding, or behind the layers of other cards.

    Several cards have neighbouring layers of one model, and the rows pass from card to card by links. Or two cards have
    some columns of every matrix, and a gather makes each result whole on both. The bits are those of one card.
    """

    def __init__(
        self,
        weights: ModelWeights,
        card: Card,
        plan: Plan,
        share: Share,
        *,
        before: Link | None = None,
        after: Link | None = None,
        gather: Gather | None = None,
    ) -> None:
        """Put a card's share of the layers on the card.

        Args:
            weights: The model.
            card: The card.
            plan: The shapes.
            share: The card's share.
            before: Brings the rows from the card before, which the first card does not have.
            after: Takes the rows to the next card, which the last card does not have.
            gather: Brings the columns of the other card, if two cards share every matrix.
        """
        self._card, self._plan, self._before, self._after = card, plan, before, after
        self._embedding = None
        if share.is_first:
            self._embedding = card.rows(bfloat16_to_float32(as_array(weights.embed_tokens)), ttnn.bfloat16)
        self._layers = [Layer.load(weights.layers[index], card, plan, gather) for index in share.layers]
        self._angles = Angles.load(card, plan)
        # Linears with norms of their own are rare and old. They have no programs for few rows.
        self._normed_linears = any(layer.q_proj.input_norm is not None for layer in weights.layers)

    def allocate(self, num_blocks: int) -> None:
        """Allocate the KV cache of every layer, all zeros. An earlier cache is freed."""
        for layer in self._layers:
            layer.attention.allocate(num_blocks)

    def __call__(self, inputs: Inputs, sequences: int, blocks: int, *, decode: bool) -> Part[Strips | ttnn.Tensor]:
        """Run the layers on the rows of a step, and write the rows' keys and values to the cache. Stop behind a layer.

        A row's result does not depend on the number of rows: the programs for few rows compute the same, in the same
        order.

        Args:
            inputs: Token ids, positions and slots of the rows, and the block table.
            sequences: Sequences of the block table.
            blocks: Blocks of each sequence in the block table.
            decode: Whether each row is a sequence of its own. Otherwise all rows are one sequence.

        Returns:
            Hidden states of the sequences of a decode step, if they are few; otherwise float32 [1, 1, rows, hidden].
        """
        tokens = 1 if decode else inputs.positions.shape[1]
        step = Step(sequences=sequences, tokens=tokens, blocks=blocks, inputs=inputs, angles=self._angles)
        lines = self._plan.lines(sequences) if decode else None
        if lines is not None and not self._normed_linears:
            return (yield from self._few_rows(step, lines))
        # The few rows of a decode step fit into L1 beside the programs' buffers, those of a prompt do not. The
        # operations put their results into the memory of their input.
        h = self._many_rows(inputs, ttnn.L1_MEMORY_CONFIG if decode else ttnn.DRAM_MEMORY_CONFIG)
        r: IntegerProduct | None = None
        for layer in self._layers:
            h, r = layer(h, r, step)
            yield
        h = h if r is None else add(h, r)
        if self._after is not None:
            send(self._after, h)
        return h

    def _few_rows(self, step: Step, lines: int) -> Part[Strips]:
        hidden_size = self._plan.config.hidden_size
        if self._before is None:
            rows = embed(step.inputs.token_ids, self._embedding, step.sequences, lines)
        else:
            rows = Strips.empty(self._card.device, step.sequences, hidden_size, ttnn.L1_MEMORY_CONFIG, lines)
            receive(self._before, rows.tensor)
        for layer in self._layers:
            rows = layer.of_few_rows(rows, step)
            yield
        if self._after is not None:
            send(self._after, rows.tensor)
        return rows

    def _many_rows(self, inputs: Inputs, memory: ttnn.MemoryConfig) -> ttnn.Tensor:
        """Return the rows before the layers, float32 [1, 1, rows, hidden]."""
        if self._before is None:
            embedded = ttnn.embedding(inputs.token_ids, self._embedding, layout=ttnn.TILE_LAYOUT)
            return ttnn.reshape(ttnn.typecast(embedded, ttnn.float32, memory_config=memory), [1, *embedded.shape])
        rows = ttnn.empty(
            [1, 1, inputs.positions.shape[1], self._plan.config.hidden_size],
            dtype=ttnn.float32,
            layout=ttnn.TILE_LAYOUT,
            device=self._card.device,
            memory_config=memory,
        )
        receive(self._before, rows)
        return rows
