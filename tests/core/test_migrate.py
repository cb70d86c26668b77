"""`roberta migrate`: imports are replaced, and whatever else has to change is listed with its line."""

import ast
import json
import os
import re
import runpy
from pathlib import Path

import pytest

pytest.importorskip("libcst", reason="the extra migrate")

from roberta_core.cli import main
from roberta_core.migration import migrate, names, script
from roberta_core.migration.advice import ATTRIBUTES

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DROPIN = runpy.run_path(str(ROOT / "tests" / "dropin" / "run.py"))


def convert(text, **options):
    """The converted script."""
    return migrate(text, **options).after


def notes(text, **options):
    """The notes as `line: text`."""
    return [f"{note.line}: {note.text}" for note in migrate(text, **options).notes]


@pytest.mark.parametrize("name", DROPIN["SCRIPTS"])
def test_the_scripts_in_use_become_those_that_give_the_same_numbers(name):
    text = (ROOT / "tests" / "dropin" / name).read_text()
    converted = migrate(text)
    assert ast.dump(ast.parse(converted.after)) == ast.dump(ast.parse(DROPIN["ours"](text, name)))
    assert not converted.notes


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from transformers import RobertaModel", "from roberta_pt import RobertaModel"),
        ("from transformers import RobertaModel as Body", "from roberta_pt import RobertaModel as Body"),
        (
            "from transformers import Trainer, RobertaModel",
            "from transformers import Trainer\nfrom roberta_pt import RobertaModel",
        ),
        (
            "from transformers import (\n    RobertaModel,\n    Trainer,  # trains\n)  # end",
            "from transformers import (\n    Trainer,  # trains\n)\nfrom roberta_pt import RobertaModel  # end",
        ),
        (
            "import os; from transformers import RobertaConfig, RobertaModel; x = 1",
            "import os; from roberta_core import RobertaConfig; from roberta_pt import RobertaModel; x = 1",
        ),
        (
            "try: from transformers import TFRobertaModel\nexcept ImportError: pass",
            "try: from roberta_tf import TFRobertaModel\nexcept ImportError: pass",
        ),
        (
            "def f():\n    # why\n    from transformers import FlaxRobertaModel\n",
            "def f():\n    # why\n    from roberta_flax import FlaxRobertaModel\n",
        ),
        (
            "from transformers.models.roberta.modeling_roberta import RobertaModel",
            "from roberta_pt import RobertaModel",
        ),
        (
            "from transformers import XLMRobertaModel, CamembertTokenizer",
            "from roberta_core import TokenizerFast as CamembertTokenizer\n"
            "from roberta_pt import RobertaModel as XLMRobertaModel",
        ),
        ("import transformers\ntransformers.RobertaModel", "import roberta_pt\nroberta_pt.RobertaModel"),
        (
            "import transformers\ntransformers.RobertaModel\ntransformers.Trainer",
            "import transformers\nimport roberta_pt\nroberta_pt.RobertaModel\ntransformers.Trainer",
        ),
        (
            "import os, transformers as hf, sys\nhf.TFRobertaModel.from_pretrained(x)",
            "import os, sys\nimport roberta_tf\nroberta_tf.TFRobertaModel.from_pretrained(x)",
        ),
        (
            "from transformers.models import roberta\nroberta.RobertaModel",
            "from transformers.models import roberta\nimport roberta_pt\nroberta_pt.RobertaModel",
        ),
        (
            "from transformers import RobertaModel, BatchEncoding\n"
            "from transformers.modeling_tf_outputs import TFMaskedLMOutput",
            "from roberta_core.tokenization import BatchEncoding\nfrom roberta_pt import RobertaModel\n"
            "from roberta_core.outputs import MaskedLMOutput as TFMaskedLMOutput",
        ),
        (
            "from transformers import RobertaModel\nfrom transformers.utils import send_example_telemetry\n"
            "# reports\nsend_example_telemetry('glue', a)\nif a: send_example_telemetry('glue', a)\nx = 1",
            "from roberta_pt import RobertaModel\nif a: pass\nx = 1",
        ),
        (
            "from transformers import RobertaModel\nfrom transformers.utils import logging, send_example_telemetry",
            "from roberta_pt import RobertaModel\nfrom transformers.utils import logging",
        ),
        (
            "from transformers import TFRobertaModel, WarmUp\n"
            "from transformers.optimization_tf import create_optimizer",
            "from roberta_tf import TFRobertaModel, WarmUp\nfrom roberta_tf import create_optimizer",
        ),
        ("from transformers import TFBertModel, WarmUp", "from transformers import TFBertModel, WarmUp"),
        ("from .transformers import RobertaModel", "from .transformers import RobertaModel"),
        ("from my_transformers import RobertaModel", "from my_transformers import RobertaModel"),
        ("transformers = load()\ntransformers.RobertaModel", "transformers = load()\ntransformers.RobertaModel"),
        ("from transformers import RobertaModel\r\nx = 1\r\n", "from roberta_pt import RobertaModel\r\nx = 1\r\n"),
    ],
)
def test_an_import_is_replaced(before, after):
    assert convert(before) == after
    ast.parse(after)


@pytest.mark.parametrize(
    ("checkpoint", "is_replaced"),
    [
        ('"roberta-base"', True),
        ('"cardiffnlp/twitter-roberta-base"', True),
        ("args.model", True),
        ('"bert-base-uncased"', False),
        ('"hfl/chinese-roberta-wwm-ext"', False),
    ],
)
def test_an_auto_class_is_replaced_unless_it_loads_another_model(checkpoint, is_replaced):
    text = f"from transformers import AutoModel\nAutoModel.from_pretrained({checkpoint})\n"
    expected = text.replace("from transformers import AutoModel", "from roberta_pt import RobertaModel as AutoModel")
    assert convert(text) == (expected if is_replaced else text)
    assert convert(text, assume_roberta=True) == expected
    said = " ".join(notes(text))
    assert ("2: AutoModel stays: " in said) is not is_replaced
    assert ("1: AutoModel: RoBERTa's classes now" in said) is (checkpoint == "args.model")


def test_the_model_type_of_a_local_folder_decides(tmp_path):
    text = f"from transformers import AutoModel\nAutoModel.from_pretrained({str(tmp_path)!r})\n"
    for kind, is_replaced in (("roberta", True), ("camembert", True), ("bert", False)):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
        assert (convert(text) != text) is is_replaced


def test_auto_classes_without_a_known_checkpoint_stay_beside_another_model():
    text = (
        "from transformers import AutoConfig, AutoModel, AutoTokenizer\n"
        'AutoConfig.from_pretrained(name); AutoTokenizer.from_pretrained("roberta-base")\n'
        'AutoModel.from_pretrained("gpt2")\n'
    )
    assert convert(text).splitlines()[:2] == [
        "from transformers import AutoConfig, AutoModel",
        "from roberta_core import RobertaTokenizerFast as AutoTokenizer",
    ]
    assert [note for note in notes(text) if "stays" in note]


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ('"roberta-base"', "RobertaTokenizerFast"),
        ('"roberta-base", use_fast=False', "RobertaTokenizer"),
        ('"xlm-roberta-base"', "TokenizerFast"),
    ],
)
def test_the_tokenizer_follows_the_checkpoint(arguments, kind):
    text = f"from transformers import AutoTokenizer\nAutoTokenizer.from_pretrained({arguments})"
    assert convert(text).startswith(f"from roberta_core import {kind} as AutoTokenizer\n")


def test_a_pipeline_is_replaced_if_its_task_and_its_model_are_known():
    start = "from transformers import pipeline\n"
    for call, is_replaced in (
        ('pipeline("fill-mask", model="roberta-base")', True),
        ('pipeline("sentiment-analysis", model=name)', True),
        ('pipeline("summarization", model=name)', False),
        ('pipeline("fill-mask", model="bert-base-cased")', False),
        ('pipeline("fill-mask")', False),
        ("pipeline(task, model=name)", False),
    ):
        assert (convert(start + call) != start + call) is is_replaced, call
        assert bool([note for note in notes(start + call) if note.startswith("2: pipeline stays")]) is not is_replaced


def test_base_classes_follow_only_if_no_other_model_remains():
    text = "from transformers import {}, PreTrainedTokenizerFast\nisinstance(x, PreTrainedTokenizerFast)\n"
    assert "import RobertaTokenizerFast as PreTrainedTokenizerFast" in convert(text.format("RobertaModel"))
    assert convert(text.format("BertModel")) == text.format("BertModel")
    own = "from transformers import RobertaModel, PretrainedConfig\nclass Own(PretrainedConfig): pass\n"
    assert "from transformers import PretrainedConfig\n" in convert(own)
    assert "1: PretrainedConfig stays, because a class of the script is derived from it" in notes(own)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("from transformers import *", "1: `import *` is not replaced: list the names that are used"),
        ("import transformers\ngetattr(transformers, n)", "2: names that are looked up with getattr are not replaced"),
        (
            'import importlib\nimportlib.import_module("transformers.models.roberta")',
            "2: a module that is imported by its name in a string is not replaced",
        ),
        ('x = "transformers.RobertaModel"', "1: the string 'transformers.RobertaModel' is not replaced"),
        ("import tf_keras", "1: tf_keras: Keras 2 does not accept these models"),
        ("from transformers import TFBertModel", "1: TFBertModel: transformers 5 removed it, and these packages have"),
        (
            "from transformers.utils import TF2_WEIGHTS_NAME",
            '1: TF2_WEIGHTS_NAME: transformers 5 removed it: the name of a file, "tf_model.h5"',
        ),
        ("import transformers as t\nt.TFTrainer", "2: TFTrainer: transformers 5 removed it: use model.compile"),
        (
            "from sentence_transformers import SentenceTransformer",
            "1: sentence_transformers: it loads with transformers",
        ),
        ("from jax.config import config", "1: jax.config.config: current JAX lacks this module: use jax.config"),
        (
            "from transformers import RobertaModel\nRobertaModel.from_pretrained(n,\n  gguf_file=g)",
            "3: gguf_file is refused",
        ),
        ("from transformers import XLMRobertaConfig\nXLMRobertaConfig()", '1: pass model_type="xlm-roberta" where'),
    ],
)
def test_what_is_not_replaced_is_listed_with_its_line(text, note):
    assert [found for found in notes(text) if found.startswith(note)], notes(text)


KINDS = ("py", "diff", "text")
EXPECTED = {
    "glue.py": (
        [
            "from roberta_core import RobertaConfig as AutoConfig, RobertaTokenizerFast as AutoTokenizer, "
            "RobertaConfig as PretrainedConfig, RobertaTokenizerFast as PreTrainedTokenizerFast",
            "from roberta_pt import RobertaForSequenceClassification as AutoModelForSequenceClassification",
        ],
        ["set_seed", "AutoConfig, AutoModelForSequenceClassification, AutoTokenizer", "load_in_8bit", "use_fast"],
    ),
    "glue_tf.py": (
        [
            "from roberta_tf import TFRobertaForSequenceClassification as TFAutoModelForSequenceClassification, "
            "create_optimizer",
            "from roberta_core import RobertaTokenizerFast as AutoTokenizer, DataCollatorWithPadding",
            "from transformers import PushToHubCallback",
        ],
        [
            "remove TF_USE_LEGACY_KERAS",
            "tf_keras",
            "PushToHubCallback",
            "lr: ",
        ],
    ),
    "mlm_flax.py": (
        [
            "from roberta_flax import FlaxRobertaForMaskedLM as FlaxAutoModelForMaskedLM",
            "from roberta_flax import FlaxRobertaPreTrainedModel",
            "from roberta_core.tokenization.tokenizer_base import TokenizerBase as PreTrainedTokenizerBase",
        ],
        ["FLAX_MODEL_FOR_MASKED_LM_MAPPING", "jax.tree_map", "jax.tree_leaves"],
    ),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_script_of_the_shape_of_the_published_examples(name):
    lines, by_hand = EXPECTED[name]
    text = (HERE / "migrate" / name).read_text()
    converted = migrate(text)
    assert {*lines} <= {*ast.unparse(ast.parse(converted.after)).splitlines()}
    found = " ".join(note.text for note in converted.notes)
    assert not [item for item in by_hand if item not in found]
    old, new = text.splitlines(), converted.after.splitlines()
    kept = [note for note in converted.notes if old[note.line - 1] in new]
    assert len(kept) > 1
    assert all(old[note.line - 1] == new[note.new_line - 1] for note in kept)
    assert convert(converted.after) == converted.after


def test_an_option_that_only_pytorch_honours_is_noted_for_the_others():
    text = "from transformers import {0}\n{0}.from_pretrained(n, device_map='cpu', torch_dtype=t, device_mesh=None)"
    assert notes(text.format("RobertaModel")) == []
    assert [note[:18] for note in notes(text.format("TFRobertaModel"))] == ["2: device_map is r", "2: torch_dtype is "]


@pytest.mark.parametrize("page", ["from-tensorflow", "from-flax", "from-pytorch"])
def test_the_pages_show_what_the_command_prints(page):
    text = (ROOT / "docs" / f"{page}.md").read_text()
    (before,), (diff,), (printed,) = (re.findall(rf"^```{kind}\n(.*?)^```", text, re.S | re.M) for kind in KINDS)
    converted = migrate(before)
    assert converted.build_diff("train.py") == diff
    stays = f"train.py: still imported from transformers, which has to stay installed: {', '.join(converted.stays)}"
    lines = [f"train.py:{note.line}: {note.text}" for note in converted.notes]
    assert [line for line in [*lines, stays] if line in printed.splitlines()] == printed.splitlines()
    assert [*lines] == [line for line in printed.splitlines() if line != stays]


def test_every_new_name_exists():
    declared = {
        package: set(re.findall(r'"(\w+)",', (ROOT / package / "__init__.py").read_text()))
        for package in names.PREFIXES.values()
    }
    for table in (names.MODELS, names.AUTO, names.BASES, names.COLLATORS, names.OPTIMIZERS, names.PIPELINE):
        for new in table.values():
            if new.module in declared:
                assert new.name in declared[new.module], new
            else:
                assert hasattr(__import__(new.module, fromlist=["_"]), new.name), new


def test_an_attribute_that_is_said_to_be_missing_is():
    for package, missing in ATTRIBUTES.items():
        code = "".join(path.read_text() for path in (ROOT / package).glob("*.py"))
        assert [name for name in missing if re.search(rf"def {name}\(", code)] == [], package


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["migrate", *map(str, arguments)])
    return ended.value.code


def test_the_command_prints_a_diff_or_writes(tmp_path, capsys):
    path = tmp_path / "train.py"
    text = "from transformers import RobertaModel, Trainer, set_seed\n"
    path.write_text(text)
    os.chmod(path, 0o750)
    assert run(path) == 0
    printed = capsys.readouterr().out
    assert "-from transformers import RobertaModel, Trainer, set_seed\n+from transformers import Trainer" in printed
    assert f"{path}:1: set_seed: " in printed
    assert f"{path}: still imported from transformers, which has to stay installed: Trainer, set_seed" in printed
    assert path.read_text() == text
    assert run(path, "--json") == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert (facts["changed"], facts["written"], facts["by_hand"][0]["line"]) == (True, False, 1)
    assert run(path, "--write") == 0
    assert path.read_text() == "from transformers import Trainer, set_seed\nfrom roberta_pt import RobertaModel\n"
    assert path.stat().st_mode & 0o777 == 0o750
    assert run(path) == 0
    assert f"{path}: no import to replace" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.py", b"def f(:\n", "a.py is not valid Python (line 1): it was not converted"),
        ("a.py", b"x = '\xff'", "a.py is not a Python file in UTF-8: byte 5 cannot be decoded"),
        ("a.ipynb", b"{}", "a.ipynb is a notebook: convert it first, jupyter nbconvert --to script"),
        ("a.py", None, "a.py: No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_converted_is_a_sentence_and_nothing_is_written(tmp_path, capsys, name, content, said):
    good = tmp_path / "good.py"
    good.write_text("from transformers import RobertaModel\n")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert run(good, tmp_path / name, "--write") == 1
    assert said in capsys.readouterr().err
    assert good.read_text() == "from transformers import RobertaModel\n"


def test_a_folder_is_refused(tmp_path, capsys):
    assert run(tmp_path) == 1
    assert "is a folder: give Python files, such as" in capsys.readouterr().err


def test_without_libcst_the_command_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(script, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"converting scripts needs libcst: pip install 'triberta\[migrate\]'"):
        migrate("x = 1")
