"""Word documents: every text read, every part checked, packed anew without time and owner's tools.

A document is an archive of XML parts (ECMA-376). It is opened within bounds, and what runs, what is
fetched from elsewhere and what is hidden as another file's bytes is refused or left out.
"""

import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo
from zlib import error as ZlibError

from lxml import etree

from review.uploads.images import drawn_anew
from review.uploads.kinds import Cleaned, refuse, refuse_kind

MOST_ENTRIES = 3_000
LARGEST_UNPACKED = 150 * 1024 * 1024  # bytes, all entries together
LARGEST_RATIO = 200  # unpacked to packed; text packs to a tenth, XML to a fortieth
RATIO_FROM = 1024 * 1024  # bytes; small entries may pack as well as they can

CONTENT_TYPES = "[Content_Types].xml"
MAIN_PART = "word/document.xml"
MAIN = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
PICTURES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg"}
FONT = ".odttf"
XML = (".xml", ".rels")
HYPERLINK = "/hyperlink"
TEMPLATE = "/attachedTemplate"
LEFT_OUT = ("docprops/thumbnail.", "word/printersettings/", "docprops/custom.xml")
LINKS = re.compile(r"(?:https?://|mailto:|#)", re.IGNORECASE)
ACTIVE = re.compile(r"vbaproject|vbadata|activex|/embeddings/|oleobject|afchunk|\.bin$|macros")
ACTIVE_TYPES = re.compile("macroenabled|vbaproject|oleobject|activex|altchunk|afchunk")
SAYING = frozenset(  # attributes that people read or that name things to them
    {
        "val", "descr", "title", "alt", "name", "author", "initials", "displayText", "value",
        "default", "Target", "string", "fullName", "uri", "instr", "tooltip",
    }
)  # fmt: skip
BROKEN = (
    BadZipFile, ZlibError, EOFError, NotImplementedError, OSError, RuntimeError, ValueError,
    KeyError,
)  # fmt: skip


def cleaned_docx(name: str, content: bytes) -> Cleaned:
    """Return a document that runs nothing and fetches nothing, with all its text.

    Raises:
        UnsupportedMediaError: An archive that is no Word document.
        MalformedError: Damaged, locked, too large unpacked, with macros, embedded files or parts
            from elsewhere.
    """
    parts = _parts(content)
    trees = {part: _tree(held) for part, held in parts.items() if part.lower().endswith(XML)}
    if CONTENT_TYPES not in trees:
        refuse_kind("kind_differs")
    types = etree.tostring(trees[CONTENT_TYPES]).decode().lower()
    if ACTIVE_TYPES.search(types):
        refuse("document_active")
    if MAIN not in types:
        refuse_kind("kind_differs")
    texts = {part: text for part, tree in sorted(trees.items()) if (text := _text(tree))}
    kept: dict[str, bytes] = {}
    for part, held in sorted(parts.items()):
        if part.lower().startswith(LEFT_OUT):
            continue
        kept[part] = _cleaned_part(part, held, trees.get(part))
    return Cleaned(kind="docx", name=name, content=_packed(kept), texts=texts, words=_body(trees))


def _parts(content: bytes) -> dict[str, bytes]:
    """Return the archive's entries, read within bounds whatever it says of their sizes."""
    parts: dict[str, bytes] = {}
    left = LARGEST_UNPACKED
    try:
        with ZipFile(BytesIO(content)) as archive:
            entries = archive.infolist()
            if len(entries) > MOST_ENTRIES:
                refuse("archive_too_large")
            for entry in entries:
                if entry.is_dir():
                    continue
                if entry.flag_bits & 0x1:
                    refuse("document_locked")
                if entry.filename in parts or not _is_decent(entry.filename):
                    refuse("document_broken")
                with archive.open(entry) as opened:
                    held = opened.read(left + 1)
                left -= len(held)
                packed = max(entry.compress_size, 1)
                if left < 0 or (len(held) > RATIO_FROM and len(held) / packed > LARGEST_RATIO):
                    refuse("archive_too_large")
                parts[entry.filename] = held
    except BROKEN:
        refuse("document_broken")
    return parts


def _is_decent(path: str) -> bool:
    return not (
        path.startswith(("/", "\\")) or ".." in path.split("/") or "\\" in path or "\0" in path
    )


def _tree(held: bytes) -> Any:
    """Return an XML part; one with a document type could swell or fetch, so there is none."""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False,
        huge_tree=False,
    )  # fmt: skip
    try:
        tree = etree.fromstring(held, parser)
    except (etree.XMLSyntaxError, ValueError):
        refuse("document_broken")
    if tree.getroottree().docinfo.doctype:
        refuse("document_broken")
    return tree


def _local(tag: Any) -> str:
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def _text(tree: Any) -> str:
    """Return what can be read in a part: words by paragraph, then what attributes say."""
    lines = ["".join(_words(tree)), *_sayings(tree)]
    return "\n".join(line for line in lines if line.strip())


def _body(trees: dict[str, Any]) -> str:
    """Return the words of the main part alone."""
    tree = trees.get(MAIN_PART)
    return "" if tree is None else "".join(_words(tree))


def _words(tree: Any) -> Iterator[str]:
    """Yield the words in order; runs within a paragraph belong together, however they are cut."""
    for event, node in etree.iterwalk(tree, events=("start", "end", "comment", "pi")):
        name = _local(node.tag)
        if event in ("comment", "pi"):
            yield f"\n{node.text or ''}\n"
        elif event == "start":
            if name == "tab":
                yield "\t"
            elif name in ("br", "cr"):
                yield "\n"
            yield node.text or ""
            continue
        elif name in ("p", "tc", "comment", "footnote", "lpwstr") or _is_property(node):
            yield "\n"
        yield node.tail or ""


def _is_property(node: Any) -> bool:
    parent = node.getparent()
    return parent is not None and _local(parent.tag) in ("coreProperties", "Properties", "property")


def _sayings(tree: Any) -> Iterator[str]:
    """Yield attributes that people may read: descriptions, names, addresses, variables."""
    for node in tree.iter():
        if not isinstance(node.tag, str):
            continue
        for name, value in node.attrib.items():
            if len(value) > 3 and (not value.isascii() or _local(name) in SAYING):
                yield value


def _cleaned_part(part: str, held: bytes, tree: Any) -> bytes:
    """Return one part as it may be kept."""
    lower = part.lower()
    if ACTIVE.search(lower):
        refuse("document_active")
    if tree is not None:
        if lower.endswith(".rels"):
            return _cleaned_links(tree, held)
        if lower.endswith("settings.xml"):
            return _without(tree, held, "attachedTemplate")
        if part == CONTENT_TYPES:
            return _without_left_out(tree, held)
        return held
    for ending, kind in PICTURES.items():
        if lower.endswith(ending):
            return drawn_anew(kind, held)[0]
    if lower.endswith(FONT):
        return held
    refuse("document_part")


def _cleaned_links(tree: Any, held: bytes) -> bytes:
    """Return relationships without a template elsewhere and without what was left out."""
    changed = False
    for link in list(tree):
        if not isinstance(link.tag, str):
            continue
        kind, target = link.get("Type", ""), link.get("Target", "")
        if ACTIVE_TYPES.search(kind.lower()):
            refuse("document_active")
        if link.get("TargetMode") == "External":
            if kind.endswith(TEMPLATE):
                tree.remove(link)
                changed = True
            elif not kind.endswith(HYPERLINK) or not LINKS.match(target):
                refuse("document_elsewhere")
        elif target.lower().lstrip("/").startswith(LEFT_OUT) or "printersettings" in target.lower():
            tree.remove(link)
            changed = True
    return _told(tree) if changed else held


def _without(tree: Any, held: bytes, name: str) -> bytes:
    found = [node for node in tree.iter() if _local(node.tag) == name]
    for node in found:
        node.getparent().remove(node)
    return _told(tree) if found else held


def _without_left_out(tree: Any, held: bytes) -> bytes:
    found = [
        node
        for node in tree
        if isinstance(node.tag, str)
        and node.get("PartName", "").lower().lstrip("/").startswith(LEFT_OUT)
    ]
    for node in found:
        tree.remove(node)
    return _told(tree) if found else held


def _told(tree: Any) -> bytes:
    told: bytes = etree.tostring(
        tree.getroottree(), xml_declaration=True, encoding="UTF-8", standalone=True
    )
    return told


def _packed(parts: dict[str, bytes]) -> bytes:
    """Return an archive that is the same for the same parts; types come first, as Word has it."""
    packed = BytesIO()
    with ZipFile(packed, "w", ZIP_DEFLATED) as archive:
        for part in sorted(parts, key=lambda name: (name != CONTENT_TYPES, name)):
            entry = ZipInfo(part)  # 1980, no owner
            entry.compress_type = ZIP_DEFLATED
            entry.external_attr = 0o600 << 16
            archive.writestr(entry, parts[part], compresslevel=6)
    return packed.getvalue()
