"""The lists that rules read: words, leaders, link hosts, sources. Imported by version."""

from datetime import date
from functools import cached_property
from typing import Annotated

from pydantic import Field, StringConstraints

from review.rules.submissions import canonical, sha256
from review.rules.values import Value

Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
Phrase = Annotated[str, StringConstraints(strip_whitespace=True, min_length=2, max_length=100)]
Phrases = tuple[Phrase, ...]
Version = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
Host = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)+$", max_length=253)]


class Leader(Value):
    """A leader whom texts name; `place` is the order in which leaders are named, 0 for none."""

    name: Phrase
    title: Phrase
    unit: str = ""
    place: int = 0


class Expression(Value):
    """A fixed expression, the verbs that may stand before it, and known miswritings."""

    text: Phrase
    verbs: tuple[Word, ...] = ()
    slips: Phrases = ()


class Authority(Value):
    """A subject that only a named body may make public: what it is about and which facts (A-27)."""

    about: tuple[Word, ...] = Field(min_length=1)
    facts: tuple[Word, ...] = Field(min_length=1)


class Species(Value):
    """Words for protected species, and words for the exact place of one."""

    names: tuple[Word, ...] = ()
    places: tuple[Word, ...] = ()


class Hosts(Value):
    """Link hosts by what they are; a host covers its subdomains."""

    allowed: tuple[Host, ...] = ()
    short: tuple[Host, ...] = ()
    commercial: tuple[Host, ...] = ()


class Words(Value):
    """One version of the words file.

    Attributes:
        titles: Miswritten titles and what they should be.
        usual: Phrases in which a listed word is no finding.
        surnames: Characters after which ×× is a name in a list and no placeholder.
    """

    version: Version
    leaders: tuple[Leader, ...] = ()
    titles: dict[Phrase, Phrase] = Field(default_factory=dict)
    expressions: tuple[Expression, ...] = ()
    typos: dict[Phrase, Phrase] = Field(default_factory=dict)
    usual: Phrases = ()
    surnames: Annotated[str, StringConstraints(max_length=2_000)] = ""
    internal_marks: Phrases = ()
    placeholders: Phrases = ()
    hearsay: Phrases = ()
    map_words: Phrases = ()
    ai_labels: Phrases = ()
    fire: Authority | None = None
    pest: Authority | None = None
    species: Species = Field(default_factory=Species)
    hosts: Hosts = Field(default_factory=Hosts)


class Source(Value):
    """A unit whose texts may be reposted (R3.2-4).

    Attributes:
        also: Other names it goes by.
        any_name: Its hosts vouch for whatever name is given: party and government sites.
    """

    name: Phrase
    also: Phrases = ()
    hosts: tuple[Host, ...] = ()
    any_name: bool = False


class Sources(Value):
    """One version of the source whitelist."""

    version: Version
    issued_on: date | None = None
    sources: tuple[Source, ...] = ()


class Lists(Value):
    """The lists in force at one moment; what a screener is built from."""

    words: Words
    sources: Sources

    @property
    def version(self) -> str:
        return f"{self.words.version}/{self.sources.version}"

    @cached_property
    def digest(self) -> str:
        return sha256(canonical(self.model_dump(mode="json")))
