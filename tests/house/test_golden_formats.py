"""Every format that lasts has a committed golden file, which today's code reads; a newer one is refused in one line.

A golden file is written once, when its format is made, and never again: a format that changes gets a new number, and
its old files stay readable.
"""

import ast
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from ctr_pipeline.data.manifest import read_manifest
from ctr_pipeline.evaluation.evaluation_file import read_evaluation
from ctr_pipeline.evaluation.noise import MarginSpread, NoiseBand
from ctr_pipeline.features.encoder_file import load_encoder
from ctr_pipeline.predictor import read_header
from ctr_pipeline.reproduce.verdict import Judgement, Layer, RunSide, Verdict
from ctr_pipeline.steps.job import OutputFile, read_step
from ctr_pipeline.workflows.execution import ExecutionFolder
from ctr_pipeline.workflows.reuse_record import Origin, read_reuse
from tests.house.project import ROOT
from tracking.archive import restore_snapshot
from tracking.errors import ProblemError
from tracking.items import read_items
from tracking.recipe import Recipe
from tracking.records import Artifact, DatasetInput, Metric, ModelArtifact, Param, RunStatus, Tag

GOLDEN: Final = ROOT / "tests" / "golden"
_NAMES: Final = ("FORMAT", "CONTRACT")


@dataclass(frozen=True, slots=True)
class Lasting:
    """A format that lasts.

    Attributes:
        golden: the golden file.
        declared: module and name of the constant that holds its number.
        read: reads the file, which lies where today's code expects it; returns what is looked at.
        expected: what that must be.
        key: of the format's number.
    """

    golden: str
    declared: str
    read: Callable[[Path], Any]
    expected: Any
    key: str = "format"


def _step(path: Path) -> object:
    record = read_step(path.parent)
    assert record.files is not None
    return record.step, record.outputs, record.facts["splits"], record.wall_s, record.files["table.csv"]


def _execution(path: Path) -> object:
    execution = ExecutionFolder(path.parent).load()
    first, second = execution.steps
    return execution.status, execution.process.ticks, first.reused_from, first.key, second.reused_from, second.status


def _logged(path: Path) -> object:
    logged = ExecutionFolder(path.parent).load_logged()
    return logged.run_id, logged.step_run_ids, logged.complete


def _reuse(path: Path) -> object:
    decided = read_reuse(ExecutionFolder(path.parent))
    hit, miss = decided["preprocess"], decided["train"]
    return hit.verdict, hit.origin, hit.key.digest, miss.changes[0].new, miss.nearest, miss.changed_meanwhile


def _recipe(path: Path) -> object:
    recipe = Recipe.from_json(path.read_bytes())
    return recipe.identity.python_version, len(recipe.digest)


def _manifest(path: Path) -> object:
    manifest = read_manifest(path)
    return manifest.data_version, len(manifest.files)


def _snapshot(path: Path) -> object:
    record = json.loads(path.read_bytes())
    restored = restore_snapshot(path.with_name("source.tar.gz"), path.parent / "restored", digest=record["digest"])
    return record["format"], (restored.root / "tree" / "bids.py").read_text(encoding="utf-8")


LASTING: Final = (
    Lasting(
        "step-1/step.json",
        "ctr_pipeline/steps/job.py:CONTRACT",
        _step,
        (
            "preprocess",
            {"encoder": "ab" * 32},
            {"test": {"n_rows": 3}},
            1.5,
            OutputFile("492d5ea496056f1a6a6592241032fab764c321596317930b4fa0e1e8bc3b7470", 8),
        ),
        key="contract",
    ),
    Lasting(
        "items-1.jsonl",
        "tracking/items.py:FORMAT",
        read_items,
        (
            Param("train.rounds", "8", "run"),
            Tag("early_stopping", "on", "run"),
            Metric("test.auc", 0.71, step=2, dataset="test", of_model=True, scope="run"),
            DatasetInput("ads", "c" * 32, "log.csv", 3, (("price", "real"), ("ad", "text")), "raw", "run"),
            Artifact("encoder"),
            ModelArtifact("model", "ctr-model", "run"),
        ),
    ),
    Lasting(
        "execution-1/execution.json",
        "ctr_pipeline/workflows/execution.py:FORMAT",
        _execution,
        (
            RunStatus.FAILED,
            900,
            "20260224-000000-aaaaaa",
            "preprocess@1772000000100",
            None,
            RunStatus.FAILED,
        ),
    ),
    Lasting(
        "execution-1/logged.json",
        "ctr_pipeline/workflows/execution.py:FORMAT",
        _logged,
        ("e" * 32, {"preprocess@1772000000100": "d" * 32}, True),
    ),
    Lasting(
        "execution-1/reuse.json",
        "ctr_pipeline/workflows/reuse_record.py:REUSE_FORMAT",
        _reuse,
        (
            "hit",
            Origin("20260224-000000-aaaaaa", "f" * 32, 1_771_900_000_000),
            # Also the key's own format, ctr_pipeline/reuse/key.py.
            "9610c165452e06b466ce1d79d2203b21423d286abeba8a30439e59da5678ed94",
            "9",
            "20260224-000000-aaaaaa",
            ("ctr_pipeline/model.py",),
        ),
    ),
    Lasting(
        "evaluation-1.json",
        "ctr_pipeline/evaluation/evaluation_file.py:EVALUATION_FORMAT",
        lambda path: read_evaluation(path)["scorecard"]["estimates"]["auc"]["n_clicks"],
        8,
    ),
    Lasting(
        "model-1/model.json",
        "ctr_pipeline/predictor.py:FORMAT",
        lambda path: (read_header(path.parent)["best_round"], read_header(path.parent)["inputs"][0]["name"]),
        (1, "time"),
    ),
    Lasting(
        "noise-1.json",
        "ctr_pipeline/evaluation/noise.py:FORMAT",
        lambda path: NoiseBand.from_record(json.loads(path.read_bytes()), str(path)),
        NoiseBand(5, "seed", {"test.auc": 0.002}, MarginSpread(0.01, 0.008, 0.04, 0.2)),
    ),
    Lasting("recipe-1.json", "tracking/recipe.py:FORMAT", _recipe, None),
    Lasting("manifest-1.json", "ctr_pipeline/data/manifest.py:MANIFEST_FORMAT", _manifest, None),
    Lasting(
        "encoder-1/encoder/encoder.json",
        "ctr_pipeline/features/encoder_file.py:FORMAT",
        lambda path: len(load_encoder(path.parent).tables),
        3,
    ),
)
# Their golden files hold no number that a reader could refuse: what a test of their own compares.
_ELSEWHERE: Final = {
    "ctr_pipeline/data/version.py:DIGEST_FORMAT": "digest-vectors.json",
    "ctr_pipeline/reuse/key.py:KEY_FORMAT": "execution-1/reuse.json",
    "ctr_pipeline/reproduce/verdict.py:FORMAT": "reproduction-1.json",
    "tracking/snapshot.py:FORMAT": "snapshot-1/snapshot.json",
    "tracking/archive.py:FORMAT": "snapshot-1/source.tar.gz",
}
# Numbers that last no longer than a cache, which is then made anew, or a line on standard output.
_PASSING: Final = {
    "tracking/secrets.py:_CACHE_FORMAT": "a cache",
    "tracking/rebuilt_environment.py:FORMAT": "the stamp of a cached virtual environment",
    "ctr_pipeline/reproduce/workflow.py:PLAN_FORMAT": "a line on standard output",
    "ctr_pipeline/workflows/diff_view.py:FORMAT": "a line on standard output",
}


_PAIRS: Final = [pytest.param(item.golden, item, id=item.golden) for item in LASTING]


@pytest.fixture
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a golden file, beside the files it lies with."""
    path: Path = GOLDEN / request.param
    if path.parent == GOLDEN:
        shutil.copy(path, tmp_path)
    else:
        shutil.copytree(path.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / path.name


@pytest.mark.parametrize(("golden", "lasting"), _PAIRS, indirect=["golden"])
def test_todays_code_reads_the_golden_file(golden: Path, lasting: Lasting) -> None:
    read = lasting.read(golden)
    assert read == lasting.expected or lasting.expected is None
    assert read


@pytest.mark.parametrize(("golden", "lasting"), _PAIRS, indirect=["golden"])
def test_a_newer_format_is_refused_in_one_line(golden: Path, lasting: Lasting) -> None:
    lines = golden.read_text(encoding="utf-8").splitlines()
    written = json.loads(lines[0] if golden.suffix == ".jsonl" else "\n".join(lines))
    assert written[lasting.key] == 1
    golden.write_text(json.dumps({**written, lasting.key: 2}), encoding="utf-8")
    with pytest.raises(ProblemError, match=r"^[^\n]*\b2\b[^\n]*(update|newer|use a|read it with)[^\n]*$"):
        lasting.read(golden)


@pytest.mark.parametrize("golden", ["snapshot-1/snapshot.json"], indirect=True)
def test_a_golden_snapshot_is_restored(golden: Path) -> None:
    assert _snapshot(golden) == (1, "FLOOR = 1\n")


def test_the_golden_verdict_tells_what_todays_does() -> None:
    golden = json.loads((GOLDEN / "reproduction-1.json").read_bytes())
    judgement = Judgement(
        verdict=Verdict(golden["verdict"]),
        reason=golden["reason"],
        original=RunSide(**golden["original"]),
        layers=tuple(Layer(**{key: v for key, v in layer.items() if key != "equal"}) for layer in golden["layers"]),
    )
    told = judgement.to_record()
    assert {key: told[key] for key in golden} == golden
    assert (golden["exit_code"], [layer["equal"] for layer in golden["layers"]]) == (4, [True, False])


def test_every_declared_format_has_a_golden_file() -> None:
    known = {item.declared for item in LASTING} | _ELSEWHERE.keys() | _PASSING.keys()
    declared = set(_declared())
    assert declared - known == set(), "a format without a golden file: commit one and name it here"
    assert known - declared == set(), "a golden file whose format is declared nowhere"
    assert all((GOLDEN / path).is_file() for path in (*(item.golden for item in LASTING), *_ELSEWHERE.values()))


def _declared() -> Iterator[str]:
    """Yield every whole number that a module calls its format, as `path:NAME`."""
    for package in ("ctr_pipeline", "tracking"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.parse(path.read_bytes()).body:
                for name in _numbers(node):
                    yield f"{path.relative_to(ROOT).as_posix()}:{name}"


def _numbers(node: ast.stmt) -> Iterator[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    if isinstance(value, ast.Constant) and isinstance(value.value, int):
        yield from (t.id for t in targets if isinstance(t, ast.Name) and t.id.endswith(_NAMES))
