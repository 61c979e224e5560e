"""The shape of the package, read from its source: imports point down, modules are small, nothing runs data.

Every import counts, at the top of a module, in a function or for type checkers only.
"""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).parent.parent
RANKS = {
    **dict.fromkeys(("errors", "spec", "display"), 0),
    "graph": 1,
    "edits": 2,
    **dict.fromkeys(("snapshot", "seeds"), 3),
    **dict.fromkeys(("lowering", "policies", "render"), 4),
    **dict.fromkeys(("tasks", "data", "chip"), 5),
    "recipes": 6,
    "runs": 7,
    "parallel": 8,
    **dict.fromkeys(("loop", "interop"), 9),
    **dict.fromkeys(("studies", "integrations", "reporting"), 10),
    "cli": 11,
    **dict.fromkeys(("__main__", "sklearn", "train"), 12),
}
"""Each part of the package: it may import parts of a lower rank only (of rank 0 also each other)."""

TORCH = {"torch", "torchvision", "accelerate", "kornia"}
HOMES = {"networkx": ("graph", "render")} | dict.fromkeys(
    TORCH, ("lowering", "interop", "tasks", "data", "loop", "parallel", "integrations")
)
LIGHT = (
    "spec",
    "graph",
    "edits",
    "snapshot",
    "seeds",
    "policies",
    "render",
    "chip",
    "tasks",
    "recipes",
    "runs",
    "studies",
    "reporting",
)
RUNS_DATA = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
LONGEST = 400
KNOWING = {
    "cross_?entropy": "tasks.(classes|places)",
    "accurac": "spec.metrics|tasks.(classes|places|sums)|recipes|runs.run|runs.pictures|studies|reporting|"
    "render.(curves|chart)|cli",
    "image": "data|recipes|seeds|studies|reporting|render|cli|spec.facts|interop|loop.trainer",
}
"""What few modules know of data and answers, and which these are."""


def modules(root=ROOT):
    """Every module of the package but its face: {dotted name: source}."""
    found = {}
    for path in sorted((root / "nestgraph").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name != "nestgraph":
            found[name] = path.read_text(encoding="utf-8")
    return found


MODULES = modules()
PACKAGES = {name for name in MODULES if any(other.startswith(name + ".") for other in MODULES)}


def imports_of(name, tree, known=MODULES):
    """The dotted names that a module imports; of our own the modules, and `nestgraph` where it is the face."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = name.split(".") if name in PACKAGES else name.split(".")[:-1]
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                found.add(inner if inner in known and source != "nestgraph" else source)
    return found


@cache
def trees():
    return {name: ast.parse(source) for name, source in MODULES.items()}


@cache
def imports():
    """What each module imports."""
    return {name: imports_of(name, tree) for name, tree in trees().items()}


def offenders(look, table):
    """What `look` finds, by module, where it finds anything."""
    return {name: seen for name, value in table.items() if (seen := look(name, value))}


def part(name):
    return name.split(".")[1]


def upward(name, imported):
    """What a module imports of our own that does not lie below it."""
    own = [other for other in imported if other.startswith("nestgraph.") and part(other) != part(name)]
    return [o for o in own if RANKS[part(o)] >= RANKS[part(name)] and {RANKS[part(o)], RANKS[part(name)]} != {0}]


def astray(name, imported):
    """What a module imports of others that has its home elsewhere."""
    roots = {other.split(".")[0] for other in imported}
    return [root for root in roots if part(name) not in HOMES.get(root, (part(name),))]


CALLS = {
    ("torch", "load"),
    ("torch", "save"),
    ("importlib", "import_module"),
    ("pkgutil", "resolve_name"),
    ("runpy", "run_path"),
    ("util", "spec_from_file_location"),
}
NAMED = {
    "nestgraph.recipes.plugins": ["util.spec_from_file_location"],  # the file that the command line names
    "nestgraph.spec.kinds": ["entry_points", "entry_points"],  # what installed packages offer, by name
    "nestgraph.interop.loading": ["pkgutil.resolve_name"],  # the callable that the command line names
    "nestgraph.interop.exporting": ["runpy.run_path"],  # the source that was written a moment ago, tried out
}
"""By module, what it may call of these, as SECURITY.md says."""


def dangers(tree):
    """Lines where a module could run data as code, or read a format that does."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in {"eval", "exec", "compile", "__import__", "entry_points"}:
                found.append((node.lineno, node.func.id))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if (node.value.id, node.attr) in CALLS:
                found.append((node.lineno, f"{node.value.id}.{node.attr}"))
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            found.append((node.value.lineno, "allow_pickle"))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            found += [(node.lineno, name) for name in names if name.split(".")[0] in RUNS_DATA]
    return found


def foreign(trees):
    """The top-level names of others' packages that modules import, by statement or by `import_module` of a literal."""
    found = {imported.split(".")[0] for name, tree in trees.items() for imported in imports_of(name, tree)}
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "import_module":
                found |= {each.value.split(".")[0] for each in node.args if isinstance(each, ast.Constant)}
    return found - set(sys.stdlib_module_names) - {"nestgraph"}


def declared():
    """The names of the distributions that pyproject.toml asks for, extras of users included, those of `dev` not."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    words = [*project["dependencies"], *(word for name in extras if name != "dev" for word in extras[name])]
    return {normal(re.split(r"[^A-Za-z0-9_.-]", word)[0]) for word in words}


def normal(name):
    """The name of a distribution as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_what_is_imported_is_declared():
    given = packages_distributions()
    undeclared = {name for name in foreign(trees()) if not set(map(normal, given[name])) & declared()}
    assert undeclared == set()
    assert "sklearn" in foreign({"nestgraph.some": ast.parse("def f():\n    import_module('sklearn.datasets')")})


def test_every_part_has_a_rank():
    assert {part(name) for name in MODULES} <= set(RANKS)


def test_imports_point_down():
    assert offenders(upward, imports()) == {}


def test_no_module_but_the_command_line_imports_the_face():
    assert {part(name) for name, imported in imports().items() if "nestgraph" in imported} <= {"cli", "__main__"}


def test_torch_and_networkx_stay_at_home():
    assert offenders(astray, imports()) == {}


def test_nothing_runs_data():
    found = offenders(lambda _, tree: [what for _, what in dangers(tree)], trees())
    assert found == NAMED


def test_modules_are_small_and_say_why_they_are_here():
    assert offenders(lambda _, source: len(source.splitlines()) > LONGEST, MODULES) == {}
    assert offenders(lambda _, tree: not ast.get_docstring(tree), trees()) == {}


def named_in(tree):
    """What a module names: variables, attributes, arguments, imports and words in quotation marks, not its prose."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
                yield name
            case ast.alias(name=name) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name.rpartition(".")[2]
            case ast.Constant(value=str(word)) if word.isidentifier():
                yield word


@cache
def names():
    """What each module names."""
    return {module: frozenset(named_in(tree)) for module, tree in trees().items()}


@pytest.mark.parametrize("pattern", KNOWING)
def test_only_modules_that_are_about_it_know_what_data_and_answers_are(pattern):
    knowing = {}
    for module, said in names().items():
        if found := {name for name in said if re.search(pattern, name, re.IGNORECASE)}:
            knowing[module] = found
    strangers = {m: found for m, found in knowing.items() if not re.match(rf"nestgraph\.({KNOWING[pattern]})\b", m)}
    assert strangers == {}


def test_no_modules_import_each_other_in_a_circle():
    graph = nx.DiGraph(
        [(name, other) for name, imported in imports().items() for other in imported if other in MODULES]
    )
    circles = [sorted(component) for component in nx.strongly_connected_components(graph) if len(component) > 1]
    assert circles == []
    assert list(nx.nodes_with_selfloops(graph)) == []


def test_what_does_not_train_never_loads_torch_nor_pyplot():
    light = ", ".join(f"nestgraph.{package}" for package in LIGHT)
    code = f"import sys, {light}; print({{'torch', 'matplotlib.pyplot'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f():\n    from nestgraph.loop import x", ["nestgraph.loop"]),
        ("if TYPE_CHECKING:\n    import nestgraph.cli.app", ["nestgraph.cli.app"]),
        ("from ..lowering import x", ["nestgraph.lowering"]),
        ("from nestgraph.render import x", ["nestgraph.render"]),
        ("from nestgraph.graph import x\nfrom . import evidence", []),
    ],
)
def test_the_reader_of_imports_sees_them_everywhere(source, expected):
    assert upward("nestgraph.policies.some", imports_of("nestgraph.policies.some", ast.parse(source))) == expected


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "eval('1')",
        "def f():\n    exec('1')",
        "torch.load(p)",
        "runpy.run_path(p)",
        "util.spec_from_file_location('a', p)",
        "entry_points(name=n)",
        "np.load(p, allow_pickle=True)",
    ],
)
def test_the_reader_of_dangers_sees_them(source):
    assert dangers(ast.parse(source))
    assert not dangers(ast.parse("model.eval()\nre.compile('a')\nnp.load(p)\nnestgraph.load(p)"))
