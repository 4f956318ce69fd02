"""What has no form: names of people, places and groups, by Microsoft's Presidio and a model of spaCy's.

A model guesses. It is whichever the file names and somebody has installed; none is ever downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from remit.errors import BadInput
from remit.guardrails.libraries import library

KINDS: Final = {"PERSON": "person", "LOCATION": "location", "NRP": "group"}
"""Presidio's names to ours; all else that it finds, the detector `pii` finds by its checksum."""
_SCORE: Final = 0.5
_EXTRA: Final = "presidio"

Span = tuple[str, int, int]


def named(model: str) -> Callable[[str], Iterator[Span]]:
    """Returns a function that yields kind, start and end of every name in a text.

    Args:
        model: a spaCy model that is installed; the first two letters of its name are its language.

    Raises:
        BadInput: Presidio or the model is not installed.
    """
    analyzer, engines = library("presidio_analyzer", _EXTRA), library("presidio_analyzer.nlp_engine", _EXTRA)
    language = model[:2]
    if not library("spacy.util", _EXTRA).is_package(model):
        raise BadInput(
            f"option `presidio`: there is no spaCy model `{model}`: install it, as `python -m spacy download`"
        )
    settings = {"nlp_engine_name": "spacy", "models": [{"lang_code": language, "model_name": model}]}
    engine = engines.NlpEngineProvider(nlp_configuration=settings).create_engine()
    finder = analyzer.AnalyzerEngine(nlp_engine=engine, supported_languages=[language])

    def find(text: str) -> Iterator[Span]:
        found = finder.analyze(text=text, language=language, entities=list(KINDS), score_threshold=_SCORE)
        for one in sorted(found, key=lambda one: (one.start, -one.end)):
            yield KINDS[one.entity_type], one.start, one.end

    return find
