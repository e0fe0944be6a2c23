"""Calibration data that people and attackers bring, a few for every row of what must be handled."""

from __future__ import annotations

import gzip
import io
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.bad_inputs.cases import Case

if TYPE_CHECKING:
    from collections.abc import Callable

X = np.random.default_rng(5).normal(size=(12, 3))
"""Samples of the model `graph` of the tests: ``x`` is N x 3, three scores."""


def npy(values: Any, *, pickled: bool = False) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(values), allow_pickle=pickled)
    return stream.getvalue()


def npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def archive(members: list[tuple[str, bytes]], *, compress: bool = False) -> bytes:
    stream = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", kind) as made:
        warnings.simplefilter("ignore")  # a name that is there twice
        for name, content in members:
            made.writestr(zipfile.ZipInfo(name), content, kind)
    return stream.getvalue()


def header(shape: str, descr: str = "'<f4'", body: bytes = b"") -> bytes:
    """Return a .npy file whose header says what it likes."""
    words = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    words += b" " * (-(len(words) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(words).to_bytes(2, "little") + words + body


def table(values: Any = X, *, head: str = "", sep: str = ",", end: str = "\n") -> bytes:
    rows = [sep.join(f"{cell:.6g}" for cell in row) for row in np.asarray(values)]
    return end.join([*([head] if head else []), *rows]).encode()


def encrypted() -> bytes:
    content = bytearray(archive([("x.npy", npy(X))]))
    content[6] |= 1
    place = content.index(b"PK\x01\x02")
    content[place + 8] |= 1
    return bytes(content)


def with_one(value: float) -> Any:
    spoiled = X.copy()
    spoiled[3, 1] = value
    return spoiled


def bad(row: str, name: str, make: Callable[[], bytes], *words: str, file: str = "d.npz") -> Case:
    return Case(row, name, make, words, file)


def fine(row: str, name: str, make: Callable[[], bytes], *notes: str, file: str = "d.npz") -> Case:
    return Case(row, name, make, (), file, notes)


TWICE = [("x.npy", npy(X)), ("x.npy", npy(X))]

CONTAINER = [
    bad("container", "empty", lambda: b"", "empty"),
    bad("container", "cut", lambda: npz(x=X)[:-60], "damaged"),
    bad("container", "damaged inside", lambda: npz(x=X).replace(npy(X)[200:240], bytes(40)),
        "'x'", "damaged"),
    bad("container", "encrypted", encrypted, "'x'", "encrypted"),
    bad("container", "no arrays", lambda: archive([("readme.txt", b"hello")]), "no arrays"),
    bad("container", "no members", lambda: archive([]), "no arrays"),
    bad("container", "no array inside", lambda: archive([("x.npy", b"hello")]), "'x'", "damaged"),
    bad("container", "member twice", lambda: archive(TWICE), "'x' twice"),
    bad("container", "member with a path", lambda: archive([("../../x.npy", npy(X))]),
        "is a path"),
    bad("container", "pickle", lambda: npy([{}, None], pickled=True), "Python objects",
        file="d.npy"),
    bad("container", "pickle in an archive",
        lambda: archive([("x.npy", npy(X)), ("labels.npy", npy([{}], pickled=True))]),
        "'labels'", "Python objects"),
    bad("container", "raw pickle", lambda: b"\x80\x04\x95abc.", "no NumPy file"),
    bad("container", "header too large", lambda: header("(4000000000, 3)"), "MB unpacked",
        "QUANTLIB_MAX_DATA_MB", file="d.npy"),
    bad("container", "header too long", lambda: header("(12, 3)", body=bytes(100)), "cut short",
        file="d.npy"),
    bad("container", "negative header", lambda: header("(-1, 3)"), "damaged", file="d.npy"),
    bad("container", "header that is code", lambda: header("__import__('os').getcwd()"),
        "damaged", file="d.npy"),
    bad("container", "thousand to one", lambda: archive(
        [("x.npy", header("(3000000, 3)", body=bytes(36_000_000)))], compress=True), "'x'",
        "refused"),
    bad("container", "one gigabyte of bytes", lambda: archive(
        [("x.npy", header("(400000000, 3)", "'|u1'"))]), "MB unpacked", "QUANTLIB_MAX_DATA_MB"),
    bad("container", "bytes after the end", lambda: npy(X) + b"more", "follow the end",
        file="d.npy"),
    bad("container", "spreadsheet", lambda: archive(
        [("[Content_Types].xml", b"<a/>"), ("xl/workbook.xml", b"<a/>")]), "spreadsheet",
        file="d.csv"),
    bad("container", "PyTorch file", lambda: archive([("archive/data.pkl", b"\x80\x02.")]),
        "PyTorch"),
    bad("container", "words", lambda: b"hello", "no NumPy file"),
    fine("container", "spare text member",
         lambda: archive([("x.npy", npy(X)), ("readme.txt", b"hello")]), "'readme.txt'"),
    fine("container", "labels of one class", lambda: archive(
        [("x.npy", npy(np.repeat(X, 2000, axis=0))),
         ("labels.npy", npy(np.zeros(24_000, np.int64)))], compress=True)),
]  # fmt: skip

TYPES = [
    *(fine("types", kind, lambda kind=kind: npy(X.astype(kind)), file="d.npy")  # type: ignore[misc]
      for kind in ("f2", "f8", "i1", "u2", "i8", "?", ">f4", ">i4")),
    fine("types", "column order", lambda: npy(np.asfortranarray(X)), file="d.npy"),
    bad("types", "complex", lambda: npy(X + 1j), "complex128", "real numbers", file="d.npy"),
    bad("types", "dates", lambda: npy(np.zeros((4, 3), "M8[s]")), "real numbers", file="d.npy"),
    bad("types", "text", lambda: npy(X.astype(str)), "real numbers", file="d.npy"),
    bad("types", "bytes", lambda: npy(X.astype("S4")), "real numbers", file="d.npy"),
    bad("types", "records", lambda: npy(np.zeros((4, 3), [("a", "f4"), ("b", "i4")])),
        "real numbers", file="d.npy"),
]  # fmt: skip

VALUES = [
    bad("values", "NaN", lambda: npy(with_one(np.nan)), "NaN", "(3, 1)", file="d.npy"),
    bad("values", "infinite", lambda: npy(with_one(np.inf)), "infinite", "(3, 1)", file="d.npy"),
    bad("values", "beyond float32", lambda: npy(with_one(1e300)), "float32", "(3, 1)",
        file="d.npy"),
    bad("values", "all NaN", lambda: npy(np.full((5, 3), np.nan)), "NaN", file="d.npy"),
]  # fmt: skip

AMOUNT = [
    bad("amount", "no samples", lambda: npy(X[:0]), "no samples", file="d.npy"),
    fine("amount", "one sample", lambda: npy(X[:1]), "one sample", file="d.npy"),
]

FIT = [
    bad("fit", "too few features", lambda: npy(X[:, :2]), "12 x 2", "N x 3", file="d.npy"),
    bad("fit", "axes exchanged", lambda: npy(X.T), "3 x 12", "N x 3", file="d.npy"),
    bad("fit", "missing axis", lambda: npy(X[0]), "3", "batch axis is missing", file="d.npy"),
    bad("fit", "extra axis", lambda: npy(X[:, :, None]), "12 x 3 x 1", "reshape", file="d.npy"),
    bad("fit", "wrong names", lambda: npz(a=X, b=X), "'a', 'b'", "'x'"),
    bad("fit", "unequal lengths", lambda: npz(calibration=X, evaluation=X, labels=np.zeros(5)),
        "5 labels for 12"),
    bad("fit", "labels that are one number", lambda: npz(x=X, labels=np.int64(3)), "labels",
        "single number"),
    bad("fit", "class the model lacks",
        lambda: npz(calibration=X, evaluation=X, labels=np.full(12, 99)), "99"),
    bad("fit", "labels with three axes",
        lambda: npz(calibration=X, evaluation=X, labels=np.zeros((12, 3, 2))), "labels"),
    fine("fit", "labels beside the data", lambda: npz(x=X, y=np.arange(12) % 3)),
    fine("fit", "an array of another name", lambda: npz(x=X, weights=X), "'weights'"),
]  # fmt: skip

CSV = [
    fine("csv", "plain", table, file="d.csv"),
    fine("csv", "byte order mark", lambda: b"\xef\xbb\xbf" + table(), file="d.csv"),
    fine("csv", "CRLF", lambda: table(end="\r\n") + b"\r\n", file="d.csv"),
    fine("csv", "blank lines", lambda: b"\n\n" + table(end="\n\n") + b"\n\n", file="d.csv"),
    fine("csv", "spaces", lambda: table(sep=" , "), file="d.csv"),
    fine("csv", "quotes", lambda: b'"1","2","3"\n"4","5","6"\n', file="d.csv"),
    fine("csv", "equal headers", lambda: table(head="a,a,a"), "header", file="d.csv"),
    fine("csv", "exponents", lambda: b"1e-3,2E2,3.5e+01\n4,5,6\n", file="d.csv"),
    fine("csv", "no line end", lambda: b"1,2,3\n4,5,6", file="d.csv"),
]

CSV_AMBIGUOUS = [
    fine("csv, ambiguous", "header of words", lambda: table(head="a,b,c"), "header", file="d.csv"),
    fine("csv, ambiguous", "semicolons", lambda: table(sep=";"), file="d.csv"),
    fine("csv, ambiguous", "tabs", lambda: table(sep="\t"), file="d.csv"),
    bad("csv, ambiguous", "decimal commas", lambda: b"1,5;2,5;3\n4;5;6\n", "decimal commas",
        file="d.csv"),
    bad("csv, ambiguous", "spaces alone", lambda: table(sep=" "), "commas", file="d.csv"),
    bad("csv, ambiguous", "Latin-1", lambda: "é,b,c\n1,2,3\n".encode("latin-1"), "UTF-8",
        file="d.csv"),
    bad("csv, ambiguous", "UTF-16", lambda: table().decode().encode("utf-16"), "UTF-16",
        file="d.csv"),
    bad("csv, ambiguous", "missing cell", lambda: b"1,2,3\n4,,6\n", "line 2, column 2 is empty",
        file="d.csv"),
    bad("csv, ambiguous", "NA words", lambda: b"1,2,3\n4,NA,6\n", "line 2, column 2 holds 'NA'",
        file="d.csv"),
    bad("csv, ambiguous", "nan", lambda: b"1,2,3\n4,nan,6\n", "NaN", file="d.csv"),
    bad("csv, ambiguous", "thousands", lambda: b'"1,000","2","3"\n', "'1,000'", file="d.csv"),
    bad("csv, ambiguous", "underscores", lambda: b"1,2,3\n1_000,2,3\n", "line 2, column 1",
        file="d.csv"),
    fine("csv, ambiguous", "unnamed index",
         lambda: table(np.column_stack([np.arange(12), X]), head=",a,b,c"), "counts the rows",
         file="d.csv"),
    fine("csv, ambiguous", "shuffled unnamed index",
         lambda: table(np.column_stack([np.arange(12)[::-1], X]), head=",a,b,c"),
         "name of an index", file="d.csv"),
    fine("csv, ambiguous", "row numbers without a header",
         lambda: table(np.column_stack([np.arange(12), X])), "counts the rows", file="d.csv"),
    fine("csv, ambiguous", "row numbers from 1 and a label",
         lambda: table(np.column_stack([np.arange(1, 13), X, np.arange(12) % 3])),
         "counts the rows", "label", file="d.csv"),
    fine("csv, ambiguous", "named index and a label",
         lambda: table(np.column_stack([np.arange(12), X, np.arange(12) % 3]), head="id,a,b,c,y"),
         "counts the rows", "label", file="d.csv"),
    fine("csv, ambiguous", "label", lambda: table(np.column_stack([X, np.arange(12) % 3])),
         "label", file="d.csv"),
]  # fmt: skip

CSV_BAD = [
    bad("csv, bad", "words", lambda: b"1,2,3\n1,two,3\n", "line 2, column 2 holds 'two'",
        file="d.csv"),
    bad("csv, bad", "words in the first row", lambda: b"1,two,3\n1,2,3\n",
        "line 1, column 2 holds 'two'", file="d.csv"),
    bad("csv, bad", "long row", lambda: b"1,2,3\n1,2,3,4\n", "line 2 has 4", file="d.csv"),
    bad("csv, bad", "short row", lambda: b"1,2,3\n1,2\n", "line 2 has 2", file="d.csv"),
    bad("csv, bad", "open quote", lambda: b'"1,2,3\n4,5,6\n', "quotation mark", file="d.csv"),
    bad("csv, bad", "binary", lambda: b"\x00\x01\x02,3", "binary", file="d.csv"),
    bad("csv, bad", "old spreadsheet", lambda: b"\xd0\xcf\x11\xe0" + bytes(99), "spreadsheet",
        file="d.csv"),
    bad("csv, bad", "gzip", lambda: gzip.compress(table()), "gzip", file="d.csv"),
    bad("csv, bad", "web page", lambda: b"<html></html>", "web page", file="d.csv"),
    bad("csv, bad", "JSON", lambda: b'{"a": 1}', "JSON", file="d.csv"),
    bad("csv, bad", "one endless line", lambda: b"1," * 200_000, "columns",
        "QUANTLIB_MAX_COLUMNS", file="d.csv"),
    bad("csv, bad", "one endless cell", lambda: b"1" * 400_000, "line 1", file="d.csv"),
    bad("csv, bad", "thousands of columns", lambda: table(np.zeros((2, 5000))),
        "5000 columns", "3 features", file="d.csv"),
    bad("csv, bad", "header alone", lambda: b"a,b,c\n", "no rows", file="d.csv"),
    bad("csv, bad", "blank", lambda: b" \n \n", "no rows", file="d.csv"),
    bad("csv, bad", "formula", lambda: b"=1+1,2,3\n=1,2,3\n", "column 1 holds '=1+1'",
        file="d.csv"),
]  # fmt: skip

DATA = [*CONTAINER, *TYPES, *VALUES, *AMOUNT, *FIT, *CSV, *CSV_AMBIGUOUS, *CSV_BAD]
