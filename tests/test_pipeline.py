import json
from itertools import islice

import numpy as np
import pytest

from medfuse_jax.data import definitions, grid, labels, language, tokens
from medfuse_jax.data.findings import Amount
from medfuse_jax.data.language.reader import DOUBT
from medfuse_jax.data.pipeline import Cohort, Examples
from medfuse_jax.data.prepared import Example, writing
from medfuse_jax.errors import MedFuseError

VISITS = (3, 2, 1, 2, 1, 3, 2, 1)                       # of persons 0..7
SPLITS = ("train", "train", "train", "valid", "valid", "train", "train", "test")
ALL = ("image", "clean", "text", "latent", "reference")


class Recording:
    """A tokenizer that keeps the sentences it was given; its words are numbers of letters."""

    def __init__(self):
        self.texts = []

    def decode(self, words):
        return [str(row[0]) for row in words]

    def encode(self, texts, length):
        self.texts += texts
        words = np.array([[len(text)] * length for text in texts], np.int32)
        return words, np.ones(words.shape, bool)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Fifteen studies at 16 mm whose voxels hold their row; held-out ones have a noise-free truth, 0.5 above."""
    folder, shape = tmp_path_factory.mktemp("prepared") / "people", grid.standard(16.0).shape[::-1]
    random, clean = np.random.default_rng(0), []
    with writing(folder, 16.0, "simulated", {}) as writer:
        for person, visits in enumerate(VISITS):
            for visit in range(visits):
                row, findings = len(writer.lines), language.random_findings(random).to_json()
                line = dict(study=f"sub-{person}_ses-{visit}", person=f"sub-{person}", split=SPLITS[person],
                            present=[1, 1, 1, 0], structures_known=True, lesions_known=True, findings=findings,
                            date_years=1.5 * visit)
                full = np.full(shape, row, np.float32)
                writer.add(Example(line, np.stack([full] * len(labels.CONTRASTS), -1), full, full / 255))
                if SPLITS[person] != "train":
                    writer.lines[-1]["clean_row"] = len(clean)
                    clean.append(full[..., None].repeat(4, -1) + 0.5)
        np.save(writer.folder / "clean.npy", np.stack(clean).astype(np.float16))
    return Cohort(folder)


def examples(cohort, reads=ALL, **more):
    """Batches in which a latent holds its row, and a subset of contrasts adds a tenth of its number."""
    made = Examples(cohort, reads, tokenizer=Recording(), length=3, **more)
    rows = np.arange(len(cohort.studies), dtype=np.float32)[:, None, None, None, None].repeat(2, axis=3)
    made.represented = {"latent": rows, "partial": np.stack([rows + 0.1 * subset for subset in range(3)], axis=1)}
    return made


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def person_of(cohort, rows):
    return [cohort.studies[int(row)]["person"] for row in rows]


def test_a_seed_and_a_step_make_one_batch(cohort):
    one, again, other = (next(examples(cohort, seed=seed).train(4, 7)) for seed in (0, 0, 1))
    assert same(one, again) and not same(one, other)


def test_a_run_that_goes_on_sees_what_it_would_have_seen(cohort):
    whole = list(islice(examples(cohort).train(4), 9))
    for step in (0, 3, 8):
        assert same(whole[step], next(examples(cohort).train(4, step)))


@pytest.mark.parametrize("batch, warned", [(11, False), (12, True)])
def test_a_batch_larger_than_the_cohort_is_warned_of(cohort, caplog, batch, warned):
    """Eleven studies train."""
    examples(cohort, ("image",)).train(batch)
    assert ("give --config.batch=11 or less, or more data" in caplog.text) == warned


@pytest.mark.parametrize("parts", [2, 4])
def test_the_shares_of_processes_are_the_whole_batch(cohort, parts):
    shares = [examples(cohort, shard=(part, parts)) for part in range(parts)]
    for way in (lambda made: islice(made.train(4), 3), lambda made: made.valid(4, "train")):
        for whole, *split in zip(way(examples(cohort)), *map(way, shares), strict=True):
            assert same(whole, {name: np.concatenate([part[name] for part in split]) for name in whole})


def test_an_epoch_sees_each_training_study_once_in_another_order(cohort):
    rows = np.concatenate([batch["row"] for batch in islice(examples(cohort, ("image",)).train(4), 6)])
    train = cohort.rows("train")
    first, second = rows[:len(train)], rows[len(train):2 * len(train)]
    assert sorted(first) == sorted(second) == list(train) and list(first) != list(second)


@pytest.mark.parametrize("split, batch", [("valid", 2), ("valid", 5), ("train", 4), ("test", 3)])
def test_each_study_is_judged_once(cohort, split, batch):
    batches = list(examples(cohort).valid(batch, split))
    rows, weights = (np.concatenate([batch[name] for batch in batches]) for name in ("row", "weight"))
    assert list(rows[weights > 0]) == list(cohort.rows(split)) and set(weights) <= {0.0, 1.0}
    assert {len(each["row"]) for each in batches} == {batch}


def test_a_study_is_judged_by_the_same_sentence_in_any_batch(cohort):
    told = []
    for batch in (2, 3):
        made = examples(cohort)
        weights = np.concatenate([each["weight"] for each in made.valid(batch)])
        told.append([text for text, weight in zip(made.tokenizer.texts, weights, strict=True) if weight])
    assert told[0] == told[1]


def test_arrays_are_those_of_the_row(cohort):
    batch = next(examples(cohort, ("image", "clean")).train(4))
    for name in ("volume", "structures", "clean"):
        flat = batch[name].reshape(4, -1)
        np.testing.assert_array_equal(flat, np.broadcast_to(batch["row"][:, None], flat.shape))
    np.testing.assert_allclose(255 * batch["lesion"][:, 0, 0, 0], batch["row"], rtol=1e-6)
    assert batch["volume"].dtype == np.float32 and batch["structures"].dtype == np.int32


def test_only_what_is_read_is_made(cohort):
    assert set(next(examples(cohort, ()).train(2))) == {"row"}
    assert set(next(examples(cohort, ("latent",)).train(2))) == {"row", "latent"}
    assert set(next(examples(cohort, ("text",)).train(2))) == {"row", "words", "words_mask", "facts"}


def test_judges_see_the_truth_behind_the_noise(cohort):
    batch = next(examples(cohort, ("image", "clean")).valid(3))
    np.testing.assert_array_equal(batch["clean"] - batch["volume"], 0.5)


def test_a_reference_is_another_visit_of_the_same_person(cohort):
    for batch in islice(examples(cohort).train(4), 20):
        shown = batch["reference"][:, 0, 0, 0, 0]
        others, subset = np.floor(shown + 1e-3), np.round(10 * (shown - np.floor(shown + 1e-3)))
        assert person_of(cohort, others) == person_of(cohort, batch["row"]) and set(subset) <= {0.0, 1.0, 2.0}
        alone = np.array([len(cohort.visits[person]) == 1 for person in person_of(cohort, batch["row"])])
        np.testing.assert_array_equal(batch["reference_same"], alone)
        np.testing.assert_array_equal(others == batch["row"], alone)
        np.testing.assert_array_equal(batch["reference_years"], 1.5 * (batch["row"] - others))


def agrees(said, measured, word):
    return said is None or said == measured or said == word


@pytest.mark.parametrize("languages, spoken", [("en", {"en"}), ("fr", {"fr"}), ("both", {"en", "fr"})])
def test_sentences_say_what_was_measured(cohort, languages, spoken):
    made, heard = examples(cohort, ("text",), languages=languages), set()
    batches = list(made.valid(4, "train"))
    rows, facts = (np.concatenate([batch[name] for batch in batches]) for name in ("row", "facts"))
    for row, fact, text in zip(rows, facts, made.tokenizer.texts, strict=True):
        reading, findings = language.parse(text), cohort.findings[row]
        said = reading.statement
        heard.add(reading.language)
        assert not reading.ignored and set(reading.warnings) <= {DOUBT}, (text, reading)
        np.testing.assert_array_equal(fact, tokens.facts(said), text)
        assert agrees(said.lesion_count, findings.lesion_count, definitions.count_word(findings.lesion_count)), text
        assert agrees(said.lesion_load, definitions.load_word(findings.lesion_volume_ml), None), text
        assert said.sex in (None, findings.sex) and said.phenotype in (None, findings.phenotype)
        for region, amount in said.lesions_by_region.items():
            assert amount == Amount(0) or findings.lesions_by_region[region].count > 0, text
        for name, word in said.atrophy.items():
            assert word == definitions.grade(findings.deviation_percent[name]), text
    assert heard == spoken


def test_a_study_that_was_not_measured_is_told_by_its_person(cohort, monkeypatch):
    study = dict(cohort.studies[0], age=42.0, sex="F", phenotype="RRMS")
    monkeypatch.setitem(cohort.__dict__, "findings", [None])
    monkeypatch.setattr(cohort, "studies", [study])
    said = cohort.statement(0, np.random.default_rng(0))
    assert (said.age, said.sex, said.phenotype, said.lesion_count) == (42.0, "F", "RRMS", None)


def test_a_split_without_people_borrows_the_training_rows(cohort, monkeypatch):
    monkeypatch.setattr(cohort, "studies", [dict(study, split="train") for study in cohort.studies])
    np.testing.assert_array_equal(cohort.rows("valid"), np.arange(len(cohort.studies)))


def test_a_folder_that_is_none_is_refused(tmp_path, cohort):
    with pytest.raises(MedFuseError, match="not a prepared folder"):
        Cohort(tmp_path)
    for file in cohort.folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "studies.jsonl").write_text(json.dumps(cohort.studies[0]) + "\n")
    with pytest.raises(MedFuseError, match="disagree in length"):
        Cohort(tmp_path)
