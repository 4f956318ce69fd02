"""Finds a graph by its target: `module:graph` or `path/file.py:graph`."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from remit.core.graph import Graph
from remit.errors import RemitError, SettingsError


def load_graph(target: str) -> Graph:
    """Imports what `target` names and returns its graph. This runs the module's code.

    Raises:
        SettingsError: there is no such module, file or name, it can't be imported, or it isn't a graph.
    """
    where, colon, name = target.rpartition(":")
    if not colon or not where or not name:
        raise SettingsError(f"target `{target}`: write `module:graph` or `path/file.py:graph`")
    module = _file(target, Path(where)) if where.endswith(".py") else _module(target, where)
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
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})" if trace is not None else ""
    return f"{type(error).__name__}: {error}{place}"
