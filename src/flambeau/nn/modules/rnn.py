"""Recurrent networks."""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Callable
from typing import Any

from flambeau import functional_ns as o
from flambeau.nn import init
from flambeau.nn._packed import PackedSequence
from flambeau.nn._recurrence import CELLS
from flambeau.nn._sequence import run_layer
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNBase", "RNNCell", "RNNCellBase"]

Tensor = o.Tensor
State = tuple[Tensor, ...]

_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


class RNNBase(Module):
    """What RNN, LSTM and GRU share: stacked layers, in one or two directions.

    Args:
        mode: "LSTM", "GRU", "RNN_TANH" or "RNN_RELU".
        input_size: features of the input.
        hidden_size: features of the hidden state.
        num_layers: layers, each working on the outputs of the one before.
        bias: whether there are biases.
        batch_first: inputs and outputs are (N, T, features).
        dropout: dropout of the outputs of all layers but the last.
        bidirectional: run over the sequence from both ends.
        proj_size: features of an LSTM's outputs where they are projected.
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        _check_options(mode, hidden_size, num_layers, dropout, proj_size)
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        gates = _GATES[mode] * hidden_size
        out = proj_size if proj_size > 0 else hidden_size
        self._all_weights: list[list[str]] = []
        for layer in range(num_layers):
            inputs = input_size if layer == 0 else out * self._directions
            for suffix in ("", "_reverse")[: self._directions]:
                shapes: dict[str, tuple[int, ...]] = {"weight_ih": (gates, inputs), "weight_hh": (gates, out)}
                if bias:
                    shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
                if proj_size > 0:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                names = [f"{name}_l{layer}{suffix}" for name in shapes]
                for name, shape in zip(names, shapes.values(), strict=True):
                    setattr(self, name, Parameter(o.empty(shape, device=device, dtype=dtype)))
                self._all_weights.append(names)
        self.reset_parameters()

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of every layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def reset_parameters(self) -> None:
        """Draws new weights of U(-b, b), b = 1 / sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def flatten_parameters(self) -> None:
        """Does nothing: the parameters need no other layout."""

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.proj_size != 0:
            text += f", proj_size={self.proj_size}"
        if self.num_layers != 1:
            text += f", num_layers={self.num_layers}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        if self.batch_first is not False:
            text += f", batch_first={self.batch_first}"
        if self.dropout != 0:
            text += f", dropout={self.dropout}"
        if self.bidirectional is not False:
            text += f", bidirectional={self.bidirectional}"
        return text

    # ---- checks

    def _check_input(self, input: Tensor, packed: bool) -> None:
        weight = self.all_weights[0][0]
        if input.dtype != weight.dtype:
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). Convert input: "
                f"input.to({weight.dtype}), or convert model: model.to({input.dtype})"
            )
        wanted = 2 if packed else 3
        if input.dim() != wanted:
            raise RuntimeError(f"input must have {wanted} dimensions, got {input.dim()}")
        if self.input_size != input.size(-1):
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {input.size(-1)}"
            )
        if self.input_size == 0:
            raise RuntimeError("input_size must be greater than zero")

    def _state_sizes(self) -> list[int]:
        """Features of every tensor of the state."""
        return [self.hidden_size]

    def _check_state(self, state: State, n: int) -> None:
        for i, (tensor, features) in enumerate(zip(state, self._state_sizes(), strict=True)):
            wanted = (self.num_layers * self._directions, n, features)
            if tuple(tensor.size()) != wanted:
                which = "hidden" if len(state) == 1 else f"hidden[{i}]"
                raise RuntimeError(f"Expected {which} size {wanted}, got {list(tensor.size())}")

    # ---- the run

    def _run(self, data: Tensor, batch_sizes: list[int], state: State) -> tuple[Tensor, State]:
        """Runs all layers over steps that stand one after the other in `data`."""
        finals: list[State] = []
        weights = self.all_weights
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(self._directions):
                i = layer * self._directions + direction
                start = tuple(tensor[i] for tensor in state)
                out, final = run_layer(self.mode, data, batch_sizes, start, self._named(weights[i]), direction == 1)
                outputs.append(out)
                finals.append(final)
            data = outputs[0] if len(outputs) == 1 else o.cat(outputs, -1)
            if self.dropout > 0 and layer < self.num_layers - 1:
                data = o.dropout(data, self.dropout, self.training)
        return data, tuple(o.stack(tensors) for tensors in zip(*finals, strict=True))

    def _named(self, weights: list[Parameter]) -> dict[str, Parameter | None]:
        names = ["w_ih", "w_hh"] + (["b_ih", "b_hh"] if self.bias else []) + (["w_hr"] if self.proj_size else [])
        return {"b_ih": None, "b_hh": None, "w_hr": None, **dict(zip(names, weights, strict=True))}

    def _start(self, hx: Any, n: int, like: Tensor) -> State:
        rows = self.num_layers * self._directions
        if hx is None:
            sizes = self._state_sizes()
            return tuple(o.zeros((rows, n, size), dtype=like.dtype, device=like.device) for size in sizes)
        return hx if isinstance(hx, tuple) else (hx,)

    def _result(self, state: State) -> Any:
        return state[0]

    def forward(self, input: Any, hx: Any = None) -> Any:
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        if input.dim() not in (2, 3):
            noun = " tensor" if self.mode.startswith("RNN") else ""  # as PyTorch has it
            raise ValueError(f"{self._get_name()}: Expected input to be 2D or 3D, got {input.dim()}D{noun} instead")
        batched = input.dim() == 3
        self._check_state_dim(hx, batched)
        if not batched:
            input = input.unsqueeze(0 if self.batch_first else 1)
            hx = _mapped(hx, lambda t: t.unsqueeze(1))
        self._check_input(input, False)
        steps = input.transpose(0, 1) if self.batch_first else input
        length, n = steps.shape[:2]
        state = self._start(hx, n, input)
        self._check_state(state, n)
        if length == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        out, final = self._run(steps.reshape(length * n, self.input_size), [n] * length, state)
        out = out.reshape(length, n, out.size(-1))
        out = out.transpose(0, 1) if self.batch_first else out
        if not batched:
            return out.squeeze(0 if self.batch_first else 1), self._result(_mapped(final, lambda t: t.squeeze(1)))
        return out, self._result(final)

    def _forward_packed(self, input: PackedSequence, hx: Any) -> Any:
        data, batch_sizes, sorted_indices, unsorted_indices = input
        self._check_input(data, True)
        sizes = batch_sizes.tolist()
        state = self._start(hx, sizes[0], data)
        if hx is not None and sorted_indices is not None:
            state = _mapped(state, lambda t: t.index_select(1, sorted_indices))
        self._check_state(state, sizes[0])
        out, final = self._run(data, sizes, state)
        if unsorted_indices is not None:
            final = _mapped(final, lambda t: t.index_select(1, unsorted_indices))
        return PackedSequence(out, batch_sizes, sorted_indices, unsorted_indices), self._result(final)

    def _check_state_dim(self, hx: Any, batched: bool) -> None:
        wanted = 3 if batched else 2
        words = f"For {'batched 3-D' if batched else 'unbatched 2-D'} input"
        if hx is not None and hx.dim() != wanted:
            raise RuntimeError(f"{words}, hx should also be {wanted}-D but got {hx.dim()}-D tensor")


def _check_options(mode: str, hidden_size: Any, num_layers: int, dropout: Any, proj_size: int) -> None:
    if isinstance(dropout, bool) or not isinstance(dropout, numbers.Number) or not 0 <= dropout <= 1:
        raise ValueError(
            "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
        )
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers "
            f"greater than 1, but got dropout={dropout} and num_layers={num_layers}",
            stacklevel=4,
        )
    if not isinstance(hidden_size, int):
        raise TypeError(f"hidden_size should be of type int, got: {type(hidden_size).__name__}")
    if hidden_size <= 0:
        raise ValueError("hidden_size must be greater than zero")
    if num_layers <= 0:
        raise ValueError("num_layers must be greater than zero")
    if proj_size < 0:
        raise ValueError("proj_size should be a positive integer or zero to disable projections")
    if proj_size >= hidden_size:
        raise ValueError("proj_size has to be smaller than hidden_size")
    if mode not in _GATES:
        raise ValueError("Unrecognized RNN mode: " + mode)


def _mapped(state: Any, fn: Callable[[Tensor], Tensor]) -> Any:
    if state is None:
        return None
    return tuple(fn(t) for t in state) if isinstance(state, tuple) else fn(state)


class RNN(RNNBase):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu of it; arguments as for `RNNBase`, with `nonlinearity`.

    Shape:
        (T, N, input_size), (layers directions, N, hidden_size) -> (T, N, directions hidden_size), and the last state
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if len(args) > 3:
            self.nonlinearity = args[3]
            args = (*args[:3], *args[4:])
        else:
            self.nonlinearity = kwargs.pop("nonlinearity", "tanh")
        modes = {"tanh": "RNN_TANH", "relu": "RNN_RELU"}
        if self.nonlinearity not in modes:
            raise ValueError(f"Unknown nonlinearity '{self.nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__(modes[self.nonlinearity], *args, **kwargs)


class LSTM(RNNBase):
    """i, f, g, o = gates of x and h; c' = f c + i g; h' = o tanh(c'); arguments as for `RNNBase`.

    Shape:
        (T, N, input_size), (h, c) -> (T, N, directions hidden_size), (h', c'); states as for `RNN`

    Example:
        >>> out, (h, c) = nn.LSTM(10, 20)(torch.randn(5, 3, 10))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)

    def _state_sizes(self) -> list[int]:
        return [self.proj_size or self.hidden_size, self.hidden_size]

    def _result(self, state: State) -> Any:
        return state

    def _check_state_dim(self, hx: Any, batched: bool) -> None:
        wanted = 3 if batched else 2
        if hx is not None and (hx[0].dim() != wanted or hx[1].dim() != wanted):
            words = f"For {'batched 3-D' if batched else 'unbatched 2-D'} input"
            raise RuntimeError(
                f"{words}, hx and cx should also be {wanted}-D but got ({hx[0].dim()}-D, {hx[1].dim()}-D) tensors"
            )


class GRU(RNNBase):
    """r, z = gates of x and h; n = tanh(W_in x + r (W_hn h)); h' = (1 - z) n + z h; arguments as for `RNNBase`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)


class RNNCellBase(Module):
    """One step of a recurrent network."""

    _mode: str

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        place = {"device": device, "dtype": dtype}
        rows = num_chunks * hidden_size
        self.weight_ih = Parameter(o.empty((rows, input_size), **place))
        self.weight_hh = Parameter(o.empty((rows, hidden_size), **place))
        self.register_parameter("bias_ih", Parameter(o.empty(rows, **place)) if bias else None)
        self.register_parameter("bias_hh", Parameter(o.empty(rows, **place)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new weights of U(-b, b), b = 1 / sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        nonlinearity = getattr(self, "nonlinearity", "tanh")
        return text if nonlinearity == "tanh" else text + f", nonlinearity={nonlinearity}"

    def _step(self, mode: str, input: Tensor, state: State) -> State:
        """One step for a batch, or for a single sample."""
        name = self._get_name()
        if input.dim() not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        for tensor in state:
            if tensor.dim() not in (1, 2):
                raise ValueError(f"{name}: Expected hidden to be 1D or 2D, got {tensor.dim()}D instead")
        single = input.dim() == 1
        if single:
            input, state = input.unsqueeze(0), tuple(t.unsqueeze(0) for t in state)
        self._check_sizes(input, state)
        projected = o.linear(input, self.weight_ih, self.bias_ih)
        state = CELLS[mode](projected, state, {"w_hh": self.weight_hh, "b_hh": self.bias_hh, "w_hr": None})
        return tuple(t.squeeze(0) for t in state) if single else state

    def _check_sizes(self, input: Tensor, state: State) -> None:
        if input.size(1) != self.input_size:
            raise RuntimeError(
                f"input has inconsistent input_size: got {input.size(1)} expected {self.input_size}"
            )
        for i, hidden in enumerate(state):
            if hidden.size(0) != input.size(0):
                raise RuntimeError(
                    f"Input batch size {input.size(0)} doesn't match hidden{i} batch size {hidden.size(0)}"
                )
            if hidden.size(-1) != self.hidden_size:
                raise RuntimeError(
                    f"hidden{i} has inconsistent hidden_size: got {hidden.size(-1)}, expected {self.hidden_size}"
                )

    def _zeros(self, input: Tensor) -> Tensor:
        shape = (*input.shape[:-1], self.hidden_size)
        return o.zeros(shape, dtype=input.dtype, device=input.device)


class RNNCell(RNNCellBase):
    """One step of `RNN`."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        modes = {"tanh": "RNN_TANH", "relu": "RNN_RELU"}
        if self.nonlinearity not in modes:
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._step(modes[self.nonlinearity], input, (self._zeros(input) if hx is None else hx,))[0]


class LSTMCell(RNNCellBase):
    """One step of `LSTM`."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        if isinstance(hx, Tensor):
            raise TypeError("lstm_cell(): argument 'hx' (position 2) must be tuple of Tensors, not Tensor")
        h, c = self._step("LSTM", input, (self._zeros(input), self._zeros(input)) if hx is None else hx)
        return h, c


class GRUCell(RNNCellBase):
    """One step of `GRU`."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step("GRU", input, (self._zeros(input) if hx is None else hx,))[0]
