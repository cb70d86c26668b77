"""Models on a Hub that runs on localhost: downloads, refusals and uploads."""

import json
import logging
import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

from roberta_core import RobertaConfig, RobertaTokenizerFast, checkpoints, cli
from roberta_core.checkpoints import CheckpointError, conversion, formats, resolve
from roberta_core.checkpoints import hub as module
from roberta_core.checkpoints.card import TASKS, build_card
from roberta_core.checkpoints.source import EMBEDDED
from roberta_core.parameters import ARCHITECTURES, draw

TINY = EMBEDDED / "roberta-tiny"
NAME = "someone/roberta"
WEIGHTS = [row.name for row in formats.FORMATS]


@pytest.fixture
def save(tmp_path, config):
    """Return `save(format, folder)`, which saves a small checkpoint and returns its tensors."""

    def made(format="safetensors", folder="made", **options):
        tensors = dict(draw(config, "ForMaskedLM"))
        checkpoints.save(tmp_path / folder, config, "ForMaskedLM", tensors, format=format, **options)
        return tmp_path / folder

    return made


def same(folder, other, config):
    one, two = (checkpoints.load(place, config, "ForMaskedLM")[0] for place in (folder, other))
    return one.keys() == two.keys() and all(one[name].tobytes() == two[name].tobytes() for name in one)


def test_only_the_required_files_of_a_model_are_downloaded_once(hub):
    hub.add(NAME, TINY)
    folder = resolve(NAME)
    assert hub.downloads() == ["config.json", "model.safetensors"]
    assert (folder / "model.safetensors").read_bytes() == (TINY / "model.safetensors").read_bytes()
    assert resolve(NAME) == folder
    assert hub.downloads() == ["config.json", "model.safetensors"]


def test_a_configuration_and_a_tokenizer_download_no_weights(hub):
    hub.add(NAME, TINY)
    assert RobertaConfig.from_pretrained(NAME) == RobertaConfig.from_pretrained(TINY)
    assert hub.downloads() == ["config.json"]
    tokenizer = RobertaTokenizerFast.from_pretrained(NAME)
    assert tokenizer("She opened it.") == RobertaTokenizerFast.from_pretrained(TINY)("She opened it.")
    assert set(hub.downloads()) <= {"config.json", *module.TOKENIZER, *module.VOCABULARY}


def test_both_files_of_a_tokenizer_are_downloaded(hub, tmp_path):
    shutil.copy(TINY / "config.json", tmp_path)
    RobertaTokenizerFast.from_pretrained(TINY).save_vocabulary(tmp_path)
    hub.add(NAME, tmp_path)
    tokenizer = RobertaTokenizerFast.from_pretrained(NAME)
    assert {"vocab.json", "merges.txt"} <= set(hub.downloads())
    assert tokenizer.vocab_size == RobertaTokenizerFast.from_pretrained(TINY).vocab_size


@pytest.mark.parametrize("at", range(len(WEIGHTS)))
def test_only_the_best_of_several_formats_is_downloaded(hub, save, at):
    for format in WEIGHTS[at:]:
        hub.add(NAME, save(format, format))
    resolve(NAME)
    best = formats.get_format(WEIGHTS[at])
    assert [name for name in hub.downloads() if name != "config.json"] == [best.file]


@pytest.mark.parametrize("format", [name for name in WEIGHTS if name != "fairseq"])
def test_the_shards_of_an_index_are_downloaded(hub, save, config, format):
    folder = save(format, max_shard_size="5KB")
    hub.add(NAME, folder)
    (folder.parent / "other").mkdir()
    (folder.parent / "other" / "model-00099-of-00099.safetensors").write_bytes(b"of no index")
    hub.add(NAME, folder.parent / "other")
    assert same(resolve(NAME), folder, config)
    assert sorted(hub.downloads()) == sorted(path.name for path in folder.iterdir())


def test_an_index_that_points_outside_downloads_nothing_from_there(hub, save):
    folder = save(max_shard_size="5KB")
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text().replace("model-00001-of-", "../../model-00001-of-"))
    hub.add(NAME, folder)
    with pytest.raises(CheckpointError, match="must name files in the same folder"):
        resolve(NAME)
    assert not [name for name in hub.downloads() if ".." in name]


def test_a_fairseq_repository_has_a_configuration(hub, shared):
    hub.add(NAME, shared / "fixtures/fairseq/v0.12.2-classification")
    config = RobertaConfig.from_pretrained(NAME)
    assert (config.hidden_size, config.vocab_size, config.num_labels) == (24, 105, 3)
    assert sorted(hub.downloads()) == ["dict.txt", "label.dict.txt", "model.pt"]
    assert conversion.open_checkpoint(resolve(NAME)).architecture == "ForSequenceClassification"


def test_a_revision_is_a_branch_or_a_commit(hub, save, config):
    first, second = save(folder="first"), save("bin", folder="second")
    hub.add(NAME, first)
    hub.add(NAME, second, revision="v2")
    assert (resolve(NAME, revision="v2") / "pytorch_model.bin").exists()
    assert (resolve(NAME) / "model.safetensors").exists()
    assert resolve(NAME, revision=hub.commit(NAME, "v2")) == resolve(NAME, revision="v2")
    with pytest.raises(CheckpointError, match=r"has no such revision 'v3'"):
        resolve(NAME, revision="v3")


def test_a_new_commit_is_downloaded_and_not_mixed_with_the_old_one(hub, save, config, tmp_path):
    hub.add(NAME, save())
    before = resolve(NAME)
    checkpoints.save(tmp_path / "second", config, "ForMaskedLM", dict(draw(config, "ForMaskedLM", seed=1)))
    hub.add(NAME, tmp_path / "second")
    after = resolve(NAME)
    assert before != after
    assert same(before, save(folder="first"), config)
    assert same(after, tmp_path / "second", config)


def test_a_commit_during_a_download_is_reported(hub, save):
    hub.add(NAME, save())
    answer = hub.resolve

    def changing(request, name, revision, path, *rest):
        answer(request, name, revision, path, *rest)
        if request.command == "GET":
            hub.repositories[name][revision]["README.md"] = b"a new commit"

    hub.resolve = changing
    with pytest.raises(CheckpointError, match="on the Hub changed during the download; try again"):
        resolve(NAME)


def test_a_subfolder_of_a_repository_or_folder_is_loaded(hub, save, config):
    folder = save(folder="parent/inner")
    hub.add(NAME, folder, prefix="inner/")
    hub.add(NAME, TINY)
    assert same(resolve(NAME, subfolder="inner"), folder, config)
    assert hub.downloads() == ["inner/config.json", "inner/model.safetensors"]
    assert resolve(folder.parent, subfolder="inner").samefile(folder)
    assert RobertaConfig.from_pretrained(NAME, subfolder="inner") == RobertaConfig.from_pretrained(folder)
    for outside in ("..", "inner/../..", "/etc/..", "a//b"):
        with pytest.raises(ValueError, match="must be a folder inside"):
            resolve(NAME, subfolder=outside)


def test_arguments_without_effect_are_accepted(hub, save):
    folder = save()
    hub.add(NAME, folder)
    accepted = {"trust_remote_code": True, "use_safetensors": True, "low_cpu_mem_usage": True, "resume_download": True}
    assert RobertaConfig.from_pretrained(NAME, **accepted) == RobertaConfig.from_pretrained(folder)


def test_the_older_name_of_the_token_is_accepted(hub, save):
    folder = save()
    hub.add(NAME, folder)
    hub.secret.add(NAME)
    got = RobertaConfig.from_pretrained(NAME, use_auth_token=hub.TOKEN)
    assert got == RobertaConfig.from_pretrained(folder)


def test_a_token_opens_private_and_gated_repositories(hub, save):
    folder = save()
    for name, places in (("someone/private", hub.secret), ("someone/gated", hub.gated)):
        hub.add(name, folder)
        places.add(name)
        assert (resolve(name, token=hub.TOKEN) / "model.safetensors").exists()
    with pytest.raises(CheckpointError, match="does not exist, or is private: specify a token"):
        resolve("someone/private", token=False, cache_dir=folder.parent / "other")
    with pytest.raises(CheckpointError, match="is gated: request access"):
        resolve("someone/gated", token=False, cache_dir=folder.parent / "other")


def test_the_cache_folder_can_be_specified(hub, save, tmp_path):
    hub.add(NAME, save())
    assert resolve(NAME, cache_dir=tmp_path / "mine").is_relative_to(tmp_path / "mine")


def test_force_download_downloads_again(hub, save):
    hub.add(NAME, save())
    resolve(NAME)
    resolve(NAME, force_download=True)
    assert hub.downloads() == ["config.json", "model.safetensors"] * 2


def test_local_files_only_sends_no_request(hub, save):
    hub.add(NAME, save(max_shard_size="5KB"))
    with pytest.raises(
        CheckpointError,
        match="not in this machine's cache of the Hub and cannot be loaded \\(local_files_only is set\\)",
    ):
        resolve(NAME, local_files_only=True)
    assert hub.asked == []
    folder = resolve(NAME)
    hub.asked.clear()
    assert resolve(NAME, local_files_only=True) == folder
    assert RobertaConfig.from_pretrained(NAME, local_files_only=True).hidden_size == 12
    assert hub.asked == []


def test_the_cache_is_used_if_the_hub_is_down(hub, save, caplog):
    hub.add(NAME, save())
    folder = resolve(NAME)
    hub.broken = True
    with caplog.at_level(logging.WARNING):
        assert resolve(NAME) == folder
    assert "the Hub is unreachable" in caplog.text
    with pytest.raises(CheckpointError, match="neither a folder here nor a built-in model") as caught:
        resolve("someone/other")
    assert "it is not in this machine's cache of the Hub" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_the_error_of_an_incomplete_cache_names_the_missing_file(hub, save):
    folder = save(max_shard_size="5KB")
    hub.add(NAME, folder)
    RobertaConfig.from_pretrained(NAME)
    with pytest.raises(
        CheckpointError, match=r"in the Hub's cache \(local_files_only is set\) has no weights; looked for model"
    ):
        resolve(NAME, local_files_only=True)
    cached = resolve(NAME)
    (cached / "model-00002-of-00004.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"cache has no model-00002-of-00004\.safetensors of someone/roberta"):
        resolve(NAME, local_files_only=True)


def test_the_hub_and_its_cache_are_set_by_the_environment(hub, tmp_path):
    hub.add(NAME, TINY)
    hub.secret.add(NAME)
    code = "from roberta_core import checkpoints; print(checkpoints.resolve('someone/roberta'))"
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "0",
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_TOKEN": hub.TOKEN,
    }
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(str(tmp_path / "home" / "hub"))


def test_offline_mode_is_reported_without_a_request(tmp_path):
    code = "from roberta_core import RobertaConfig; RobertaConfig.from_pretrained('someone/roberta')"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert "CheckpointError: 'someone/roberta' is neither a folder here nor a built-in model" in ended.stderr
    assert "(HF_HUB_OFFLINE forbids access to the Hub)" in ended.stderr
    assert ended.stderr.count("unreachable") == 0  # one message, not also that of a cache that holds nothing


def test_a_missing_source_is_reported_with_the_places_searched(hub):
    with pytest.raises(CheckpointError, match="neither a folder here nor a built-in model") as caught:
        resolve("someone/nothing")
    assert f"someone/nothing on {hub.url} does not exist, or is private" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_repository_without_weights_or_without_anything_is_refused(hub, tmp_path):
    (tmp_path / "README.md").write_text("x")
    hub.add(NAME, tmp_path)
    with pytest.raises(CheckpointError, match="is not a RoBERTa checkpoint"):
        resolve(NAME)
    (tmp_path / "config.json").write_text("{}")
    hub.add(NAME, tmp_path)
    with pytest.raises(CheckpointError, match="has no weights; looked for"):
        resolve(NAME)


@pytest.mark.parametrize("name", ["a/b/c", "", "x\0y", "/nowhere", "../roberta", "-x", "a b"])
def test_an_invalid_name_is_not_requested(hub, name):
    with pytest.raises(CheckpointError, match=r"nor a valid name on the Hub|there is no folder"):
        resolve(name)
    assert hub.asked == []


def test_tokenizer_files_are_not_copied_over_an_existing_tokenizer(tmp_path):
    (tmp_path / "generation_config.json").write_text("{}")
    assert set(module.read_carried_files(TINY, tmp_path)) == {name for name in module.CARRIED if (TINY / name).exists()}
    (tmp_path / "vocab.json").write_text("{}")
    assert not set(module.read_carried_files(TINY, tmp_path)) & {*module.TOKENIZER, *module.VOCABULARY}
    assert module.read_carried_files(TINY, TINY) == module.read_carried_files(None, tmp_path) == {}


def test_commands_accept_a_hub_name_and_conversion_copies_its_tokenizer(hub, tmp_path, capsys):
    hub.add(NAME, TINY)
    for command in (["info", NAME, "--json"], ["convert", NAME, str(tmp_path / "to"), "--to", "h5", "--json"]):
        with pytest.raises(SystemExit) as ended:
            cli.main(command)
        assert ended.value.code == 0
        assert json.loads(capsys.readouterr().out)["class"] == "RobertaForMaskedLM"
    assert RobertaTokenizerFast.from_pretrained(tmp_path / "to").vocab_size
    assert (tmp_path / "to" / "tf_model.h5").exists()


# Uploading ------------------------------------------------------------------------------------------------------------


def push(config, name=NAME, format="safetensors", **options):
    tensors = dict(draw(config, "ForMaskedLM", seed=5))

    def write(place):
        checkpoints.save(place, config, "ForMaskedLM", tensors, format=format)

    return module.push(name, write, build_card(name, config, "ForMaskedLM", 7, format), format, **options)


def test_an_upload_creates_the_repository_and_can_be_loaded(hub, config):
    address = push(config, token=hub.TOKEN)
    assert address == f"{hub.url}/{NAME}/commit/{hub.commit(NAME, 'main')}"
    assert sorted(path for path in hub.repositories[NAME]["main"] if not path.startswith(".")) == [
        "README.md", "config.json", "model.safetensors",
    ]  # fmt: skip
    tensors, _ = checkpoints.load(resolve(NAME), config, "ForMaskedLM")
    want = dict(draw(config, "ForMaskedLM", seed=5))
    assert all(np.array_equal(tensors[name], want[name]) for name in want)


def test_an_existing_card_is_kept(hub, config):
    push(config, token=hub.TOKEN)
    hub.repositories[NAME]["main"]["README.md"] = b"mine"
    push(config, token=hub.TOKEN)
    assert hub.repositories[NAME]["main"]["README.md"] == b"mine"


def test_old_shards_in_the_same_format_are_deleted(hub, save, config):
    hub.add(NAME, save(max_shard_size="5KB"))
    push(config, token=hub.TOKEN)
    names = [name for name in hub.repositories[NAME]["main"] if not name.startswith(".")]
    assert sorted(names) == ["README.md", "config.json", "model.safetensors"]


def test_weights_that_would_not_be_read_are_not_uploaded(hub, save, config):
    hub.add(NAME, save())
    with pytest.raises(CheckpointError, match=r"has model\.safetensors, read instead of tf_model\.h5"):
        push(config, format="h5", token=hub.TOKEN)
    assert "tf_model.h5" not in hub.repositories[NAME]["main"]


def test_an_upload_can_target_a_branch(hub, config):
    push(config, token=hub.TOKEN, revision="trial", commit_message="A trial")
    assert "model.safetensors" in hub.repositories[NAME]["trial"]
    assert "model.safetensors" not in hub.repositories[NAME]["main"]


def test_an_upload_without_a_token_or_a_hub_is_refused(hub, config):
    with pytest.raises(CheckpointError, match="was refused"):
        push(config, token=False)
    hub.broken = True
    with pytest.raises(CheckpointError, match="the Hub is unreachable, nothing was uploaded"):
        push(config, token=hub.TOKEN)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_card_describes_the_files(config, architecture):
    text = build_card("someone/roberta", config, architecture, 1234567, "safetensors")
    assert f"pipeline_tag: {TASKS[architecture]}\n" in text
    assert "| parameters | 1,234,567 |" in text
    assert "| longest sequence | 17 tokens |" in text
    assert f'Roberta{architecture}.from_pretrained("someone/roberta")' in text
    assert ("| labels | LABEL_0, LABEL_1 |" in text) == (architecture in ("ForSequenceClassification",
                                                                          "ForTokenClassification"))  # fmt: skip


def make_hostile_folder(tmp_path):
    """Build a checkpoint whose tokenizer files link outside the folder, into it, to a device, and to nothing."""
    folder, secret = tmp_path / "cloned", tmp_path / "secret.txt"
    secret.write_text("the secret")
    shutil.copytree(TINY, folder)
    (folder / "added_tokens.json").symlink_to(secret)
    (folder / "generation_config.json").symlink_to("../secret.txt")
    (folder / "vocab.json").rename(folder / "real.json")
    (folder / "vocab.json").symlink_to("real.json")
    (folder / "merges.txt").unlink()
    (folder / "merges.txt").symlink_to("/dev/zero")
    (folder / "special_tokens_map.json").unlink()
    (folder / "special_tokens_map.json").symlink_to("nowhere.json")
    return folder


def test_links_out_of_a_folder_are_not_copied_and_are_reported(tmp_path, caplog):
    folder = make_hostile_folder(tmp_path)
    found = module.read_carried_files(folder, tmp_path / "target")
    assert set(found) == {"tokenizer.json", "tokenizer_config.json", "vocab.json"}
    assert found["vocab.json"] == (TINY / "vocab.json").read_bytes()
    for name in ("added_tokens.json", "generation_config.json", "merges.txt"):
        assert f"Skipped {name}, which is not copied" in caplog.text


def test_converting_a_folder_does_not_copy_what_its_links_point_to(tmp_path):
    folder = make_hostile_folder(tmp_path)
    summary = conversion.convert(folder, tmp_path / "target", "bin")
    assert set(summary.carried) == {"tokenizer.json", "tokenizer_config.json", "vocab.json"}
    assert not any("the secret" in path.read_text("latin-1") for path in (tmp_path / "target").iterdir())


def test_the_links_of_the_cache_of_the_hub_are_followed(tmp_path):
    blobs, snapshot = tmp_path / "models--a--b" / "blobs", tmp_path / "models--a--b" / "snapshots" / "1234"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (blobs / "5678").write_text("{}")
    (snapshot / "tokenizer.json").symlink_to("../../blobs/5678")
    (tmp_path / "other").write_text("the secret")
    (snapshot / "vocab.json").symlink_to("../../../other")
    assert module.read_carried_files(snapshot, tmp_path / "target") == {"tokenizer.json": b"{}"}


INVALID = {
    "no JSON": b"<html>",
    "a list": [],
    "a number": 7,
    "no fields": {},
    "files that are not a list": {"id": NAME, "siblings": 7},
    "files without names": {"id": NAME, "siblings": [{"size": 1}]},
    "names that are not text": {"id": NAME, "siblings": [{"rfilename": 7}, {"rfilename": ["a"]}]},
}


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_list_of_files_is_refused_in_one_sentence(hub, save, case, monkeypatch):
    hub.add(NAME, save())
    monkeypatch.setattr(hub, "info", lambda request, *_: hub.send(request, 200, INVALID[case]))
    with pytest.raises(CheckpointError, match=r"sent an invalid answer|is not a RoBERTa checkpoint") as caught:
        resolve(NAME)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("header", ["X-Repo-Commit", "ETag"])
def test_a_header_with_a_path_outside_the_cache_is_refused(hub, save, tmp_path, header, monkeypatch):
    hub.add(NAME, save())
    send = hub.send

    def send_hostile(request, status, content, headers=None):
        send(request, status, content, {**(headers or {}), header: '"../../../escaped"'} if headers else headers)

    monkeypatch.setattr(hub, "send", send_hostile)
    with pytest.raises(CheckpointError):
        resolve(NAME)
    assert not (tmp_path / "escaped").exists()


def test_names_with_a_path_outside_the_cache_are_never_requested(hub, save, monkeypatch):
    hub.add(NAME, save())
    names = ["config.json", "model.safetensors", "../../evil.json", "/etc/passwd", "a/../../b"]
    answer = {"id": NAME, "siblings": [{"rfilename": name} for name in names]}
    monkeypatch.setattr(hub, "info", lambda request, *_: hub.send(request, 200, answer))
    assert (resolve(NAME) / "model.safetensors").exists()
    assert sorted(hub.downloads()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("silent", ["info", "resolve"])
def test_a_hub_that_never_answers_times_out(hub, save, silent, monkeypatch):
    hub.add(NAME, save())
    ended = threading.Event()
    monkeypatch.setattr(hub, silent, lambda *_: ended.wait(60))
    monkeypatch.setattr(module, "ANSWER_TIMEOUT", 2.0)
    try:
        with pytest.raises(CheckpointError, match=r"no answer within 2 seconds"):
            resolve(NAME)
    finally:
        ended.set()


def test_an_upload_to_a_hub_that_never_answers_times_out(hub, monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr(hub, "create", lambda *_: ended.wait(60))
    monkeypatch.setattr(module, "ANSWER_TIMEOUT", 2.0)
    try:
        with pytest.raises(CheckpointError, match=r"nothing was uploaded .*no answer within 2 seconds"):
            module.push(NAME, lambda folder: None, "card", "safetensors", token=hub.TOKEN)
    finally:
        ended.set()
