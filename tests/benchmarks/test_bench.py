import json
import sys
from pathlib import Path

import numpy as np
import pytest

from roberta_bench import harness, report, worker
from roberta_bench.harness import Result, Timing, check_agreement, measure
from roberta_bench.recommendation import recommend
from roberta_core.cli import main
from roberta_core.config import RobertaConfig

SHAPES = [(2, 5), (3, 7)]
CONTESTANT = """
import time
import numpy as np

def version(name):
    return "1.0"

def import_libraries(name):
    time.sleep(0.03)

def load(name, folder):
    print("a greeting")
    if name == "broken":
        raise RuntimeError("no")
    def run(ids, mask):
        if name == "reversed-bf16":
            ids = np.concatenate([ids[:, :1], ids[:, -2:0:-1], ids[:, -1:]], axis=1)
        time.sleep(0.02 if name == "slow" else 0)
        states = np.tile(ids[..., None] + mask[..., None], 9) + np.arange(9)
        return None if name == "limit" else states + (name == "wrong") + 0.1 * ("offset" in name)
    return run
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the folder of a checkpoint's configuration, with contestants that need only NumPy."""
    place = tmp_path / "contestants"
    place.mkdir()
    (place / "contestant.py").write_text(CONTESTANT)
    (tmp_path / "worker.py").write_text(Path(worker.__file__).read_text())
    monkeypatch.setattr(harness, "HERE", tmp_path)
    names = ("quick", "slow", "wrong", "broken", "limit", "pt", "reversed-bf16", "offset-int8")
    monkeypatch.setattr(harness, "CONTESTANTS", dict.fromkeys(names, "contestant.py"))
    monkeypatch.setattr(harness, "PAUSE", 0)
    RobertaConfig(vocab_size=50).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def python(*names):
    return dict.fromkeys(names, sys.executable)


def test_implementations_run_every_shape_once_and_then_in_rounds(folder):
    results = measure(folder, python("quick", "slow", "limit"), SHAPES, rounds=3)
    assert [result.name for result in results] == ["quick", "slow", "limit"]
    for result in results:
        assert result.version == "1.0"
        assert result.imports > 0.03 > result.load > 0
        assert list(result.timings) == SHAPES
        assert all(len(timing.rest) == 3 and timing.first > 0 for timing in result.timings.values())
    assert results[1].timings[2, 5].median > 0.02 > results[0].timings[2, 5].median


def test_a_different_output_is_an_error(folder):
    with pytest.raises(ValueError, match="wrong and quick return different outputs"):
        measure(folder, python("quick", "wrong"), SHAPES, rounds=1)


def test_an_output_of_reordered_inputs_is_an_error(folder):
    with pytest.raises(ValueError, match="reversed-bf16 and quick return different outputs"):
        measure(folder, python("quick", "reversed-bf16"), [(2, 9)], rounds=0)


def test_a_worker_that_exits_is_reported_with_its_command(folder):
    with pytest.raises(ChildProcessError, match=r"broken exited with status 1; to see why, run: .*worker.py"):
        measure(folder, python("broken"), SHAPES, rounds=1)


@pytest.mark.parametrize(("error", "fine"), [(5e-5, True), (2e-4, False), (np.nan, False)])
def test_answers_agree_within_a_ten_thousandth(error, fine):
    answers = {"one": [1.0, -3.0], "none": None, "other": [1.0, -3.0 * (1 + error)]}
    if fine:
        check_agreement(answers)
    else:
        with pytest.raises(ValueError, match="other and one"):
            check_agreement(answers)


def test_bfloat16_has_a_higher_tolerance():
    check_agreement({"pt": [1.0, -3.0], "pt-bf16": [1.0, -3.1]})
    with pytest.raises(ValueError, match="pt-bf16 and pt"):
        check_agreement({"pt": [1.0, -3.0], "pt-bf16": [1.0, -3.2]})
    with pytest.raises(ValueError, match="tf and pt"):
        check_agreement({"pt": [1.0, -3.0], "pt-bf16": [1.0, -3.1], "tf": [1.0, -3.1]})


def test_inputs_are_the_same_for_all_and_contain_only_real_tokens():
    ids, mask = worker.make_inputs(3, 7, 50, seed=1)
    again, _ = worker.make_inputs(3, 7, 50, seed=1)
    other, _ = worker.make_inputs(3, 7, 50, seed=2)
    np.testing.assert_array_equal(ids, again)
    assert (ids != other).any()
    assert ids.shape == mask.shape == (3, 7)
    assert mask.all()
    assert (ids[:, 0] == 0).all()
    assert (ids[:, -1] == 2).all()
    assert ((ids[:, 1:-1] >= 4) & (ids[:, 1:-1] < 50)).all()


def test_the_operations_of_the_encoder_are_counted():
    base = RobertaConfig.base()
    assert report.count_products(base, (1, 1)) == pytest.approx(170e6, rel=1e-3)
    assert (
        report.count_operations(base, (2, 100)) - report.count_products(base, (2, 100)) == 4 * 2 * 100 * 100 * 768 * 12
    )


def test_int8_has_the_highest_tolerance_and_errors_are_returned():
    errors = check_agreement({"pt": [1.0, -4.0], "none": None, "onnx-int8": [1.0, -5.0], "tf": [1.0, -4.0]})
    assert errors == {"pt": 0, "onnx-int8": 0.25, "tf": 0}
    with pytest.raises(ValueError, match="onnx-int8 and pt"):
        check_agreement({"pt": [1.0, -3.0], "onnx-int8": [1.0, -4.0]})


def test_float32_is_compared_with_float32_whatever_the_order():
    errors = check_agreement({"onnx-int8": [1.0, -4.5], "pt": [1.0, -4.0], "tf": [1.0, -4.0]})
    assert errors == {"onnx-int8": 0.125, "pt": 0, "tf": 0}
    with pytest.raises(ValueError, match="tf and pt"):
        check_agreement({"onnx-int8": [1.0, -4.5], "pt": [1.0, -4.0], "tf": [1.0, -4.4]})


def test_errors_do_not_depend_on_the_turns(folder):
    results = measure(folder, python("quick", "reversed-bf16"), [(2, 3)], rounds=3)
    assert [result.error for result in results] == [0, 0]  # three tokens reversed are themselves
    results = measure(folder, python("quick", "offset-int8"), [(2, 9)], rounds=3)
    assert results[0].error == 0 < results[1].error < 0.3


def time_results(**seconds):
    """Return results with the seconds of two shapes by name, `_` for `-`; errors in int8 are 0.02."""
    found = []
    for name, both in seconds.items():
        shapes = {(1, size): Timing(9.0, [one]) for size, one in enumerate(both)}
        found.append(Result(name.replace("_", "-"), "1", 0, 0, error=0.02 * ("int8" in name), timings=shapes))
    return found


def test_the_fastest_implementation_of_this_project_is_recommended():
    times = time_results(
        limit=(0.1, 0.1), pt=(4, 8), tf=(9, 9), onnx_int8=(2, 2), openvino=(4, 4), openvino_bf16=(3, 4)
    )
    found = recommend([*times, *time_results(transformers_openvino=(0.1, 0.1))])
    assert found is not None
    assert found.baseline == "pt"
    assert (found.fastest.name, found.fastest.speed, found.fastest.slowest, found.fastest.error) == (
        "onnx-int8", pytest.approx(8**0.5), 2, 0.02,
    )  # fmt: skip
    assert (found.exact.name, found.exact.speed) == ("openvino", pytest.approx(2**0.5))
    shown = str(found)
    assert "on this machine: onnx-int8, 2.8x (2.0x at the slowest shape), error 2.0e-02, compared with pt" in shown
    assert "in float32: openvino, 1.4x" in shown
    assert "evaluate the task before and after" in shown


def test_what_gains_no_more_than_noise_is_not_recommended():
    found = recommend(time_results(pt=(4, 8), openvino=(3.9, 7.9), pt_plain=(4, 9)))
    assert str(found) == "on this machine: pt; nothing else measured here is faster"
    assert recommend(time_results(pt=(4, 8), limit=(1, 1))) is None
    faster = recommend(time_results(tf=(4, 8), flax=(2, 4), onnx_int8=(3, 6)))
    assert str(faster) == "on this machine: flax, 2.0x (2.0x at the slowest shape), error 0.0e+00, compared with tf"


@pytest.fixture
def results():
    found = [Result("pt", "2", 1.0, 0.5, 300), Result("limit", "2", 0.4, 0.1, 200)]
    for result, seconds in zip(found, (0.2, 0.1), strict=True):
        result.timings[1, 8] = Timing(9.0, [seconds, seconds * 3, seconds / 2])
    return found


def test_the_share_of_the_limit_is_the_ratio_of_the_rates(results):
    config = RobertaConfig.base()
    share = report.count_operations(config, (1, 8)) / report.count_products(config, (1, 8)) / 2
    cells = [cell for column in report.to_table(results, config).columns for cell in column.cells]
    assert any(f"{share:.0%}" in str(cell) for cell in cells)
    facts = json.loads(report.to_json(results, config, {"cores": 2}))["results"][0]["shapes"][0]
    assert facts["median_seconds"] == 0.2
    assert facts["first_seconds"] == 9
    assert facts["gflops"] == pytest.approx(report.count_operations(config, (1, 8)) / 0.2e9)


def test_a_chart_is_drawn(results, tmp_path):
    report.write_chart(tmp_path / "chart.svg", results, RobertaConfig.base())
    assert (tmp_path / "chart.svg").read_text().count("<svg") == 1


def test_the_command_writes_every_number(folder, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["bench", str(folder), "--frameworks", "pt", "--shapes", "2x5", "--rounds", "2", "--json"])
    assert ended.value.code == 0
    facts = json.loads(capsys.readouterr().out)
    (found,) = facts["results"]
    assert found["name"] == "pt"
    assert found["error"] == 0
    assert len(found["shapes"][0]["seconds"]) == 2
    assert facts["recommendation"] is None


def test_the_command_ends_with_the_recommendation(folder, monkeypatch, capsys):
    times = time_results(pt=(4, 8), onnx_int8=(2, 2))
    monkeypatch.setattr(harness, "measure", lambda *arguments: times)
    for more in ((), ("--json",)):
        with pytest.raises(SystemExit):
            main(["bench", str(folder), "--frameworks", "pt", *more])
        found = capsys.readouterr().out
        if more:
            assert json.loads(found)["recommendation"]["fastest"]["name"] == "onnx-int8"
        else:
            assert "on this machine: onnx-int8, 2.8x" in found


def test_a_variant_whose_runtime_is_not_installed_is_refused_at_once(folder, monkeypatch, capsys):
    monkeypatch.setattr("roberta_core.backend._missing", lambda name: ["openvino"] * (name == "openvino"))
    with pytest.raises(SystemExit) as ended:
        main(["bench", str(folder), "--frameworks", "pt", "--also", "openvino-bf16"])
    assert ended.value.code == 1
    assert "openvino needs openvino: pip install 'triberta[openvino]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--shapes", "8"], "a shape is BATCHxLENGTH"),
        (["--shapes", "0x8"], "a shape is BATCHxLENGTH"),
        (["--also", "pt-fast"], "--also contains pt-fast; choose from pt-compile"),
        (["--peer", "transformers-pt"], "--peer transformers-pt is not NAME=PYTHON"),
        (
            ["--peer", "unknown=python"],
            "--peer names an unknown implementation unknown; choose from ",
        ),
        (["--peer", "slow=no/python"], "no/python does not exist"),
    ],
)
def test_wrong_usage_is_one_sentence(folder, capsys, arguments, sentence):
    with pytest.raises(SystemExit) as ended:
        main(["bench", str(folder), "--frameworks", "pt", *arguments])
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err
