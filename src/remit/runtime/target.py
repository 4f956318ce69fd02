"""Finds an app by its target: `module:graph` or `path/file.py:graph`, and with the graph the others of its module."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from remit.core.graph import Graph
from remit.errors import RemitError, SettingsError
from remit.runtime.outside import place_of


@dataclass(frozen=True, slots=True)
class App:
    """All graphs of a module: one set of policies governs them, and a worker drives the runs of all.

    Attributes:
        graph: the one that the target names; None where it names only the module.
        graphs: that one first, then the others in the order of their definition.
    """

    graph: Graph | None
    graphs: tuple[Graph, ...]


def load_app(target: str) -> App:
    """Imports what `target` names: `path/file.py:graph`, or `path/file.py` for all graphs of it. This runs its code.

    Raises:
        SettingsError: there is no such module, file or name, it can't be imported, it has no graph, or the name is of
            something else.
    """
    where, _, name = target.rpartition(":")
    if target.endswith(".py"):
        where, name = target, ""
    elif not where or not name:
        raise SettingsError(f"target `{target}`: write `module:graph`, `path/file.py:graph`, or `path/file.py` for all")
    module = _file(target, Path(where)) if where.endswith(".py") else _module(target, where)
    found = [value for value in vars(module).values() if isinstance(value, Graph)]
    if not name and not found:
        raise SettingsError(f"target `{target}`: there is no graph in it")
    graph = _named(target, module, name) if name else None
    graphs = dict.fromkeys([*([graph] if graph is not None else []), *found])
    return App(graph, tuple(graphs))


def load_graph(target: str) -> Graph:
    """Imports what `target` names and returns its graph: `load_app`, for a target that names one.

    Raises:
        SettingsError: as `load_app`, or the target names a module of several graphs and none of them.
    """
    app = load_app(target)
    if app.graph is None and len(app.graphs) > 1:
        names = ", ".join(f"`{graph.name}`" for graph in app.graphs)
        raise SettingsError(f"target `{target}`: it has several graphs, {names}: name one as `{target}:NAME`")
    return app.graph or app.graphs[0]


def _named(target: str, module: ModuleType, name: str) -> Graph:
    graph = getattr(module, name, None)
    if isinstance(graph, Graph):
        return graph
    graphs = sorted(key for key, value in vars(module).items() if isinstance(value, Graph))
    found = f"`{name}` is a {type(graph).__name__}" if graph is not None else f"there is no `{name}` in it"
    known = f"; its graphs: {', '.join(f'`{key}`' for key in graphs)}" if graphs else "; it has no graph"
    close = difflib.get_close_matches(name, graphs, 1)
    guess = f": did you mean `{close[0]}`?" if close else ""
    raise SettingsError(f"target `{target}`: {found}{known}{guess}")


def _module(target: str, name: str) -> ModuleType:
    # As `python -m` does: what lies in the working directory can be imported.
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except RemitError:
        raise
    except (Exception, SystemExit) as error:
        raise SettingsError(f"target `{target}`: importing `{name}` failed: {_words(error)}") from error


def _file(target: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise SettingsError(f"target `{target}`: there is no file `{path}`")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    name = f"remit_target_{path.stem}"
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(path.resolve()):
        return known
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise SettingsError(f"target `{target}`: `{path}` can't be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except RemitError:
        del sys.modules[name]
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise SettingsError(f"target `{target}`: running `{path}` failed: {_words(error)}") from error
    return module


def _words(error: BaseException) -> str:
    place = place_of(error)
    return f"{type(error).__name__}: {error}" + (f" (at {place})" if place else "")
