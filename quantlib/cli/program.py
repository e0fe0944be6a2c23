"""The program: its commands, its exit codes, and what it says when something is wrong."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import quantlib
from quantlib.cli.comparison import compare
from quantlib.cli.console import ExitCode, complain, say
from quantlib.cli.encrypting import fhe
from quantlib.cli.exporting import export
from quantlib.cli.inspection import inspect
from quantlib.cli.quantization import quantize
from quantlib.cli.screens import app
from quantlib.cli.searching import search
from quantlib.cli.sweeping import sweep
from quantlib.errors import QuantlibError

CODES = """\
\b
Exit codes:
  0    done
  1    the answer is no: --check and the configuration does not fit, or an export is not equal;
       search finds none that does, or cannot confirm it
  2    wrong usage or input; standard error says what to do
  130  interrupted"""


class Program(TyperGroup):
    """The group of commands; a caller's mistake ends in a sentence, never in a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command and turn its errors into exit codes."""
        try:
            return super().invoke(ctx)
        except QuantlibError as error:
            complain(str(error))
            raise typer.Exit(ExitCode.REFUSED) from None
        except BrokenPipeError:
            raise
        except OSError as error:
            where = "" if error.filename is None else f"{error.filename}: "
            complain(f"{where}{error.strerror or error}")
            raise typer.Exit(ExitCode.REFUSED) from None
        except KeyboardInterrupt:
            complain("interrupted")
            raise typer.Exit(ExitCode.INTERRUPTED) from None


program = typer.Typer(
    cls=Program,
    name="quantlib",
    help="Quantize ONNX models in the integers of Concrete ML.",
    epilog=CODES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"quantlib {quantlib.__version__}")
        raise typer.Exit


@program.callback()
def _start(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which this is.")
    ] = False,
) -> None:
    del version  # its callback answers before anything else runs


def _examples(*lines: str) -> str:
    """Return the end of a command's help: examples, each on its line, and the exit codes."""
    return "\n".join(["\b", "Examples:", *(f"  quantlib {line}" for line in lines), "", CODES])


program.command(
    no_args_is_help=True,
    epilog=_examples(
        "inspect sample_models/digits_cnn.onnx", "inspect sample_models/digits_cnn.onnx --json"
    ),
)(inspect)
program.command(
    no_args_is_help=True,
    epilog=_examples(
        "quantize digits.onnx digits.npz --bits 6 --limit 16 --check",
        "quantize digits.onnx digits.npz --weight-bits 3 --rounding 6 --save-config a.json",
        "quantize digits.onnx --synthetic --config a.json --weights-symmetric yes --json",
    ),
)(quantize)
program.command(
    no_args_is_help=True,
    epilog=_examples(
        "sweep digits.onnx digits.npz --weight-bits 2-8 --activation-bits 4-8 --out found.jsonl",
        "sweep digits.onnx --synthetic --weights-signed auto --weights-signed yes --workers 2",
        "sweep digits.onnx digits.npz --weights-estimator mse --scheduler tcp://host:8786",
    ),
)(sweep)
program.command(
    no_args_is_help=True,
    epilog=_examples(
        "search digits.onnx digits.npz --limit 12 --save-config found.json",
        "search digits.onnx digits.npz --objective look-ups --floor 20 --activation-bits 3-8",
    ),
)(search)
program.command(
    no_args_is_help=True,
    epilog=_examples(
        "compare digits.onnx digits.npz a.json b.json",
        "compare digits.onnx --synthetic a.json b.json --json",
    ),
)(compare)
program.command(
    no_args_is_help=True,
    epilog=_examples(
        "export digits.onnx digits.npz --config a.json --to concrete-script -o run.py",
        "export digits.onnx digits.csv --config a.json --save-data digits.npz -o run.py",
        "export digits.onnx digits.npz --config a.json --to qdq -o digits-qdq.onnx --check",
        "export digits.onnx digits.npz --config a.json --to aimet -o encodings.zip",
    ),
)(export)
program.command(
    no_args_is_help=True,
    epilog=_examples(
        "fhe digits.onnx digits.npz --config a.json",
        "fhe digits.onnx digits.npz --config a.json --simulate 20 --on-data",
        "fhe iris.onnx iris.npz --config a.json --run 1 --keys keys --save-server server.zip",
    ),
)(fhe)
program.command(epilog=_examples("app --port 8600"))(app)
