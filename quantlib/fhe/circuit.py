"""Gates as a circuit of Concrete: compiled, simulated, run encrypted."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import threading
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from quantlib.analysis.widths.cost import RoundingMethod
from quantlib.errors import OptionsError, TensorError
from quantlib.fhe import gates
from quantlib.fhe.lowering import plan_of
from quantlib.fhe.refusals import check_widths
from quantlib.fhe.tracing import traced
from quantlib.fhe.widths import LayerGates, by_width, widths_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from quantlib.arrays import AnyArray, IntArray
    from quantlib.fhe.plan import Plan
    from quantlib.program.program import IntegerProgram

DEFAULT_P_ERROR = 2.0**-40
"""Probability that a look-up errs: Concrete ML's default, at which costs were measured."""

_lock = threading.RLock()
"""Concrete traces one function at a time."""


def is_available() -> bool:
    """Tell whether Concrete is installed."""
    try:
        importlib.metadata.version("concrete-python")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def load_concrete() -> Any:
    """Return the module ``concrete.fhe``.

    Raises
    ------
    OptionsError
        It is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of packages that it imports
            return importlib.import_module("concrete.fhe")
    except ImportError as error:
        raise OptionsError(
            "Concrete, which compiles for encryption, is not installed: add the extra 'fhe' on "
            f"Linux or macOS with Python up to 3.12 ({error})."
        ) from None


@dataclass(frozen=True, slots=True)
class CircuitReport:
    """What a compiled circuit tells.

    Parameters
    ----------
    layers : tuple of LayerGates
        By layer: ranges as they were given, widths as the compiler assigned them, look-ups by the
        width of the table that the compiler was given.
    counted : mapping of str to int
        Programmable bootstraps by layer, as the compiled circuit counts them.
    n_bootstraps : int
        Programmable bootstraps, as the compiled circuit counts them.
    complexity : float
        Floating-point operations of a run, as the optimizer estimates them.
    p_error, global_p_error : float
        Probability that a look-up errs; that any of a run does.
    secret_key_bytes, bootstrap_key_bytes, keyswitch_key_bytes : int
        Sizes of the keys.
    input_bytes, output_bytes : int
        Sizes of the ciphertexts of one sample.
    compile_s : float
        Seconds that compiling took.
    """

    layers: tuple[LayerGates, ...]
    counted: Mapping[str, int]
    n_bootstraps: int
    complexity: float
    p_error: float
    global_p_error: float
    secret_key_bytes: int
    bootstrap_key_bytes: int
    keyswitch_key_bytes: int
    input_bytes: int
    output_bytes: int
    compile_s: float

    @property
    def bootstraps(self) -> dict[int, int]:
        """Look-ups by the width of the table, narrow first."""
        return by_width(layer.bootstraps for layer in self.layers)

    @property
    def widest_bits(self) -> int:
        """Width in which the widest integers are held."""
        return max((layer.held_bits for layer in self.layers), default=0)


@dataclass(frozen=True, slots=True, eq=False)
class EncryptedRun:
    """One sample, encrypted, run and decrypted.

    Parameters
    ----------
    integers : tuple of int64 arrays, (1, *shape)
        Of each output.
    encrypt_s, run_s, decrypt_s : float
        Seconds of each step.
    """

    integers: tuple[IntArray, ...]
    encrypt_s: float
    run_s: float
    decrypt_s: float


@dataclass(frozen=True, slots=True, eq=False)
class EncryptedCircuit:
    """An integer program compiled for encryption; made by `compile_program`.

    Parameters
    ----------
    plan : Plan
        The gates it was compiled from, with the bounds it was compiled for.
    circuit : concrete.fhe.Circuit
        Concrete's own; whatever it can do beyond this class.
    rounding : RoundingMethod
        How low bits go.
    compile_s : float
        Seconds that compiling took.
    """

    plan: Plan
    circuit: Any
    rounding: RoundingMethod
    compile_s: float
    _used: tuple[int, ...] = field(repr=False)

    def simulate(self, *codes: AnyArray) -> IntArray | tuple[IntArray, ...]:
        """Return what the circuit computes, errors of look-ups included, without encryption.

        Parameters
        ----------
        *codes : integer arrays
            Codes of the inputs, samples along axis 0.

        Returns
        -------
        int64 array, or a tuple of them
            As from `IntegerProgram.run`.

        Raises
        ------
        TensorError
            Codes beyond those the circuit was compiled for.
        """
        self._check(codes)
        results = [self._results(self.circuit.simulate(*sample)) for sample in self._samples(codes)]
        return self._joined(results)

    def keygen(self, folder: Path | None = None) -> float:
        """Make the keys, or load those of a folder; return the seconds it took.

        Parameters
        ----------
        folder : Path, optional
            Where keys are kept and looked for, by the circuit's parameters. They are not
            encrypted there: who reads them can decrypt.
        """
        started = time.monotonic()
        if folder is None:
            self.circuit.keygen()
        else:
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / f"{self._parameters_digest()}.keys"
            self.circuit.keys.load_if_exists_generate_and_save_otherwise(file)
        return time.monotonic() - started

    def _parameters_digest(self) -> str:
        """Return what tells circuits of the same keys from others."""
        specs = self.circuit.client.specs
        return hashlib.blake2b(specs.serialize(), digest_size=12).hexdigest()

    def encrypt_run_decrypt(self, *codes: AnyArray) -> IntArray | tuple[IntArray, ...]:
        """Encrypt, run and decrypt, sample by sample; keys are made if there are none.

        Parameters and result as for `simulate`.
        """
        self._check(codes)
        return self._joined([self.run_encrypted(*sample).integers for sample in _each(codes)])

    def run_encrypted(self, *codes: AnyArray) -> EncryptedRun:
        """Encrypt, run and decrypt one sample, and tell how long each step took."""
        self._check(codes)
        (sample,) = self._samples(codes)
        clock = [time.monotonic()]
        encrypted = self.circuit.encrypt(*sample)
        clock.append(time.monotonic())
        given = encrypted if isinstance(encrypted, tuple) else (encrypted,)
        result = self.circuit.run(*given)
        clock.append(time.monotonic())
        taken = result if isinstance(result, tuple) else (result,)
        integers = self._results(self.circuit.decrypt(*taken))
        clock.append(time.monotonic())
        return EncryptedRun(integers, *np.diff(clock).tolist())

    def save_server(self, path: Path) -> None:
        """Write what a server needs to run the circuit: a .zip of Concrete, without any key."""
        self.circuit.server.save(str(path))

    def save_client(self, path: Path) -> None:
        """Write what a client needs to make keys, encrypt and decrypt: a .zip of Concrete."""
        self.circuit.client.save(str(path))

    def report(self) -> CircuitReport:
        """Return ranges, widths, bootstraps, complexity and sizes of the compiled circuit."""
        circuit = self.circuit
        numbers = {tag: layer for layer, tag in _tags(self.plan).items()}
        by_tag = dict(circuit.programmable_bootstrap_count_per_tag)
        return CircuitReport(
            layers=_layers(self.plan, circuit.graph, self._used, self.rounding, frozenset(by_tag)),
            counted={numbers[tag]: count for tag, count in by_tag.items() if tag in numbers},
            n_bootstraps=int(circuit.programmable_bootstrap_count),
            complexity=float(circuit.complexity),
            p_error=float(circuit.p_error),
            global_p_error=float(circuit.global_p_error),
            secret_key_bytes=int(circuit.size_of_secret_keys),
            bootstrap_key_bytes=int(circuit.size_of_bootstrap_keys),
            keyswitch_key_bytes=int(circuit.size_of_keyswitch_keys),
            input_bytes=int(circuit.size_of_inputs),
            output_bytes=int(circuit.size_of_outputs),
            compile_s=self.compile_s,
        )

    def _check(self, codes: tuple[AnyArray, ...]) -> None:
        """Raise TensorError for codes that the circuit was not compiled for."""
        self.plan.program.check(*codes)
        for entry, given in zip(self.plan.entries, codes, strict=True):
            if np.min(given) < entry.low or np.max(given) > entry.high:
                raise TensorError(
                    f"input {entry.input_name!r}: codes reach from {np.min(given)} to "
                    f"{np.max(given)}; this circuit was compiled for codes from {entry.low} to "
                    f"{entry.high}. Compile it on data that reach further, or for all codes."
                )

    def _samples(self, codes: tuple[AnyArray, ...]) -> Iterator[tuple[IntArray, ...]]:
        """Yield what the circuit takes for each sample: its inputs, batch axis of size 1."""
        for sample in _each(codes):
            yield tuple(sample[i].astype(np.int64) for i in self._used)

    def _results(self, found: Any) -> tuple[IntArray, ...]:
        """Return the model's outputs among a circuit's results."""
        results = found if isinstance(found, tuple) else (found,)
        named = dict(zip(dict.fromkeys(self.plan.outputs), results, strict=True))
        return tuple(np.asarray(named[name]).astype(np.int64) for name in self.plan.outputs)

    @staticmethod
    def _joined(results: list[tuple[IntArray, ...]]) -> IntArray | tuple[IntArray, ...]:
        joined = tuple(np.concatenate(parts) for parts in zip(*results, strict=True))
        return joined[0] if len(joined) == 1 else joined


def _each(codes: tuple[AnyArray, ...]) -> Iterator[tuple[AnyArray, ...]]:
    """Yield samples, each with a batch axis of size 1."""
    for i in range(len(codes[0])):
        yield tuple(array[i : i + 1] for array in codes)


def compile_program(
    program: IntegerProgram,
    inputset: tuple[AnyArray, ...] | None = None,
    *,
    p_error: float | None = None,
    rounding: RoundingMethod | str = RoundingMethod.EXACT,
) -> EncryptedCircuit:
    """Compile an integer program for encryption.

    Parameters
    ----------
    program : IntegerProgram
        Without float islands.
    inputset : tuple of integer arrays, optional
        Codes of each input that tell how far the integers reach, as Concrete ML does. Narrower
        integers cost less; samples that reach further give wrong results. Without them the
        circuit is right for every code on the inputs' grids.
    p_error : float, optional
        Probability that a look-up errs; ``2**-40`` when not given.
    rounding : {"exact", "approximate"}
        How low bits go, as in `RoundingMethod`.

    Returns
    -------
    EncryptedCircuit
        With ``"exact"`` rounding its integers are those of ``program.run``, but for the error
        probability; with ``"approximate"`` rounding a rounded integer can be one step off.

    Raises
    ------
    OptionsError
        Something stays in float, or an integer is too wide for a table (the message names layer
        and remedy); Concrete is not installed; or it finds no parameters.
    """
    method = RoundingMethod(rounding)
    chosen = DEFAULT_P_ERROR if p_error is None else p_error
    if not 0 < chosen < 1:
        raise OptionsError(f"p_error is a probability between 0 and 1, got {p_error}.")
    plan = plan_of(program)
    if inputset is not None:
        plan = plan.seen_on(*inputset)
    check_widths(plan, method)
    fhe = load_concrete()
    started = time.monotonic()
    configuration = fhe.Configuration(
        p_error=chosen,
        rounding_exactness=(
            fhe.Exactness.EXACT if method is RoundingMethod.EXACT else fhe.Exactness.APPROXIMATE
        ),
        fhe_simulation=False,
        fhe_execution=False,
        dump_artifacts_on_unexpected_failures=False,
    )
    with _lock:
        function, parameters, used = traced(plan, widths_of(plan), _tags(plan))
        try:
            circuit = fhe.Compiler.assemble(function, parameters, configuration)
            statistics = circuit.complexity  # asks the optimizer, which may find no parameters
        except RuntimeError as error:
            raise OptionsError(_words(error)) from error
    del statistics
    return EncryptedCircuit(plan, circuit, method, time.monotonic() - started, used)


def _words(error: RuntimeError) -> str:
    """Return what a failed compilation says, with what to do."""
    if "NoParametersFound" in str(error):
        return (
            "Concrete finds no parameters for integers this wide at this error probability: round "
            "accumulators, give weights or activations fewer bits, allow a larger p_error, or "
            "compile for the ranges of data."
        )
    return f"Concrete cannot compile this model: {error}"


def _tags(plan: Plan) -> dict[str, str]:
    """Return a tag for each layer that Concrete takes."""
    return {
        layer: f"layer{i}" for i, layer in enumerate(dict.fromkeys(g.layer for g in plan.gates))
    }


def _layers(
    plan: Plan,
    graph: Any,
    used: tuple[int, ...],
    rounding: RoundingMethod,
    counted: frozenset[str],
) -> tuple[LayerGates, ...]:
    """Return the widths that the compiler assigned, and the tables that it was given.

    Tables of a layer that is not `counted` were left out by the compiler: nothing needs them.
    """
    needed: Counter[str] = Counter()
    held: Counter[str] = Counter()
    tables: dict[str, Counter[int]] = {tag: Counter() for tag in _tags(plan).values()}
    tags = _tags(plan)
    entered = {
        node: tags[plan.entries[i].layer]
        for i, node in zip(used, graph.ordered_inputs(), strict=True)
    }
    for node in graph.query_nodes():
        name = node.properties.get("name", "")
        size = int(np.prod(node.output.shape, dtype=np.int64))
        if name == "tlu":
            (source,) = graph.ordered_preds_of(node)
            width = _entering(source, rounding)
            tables[node.tag][width] += size
        elif name == "round_bit_pattern":
            if rounding is RoundingMethod.EXACT:
                lsbs = node.properties["kwargs"]["lsbs_to_remove"]
                tables[node.tag][1] += size * lsbs
        elif node.output.is_encrypted and name != "reinterpret":
            tag = node.tag or entered[node]
            needed[tag] = max(needed[tag], node.properties["original_bit_width"])
            held[tag] = max(held[tag], node.output.dtype.bit_width)
    found = []
    for layer, tag in tags.items():
        inside = [
            gate
            for gate in plan.gates
            if gate.layer == layer and not isinstance(gate, gates.LookUp | gates.Rounded)
        ]
        found.append(
            LayerGates(
                layer=layer,
                low=min((gate.low for gate in inside), default=0),
                high=max((gate.high for gate in inside), default=0),
                needed_bits=needed[tag],
                held_bits=held[tag],
                bootstraps=dict(sorted(tables[tag].items())) if tag in counted else {},
            )
        )
    return tuple(found)


def _entering(source: Any, rounding: RoundingMethod) -> int:
    """Return the width of the table that the compiler was given behind a node, bits."""
    properties = source.properties
    if properties.get("name") == "round_bit_pattern":
        width = int(properties["resulting_bit_width"])
        return width - (rounding is RoundingMethod.APPROXIMATE and properties["overflow_detected"])
    own = int(properties["original_bit_width"])
    return own if own <= 8 else int(source.output.dtype.bit_width)
