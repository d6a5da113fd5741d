import hashlib
import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from huggingface_hub import HfApi

from nvv.audio import encode_wav
from nvv.data import CorpusError, corpus_facts, list_corpora
from nvv.hub.dataset_repository import prepare_corpus
from nvv.hub.push_dataset import DatasetPushError, check_dataset, push_dataset

# Requests that carry content or announce it.
UPLOADS = r"preupload|info/lfs|large-files|/commit/"


def push(folder, repository="ada/sounds", *, public=False, **options):
    return push_dataset(check_dataset(folder, public=public), repository, **options)


def test_clips_come_back_unchanged_when_the_pushed_dataset_is_loaded_elsewhere(tmp_path, hub, hub_environment):
    digests = {}
    for number in range(12):
        code, label = (4, "coughing") if number % 2 else (7, "sighing")
        file = f"{label}/AB{number // 2:02d}_{code}_1_0_20_0_0_0.wav"
        (tmp_path / "raw" / "dataset" / label).mkdir(parents=True, exist_ok=True)
        content = encode_wav(np.full(100, 0.05 * (number + 1)))
        (tmp_path / "raw" / "dataset" / file).write_bytes(content)
        digests[file] = hashlib.sha256(content).hexdigest()
    folder = tmp_path / "prepared"
    prepare_corpus("nonverbal_vocalization", data_dir=tmp_path / "raw", output_dir=folder)
    pushed = push(folder)

    repository = hub.dataset("ada/sounds")
    assert repository.private
    assert pushed.commit == repository.resolve("main")
    assert pushed.url == f"{hub.url}/datasets/ada/sounds"
    local = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert {path: content for path, content in repository.files().items() if path != ".gitattributes"} == local
    assert pushed.num_files == len(local)
    assert pushed.num_bytes == sum(map(len, local.values()))
    assert list(repository.messages.values()) == [
        "initial commit",
        "Upload Deeply Nonverbal Vocalization Dataset (public sample)",
    ]

    # The card's own line, by a process that has neither nvv nor the folder.
    (line,) = [line for line in (folder / "README.md").read_text().splitlines() if line.startswith("dataset = ")]
    assert line.startswith('dataset = load_dataset("ada/sounds", "speaker")')
    code = f"""
import hashlib, json, datasets
from datasets import load_dataset
{line}
found = {{}}
for split, rows in dataset.cast_column("audio", datasets.Audio(decode=False)).items():
    names = rows.features["label"].names
    for row in rows:
        found[row["file"]] = hashlib.sha256(row["audio"]["bytes"]).hexdigest(), names[row["label"]], split
print(json.dumps(found))
"""
    shutil.rmtree(folder)
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=hub_environment, cwd=tmp_path, check=True
    )
    found = json.loads(answer.stdout.splitlines()[-1])
    assert {file: digest for file, (digest, _, _) in found.items()} == digests
    assert all(label == file.split("/")[0] for file, (_, label, _) in found.items())
    assert {split for _, _, split in found.values()} == {"train", "validation", "test"}


def test_pushed_dataset_is_read_as_own_data_with_its_commit_and_licence(tmp_path, hub, hub_environment):
    for number in range(12):
        path = tmp_path / "raw" / "dataset" / "coughing" / f"AB{number:02d}_4_1_0_20_0_0_0.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_wav(np.full(100, 0.05 * (number + 1))))
    prepare_corpus("nonverbal_vocalization", data_dir=tmp_path / "raw", output_dir=tmp_path / "prepared")
    pushed = push(tmp_path / "prepared")
    code = """
import json
from nvv.data import open_own_data
own = open_own_data("ada/sounds", config="stratified", split_protocol="speaker")
print(json.dumps([own.revision, own.facts.licence, own.is_local, own.splits.num_rows, own.splits["test"][0]["file"]]))
"""
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=hub_environment, cwd=tmp_path, check=True
    )
    revision, licence, is_local, num_rows, file = json.loads(answer.stdout.splitlines()[-1])
    assert (revision, licence, is_local) == (pushed.commit, "cc-by-nc-nd-4.0", False)
    # Twelve speakers of a clip each: the whole number nearest to 9.6, 1.2 and 1.2.
    assert num_rows == {"train": 10, "validation": 1, "test": 1}
    assert file.startswith("coughing/AB")


def test_private_dataset_is_not_there_for_others(make_folder, hub):
    push(make_folder("synthetic"))
    for token in ("hf_bob", False):
        with pytest.raises(OSError, match="Repository Not Found"):
            HfApi(endpoint=hub.url, token=token).dataset_info("ada/sounds")


# Licences as in the corpora's facts: CC BY-NC for VIVAE, CC BY-NC-ND for the Deeply sample, ODbL for Donate-a-Cry,
# CC BY-SA for VocalSound, CC0 for what is computed. CNVVE's was not seen; ASVP-ESD was cut from films; ReCANVo's people
# are vulnerable and its licence only reported; Hume-VB is given out under an agreement.
MAY_BE_PUBLIC = {
    "asvp_esd": False,
    "asvp_esd_babies": False,
    "cnvve": False,
    "donateacry": True,
    "hume_vb": False,
    "nonverbal_vocalization": True,
    "recanvo": False,
    "synthetic": True,
    "vivae": True,
    "vocalsound": True,
}


def test_table_of_what_may_be_public_holds_every_corpus():
    assert sorted(MAY_BE_PUBLIC) == list_corpora()


@pytest.mark.parametrize("corpus", MAY_BE_PUBLIC)
def test_corpus_is_public_only_where_that_is_allowed(corpus, make_folder):
    folder = make_folder(corpus)
    assert not check_dataset(folder).public
    if MAY_BE_PUBLIC[corpus]:
        assert check_dataset(folder, public=True).public
    else:
        with pytest.raises(CorpusError, match=r"may not be made public: .*Allowed instead: a private repository"):
            check_dataset(folder, public=True)


def test_agreement_outweighs_a_licence_that_allows_public_copies(make_folder, monkeypatch):
    folder = make_folder("vivae")
    facts = replace(corpus_facts("vivae"), no_public_copies="The speakers did not agree.")
    monkeypatch.setattr("nvv.hub.push_dataset.corpus_facts", lambda name: facts)
    with pytest.raises(CorpusError, match=r"may not be made public: The speakers did not agree\. Allowed instead"):
        check_dataset(folder, public=True)
    assert check_dataset(folder).notices[-1] == "Do not make the repository public. The speakers did not agree."


def test_agreement_is_named_when_the_corpus_may_not_be_public(make_folder):
    folder = make_folder("hume_vb")
    with pytest.raises(CorpusError, match=r"^Hume-VB .* may not be made public: .*end-user licence agreement"):
        check_dataset(folder, public=True)


def test_private_push_says_what_one_takes_on(make_folder):
    notices = check_dataset(make_folder("hume_vb")).notices
    text = " ".join(notices)
    assert "signs Hume AI's end-user licence agreement" in text
    assert "a third party, the Hub's operator" in text
    assert "Do not make the repository public. The recordings are given out only on request" in text
    # what may be public is not forbidden, and nobody's recordings are handed on where there are none
    assert "Do not make" not in " ".join(check_dataset(make_folder("vocalsound")).notices)
    assert len(check_dataset(make_folder("synthetic")).notices) == 1


def test_public_push_says_the_conditions(make_folder):
    text = " ".join(check_dataset(make_folder("nonverbal_vocalization"), public=True).notices)
    assert "It is under CC BY-NC-ND 4.0, which allows public copies." in text
    assert "free of charge and not for commercial use" in text
    assert "it is assumed that the files hold each clip's bytes as released" in text
    assert "compare this licence with the one at https://github.com/deeplyinc/Nonverbal-Vocalization-Dataset" in text
    assert "stay under" not in text
    assert "stay under Open Database License 1.0" in " ".join(
        check_dataset(make_folder("donateacry"), public=True).notices
    )


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda header: header.update(license="cc0-1.0"), "license: 'cc0-1.0', but hume_vb is under 'other'"),
        (lambda header: header.pop("license"), "license: None, but hume_vb is under 'other'"),
        (lambda header: header.update(tags=["synthetic"]), "hume_vb is not synthetic, but is tagged so"),
    ],
)
@pytest.mark.parametrize("public", [True, False])
def test_card_that_says_otherwise_than_the_corpus_is_an_error(edit, message, public, make_folder, change_card):
    folder = make_folder("hume_vb")
    change_card(folder, edit)
    with pytest.raises(CorpusError, match=message):
        check_dataset(folder, public=public)


def test_synthetic_corpus_must_be_marked_as_such(make_folder, change_card):
    folder = make_folder("synthetic")
    change_card(folder, lambda header: header.update(tags=["nvv"]))
    with pytest.raises(CorpusError, match="synthetic is synthetic, but is not tagged so"):
        check_dataset(folder)


def test_citation_must_be_in_the_card(make_folder):
    folder = make_folder("vivae")
    readme = folder / "README.md"
    readme.write_text(readme.read_text().replace("Perspective", ""))
    with pytest.raises(CorpusError, match="citation of vivae is missing"):
        check_dataset(folder)


def test_hidden_files_stay_behind(make_folder, hub):
    folder = make_folder("synthetic")
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "data" / "._speaker_train-00000.parquet").write_bytes(b"x")
    push(folder)
    assert sorted(hub.dataset("ada/sounds").files()) == [
        ".gitattributes",
        "README.md",
        "data/speaker_train-00000.parquet",
        "data/speaker_train-00001.parquet",
    ]


@pytest.mark.parametrize("licence", [None, "unknown", "other", "my-own-1.0"])
def test_own_dataset_is_not_public_when_its_licence_is_not_known(licence, own_folder, change_card):
    change_card(own_folder, lambda header: header.update(license=licence))
    with pytest.raises(CorpusError, match=r"Kitchen sounds may not be made public: .*nothing is known to allow"):
        check_dataset(own_folder, public=True)
    assert "ask its owners" in check_dataset(own_folder).notices[0]


def test_own_dataset_is_public_when_its_licence_allows_it_and_its_card_names_authors(own_folder, change_card, hub):
    push(own_folder, public=True)
    assert not hub.dataset("ada/sounds").private
    (own_folder / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n\n# Kitchen sounds\n")
    with pytest.raises(CorpusError, match="asks that copies name the authors"):
        check_dataset(own_folder, public=True)
    change_card(own_folder, lambda header: header.update(license=["cc0-1.0"]))
    assert check_dataset(own_folder, public=True).facts.licence == "cc0-1.0"


def test_two_licences_are_an_error(own_folder, change_card):
    change_card(own_folder, lambda header: header.update(license=["cc0-1.0", "cc-by-4.0"]))
    with pytest.raises(CorpusError, match="name the one that holds"):
        check_dataset(own_folder)


@pytest.mark.parametrize("corpus", ["hume_vb", "synthetic"])
def test_nothing_is_sent_when_the_repository_is_public_already(corpus, make_folder, hub):
    repository = hub.create("ada/sounds", private=False)
    before = dict(repository.commits)
    reason = "may not be made public: name another" if corpus == "hume_vb" else "may be public: push with --public"
    with pytest.raises(DatasetPushError, match=f"ada/sounds is public, but --private was asked.*{reason}"):
        push(make_folder(corpus))
    assert repository.commits == before
    assert hub.requests(pattern=UPLOADS) == []


def test_nothing_is_sent_when_the_new_repository_turns_out_public(make_folder, hub):
    hub.ignores_visibility = True
    with pytest.raises(DatasetPushError, match="ada/sounds is public, but --private was asked"):
        push(make_folder("recanvo"))
    assert hub.requests("POST", "repos/create") != []
    assert hub.requests(pattern=UPLOADS) == []


def test_nothing_is_sent_when_the_repository_is_private_and_public_was_asked(make_folder, hub):
    hub.create("ada/sounds", private=True)
    with pytest.raises(DatasetPushError, match="ada/sounds is private, but --public was asked"):
        push(make_folder("synthetic"), public=True)
    assert hub.requests(pattern=UPLOADS) == []


def test_repository_made_public_meanwhile_is_an_error(make_folder, hub, monkeypatch):
    upload = HfApi.create_commit

    def upload_and_publish(api, *args, **options):
        commit = upload(api, *args, **options)
        hub.dataset("ada/sounds").private = False
        return commit

    monkeypatch.setattr(HfApi, "create_commit", upload_and_publish)
    with pytest.raises(DatasetPushError, match="make this one private in its settings"):
        push(make_folder("vivae"))


def test_repository_of_something_else_is_left_alone(make_folder, own_folder, hub):
    hub.create("ada/notes", private=True, files={"notes.txt": b"mine"})
    with pytest.raises(DatasetPushError, match=r"ada/notes holds 'notes.txt', which is no part of this dataset"):
        push(make_folder("synthetic"), "ada/notes")
    push(make_folder("vivae"), "ada/vivae")
    with pytest.raises(DatasetPushError, match=r"ada/vivae holds vivae, not cnvve; name another repository"):
        push(make_folder("cnvve"), "ada/vivae")
    with pytest.raises(DatasetPushError, match=r"ada/vivae holds vivae, not Kitchen sounds"):
        push(own_folder, "ada/vivae")
    assert len(hub.dataset("ada/vivae").commits) == 2  # the initial one and the push


def test_own_datasets_files_are_never_removed(own_folder, hub):
    push(own_folder)
    (own_folder / "data" / "speaker_train-00001.parquet").unlink()
    with pytest.raises(DatasetPushError, match=r"holds 'data/speaker_train-00001\.parquet', which is no part"):
        push(own_folder)


def test_second_push_changes_nothing(make_folder, hub):
    folder = make_folder("synthetic")
    first = push(folder)
    sent = len(hub.requests("PUT"))
    second = push(folder)
    assert second == first
    assert len(hub.requests("PUT")) == sent == 2
    assert len(hub.dataset("ada/sounds").commits) == 2


def test_second_push_replaces_what_the_first_left(make_folder, hub, tmp_path):
    push(make_folder("synthetic", num_files=3))
    shutil.rmtree(tmp_path / "synthetic")
    push(make_folder("synthetic", num_files=2))
    assert [path for path in hub.dataset("ada/sounds").files() if path.startswith("data/")] == [
        "data/speaker_train-00000.parquet",
        "data/speaker_train-00001.parquet",
    ]


def test_upload_goes_on_when_run_again_after_the_connection_was_lost(make_folder, hub):
    folder = make_folder("synthetic", num_files=3)
    lost = hashlib.sha256((folder / "data" / "speaker_train-00001.parquet").read_bytes()).hexdigest()
    hub.fail_next("PUT", lost, times=math.inf)
    with pytest.raises(DatasetPushError) as caught:
        push(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert "to ada/sounds failed (RuntimeError: Error while uploading 'data/speaker_train-00001.parquet'" in message
    assert "run the same command again to go on" in message
    assert "disconnected" in message or "reset" in message  # what the HTTP library says of it
    assert sorted(hub.dataset("ada/sounds").files()) == [".gitattributes"]  # nothing half-done is to be seen

    hub.clear_failures()
    push(folder)
    arrived = [entry.path.rsplit("/", 1)[1] for entry in hub.requests("PUT") if entry.status == 200]
    assert len(arrived) == len(set(arrived)) == 3  # each file arrived once
    assert len(hub.dataset("ada/sounds").files()) == 5


def test_upload_survives_one_error_of_the_server(make_folder, hub):
    hub.fail_next("PUT", "large-files", status=500)
    push(make_folder("synthetic"))
    assert [entry.status for entry in hub.requests("PUT")].count(500) == 1
    assert len(hub.dataset("ada/sounds").files()) == 4


def test_lost_commit_is_one_line_and_nothing_is_changed(make_folder, hub):
    folder = make_folder("synthetic")
    hub.fail_next("POST", "/commit/", times=math.inf)
    with pytest.raises(DatasetPushError, match=r"failed \(RemoteProtocolError: .*again to go on"):
        push(folder)
    assert len(hub.requests("POST", "/commit/")) == 6  # the client's own number of attempts
    hub.clear_failures()
    push(folder)
    assert len(hub.dataset("ada/sounds").commits) == 2


REQUESTS = {
    "who": ("GET", "/api/whoami"),
    "make": ("POST", "/api/repos/create"),
    "ask": ("GET", "/api/datasets/ada/sounds"),
    "list": ("GET", "/tree/"),
    "branch": ("POST", "/branch/"),
    "card": ("POST", "/api/validate-yaml"),
    "announce": ("POST", "/preupload/"),
    "batch": ("POST", "objects/batch"),
    "commit": ("POST", "/commit/"),
}


@pytest.mark.parametrize("request_name", REQUESTS)
def test_request_that_fails_for_the_moment_is_sent_again(request_name, make_folder, hub):
    folder = make_folder("synthetic")
    for failure in (429, 500, None, 503):  # None: the connection is cut
        hub.fail_next(*REQUESTS[request_name], status=failure)
    push(folder, revision="v1")
    assert len(hub.dataset("ada/sounds").files("v1")) == 4
    assert len(hub.dataset("ada/sounds").branches["v1"]) == 2


def test_commit_whose_answer_was_lost_is_not_made_twice(make_folder, hub):
    hub.cut_next("/commit/", method="POST")
    pushed = push(make_folder("synthetic"))
    assert len(hub.dataset("ada/sounds").commits) == 2
    assert pushed.commit == hub.dataset("ada/sounds").resolve("main")


@pytest.mark.parametrize(
    ("token", "repository", "message"),
    [
        ("hf_wrong", "ada/sounds", "Invalid user token"),
        ("hf_bob", "ada/sounds", "You don't have the rights to create a dataset under the namespace"),
        ("hf_bob", "ada/public", "403 Forbidden"),
    ],
)
def test_token_without_the_right_is_one_line(token, repository, message, make_folder, hub):
    published = hub.create("ada/public", private=False)
    with pytest.raises(DatasetPushError, match=message) as caught:
        push(make_folder("synthetic"), repository, public=repository == "ada/public", token=token)
    assert "\n" not in str(caught.value)
    assert len(published.commits) == 1
    assert hub.requests("PUT") == []


def test_missing_token_is_one_line(make_folder, hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.hf_api.get_token", lambda: None)
    with pytest.raises(DatasetPushError, match="hf auth login"):
        push(make_folder("synthetic"))
    assert hub.log == []


def test_hub_that_is_not_there_is_one_line(make_folder, hub):
    with pytest.raises(DatasetPushError, match="ConnectError"):
        push(make_folder("synthetic"), endpoint="http://127.0.0.1:9")


@pytest.mark.parametrize("repository", ["a/b/c", "ada/so unds", "-sounds"])
def test_repository_id_is_checked(repository, make_folder, hub):
    with pytest.raises(ValueError, match=r"[Rr]epo id"):
        push(make_folder("synthetic"), repository)
    assert hub.log == []


def test_name_alone_means_the_own_namespace(make_folder, hub):
    assert push(make_folder("synthetic"), "sounds").repository_id == "ada/sounds"
    assert push(make_folder("vivae"), "lab/sounds").repository_id == "lab/sounds"


def test_card_names_the_repository_it_was_pushed_to_last(make_folder, hub):
    folder = make_folder("synthetic")
    for repository in ("ada/first", "lab/second"):
        push(folder, repository)
        card = hub.dataset(repository).files()["README.md"]
        assert f'load_dataset("{repository}", "speaker")'.encode() in card
        assert (folder / "README.md").read_bytes() == card


def test_branch_is_made_and_main_is_left_alone(make_folder, hub):
    pushed = push(make_folder("synthetic"), revision="trial")
    repository = hub.dataset("ada/sounds")
    assert list(repository.files()) == [".gitattributes"]
    assert pushed.commit == repository.resolve("trial")
    assert len(repository.files("trial")) == 4


def test_file_that_did_not_arrive_is_an_error(make_folder, hub, monkeypatch):
    upload = HfApi.create_commit

    def upload_all_but_the_last(api, repository, operations, **options):
        return upload(api, repository, operations[:-1], **options)

    monkeypatch.setattr(HfApi, "create_commit", upload_all_but_the_last)
    with pytest.raises(DatasetPushError, match=r"1 files differ .*-00001\.parquet \(\d+ bytes here, no"):
        push(make_folder("synthetic"))
