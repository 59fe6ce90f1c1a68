"""What `precision: auto` means, by what a machine says of itself."""

from pathlib import Path

import pytest

from cai.params import Precision, Section, native_precision


class Computes(Section):
    precision: Precision


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("flags\t\t: fpu avx2 fma", "fp32"),
        ("flags\t\t: fpu avx512f avx512_bf16", "bf16"),
        ("flags\t\t: avx512f amx_bf16 amx_tile", "bf16"),
        ("Features\t: fp asimd bf16 i8mm", "bf16"),
        ("model name\t: bf16", "fp32"),
        ("", "fp32"),
    ],
)
def test_bf16_where_the_processor_multiplies_it(tmp_path: Path, said: str, meant: str) -> None:
    (tmp_path / "cpuinfo").write_text(said + "\n")
    assert native_precision(tmp_path / "cpuinfo", tmp_path) == meant


def test_a_gpu_has_bf16_and_a_machine_that_says_nothing_has_not(tmp_path: Path) -> None:
    assert native_precision(tmp_path / "missing", tmp_path) == "fp32"
    (tmp_path / "nvidia0").touch()
    assert native_precision(tmp_path / "missing", tmp_path) == "bf16"


def test_a_section_sees_what_auto_means_here() -> None:
    assert Computes(precision="auto").precision == native_precision()  # type: ignore[arg-type]
    assert Computes(precision="bf16").precision == "bf16"
