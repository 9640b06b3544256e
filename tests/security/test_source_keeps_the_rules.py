"""What no line of paribus does, read from its syntax: eval, shells, pickles, code of others."""

import ast
from pathlib import Path

import pytest

import paribus
from paribus.training import train

SOURCE = Path(paribus.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads",
    "torch.load", "torch.save", "joblib.load", "marshal.loads", "shelve.open", "yaml.unsafe_load",
    "yaml.full_load", "yaml.load_all", "subprocess.getoutput", "subprocess.getstatusoutput",
    "tempfile.mktemp", "push_to_hub", "Environment.from_string", "OmegaConf.register_new_resolver",
    "OmegaConf.resolve",
}  # fmt: skip
MARKUP = {"mistakes.py"}
"""May make markup: of JSON without a tag, and of a script of ours."""


def called(node: ast.Call) -> str:
    """The name of what is called, as it is written: `yaml.load`, `eval`."""
    return ast.unparse(node.func)


def calls(file: Path) -> list[ast.Call]:
    tree = ast.parse(file.read_text("utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def test_nothing_forbidden_is_called() -> None:
    found = [
        f"{file.name}:{node.lineno}: {called(node)}"
        for file in FILES
        for node in calls(file)
        if called(node) in FORBIDDEN or called(node).rpartition(".")[2] == "push_to_hub"
    ]
    assert found == []
    assert len(FILES) > 100


def keywords(node: ast.Call) -> dict[str | None, str]:
    return {each.arg: ast.unparse(each.value) for each in node.keywords}


def test_processes_get_lists_and_no_shell() -> None:
    started = [
        (file.name, node)
        for file in FILES
        for node in calls(file)
        if called(node).startswith("subprocess.") and called(node) != "subprocess.TimeoutExpired"
    ]
    assert started
    for name, node in started:
        assert isinstance(node.args[0], ast.List), name
        assert "shell" not in keywords(node), name


def test_transformers_is_told_to_run_no_code() -> None:
    loads = [
        (f"{file.name}:{node.lineno}", called(node), keywords(node))
        for file in FILES
        for node in calls(file)
        if called(node).endswith(".from_pretrained") and not called(node).startswith("Peft")
    ]
    assert len(loads) >= 4
    for place, _, told in loads:
        assert told.get("trust_remote_code") == "False", place
    weights = [told for _, name, told in loads if name.startswith("AutoModel")]
    assert all("use_safetensors" in told or "gguf_file" in told for told in weights)


def test_yaml_is_loaded_by_safe_loaders() -> None:
    loaders = {
        keywords(node).get("Loader", "")
        for file in FILES
        for node in calls(file)
        if called(node) in {"yaml.load", "yaml.compose", "yaml.parse"}
    }
    assert loaders == {"yaml.SafeLoader", "_LOADER"}
    from paribus.store.experiments import _LOADER

    assert _LOADER.__name__ in {"SafeLoader", "CSafeLoader"}


def test_markup_is_made_where_it_is_known_to_be_safe() -> None:
    made = {file.name for file in FILES for node in calls(file) if called(node) == "Markup"}
    assert made == MARKUP
    templates = sorted((SOURCE / "report" / "templates").glob("*.jinja"))
    marked = [
        line.strip()
        for file in templates
        for line in file.read_text("utf-8").splitlines()
        for part in line.split("{{")[1:]
        if "safe" in part.partition("}}")[0]
    ]
    assert len(marked) == 2, marked  # the figures, which svg escapes, and the hash of our script


def test_the_trainer_publishes_nothing(tmp_path: Path) -> None:
    source = (SOURCE / "training" / "train.py").read_text("utf-8")
    (node,) = [node for node in calls(Path(train.__file__)) if called(node) == "TrainingArguments"]
    told = keywords(node)
    assert told["report_to"] == "list(config.trackers) or 'none'"
    assert told["save_strategy"] == "'no'"  # its own checkpoints hold pickles
    assert "push_to_hub" not in source
    from transformers import TrainingArguments

    made = TrainingArguments(output_dir=str(tmp_path), report_to="none", use_cpu=True)
    assert not made.push_to_hub
    assert made.report_to == []


@pytest.mark.parametrize("word", ["trust_remote_code=True", "shell=True", "weights_only=False"])
def test_words_that_open_doors(word: str) -> None:
    assert [file.name for file in FILES if word in file.read_text("utf-8")] == []
